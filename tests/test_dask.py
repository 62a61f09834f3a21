"""Fits on a Dask cluster of this machine: two workers, on loopback, on free ports."""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.model_selection import PredefinedSplit, StratifiedKFold

distributed = pytest.importorskip("distributed", reason="dask and distributed are not installed")
da = pytest.importorskip("dask.array", reason="dask is not installed")
dd = pytest.importorskip("dask.dataframe", reason="dask is not installed")

from bridle import (  # noqa: E402 - after dask is known to be there
    SoftmaxRegression,
    SoftmaxRegressionCV,
    checks,
    softmax_regression_path,
)
from bridle import dask as on_dask  # noqa: E402
from bridle.fit.readers.cluster import PartReaders  # noqa: E402
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


Cs = [1e-4, 1e-3, 1e-2]
PARTED = (797, 0, 1000)


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("storage", ["float64", "sparse"])
def test_a_path_is_that_of_one_process(storage: str, digits: Any) -> None:
    X, y, weight = digits
    stored = STORAGES[storage]
    whole = da.from_array(X, chunks=(PARTED, 64)).map_blocks(stored, dtype=float)
    told: dict[str, Any] = {"Cs": [1e-2, 1e-3], "class_weight": "balanced", "tol": 1e-12}
    found = softmax_regression_path(whole, y, sample_weight=weight, **told)
    alone = softmax_regression_path(stored(X), y, sample_weight=weight, **told)
    assert found.Cs.tolist() == [1e-2, 1e-3]
    assert found.classes.tolist() == alone.classes.tolist()
    for one, other in zip(found.reports, alone.reports, strict=True):
        assert one.proven
        assert one.objective == pytest.approx(other.objective, rel=1e-12)
    np.testing.assert_allclose(found.coefs, alone.coefs, atol=1e-5)


def same_search(found: SoftmaxRegressionCV, alone: SoftmaxRegressionCV, X: Any) -> None:
    assert alone.C_ == found.C_
    np.testing.assert_allclose(found.scores_, alone.scores_, atol=1e-7)
    objectives = [each.fit_report_.objective for each in (found, alone)]
    assert objectives[0] == pytest.approx(objectives[1], rel=1e-9)
    np.testing.assert_allclose(found.coef_, alone.coef_, atol=1e-5)
    assert len(found.folds_) == len(alone.folds_)
    for one, other in zip(found.folds_, alone.folds_, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
    assert found.n_samples_in_ == alone.n_samples_in_
    answers = [np.nan_to_num(each.out_of_fold_log_proba(X)) for each in (found, alone)]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)


# Folds that are told, some rows in none of them, and the numbers with a gap.
TOLD = np.where(np.arange(599) % 7 == 0, -1, np.arange(599) % 3 * 2)
SEARCHES: dict[str, tuple[Any, dict[str, Any]]] = {
    "plain": ((200, 0, 200, 199), {}),
    "one part": ((599,), {"cv": 3}),
    "balanced, standardised": (100, {"class_weight": "balanced", "standardize": True}),
    "not refitted": ((1, 298, 300), {"refit": False}),
    "told": ((299, 300), {"cv": PredefinedSplit(TOLD)}),
}


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_is_that_of_one_process(name: str, digits: Any) -> None:
    (X, y, weight), (rows, settings) = (each[::3] for each in digits), SEARCHES[name]
    # Some classes that begin in different parts, in another order than their names have.
    y = np.where(y == 3, "three", "other")[np.random.default_rng(1).permutation(len(y))]
    y[330::3] = "a third"
    told = {"cv": 4, "tol": 1e-12, **settings}
    found = SoftmaxRegressionCV(Cs, **told)
    found.fit(da.from_array(X, chunks=(rows, 64)), da.from_array(y, chunks=250), weight)
    same_search(found, SoftmaxRegressionCV(Cs, **told).fit(X, y, weight), X)


@pytest.mark.usefixtures("client")
def test_folds_are_those_of_all_rows_in_their_order(digits: Any) -> None:
    X, y, _ = digits
    X, y = X[::3], y[::3]
    expected = [test for _, test in StratifiedKFold(5).split(X, y)]
    for rows in ((599,), (1, 300, 0, 298)):
        found = SoftmaxRegressionCV([1e-3]).fit(da.from_array(X, chunks=(rows, 64)), y)
        for fold, held in zip(found.folds_, expected, strict=True):
            np.testing.assert_array_equal(fold.rows, held)


@pytest.mark.usefixtures("client")
def test_a_search_of_sparse_parts_and_of_data_frames(digits: Any) -> None:
    X, y = digits[0][::4], digits[1][::4]
    whole = da.from_array(X, chunks=((150, 0, 300), 64)).map_blocks(sparse.csr_array, dtype=float)
    alone = SoftmaxRegressionCV([1e-4, 1e-3], cv=3, tol=1e-12).fit(sparse.csr_array(X), y)
    found = SoftmaxRegressionCV([1e-4, 1e-3], cv=3, tol=1e-12).fit(whole, y)
    same_search(found, alone, sparse.csr_array(X))
    frame = pd.DataFrame(X, columns=[f"pixel {place}" for place in range(64)])
    frame["digit"] = y
    parted = dd.from_pandas(frame, npartitions=3)
    found = SoftmaxRegressionCV([1e-4, 1e-3], cv=3, tol=1e-12)
    found.fit(parted.drop(columns="digit"), parted["digit"])
    features = frame.drop(columns="digit")
    same_search(
        found, SoftmaxRegressionCV([1e-4, 1e-3], cv=3, tol=1e-12).fit(features, y), features
    )
    assert found.feature_names_in_.tolist() == features.columns.tolist()


@pytest.mark.usefixtures("client")
def test_folds_share_their_passes(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = digits[0][::3], digits[1][::3]
    answers, asked_at_once = PartReaders.answers, []

    def counted(self: PartReaders, asked: Any) -> Any:
        asked_at_once.append(len(asked))
        return answers(self, asked)

    monkeypatch.setattr(PartReaders, "answers", counted)
    found = SoftmaxRegressionCV(Cs, cv=4, refit=False)
    found.fit(da.from_array(X, chunks=(300, 64)), y)
    assert max(asked_at_once) == 4
    # Alone are the statistics of each fold, and the first fold's first fit: its metric is theirs.
    answered, passes = sum(asked_at_once), len(asked_at_once)
    first = asked_at_once.index(4)
    assert passes - first < 0.5 * (answered - first)


@pytest.mark.usefixtures("client")
def test_a_search_refuses_what_needs_all_rows(digits: Any) -> None:
    X, y = digits[0][::3], digits[1][::3]
    whole = da.from_array(X, chunks=(250, 64))
    for told, params, said in (
        ({"scoring": "accuracy"}, {}, "scoring: expected 'neg_log_loss', where rows lie in"),
        ({"cv": StratifiedKFold(3)}, {}, "cv: expected a number of folds or a PredefinedSplit"),
        ({}, {"groups": y}, "cv: expected a number of folds or a PredefinedSplit"),
        ({"cv": 1000}, {}, "cv: expected at most 61 folds, as many as a class has rows"),
        ({"cv": PredefinedSplit(TOLD[1:])}, {}, "cv: expected a fold for each of 599 samples"),
        ({"cv": PredefinedSplit(np.zeros(len(y)))}, {}, "cv: expected two folds or more, found 1"),
        ({"cv": PredefinedSplit(y)}, {}, "a training sample of every class in every fold"),
        ({"class_weight": {3: 0}}, {}, "class_weight: expected a weight above 0"),
    ):
        with pytest.raises(checks.InputError, match=said):
            SoftmaxRegressionCV(Cs, **told).fit(whole, y, **params)
    soft = np.full((len(y), 10), 0.1)
    with pytest.raises(checks.InputError, match="y: expected labels, found distributions"):
        SoftmaxRegressionCV(Cs).fit(whole, soft)


def test_shards_are_read_by_the_workers(client: Any, digits: Any, tmp_path: Path) -> None:
    X, y, _ = digits
    paths = []
    for place, rows in enumerate(np.array_split(np.arange(len(y)), 5)):
        paths.append(tmp_path / f"part-{place}.npz")
        np.savez(paths[-1], X=X[rows], y=y[rows])
    found = on_dask.fit(client, paths, **SETTINGS)
    same(found, SoftmaxRegression(**SETTINGS).fit(X, y), X)
    told: dict[str, Any] = {"Cs": [1e-3, 1e-2], "tol": 1e-12}
    chosen = on_dask.fit_cv(client, paths, cv=2, **told)
    same_search(chosen, SoftmaxRegressionCV(cv=2, **told).fit(X, y), X)
    assert chosen.best_estimator_.reading_ == chosen.reading_
    path = on_dask.fit_path(client, paths, **told)
    objectives = [each.objective for each in softmax_regression_path(X, y, **told).reports]
    assert [each.objective for each in path.reports] == pytest.approx(objectives, rel=1e-12)
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
    with pytest.raises(
        checks.InputError, match=r"row 367, column 3 \(.*broken\.npz: row 7 of its own, row 367"
    ):
        on_dask.fit(client, [paths[0], tmp_path / "broken.npz"], **SETTINGS)
    paths[2].write_bytes(paths[2].read_bytes()[:5_000])
    with pytest.raises(checks.InputError, match=r"part-2\.npz"):
        on_dask.fit(client, paths, **SETTINGS)
    with pytest.raises(checks.InputError, match="shards: expected at least one file"):
        on_dask.fit(client, [], **SETTINGS)
    with pytest.raises(checks.InputError, match="shards: expected a list of files, found one name"):
        on_dask.fit_cv(client, str(paths[0]), Cs)


def test_a_failed_fit_leaves_nothing_on_the_cluster(client: Any, digits: Any) -> None:
    X, y, _ = digits
    broken = X.copy()
    broken[1_000, 3] = np.nan
    before = len(client.futures)
    for _ in range(3):
        with pytest.raises(checks.InputError):
            SoftmaxRegression().fit(da.from_array(broken, chunks=(400, 64)), y)
    # The client's own thread forgets them, after the last reference here is gone.
    ends = time.monotonic() + HANGS
    while len(client.futures) > before and time.monotonic() < ends:
        gc.collect()
        time.sleep(0.05)
    assert len(client.futures) <= before


@pytest.mark.usefixtures("client")
def test_what_is_wrong_is_said(digits: Any) -> None:
    X, y, _ = digits
    whole = da.from_array(X, chunks=(500, 64))
    broken = X.copy()
    broken[1_000, 3] = np.nan
    model = SoftmaxRegression()
    said = r"found NaN at row 1000, column 3 \(part 2: row 200 of its own, row 1000 of all\)"
    with pytest.raises(checks.InputError, match=said) as raised:
        model.fit(da.from_array(broken, chunks=(400, 64)), y)
    assert raised.value.row == 1000
    whole_sparse = da.from_array(broken, chunks=(400, 64)).map_blocks(sparse.csr_array, dtype=float)
    for each in (model, SoftmaxRegressionCV(Cs)):
        with pytest.raises(checks.InputError, match=said):
            each.fit(whole_sparse, y)
    with pytest.raises(checks.InputError, match="y: expected one entry for each of 1797 samples"):
        model.fit(whole, y[:-1])
    with pytest.raises(checks.InputError, match="each of 1797 samples of X, found 1000"):
        model.fit(whole, da.from_array(y[:1000], chunks=500))
    with pytest.raises(checks.InputError, match="at least two classes, found one class"):
        model.fit(whole, np.zeros(len(y)))
    numbered = r"\(part 1: row 100 of its own, row 600 of all\)"
    is_bad = np.arange(len(y)) == 600
    with pytest.raises(checks.InputError, match=f"sample_weight: .*100.* {numbered}") as raised:
        model.fit(whole, y, np.where(is_bad, -1.0, 1.0))
    assert raised.value.row == 600
    soft = np.full((len(y), 10), 0.1)
    soft[600, 4] = 0.2
    with pytest.raises(checks.InputError, match=f"y: .*100.* {numbered}") as raised:
        model.fit(whole, da.from_array(soft, chunks=(700, 10)))
    assert raised.value.row == 600
    with pytest.raises(checks.InputError, match=f"y: row 100 is nan.* {numbered}"):
        model.fit(whole, np.where(is_bad, np.nan, y))
    # Parts of a data frame are not counted before somebody asks.
    frame = dd.from_pandas(pd.DataFrame(X), npartitions=3)
    labels = dd.from_pandas(pd.Series(np.where(is_bad, np.nan, y)), npartitions=3)
    with pytest.raises(checks.InputError, match=r"y: .*part 1: row 1 of its own, row 600 of all"):
        model.fit(frame, labels)
    with pytest.raises(checks.InputError, match=f"y: row 100 is nan.* {numbered}"):
        SoftmaxRegressionCV(Cs).fit(whole, np.where(is_bad, np.nan, y))


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
        found = SoftmaxRegressionCV([1e-3, 1e-2], cv=2, tol=1e-12).fit(whole, y, progress=kill)
        assert killed
        one = SoftmaxRegressionCV([1e-3, 1e-2], cv=2, tol=1e-12).fit(X, y)
        same_search(found, one, X)
        killed.clear()
        client.wait_for_workers(2)
        processes = client.run(os.getpid)
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


def bridle(*typed: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridle", *typed],
        capture_output=True, text=True, timeout=HANGS, check=False,
    )  # fmt: skip


def test_the_command_sweeps_as_without_a_cluster() -> None:
    typed = ["fit", "digits", "--Cs", "0.01,0.1", "--cv", "3", "--tol", "1e-12", "--json"]
    found = []
    for options in ([], ["--dask", "local"]):
        done = bridle(*typed, *options)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    alone, cluster = found
    assert cluster["model"] == alone["model"]
    assert cluster["fit"]["proven"]
    objectives = [each["fit"]["objective"] for each in found]
    assert objectives[1] == pytest.approx(objectives[0], rel=1e-9)
    assert cluster["cross_validation"]["folds"] == 3
    scores = [each["cross_validation"]["scores"] for each in found]
    for one, other in zip(*scores, strict=True):
        # One process judges the folds by products in the features' float32.
        assert other == pytest.approx(one, rel=1e-6)


def test_the_command_refuses_what_needs_all_rows() -> None:
    typed = ["fit", "digits", "--dask", "local"]
    refused = bridle(*typed, "--Cs", "1,2", "--scoring", "accuracy")
    assert refused.returncode == 2
    assert refused.stderr.startswith("bridle: --scoring: expected neg_log_loss where the samples")
    refused = bridle(*typed, "--label-errors")
    assert refused.returncode == 2
    assert refused.stderr == "bridle: --label-errors: expected without --dask, found both\n"
