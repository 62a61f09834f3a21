"""A fit whose passes are made by a Dask cluster's workers: ``bridle fit --dask``."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from bridle import checks
from bridle.cli.sampling import Samples
from bridle.cli.sharing import Share, shares, without_rows
from bridle.data import Dataset
from bridle.estimators.cluster import Parts
from bridle.kernels.processors import free
from bridle.rows import Rows

LOCAL = "local"


@contextmanager
def parts_on(address: str, dataset: Dataset, train: Samples, timeout: float) -> Iterator[Parts]:
    """Let each thread of a cluster's workers keep a share of the samples.

    Of mapped files it reads no more than that. Others go to it with the task, which the scheduler
    keeps for whoever takes the place of a worker that is lost.
    """
    distributed: Any = checks.require("distributed", extra="dask", purpose="--dask")
    # Its own messages are of tasks; what went wrong in one is said by us, once.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        found: Any = address
        if address == LOCAL:
            found = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=free(),
                    threads_per_worker=1,
                    host="127.0.0.1",
                    dashboard_address="127.0.0.1:0",
                    silence_logs=logging.CRITICAL,
                )
            )
        try:
            client = stack.enter_context(distributed.Client(found, timeout=timeout))
        except (OSError, ValueError) as error:
            raise checks.InputError(f"--dask {address}: no cluster there ({error})") from None
        count = max(1, sum(client.nthreads().values()))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # as told above
            rows = [
                client.submit(_kept, share, pure=False)
                for share in shares(dataset, train, None, count)
            ]
        yield Parts(client, rows, without_rows(dataset).features)


def _kept(share: Share) -> tuple[Rows, Any, None]:
    """Return a worker's share of the samples."""
    samples = share.checked()
    return samples.features, samples.target, None
