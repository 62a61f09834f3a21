"""The table of edges in the design, line by line, for tensors: eager, and compiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bridle
import oracle

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from bridle.kernels import thresholds  # noqa: E402
from bridle.torch import functional  # noqa: E402
from tensors import DTYPES, array_of, gradient_of  # noqa: E402

INFINITY = float("inf")
NAN = float("nan")


# torch.compile's own imports use what torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@pytest.fixture(params=["plain PyTorch", "compiled kernel"], autouse=True)
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "compiled kernel":
        monkeypatch.setattr(thresholds, "COMPILED_TENSOR_NUMBERS", 0)


@pytest.fixture(params=["eager", "torch.compile"])
def cross_entropy(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`cross_entropy` as it is, and in a program that a compiler has traced whole."""
    if request.param == "eager":
        return functional.cross_entropy
    torch._dynamo.reset()
    compiled: Callable[..., Any] = torch.compile(
        functional.cross_entropy, fullgraph=True, backend="aot_eager", dynamic=False
    )
    return compiled


def scores_of(rows: Any, dtype: Any = torch.float64) -> Any:
    return torch.tensor(rows, dtype=dtype, requires_grad=True)


def both(cross_entropy: Callable[..., Any], scores: Any, target: Any, **options: Any) -> Any:
    """Return loss and gradient as arrays."""
    loss = cross_entropy(scores, torch.as_tensor(target), **options)
    return array_of(loss), array_of(gradient_of(loss, scores))


def test_target_outside_the_classes_and_not_ignored(cross_entropy: Callable[..., Any]) -> None:
    scores = scores_of(np.zeros((4, 3)))
    for bad in (3, -1, -99, 2**40):
        target = torch.tensor([0, bad, -100, bad])
        for error in (IndexError, ValueError, bridle.TargetRangeError):
            with pytest.raises(error) as raised:
                cross_entropy(scores, target)
            expected = f"target: row 1 is {bad}, expected a class index in [0, 3)"
            message = str(raised.value)
            if torch.__version__.startswith(
                "2.9."
            ):  # adds which line of the compiled program it was
                message = message.splitlines()[0]
            assert message == expected
        loss, gradient = both(
            cross_entropy, scores, [0, bad, -100, 1], reduction="none", check=False
        )
        np.testing.assert_array_equal(np.isnan(loss), [False, True, False, False])
        np.testing.assert_array_equal(np.isnan(gradient).all(axis=1), np.isnan(loss))
        assert (gradient[2] == 0).all()


@pytest.mark.parametrize("width", ["int8", "int16", "int32", "uint8", "uint16", "uint32", "uint64"])
def test_integer_targets_of_any_width_signed_or_not(width: str) -> None:
    scores, target = torch.randn(7, 3), torch.arange(7) % 3
    right = functional.cross_entropy(scores, target, reduction="none")
    narrow = target.to(getattr(torch, width))
    assert torch.equal(functional.cross_entropy(scores, narrow, reduction="none"), right)


def test_booleans_for_two_classes() -> None:
    scores, answers = torch.randn(7, 2), torch.arange(7) % 2
    right = functional.cross_entropy(scores, answers)
    assert functional.cross_entropy(scores, answers.bool()) == right
    with pytest.raises(bridle.InputError, match="booleans stand for two classes"):
        functional.cross_entropy(torch.randn(7, 3), answers.bool())


@pytest.mark.parametrize(
    "options", [{}, {"weight": torch.ones(3), "label_smoothing": 0.1}], ids=str
)
@pytest.mark.parametrize("rows", [2, 0])
def test_every_target_ignored_or_no_sample_and_a_mean(
    cross_entropy: Callable[..., Any], rows: int, options: dict[str, Any]
) -> None:
    scores, target = scores_of(np.ones((rows, 3))), np.full(rows, -100)
    for answer, found in (("nan", NAN), ("zero", 0.0)):
        loss, gradient = both(cross_entropy, scores, target, on_empty=answer, **options)
        np.testing.assert_array_equal(loss, found)
        np.testing.assert_array_equal(gradient, np.zeros((rows, 3)))
    with pytest.raises(bridle.InputError, match="none is counted"):
        functional.cross_entropy(scores, torch.as_tensor(target), on_empty="raise", **options)


@pytest.mark.parametrize("kind", ["index", "soft", "sparse"])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_score_minus_infinity_is_a_masked_class(
    cross_entropy: Callable[..., Any], kind: str, label_smoothing: float
) -> None:
    scores = scores_of([[1.0, -INFINITY, 3], [0, -INFINITY, -2]])
    target: Any = torch.tensor([0, 2])
    if kind == "soft":
        target = torch.tensor([[0.5, 0, 0.5], [0, 0, 1]])
    if kind == "sparse":
        target = torch.tensor([[0, 2], [2, 1]]), torch.tensor([[0.5, 0.5], [1, 0]])
    options: dict[str, Any] = {"reduction": "none", "label_smoothing": label_smoothing}
    loss = cross_entropy(scores, target, z_loss=0.1, **options)
    without = scores[:, ::2].detach().requires_grad_()
    target = {"index": torch.tensor([0, 1])}.get(kind, torch.tensor([[0.5, 0.5], [0, 1]]))
    right = functional.cross_entropy(without, target, z_loss=0.1, **options)
    np.testing.assert_allclose(array_of(loss), array_of(right), rtol=1e-14)
    gradient = array_of(gradient_of(loss, scores))
    assert (gradient[:, 1] == 0).all()
    np.testing.assert_allclose(gradient[:, ::2], array_of(gradient_of(right, without)), rtol=1e-13)


@pytest.mark.parametrize("softcap", [0.0, 5.0])
def test_target_class_masked_with_minus_infinity(
    cross_entropy: Callable[..., Any], softcap: float
) -> None:
    scores = scores_of([[-INFINITY, 1, 2], [0, 1, 2]])
    for smoothing in (0.0, 0.1):
        options = {"label_smoothing": smoothing, "softcap": softcap, "reduction": "none"}
        loss, gradient = both(cross_entropy, scores, [0, 0], **options)
        assert loss[0] == INFINITY
        assert np.isfinite(loss[1])
        assert np.isfinite(gradient).all()


def test_a_row_all_minus_infinity_a_nan_or_plus_infinity(cross_entropy: Callable[..., Any]) -> None:
    plain = np.random.default_rng(2).normal(size=(6, 3))
    names = ("loss", "log_prob", "entropy", "logsumexp")

    def answers(rows: Any) -> list[Any]:
        scores = scores_of(rows)
        target = torch.tensor([0, 1, 2, 0, 1, 2])
        found = cross_entropy(
            scores, target, reduction="none", outputs=names, label_smoothing=0.1, z_loss=0.1
        )
        parts = [getattr(found, name) for name in names]
        return [array_of(part) for part in parts] + [
            array_of(gradient_of(part, scores)) for part in parts
        ]

    right = answers(plain)
    plain[1], plain[2, 0], plain[4, 2] = -INFINITY, NAN, INFINITY
    for found, before in zip(answers(plain), right, strict=True):
        assert np.isnan(found[[1, 2, 4]]).reshape(3, -1).any(axis=1).all()
        np.testing.assert_array_equal(found[[0, 3, 5]], before[[0, 3, 5]])


def test_a_broken_row_that_does_not_count_is_nothing(cross_entropy: Callable[..., Any]) -> None:
    scores = scores_of([[NAN, 1, 2], [0.0, 1, 2], [-INFINITY, -INFINITY, -INFINITY]])
    for options, target in (
        ({}, [-100, 1, -100]),
        ({"sample_weight": torch.tensor([0.0, 1, 0])}, [0, 1, 2]),
    ):
        loss, gradient = both(cross_entropy, scores, target, **options)
        assert np.isfinite(loss)
        assert (gradient[[0, 2]] == 0).all()
        assert (gradient[1] != 0).all()


@pytest.mark.parametrize(
    ("dtype", "large"),
    [(torch.float32, 1e38), (torch.float16, 65504.0), (torch.float32, 1e6)],
    ids=str,
)
def test_largest_scores_and_a_common_offset(dtype: Any, large: float) -> None:
    for row in ([large, -large, 0], [large, large, large - 8], [-large, -large, -large]):
        scores = scores_of([row], dtype)
        for target in range(3):
            loss, gradient = both(functional.cross_entropy, scores, [target])
            right = oracle.class_loss(array_of(scores), [target])
            oracle.assert_close(loss, right.losses[0], np.float32, ulps=2)
            oracle.assert_close(gradient, right.gradients, array_of(scores).dtype, ulps=2, scale=1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_scores(
    cross_entropy: Callable[..., Any], dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(4)
    scores = (5 * torch.randn(700, 301, generator=generator)).to(dtype).requires_grad_()
    target = torch.randint(0, 301, (700,), generator=generator)
    losses = set()
    for numbers in (thresholds.PLAIN_BLOCK_NUMBERS, 64 * 301, 7 * 301, 301):
        monkeypatch.setattr(thresholds, "PLAIN_BLOCK_NUMBERS", numbers)
        loss, gradient = both(cross_entropy, scores, target)
        assert loss.dtype == np.float32
        assert gradient.dtype == array_of(scores).dtype
        losses.add(loss.item())
    right = torch.nn.functional.cross_entropy(scores.double(), target).item()
    (found,) = losses  # the same for any size of the block
    assert found == pytest.approx(right, rel=2 * float(np.finfo(np.float32).eps))


def test_probabilities_given_where_scores_are_expected() -> None:
    probabilities = torch.softmax(torch.randn(5, 3), dim=1)
    target = torch.zeros(5, dtype=torch.long)
    for dtype in DTYPES:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            bridle.cross_entropy(probabilities.to(dtype), target)
        (warning,) = caught
        assert "use bridle.nll" in str(warning.message)
        assert warning.filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bridle.cross_entropy(probabilities, target, check=False)
        bridle.cross_entropy(probabilities * 3, target)
        bridle.cross_entropy(torch.eye(3), target[:3])


@pytest.mark.parametrize(
    "shape", [(1,), (2,), (1, 1), (5, 1), (1, 2), (1, 7), (1, 3, 1), (2, 1, 3)]
)
def test_one_class_two_classes_one_sample_one_dimension(shape: tuple[int, ...]) -> None:
    scores = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    classes = shape[min(len(shape) - 1, 1)]
    target = torch.randint(0, classes, (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
    loss, gradient = both(functional.cross_entropy, scores, target)
    right = oracle.class_loss(array_of(scores), target.numpy()).reduced("mean")
    oracle.assert_close(loss, right[0], np.float64)
    oracle.assert_close(gradient, right[1], np.float64, scale=1)
    if classes == 1:
        assert loss == 0
        assert not np.signbit(loss)
        assert (gradient == 0).all()


def test_more_than_two_to_the_31_numbers(cross_entropy: Callable[..., Any]) -> None:
    """Rows 2³⁰ numbers apart: what lies between them is never touched, so it is never there."""
    apart, rows, classes = 2**30 + 7, 3, 5
    memory = torch.from_numpy(np.empty((rows - 1) * apart + classes, np.float16))
    far = memory.as_strided((rows, classes), (apart, 1))
    far.copy_(torch.arange(rows * classes).view(rows, classes).sin())
    near, target = far.clone(), torch.tensor([4, 0, 3])
    found = both(cross_entropy, far.requires_grad_(), target)
    right = both(functional.cross_entropy, near.requires_grad_(), target)
    np.testing.assert_array_equal(found[0], right[0])
    np.testing.assert_array_equal(found[1], right[1])


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "fortran": lambda tensor: tensor.T.contiguous().T,
    "every second": lambda tensor: tensor.repeat_interleave(2, dim=1)[:, ::2],
    "wide rows": lambda tensor: torch.nn.functional.pad(tensor, (3, 4))[:, 3:-4],
    "every second row": lambda tensor: tensor.repeat_interleave(2, dim=0)[::2],
    "reversed": lambda tensor: torch.flip(torch.flip(tensor, (0, 1)), (0, 1)),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_rows(layout: str, dtype: Any) -> None:
    plain = torch.randn(6, 5).to(dtype).requires_grad_()
    target = torch.tensor([0, 4, 2, 2, 1, 3])
    right = both(functional.cross_entropy, plain, target, label_smoothing=0.1)
    laid = LAYOUTS[layout](plain.detach()).requires_grad_()
    copy = laid.detach().clone()
    found = both(functional.cross_entropy, laid, target, label_smoothing=0.1)
    np.testing.assert_array_equal(found[0], right[0])
    np.testing.assert_array_equal(oracle.long(found[1]), oracle.long(right[1]))
    assert torch.equal(laid, copy)


@pytest.mark.parametrize("layout", ["contiguous", "channels last"])
def test_layouts_of_more_dimensions(layout: str) -> None:
    scores = torch.randn(3, 5, 2, 4, dtype=torch.float64)
    target = torch.randint(0, 5, (3, 2, 4))
    if layout == "channels last":
        scores = scores.to(memory_format=torch.channels_last)
        # Classes side by side already: nothing is moved.
        from bridle.torch.class_rows import as_rows

        assert as_rows(scores).data_ptr() == scores.data_ptr()
    scores.requires_grad_()
    loss, gradient = both(functional.cross_entropy, scores, target, sample_weight=torch.rand(3))
    assert gradient.shape == (3, 5, 2, 4)
    sample_weight = torch.rand(3, 2, 4).double()
    loss, gradient = both(functional.cross_entropy, scores, target, sample_weight=sample_weight)
    right = oracle.class_loss(
        array_of(scores), target.numpy(), sample_weight=sample_weight.numpy()
    ).reduced("mean")
    oracle.assert_close(loss, right[0], np.float64)
    oracle.assert_close(gradient, right[1], np.float64, scale=1)


def test_read_only_and_memory_mapped_arrays_as_tensors() -> None:
    array = np.random.default_rng(0).normal(size=(5, 3))
    array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that it cannot keep such memory from writes
        scores = torch.from_numpy(array)
    found = functional.cross_entropy(scores, torch.arange(5) % 3)
    assert found.item() == pytest.approx(bridle.cross_entropy(array, np.arange(5) % 3))


def test_soft_targets_that_do_not_sum_to_one_and_negative_weights() -> None:
    scores = torch.zeros(3, 2)
    target = torch.tensor([0, 1, 0])
    first_of_two = torch.tensor([[0.5, 0.5], [0.5, 0.4], [2, 2]])
    with pytest.raises(bridle.InputError, match=r"^target: entry 2, 0 is 2, expected a prob"):
        functional.cross_entropy(scores, first_of_two[[0, 0, 2]])
    with pytest.raises(bridle.InputError, match=r"^target: row 1 sums to 0\.9, expected 1$"):
        functional.cross_entropy(scores[:2], first_of_two[:2].double())
    with pytest.raises(bridle.InputError, match=r"^target: row 1 sums to 0\.\d+, expected 1$"):
        functional.cross_entropy(scores[:2], first_of_two[:2].bfloat16())
    with pytest.raises(bridle.InputError, match=r"^weight: entry 1 is -1\.0, expected a finite"):
        functional.cross_entropy(scores, target, torch.tensor([1.0, -1]))
    with pytest.raises(bridle.InputError, match=r"^sample_weight: entry 2 is nan, expected"):
        functional.cross_entropy(scores, target, sample_weight=torch.tensor([1.0, 0, NAN]))
    with pytest.raises(bridle.InputError, match=r"^probabilities: row 0 sums to 2.*for scores"):
        functional.nll(torch.ones(3, 2), target)
    with pytest.raises(bridle.InputError, match=r"^target: it is 1\.5, expected a number in"):
        functional.binary_cross_entropy(torch.tensor(0.0), torch.tensor(1.5))
    for unchecked in (first_of_two, first_of_two.bfloat16()):
        functional.cross_entropy(scores, unchecked, check=False)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_probability_zero_at_the_target(dtype: Any) -> None:
    probabilities = torch.tensor([[0.0, 1], [1, 0]], dtype=dtype)
    target = torch.tensor([0, 0])
    torch._dynamo.reset()
    compiled = torch.compile(functional.nll, fullgraph=True, backend="aot_eager")
    for nll in (functional.nll, compiled):
        assert nll(probabilities, target, reduction="none").tolist() == [INFINITY, 0]
        assert nll(probabilities, target).item() == INFINITY


def test_binary_scores_at_the_infinities() -> None:
    scores = scores_of([INFINITY, -INFINITY, INFINITY, -INFINITY, NAN])
    target = torch.tensor([1.0, 0, 0, 1, 1])
    loss = functional.binary_cross_entropy(scores, target, reduction="none")
    np.testing.assert_array_equal(array_of(loss), [0, 0, INFINITY, INFINITY, NAN])
    gradient = array_of(gradient_of(loss, scores))
    np.testing.assert_array_equal(gradient, [0, 0, 1, -1, NAN])


def test_a_tensor_on_no_device_of_numbers_is_not_looked_at() -> None:
    """What holds for a GPU can be asked of any device: no value is read unless told to."""
    scores, target = torch.zeros(3, 4, device="meta"), torch.zeros(3, device="meta").long()
    assert functional.cross_entropy(scores, target, label_smoothing=0.1).device.type == "meta"
    assert functional.nll(scores, target, reduction="none").shape == (3,)
    assert functional.entropy(scores).shape == (3,)
    assert functional.binary_cross_entropy(scores, scores).shape == ()


# --- the same, compiled: lines whose cases above run eager ----------------------------------------


@pytest.fixture(name="compiled")
def _compiled() -> Callable[..., Any]:
    torch._dynamo.reset()
    made: Callable[..., Any] = torch.compile(
        functional.cross_entropy, fullgraph=True, backend="aot_eager", dynamic=False
    )
    return made


def assert_as_eager(compiled: Callable[..., Any], scores: Any, target: Any, **options: Any) -> None:
    found, right = (
        both(loss, scores, target, **options) for loss in (compiled, functional.cross_entropy)
    )
    exact = 2e-15 if scores.dtype == torch.float64 else 2e-7
    np.testing.assert_allclose(found[0], right[0], rtol=exact, atol=exact)
    least = 2e-15 if scores.dtype == torch.float64 else float(torch.finfo(scores.dtype).eps)
    np.testing.assert_allclose(oracle.long(found[1]), oracle.long(right[1]), rtol=least, atol=least)


def test_compiled_integers_of_any_width_and_booleans(compiled: Callable[..., Any]) -> None:
    target = torch.arange(7) % 2
    scores = torch.randn(7, 2, requires_grad=True)
    for width in ("int8", "int16", "uint8", "uint16", "uint64", "bool"):
        assert_as_eager(compiled, scores, target.to(getattr(torch, width)))


def test_compiled_largest_scores(compiled: Callable[..., Any]) -> None:
    for dtype, large in ((torch.float32, 1e38), (torch.float16, 65504.0), (torch.float32, 1e6)):
        rows = [[large, -large, 0], [large, large, large - 8], [-large, -large, -large]]
        scores = scores_of(rows, dtype)
        assert_as_eager(compiled, scores, torch.tensor([1, 2, 0]), reduction="none")


def test_compiled_in_place_leaves_the_scores_alone(compiled: Callable[..., Any]) -> None:
    """A compiler plans the memory of a program itself."""
    scores, target = scores_of([[1.0, 2, 3], [3, -INFINITY, 1]]), torch.tensor([0, 2])
    computed = scores * 1
    before = computed.detach().clone()
    found, right = (
        array_of(gradient_of(compiled(computed, target, inplace=inplace), scores))
        for inplace in (True, False)
    )
    np.testing.assert_array_equal(found, right)
    assert torch.equal(computed, before)


def test_compiled_one_class_two_classes_one_sample(compiled: Callable[..., Any]) -> None:
    for shape in ((1,), (2,), (1, 1), (5, 1), (1, 7), (2, 1, 3)):
        scores = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        classes = shape[min(len(shape) - 1, 1)]
        target = torch.randint(0, classes, (*shape[:1], *shape[2:]) if len(shape) > 1 else ())
        assert_as_eager(compiled, scores, target)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_compiled_layouts(compiled: Callable[..., Any], layout: str) -> None:
    scores = LAYOUTS[layout](torch.randn(6, 5)).requires_grad_()
    target = torch.tensor([0, 4, 2, 2, 1, 3])
    assert_as_eager(compiled, scores, target, label_smoothing=0.1)
