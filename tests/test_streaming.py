"""Features that stay on the host, and go to a device block by block: the same optimum."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits

from bridle import (
    InputError,
    SoftmaxRegression,
    SoftmaxRegressionCV,
    softmax_regression_path,
    staging,
)
from bridle.estimators.loading import load_model
from bridle.fit import placement
from bridle.fit.readers import TensorReader, reader_of
from bridle.fit.readers.ranks import facts_of_all
from bridle.rows import Rows
from commands import Command

torch: Any = pytest.importorskip("torch", reason="PyTorch is an extra")
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)]
DTYPES = [
    "bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16",
    "float32", "float64", "longdouble", ">f2", ">f4", ">i4",
]  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> Any:
    X, y = load_digits(return_X_y=True)
    return X[:700], y[:700]


@pytest.fixture
def _small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a buffer some rows, and a block some buffers: of the digits, 64 numbers wide."""
    monkeypatch.setattr(staging, "_BUFFER_BYTES", 64 * 4 * 50)
    monkeypatch.setattr(staging, "_BLOCK_BYTES", 64 * 4 * 120)


def streamed_blocks(rows: Rows, size: int, dtype: str, device: str = "cpu") -> Any:
    """Return all rows, as they come to the device, and the sizes of the blocks."""
    there = rows.streamed_to(device)
    assert there.are_tensors
    assert there.is_streamed
    found, sizes, first = np.full(rows.shape, np.nan), [], 0
    for which, block in there.tensor_blocks(size, np.dtype(dtype)):
        assert block.device.type == device
        assert str(block.dtype) == f"torch.{dtype}"
        assert which.start == first
        found[which] = block.double().cpu().numpy()
        sizes.append(len(block))
        first = which.stop
    assert sum(sizes) == len(rows)
    return found, sizes


@pytest.mark.usefixtures("_small_buffers")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks_are_the_rows_that_are_stored(digits: Any, dtype: str, device: str) -> None:
    X = digits[0][:500]
    values = (X > 7 if dtype == "bool" else X).astype(dtype)
    wide = np.zeros((500, 130), dtype)
    wide[:, 1:129:2] = values
    chosen = np.random.default_rng(0).integers(500, size=701)
    sources = {
        "one array": Rows([values]),
        "Fortran's order": Rows([np.asfortranarray(values)]),
        "backwards": Rows([values[::-1]]),
        "every second column": Rows([wide[:, 1:129:2]]),
        "parts": Rows([values[:3], values[3:3], values[3:217], values[217:]]),
        "parts of two dtypes": Rows([values[:40], values[40:].astype(np.float64)]),
        "a choice": Rows([values]).take(chosen),
        "a choice from the end": Rows([values]).take(np.arange(-500, 0)),
        "a choice of the backwards": Rows([values[::-1]]).take(chosen),
        "a choice of parts": Rows([values[:40], values[40:]]).take(chosen),
        "a choice in narrow numbers": Rows([values]).take(chosen.astype(np.int16)),
        "a choice by truth": Rows([values]).take(np.arange(500) % 3 == 0),
        "a choice of a choice": Rows([values]).take(chosen).take(np.arange(0, 701, 3)),
        "one row": Rows([values]).take(np.array([77])),
        "no row": Rows([values[:0]]),
        "none chosen": Rows([values]).take(np.zeros(0, np.intp)),
    }
    for name, rows in sources.items():
        for size in (1 if len(rows) < 9 else 37, 113, 10_000):
            found, sizes = streamed_blocks(rows, size, "float64", device)
            np.testing.assert_array_equal(found, rows.to_array().astype(float), err_msg=name)
            assert max(sizes, default=0) <= size
        np.testing.assert_array_equal(
            rows.on(device).to_array().astype(float), rows.to_array().astype(float), err_msg=name
        )


@pytest.mark.usefixtures("_small_buffers")
@pytest.mark.parametrize("device", DEVICES)
def test_bfloat16_travels_as_it_is(digits: Any, device: str) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="ml_dtypes is not installed")
    X = digits[0][:300]
    tensor = torch.tensor(X).bfloat16()
    array = X.astype(ml_dtypes.bfloat16)
    for rows in (Rows([tensor]), Rows([tensor[:9], tensor[9:]]), Rows([array])):
        for chosen in (rows, rows.take(np.arange(299, -1, -7))):
            assert chosen.nbytes_on_device == chosen.shape[0] * 64 * 2
            found, _ = streamed_blocks(chosen, 71, "float32", device)
            np.testing.assert_array_equal(found, chosen.to_array())
            np.testing.assert_array_equal(chosen.on(device).to_array(), chosen.to_array())


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("float16", "float16"), (">f2", "float16"), ("uint8", "uint8"), ("bool", "bool"),
     ("int32", "int32"), ("uint16", "float32"), ("longdouble", "float64")],
)  # fmt: skip
def test_what_travels_is_of_the_stored_dtype(dtype: str, kind: str) -> None:
    rows = Rows([np.ones((5, 3), dtype)]).streamed_to("cpu")
    assert rows._staging is not None
    assert rows._staging.kind == getattr(torch, kind)
    assert rows.nbytes_on_device == 15 * getattr(torch, kind).itemsize
    assert rows.take(np.array([1]))._staging is rows._staging


def problems(digits: Any, tmp_path: Path) -> Any:
    X, y = digits
    np.save(tmp_path / "X.npy", X.astype(np.float16))
    order = np.random.default_rng(1).permutation(len(y))
    yield "float16", Rows([X.astype(np.float16)]), y
    yield "float64", Rows([X]), y
    yield "bytes", Rows([X.astype(np.uint8)]), y
    yield "tensor", Rows([torch.tensor(X).bfloat16()]), y
    yield "mapped", Rows([np.load(tmp_path / "X.npy", mmap_mode="r")]), y
    yield "shards", Rows([X[:7], X[7:901], X[901:]]), y
    yield "a choice", Rows([X[order]]).take(np.argsort(order)), y


@pytest.mark.usefixtures("_small_buffers")
@pytest.mark.parametrize("device", DEVICES)
def test_the_optimum_is_that_of_rows_that_lie_there(
    digits: Any, device: str, tmp_path: Path
) -> None:
    X, y = digits
    expected = SoftmaxRegression(C=0.01).fit(torch.tensor(X).bfloat16(), y)
    assert expected.fit_report_.streamed_to is None
    for name, rows, labels in problems(digits, tmp_path):
        there = rows.streamed_to(device)
        weight = torch.ones(len(y), device=device)
        model = SoftmaxRegression(C=0.01).fit(there, torch.tensor(labels, device=device), weight)
        report = model.fit_report_
        assert report.proven, name
        assert report.relative_gap <= model.tol, name
        assert report.objective == pytest.approx(expected.fit_report_.objective, rel=2e-6), name
        assert report.streamed_to == str(torch.empty(0, device=device).device)
        np.testing.assert_allclose(
            model.predict_proba(there), expected.predict_proba(X), atol=1e-3, err_msg=name
        )


@pytest.mark.usefixtures("_small_buffers")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "options",
    [{"C": np.inf}, {"standardize": True}, {"fit_intercept": False}, {"symmetric": True}],
    ids=str,
)
@pytest.mark.parametrize("classes", [2, 10])
def test_every_kind_of_fit(digits: Any, classes: int, options: dict[str, Any], device: str) -> None:
    X, y = digits
    chosen = y < classes
    features, target = X[chosen].astype(np.float32), y[chosen]
    streamed = Rows([features]).streamed_to(device)
    model = SoftmaxRegression(**options).fit(streamed, target)
    expected = SoftmaxRegression(**options).fit(torch.tensor(features).bfloat16(), target)
    assert model.fit_report_.stopped == expected.fit_report_.stopped
    if options.get("C") != np.inf:
        assert model.fit_report_.objective == pytest.approx(
            expected.fit_report_.objective, rel=2e-6
        )


def test_a_fit_of_distributions_and_weights(digits: Any) -> None:
    X, y = digits
    target = np.eye(10)[y] * 0.9 + 0.01
    weight = np.random.default_rng(0).uniform(0, 2, len(y))
    model = SoftmaxRegression(C=0.01).fit(Rows([X]).streamed_to("cpu"), target, weight)
    expected = SoftmaxRegression(C=0.01).fit(X, target, weight)
    assert model.fit_report_.objective == pytest.approx(expected.fit_report_.objective, rel=2e-6)


@pytest.mark.usefixtures("_small_buffers")
@pytest.mark.parametrize("device", DEVICES)
def test_paths_and_folds(digits: Any, device: str) -> None:
    X, y = (part[:600] for part in digits)
    streamed = Rows([X.astype(np.float16)]).streamed_to(device)
    path = softmax_regression_path(streamed, y, [0.01, 0.1])
    same = softmax_regression_path(X, y, [0.01, 0.1])
    for found, right in zip(path.reports, same.reports, strict=True):
        assert found.proven
        assert found.streamed_to is not None
        assert found.objective == pytest.approx(right.objective, rel=2e-6)
    # Folds of most rows weigh the others 0; those of few are choices of rows.
    few = [(np.arange(0, 600, 3), np.arange(1, 600, 3))]
    for cv in (2, few):
        model = SoftmaxRegressionCV([0.01, 0.1], cv=cv).fit(streamed, y)
        expected = SoftmaxRegressionCV([0.01, 0.1], cv=cv).fit(X, y)
        np.testing.assert_allclose(model.scores_, expected.scores_, rtol=1e-3)
        assert model.fit_report_.streamed_to is not None


def test_a_device_is_a_parameter(digits: Any, tmp_path: Path) -> None:
    X, y = (part[:600] for part in digits)
    expected = SoftmaxRegression(C=0.01).fit(X, y)
    for device in ("cpu", torch.device("cpu")):
        model = clone(SoftmaxRegression(C=0.01, device=device)).fit(X, y)
        assert model.fit_report_.objective == expected.fit_report_.objective
        model.save(tmp_path / "model")
        assert load_model(tmp_path / "model").get_params()["device"] == "cpu"
    assert softmax_regression_path(X, y, [0.01], device="cpu").reports[0].proven
    search = SoftmaxRegressionCV([0.01], cv=2, device="cpu").fit(X, y)
    assert search.best_estimator_.device == "cpu"


ON_DEVICES = pytest.mark.parametrize(
    "fit",
    [
        lambda X, y, device: SoftmaxRegression(device=device).fit(X, y),
        lambda X, y, device: SoftmaxRegressionCV([1.0], cv=2, device=device).fit(X, y),
        lambda X, y, device: softmax_regression_path(X, y, [1.0], device=device),
    ],
    ids=["fit", "cv", "path"],
)


@ON_DEVICES
def test_a_device_that_will_not_do(digits: Any, fit: Any) -> None:
    X, y = (part[:50] for part in digits)
    absent = "cuda" if not torch.cuda.is_available() else "cuda:99"
    for device in ("nowhere", 1.5, absent, "hpu", "mps:99"):
        with pytest.raises(InputError, match="device: expected one that PyTorch has: ") as raised:
            fit(X, y, device)
        assert len(str(raised.value)) < 400
    with pytest.raises(InputError, match="device: expected a device that holds numbers, found m"):
        fit(X, y, "meta")
    with pytest.raises(InputError, match="device: expected dense features on cpu, found sparse"):
        fit(sparse.csr_array(X), y, "cpu")


@ON_DEVICES
def test_rows_on_a_cluster_have_no_device(fit: Any) -> None:
    array = pytest.importorskip("dask.array", reason="dask is an extra")
    X, y = array.ones((4, 2)), array.arange(4) % 2
    with pytest.raises(InputError, match="device: expected None for rows on a cluster"):
        fit(X, y, "cpu")


def test_tensors_of_a_device_are_not_streamed() -> None:
    with pytest.raises(InputError, match="device: expected features on the host to stream"):
        Rows([torch.ones(3, 2, device="meta")]).streamed_to("cpu")


def test_what_has_no_room_is_streamed(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = Rows([digits[0].astype(np.float16)])
    size, beside = 700 * 64 * 2, 1000
    free = {"mem_get_info": (0, 0), "memory_reserved": 0, "memory_allocated": 0}
    for name in free:
        monkeypatch.setattr(torch.cuda, name, lambda _, name=name: free[name])
    device = torch.device("cuda", 0)
    assert not placement._has_room(rows, device, beside)
    free["mem_get_info"] = (size + beside - 1, 10**9)
    assert not placement._has_room(rows, device, beside)
    free["memory_reserved"] = 7  # which PyTorch does not use
    assert placement._has_room(rows, device, beside)
    free["memory_allocated"] = 7
    assert not placement._has_room(rows, device, beside)
    assert not placement._has_room(rows, device, None), "a fit takes 4 GB"
    monkeypatch.setattr(placement, "_has_room", lambda *_: False)
    assert placement.placed(rows, "cpu").is_streamed
    assert not placement.placed(rows, "cpu", streamed=False).are_tensors
    streamed = rows.streamed_to("cpu")
    assert placement.placed(streamed, "cpu") is streamed
    assert not placement.placed(streamed, "cpu", streamed=False).is_streamed
    assert placement.placed(rows, None) is rows


def test_who_reads_them(digits: Any) -> None:
    X, y = digits
    assert isinstance(reader_of(Rows([X]).streamed_to("cpu"), y, None, 10), TensorReader)


@pytest.mark.usefixtures("_small_buffers")
@pytest.mark.parametrize("device", DEVICES)
def test_two_buffers_and_two_blocks_serve_all_passes(
    digits: Any, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = digits
    there = Rows([X.astype(np.float32)]).streamed_to(device)
    staged = there._staging
    assert staged is not None
    made: list[Any] = []
    new_buffers = staging.Staging._new_buffers

    def counted(self: Any) -> Any:
        made.append(new_buffers(self))
        return made[-1]

    monkeypatch.setattr(staging.Staging, "_new_buffers", counted)
    model = SoftmaxRegression(C=0.01).fit(there, y)
    assert model.fit_report_.passes > 10
    (buffers,) = made
    assert [len(each) for each in buffers._on_host] == [50, 50]
    assert [len(each) for each in buffers._there] == [120, 120]
    assert all(each.is_pinned() == (device == "cuda") for each in buffers._on_host)


def test_two_passes_at_a_time_do_not_mix(digits: Any) -> None:
    X = digits[0]
    there = Rows([X]).streamed_to("cpu")
    passes = [there.tensor_blocks(size, np.dtype("float64")) for size in (100, 70)]
    for _ in range(7):
        for one in passes:
            which, block = next(one)
            np.testing.assert_array_equal(block.numpy(), X[which])


@pytest.mark.usefixtures("_small_buffers")
@pytest.mark.parametrize("kind", ["whole", "choice"])
def test_a_large_mapped_file_gives_its_memory_back(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridle.mapped.RESIDENT_BYTES", 1000)
    values = np.arange(4099 * 64).reshape(4099, 64) % 1000
    np.save(tmp_path / "x.npy", values.astype(np.float16))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    returned: list[Any] = []
    monkeypatch.setattr("bridle.rows.releaser", lambda part, _: lambda: returned.append(part))
    rows = Rows([mapped]) if kind == "whole" else Rows([mapped]).take(np.arange(4098, -1, -1))
    found, _ = streamed_blocks(rows, 1000, "float32")
    np.testing.assert_array_equal(found, values if kind == "whole" else values[::-1])
    assert len(returned) >= 10


@pytest.mark.usefixtures("_small_buffers")
@pytest.mark.parametrize("kind", ["whole", "choice"])
def test_a_file_that_is_cut_short_is_the_same_error(kind: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(192_000.0).reshape(3000, 64))
    rows = Rows([np.load(tmp_path / "a.npy", mmap_mode="r")])
    rows = rows.take(np.arange(0, 3000, 7)) if kind == "choice" else rows
    blocks = rows.streamed_to("cpu").tensor_blocks(100, np.dtype("float64"))
    next(blocks)
    os.truncate(tmp_path / "a.npy", 70_000)
    with pytest.raises(InputError, match=r"a\.npy: was cut short while it was read: expected "):
        list(blocks)
    with pytest.raises(InputError, match=r"a\.npy: was cut short while it was read: expected "):
        rows.on("cpu")


@pytest.mark.parametrize("device", DEVICES)
def test_numbers_that_are_not_finite_are_found(digits: Any, device: str) -> None:
    X, y = digits
    X = X.copy()
    X[603, 5] = np.nan
    with pytest.raises(
        InputError, match="X: expected finite numbers, found NaN at row 603, column 5"
    ):
        SoftmaxRegression().fit(Rows([X]).streamed_to(device), y)


@pytest.mark.usefixtures("_small_buffers")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("device", DEVICES)
def test_a_stop_while_rows_are_read(
    digits: Any, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = digits
    there = Rows([X]).streamed_to(device)
    before, calls, fill = threading.active_count(), [0], Rows._fill

    def stopped(self: Rows, begin: int, into: Any) -> None:
        calls[0] += 1
        if calls[0] == 400:
            raise KeyboardInterrupt
        fill(self, begin, into)

    monkeypatch.setattr(Rows, "_fill", stopped)
    model = SoftmaxRegression(C=0.01, tol=1e-12).fit(there, y)
    assert model.fit_report_.stopped == "interrupted"
    assert threading.active_count() == before
    again = SoftmaxRegression(C=0.01).fit(there, y)
    expected = SoftmaxRegression(C=0.01).fit(X, y)
    assert again.fit_report_.objective == pytest.approx(expected.fit_report_.objective, rel=2e-6)


@pytest.mark.parametrize(
    "options", [(), ("--Cs", "0.01,0.1", "--cv", "2"), ("--calibrate", "temperature")], ids=str
)
def test_the_command_gives_the_same_figures(command: Command, options: tuple[str, ...]) -> None:
    asked = ("fit", "digits", *options)
    expected = json.loads(command(*asked, "--json").out)
    streamed = command(*asked, "--json", "--device", "cpu", "--stream")
    found = json.loads(streamed.out)
    assert expected["fit"]["streamed_to"] is None
    assert found["fit"]["streamed_to"] == "cpu"
    assert found["fit"]["proven"]
    assert found["fit"]["objective"] == pytest.approx(expected["fit"]["objective"], rel=2e-6)
    assert found["evaluation"]["accuracy"] == expected["evaluation"]["accuracy"]
    assert found["model"] == expected["model"]


def test_the_command_says_where_the_features_are(command: Command, tmp_path: Path) -> None:
    said = "  features stay on the host, streamed to cpu in blocks"
    for option, streams in (("--stream", True), ("--no-stream", False)):
        out = tmp_path / f"model{option}"
        answer = command("fit", "iris", "--device", "cpu", option, "--out", str(out))
        assert answer.code == 0
        assert (said in answer.out.splitlines()) == streams
        kept = load_model(out / "model.safetensors").fit_report_.streamed_to
        assert kept == ("cpu" if streams else None)


def test_what_ranks_stream_to_is_told_together(digits: Any) -> None:
    X, y = digits
    readers = [
        reader_of(Rows([X]).streamed_to("cpu"), y, None, 10),
        reader_of(Rows([X]), y, None, 10),
    ]
    facts = [replace(reader.facts, like=np.empty(0)) for reader in readers]
    assert facts_of_all(facts).streamed_to == "cpu"
    assert facts_of_all(facts[1:]).streamed_to is None
    other = replace(facts[0], streamed_to="cuda:1")
    assert facts_of_all([other, *facts]).streamed_to == "cpu, cuda:1"


@NEEDS_CUDA
def test_many_blocks_on_cuda_while_the_device_is_busy() -> None:
    """Each block's sum is right, whatever is still being computed or copied."""
    X = np.random.default_rng(0).integers(0, 100, (40_009, 257)).astype(np.float16)
    there = Rows([X]).streamed_to("cuda")
    busy = torch.randn(4096, 4096, device="cuda")
    for size in (1009, 20_011):
        sums = torch.zeros(257, dtype=torch.float64, device="cuda")
        for _, block in there.tensor_blocks(size, np.dtype("float32")):
            busy = busy @ busy / 64
            sums += block.sum(0, dtype=torch.float64)
        np.testing.assert_array_equal(sums.cpu().numpy(), X.astype(float).sum(0))
