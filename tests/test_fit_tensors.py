"""Features that are PyTorch tensors: the same optimum, wherever the products are made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.datasets import load_digits

from bridle import InputError, SoftmaxRegression, SoftmaxRegressionCV, softmax_regression_path
from bridle.fit.readers import DenseReader, TensorReader
from bridle.fit.requests import Point, Values
from bridle.rows import Rows
from bridle.tensors import on_host

torch = pytest.importorskip("torch", reason="PyTorch is an extra")
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="module")
def digits() -> Any:
    X, y = load_digits(return_X_y=True)
    return X, y


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "uint8"])
def test_the_optimum_is_that_of_arrays(digits: Any, dtype: str, device: str) -> None:
    X, y = digits
    features = torch.tensor(X, dtype=getattr(torch, dtype), device=device)  # whole numbers to 16
    target = torch.tensor(y, device=device)
    model = SoftmaxRegression(C=0.01).fit(features, target)
    expected = SoftmaxRegression(C=0.01).fit(X, y)
    assert model.fit_report_.proven
    assert model.fit_report_.objective == pytest.approx(expected.fit_report_.objective, rel=2e-6)
    np.testing.assert_allclose(model.predict_proba(features), expected.predict_proba(X), atol=1e-3)


@pytest.fixture
def _no_silent_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let NumPy refuse tensors, as it does those of a device."""

    def refuse(*_: Any) -> None:
        raise TypeError("can't convert device tensor to numpy")

    monkeypatch.setattr(torch.Tensor, "__array__", refuse)


@pytest.mark.usefixtures("_no_silent_copies")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "options",
    [{}, {"C": np.inf}, {"standardize": True}, {"fit_intercept": False}, {"symmetric": True}],
    ids=str,
)
@pytest.mark.parametrize("classes", [2, 10])
def test_nothing_is_copied_to_the_host_in_silence(
    digits: Any, classes: int, options: dict[str, Any]
) -> None:
    X, y = digits
    chosen = y < classes
    features, target = torch.tensor(X[chosen]).bfloat16(), torch.tensor(y[chosen])
    features[:, 0] = 3.0  # a constant column
    weight = torch.linspace(0.5, 1, len(target))
    model = SoftmaxRegression(**options).fit(features, target, weight)
    assert model.score(features.float().tolist(), target.tolist()) > 0.95


def test_parts_in_any_order(digits: Any) -> None:
    X, _ = digits
    parts = [torch.tensor(X[:7]).bfloat16(), torch.tensor(X[7:7]).bfloat16()]
    rows = Rows([*parts, torch.tensor(X[7:30]).bfloat16()])
    chosen = np.array([29, 3, 8, 8, 0])
    np.testing.assert_array_equal(rows.take(chosen).to_array(), X[chosen])
    assert rows.take(chosen[:0]).to_array().shape == (0, 64)


def test_tensors_of_numpys_dtypes_are_not_copied() -> None:
    features = torch.ones(5, 3)
    rows = Rows([features])
    assert not rows.are_tensors
    assert np.shares_memory(rows.to_array(), features.numpy())


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (37, 5, 3), (64, 7, 2)])
def test_sums_are_those_of_arrays(shape: Any, soft: bool, weighted: bool) -> None:
    count, depth, classes = shape
    random = np.random.default_rng(count)
    X = torch.tensor(random.normal(size=(count, depth))).bfloat16()
    W, b = random.normal(size=(depth, classes)), random.normal(size=classes)
    target = random.integers(classes, size=count)
    if soft:
        target = random.dirichlet(np.ones(classes), count)
    share = random.uniform(0, 2, count) * (random.random(count) > 0.3) if weighted else None
    parts = Rows([X[: count // 2], X[count // 2 :]])
    assert parts.are_tensors
    wide = Rows([X.double().numpy()])
    expected = DenseReader(wide, target, share, classes).answer(Values(Point(W, b)))
    order = random.permutation(count)
    chosen = parts.take(order)
    mixed = None if share is None else share[order]
    for rows, aim, weights in ((parts, target, share), (chosen, target[order], mixed)):
        reader = TensorReader(rows, aim, weights, classes, 7 * 16 * (depth + classes))
        found = reader.answer(Values(Point(torch.tensor(W), torch.tensor(b))))
        assert found.loss == pytest.approx(expected.loss, rel=1e-12, abs=1e-12)
        assert found.worst_loss == pytest.approx(expected.worst_loss, rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(found.product, expected.product, rtol=0, atol=1e-11)
        np.testing.assert_allclose(found.residual, expected.residual, rtol=0, atol=1e-11)


def test_a_certain_sample_keeps_its_small_residual() -> None:
    X = torch.ones(1, 1).bfloat16()
    point = Point(torch.tensor([[40.0, 0.0]]).double(), torch.zeros(2).double())
    found = TensorReader(Rows([X]), np.array([0]), None, 2).answer(Values(point))
    assert found.residual[0] == pytest.approx(-np.exp(-40), rel=1e-9)


def test_paths_and_folds_take_them_too(digits: Any) -> None:
    X, y = (part[:300] for part in digits)
    features, target = torch.tensor(X).bfloat16(), torch.tensor(y)
    weight = torch.ones(300)
    path = softmax_regression_path(features, target, [0.01, 0.1], sample_weight=weight)
    assert all(report.proven for report in path.reports)
    model = SoftmaxRegressionCV([0.01, 0.1], cv=2).fit(features, target, weight)
    expected = SoftmaxRegressionCV([0.01, 0.1], cv=2).fit(X, y)
    np.testing.assert_allclose(model.scores_, expected.scores_, rtol=1e-3)


def test_rows_move_to_a_device_as_they_are_stored(digits: Any) -> None:
    X, _ = digits
    for dtype, kept in (("float16", "float32"), ("float64", "float64"), ("uint8", "float32")):
        moved = (
            Rows([X[:40].astype(dtype), X[40:90].astype(dtype)]).take(np.arange(5, 70)).on("cpu")
        )
        np.testing.assert_array_equal(moved.to_array(), X[5:70].astype(kept))
    with pytest.raises(InputError, match="device: expected a device that holds numbers"):
        Rows([X.astype(np.float16)]).on("meta")
    with pytest.raises(InputError, match="expected dense features"):
        Rows([sparse.csr_array(X)]).on("cpu")
    with pytest.raises(InputError, match="device: expected one that PyTorch has"):
        Rows([X]).on("nowhere")


def test_what_stays_on_the_host() -> None:
    assert on_host([1, 2]) == [1, 2]
    assert on_host(torch.ones(2).bfloat16()).dtype == np.float32
    assert on_host(torch.ones(2, requires_grad=True)).tolist() == [1.0, 1.0]


def test_little_crosses_between_host_and_device(
    digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the statistics are there, nothing of N numbers crosses, nor D × K but for the answer."""
    X, y = digits
    features, target = torch.tensor(X).bfloat16(), torch.tensor(y)
    crossed: list[int] = []
    to_host, to_device, answer = torch.Tensor.numpy, torch.as_tensor, TensorReader.answer

    def counted_to_host(tensor: Any) -> Any:
        crossed.append(tensor.numel())
        return to_host(tensor)

    def counted_to_device(values: Any, **options: Any) -> Any:
        if not isinstance(values, torch.Tensor):
            crossed.append(np.size(values))
        return to_device(values, **options)

    def answer_and_count(reader: TensorReader, question: Any) -> Any:
        if isinstance(question, Values):
            monkeypatch.setattr(torch.Tensor, "numpy", counted_to_host)
            monkeypatch.setattr(torch, "as_tensor", counted_to_device)
        return answer(reader, question)

    monkeypatch.setattr(TensorReader, "answer", answer_and_count)
    report = SoftmaxRegression(C=0.01).fit(features, target).fit_report_
    assert report.proven
    classes, width = 10, X.shape[1]
    # The answer: parameters and gradient.
    assert sorted(crossed)[-2:] == [(width + 1) * classes] * 2
    # A pass takes shift and scale, and brings what it says of the classes.
    assert sorted(crossed)[-3] <= max(width, classes)
