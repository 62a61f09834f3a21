"""A fit whose passes are made by a Dask cluster's workers: ``bridle fit --dask``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from bridle import checks
from bridle.cli.sampling import Samples, Source, part_of, samples_of
from bridle.estimators.cluster import Parts
from bridle.kernels.processors import free
from bridle.rows import Rows

LOCAL = "local"


@contextmanager
def parts_on(address: str, source: Source, train: Samples, timeout: float) -> Iterator[Parts]:
    """Let each thread of a cluster's workers open the data and keep a part of the samples."""
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
        rows = [
            client.submit(_samples_on_worker, source, place, count, pure=False)
            for place in range(count)
        ]
        yield Parts(client, rows, train.features.take(np.zeros(0, np.intp)))


def _samples_on_worker(source: Source, place: int, count: int) -> tuple[Rows, Any, None]:
    """Return a part of the samples; of files that are mapped, no more than this is ever read."""
    train, _ = samples_of(source, source.load(), part=place, parts=count)
    found = part_of(train, place, count)
    return found.features, found.target, None
