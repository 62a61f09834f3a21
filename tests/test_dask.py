"""Fits on a Dask cluster of this machine: two workers, on loopback, on free ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_digits

distributed = pytest.importorskip("distributed", reason="dask and distributed are not installed")
da = pytest.importorskip("dask.array", reason="dask is not installed")
dd = pytest.importorskip("dask.dataframe", reason="dask is not installed")

from bridle import SoftmaxRegression, checks  # noqa: E402 - after dask is known to be there
from bridle import dask as on_dask  # noqa: E402
from bridle.ranks import ClusterError  # noqa: E402

# Only ends a test that hangs: many times what the slowest takes.
HANGS = 600
SETTINGS: dict[str, Any] = {"C": 0.1, "tol": 1e-12}


@contextmanager
def cluster(workers: int) -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
        ) as started,
        distributed.Client(started) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with cluster(2) as connected:
        yield connected


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any, Any]:
    X, y = load_digits(return_X_y=True)
    order = np.argsort(y, kind="stable")  # so that most parts miss most classes
    return X[order], y[order], np.random.default_rng(0).integers(0, 3, len(y)).astype(float)


def same(found: SoftmaxRegression, alone: SoftmaxRegression, X: Any) -> None:
    assert found.fit_report_.proven
    assert found.fit_report_.relative_gap <= 1e-12
    assert found.fit_report_.objective == pytest.approx(alone.fit_report_.objective, rel=1e-12)
    assert found.classes_.tolist() == alone.classes_.tolist()
    np.testing.assert_array_equal(found.predict(X), alone.predict(X))


STORAGES = {
    "float64": np.asarray,
    "float16": lambda X: X.astype(np.float16),
    "sparse": sparse.csr_array,
}


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("rows", [(1797,), (797, 0, 600, 400)])
def test_arrays_have_the_optimum_of_one_process(storage: str, rows: Any, digits: Any) -> None:
    X, y, weight = digits
    stored = STORAGES[storage]
    whole = da.from_array(X, chunks=(rows, (40, 24)))
    whole = whole.rechunk({1: 64}).map_blocks(stored, dtype=float)
    found = SoftmaxRegression(standardize=True, **SETTINGS)
    found.fit(whole, da.from_array(y, chunks=700), weight)
    alone = SoftmaxRegression(standardize=True, **SETTINGS).fit(stored(X), y, weight)
    same(found, alone, stored(X))


@pytest.mark.usefixtures("client")
def test_data_frames_keep_names_and_labels(digits: Any) -> None:
    X, y, _ = digits
    frame = pd.DataFrame(X, columns=[f"pixel {place}" for place in range(64)])
    frame["digit"] = [f"digit {label}" for label in y]
    parted = dd.from_pandas(frame, npartitions=3)
    found = SoftmaxRegression(**SETTINGS).fit(parted.drop(columns="digit"), parted["digit"])
    features = frame.drop(columns="digit")
    alone = SoftmaxRegression(**SETTINGS).fit(features, frame["digit"])
    same(found, alone, features)
    assert found.feature_names_in_.tolist() == alone.feature_names_in_.tolist()


@pytest.mark.usefixtures("client")
def test_distributions_and_class_weights(digits: Any) -> None:
    X, y, _ = digits
    soft = np.full((len(y), 10), 0.02)
    soft[np.arange(len(y)), y] += 0.8
    whole = da.from_array(X, chunks=(500, 64))
    found = SoftmaxRegression(**SETTINGS).fit(whole, da.from_array(soft, chunks=(300, 5)))
    same(found, SoftmaxRegression(**SETTINGS).fit(X, soft), X)
    balanced = SoftmaxRegression(class_weight="balanced", **SETTINGS)
    few = y[: 3 * 180]
    found = balanced.fit(da.from_array(X[: len(few)], chunks=(100, 64)), few)
    alone = SoftmaxRegression(class_weight="balanced", **SETTINGS).fit(X[: len(few)], few)
    same(found, alone, X)


def test_shards_are_read_by_the_workers(client: Any, digits: Any, tmp_path: Path) -> None:
    X, y, _ = digits
    paths = []
    for place, rows in enumerate(np.array_split(np.arange(len(y)), 5)):
        paths.append(tmp_path / f"part-{place}.npz")
        np.savez(paths[-1], X=X[rows], y=y[rows])
    found = on_dask.fit(client, paths, **SETTINGS)
    same(found, SoftmaxRegression(**SETTINGS).fit(X, y), X)
    frame = pd.DataFrame({"a": X[:, 20], "b": X[:, 30], "c": X[:, 43], "y": y})
    tables = [tmp_path / "one.csv", tmp_path / "other.csv"]
    frame[::2].to_csv(tables[0], index=False)
    frame.loc[1::2, ["c", "y", "b", "a"]].to_csv(tables[1], index=False)
    by_name = on_dask.fit(client, tables, **SETTINGS)
    assert by_name.feature_names_in_.tolist() == ["a", "b", "c"]
    features = frame[["a", "b", "c"]]
    same(by_name, SoftmaxRegression(**SETTINGS).fit(features, y), features)
    broken = X[:300].copy()
    broken[7, 3] = np.nan
    np.savez(tmp_path / "broken.npz", X=broken, y=y[:300])
    with pytest.raises(checks.InputError, match=r"row 367, column 3 \(.*broken\.npz\)"):
        on_dask.fit(client, [paths[0], tmp_path / "broken.npz"], **SETTINGS)
    paths[2].write_bytes(paths[2].read_bytes()[:5_000])
    with pytest.raises(checks.InputError, match=r"part-2\.npz"):
        on_dask.fit(client, paths, **SETTINGS)
    with pytest.raises(checks.InputError, match="shards: expected at least one file"):
        on_dask.fit(client, [], **SETTINGS)


@pytest.mark.usefixtures("client")
def test_what_is_wrong_is_said(digits: Any) -> None:
    X, y, _ = digits
    whole = da.from_array(X, chunks=(500, 64))
    broken = X.copy()
    broken[1_000, 3] = np.nan
    model = SoftmaxRegression()
    with pytest.raises(checks.InputError, match="found NaN at row 1000, column 3"):
        model.fit(da.from_array(broken, chunks=(400, 64)), y)
    with pytest.raises(checks.InputError, match="y: expected one entry for each of 1797 samples"):
        model.fit(whole, y[:-1])
    with pytest.raises(checks.InputError, match="y: expected the 4 parts of X, found 2 parts"):
        model.fit(whole, da.from_array(y[:1000], chunks=500))
    with pytest.raises(checks.InputError, match="at least two classes, found one class"):
        model.fit(whole, np.zeros(len(y)))
    with pytest.raises(checks.InputError, match=r"sample_weight.*\(part 1, its own rows counted\)"):
        model.fit(whole, y, np.where(np.arange(len(y)) == 600, -1.0, 1.0))


def test_without_a_client_a_collection_is_refused(digits: Any) -> None:
    X, y, _ = digits
    code = (
        "import dask.array as da, numpy as np\n"
        "from bridle import SoftmaxRegression\n"
        "SoftmaxRegression().fit(da.zeros((4, 2), chunks=2), np.arange(4) % 2)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS, check=False
    )
    assert "X: expected a distributed.Client to be connected" in found.stderr
    assert X.shape[0] == len(y)


def test_a_lost_worker_is_made_good(digits: Any) -> None:
    X, y, _ = digits
    with cluster(2) as client:
        processes = client.run(os.getpid)
        killed: list[int] = []

        def kill(_: Any) -> None:
            if not killed:
                killed.append(next(iter(processes.values())))
                os.kill(killed[0], signal.SIGKILL)

        whole = da.from_array(X, chunks=(300, 64))
        found = SoftmaxRegression(**SETTINGS).fit(whole, y, progress=kill)
        assert killed
    same(found, SoftmaxRegression(**SETTINGS).fit(X, y), X)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_cluster_without_workers_is_not_waited_for(workers: int, digits: Any) -> None:
    X, y, _ = digits
    with cluster(workers) as client:

        def leave(_: Any) -> None:
            client.cluster.scale(0)

        with pytest.raises(ClusterError, match="no worker for 2 s"):
            SoftmaxRegression(**SETTINGS).fit(
                da.from_array(X, chunks=(900, 64)), y, timeout=2, progress=leave
            )


def test_the_command_writes_what_it_writes_without_a_cluster(tmp_path: Path) -> None:
    found = {}
    for name, options in {"alone": [], "cluster": ["--dask", "local"]}.items():
        typed = ["fit", "digits", "--tol", "1e-12", "--out", str(tmp_path / name), *options]
        done = subprocess.run(
            [sys.executable, "-m", "bridle", *typed],
            capture_output=True, text=True, timeout=HANGS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert ("workers of a Dask cluster" in done.stdout) is (name == "cluster")
        found[name] = json.loads((tmp_path / name / "metrics.json").read_text())
    one, other = found["alone"]["fit"], found["cluster"]["fit"]
    assert other["proven"]
    assert other["objective"] == pytest.approx(one["objective"], rel=1e-12)
    refused = subprocess.run(
        [sys.executable, "-m", "bridle", "fit", "digits", "--dask", "local", "--Cs", "1,2"],
        capture_output=True, text=True, timeout=HANGS, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert refused.stderr == "bridle: --Cs: expected without --dask, found both\n"
