"""The functions for tensors: the same as for arrays, and what only tensors have."""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import bridle as both_worlds
import oracle
from problems import Problem, problems

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from bridle.kernels import thresholds  # noqa: E402
from bridle.torch import functional, kernels  # noqa: E402
from tensors import DTYPES, array_of, gradient_of, plain_parts, tensor_of  # noqa: E402

# Typed for arrays; for tensors the typed ones are those of `bridle.torch`.
bridle: Any = both_worlds

FLOAT_DTYPES = [dtype for dtype in oracle.FLOAT_DTYPES if dtype != np.longdouble]
REDUCTIONS = st.sampled_from(["mean", "sum", "none"])


@pytest.fixture(params=["plain PyTorch", "compiled"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the small problems of a test by each of the kernels there are on a CPU."""
    if request.param == "compiled":
        monkeypatch.setattr(thresholds, "COMPILED_TENSOR_NUMBERS", 0)
    return str(request.param)


def problem_of(
    rows: int, classes: int, dtype: Any = torch.float64, kind: str = "index", seed: int = 0
) -> tuple[Any, Any]:
    """Return random scores that require a gradient, and a target of a kind."""
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(rows, classes, dtype=torch.float64, generator=generator)
    scores = scores.to(dtype).requires_grad_()
    if kind == "soft":
        target = torch.softmax(torch.randn(rows, classes, generator=generator).double(), dim=1)
    elif kind == "sparse":
        indices = torch.stack([torch.randperm(classes, generator=generator) for _ in range(rows)])
        masses = torch.softmax(torch.randn(rows, 3, generator=generator).double(), dim=1)
        return scores, (indices[:, :3], masses)
    else:
        target = torch.randint(0, classes, (rows,), generator=generator)
    return scores, target


# --- as for arrays ------------------------------------------------------------------------------


def compare_with_arrays(name: str, problem: Problem, options: dict[str, Any]) -> None:
    """Hold loss and gradient of tensors against those of the arrays they were made from."""
    arrays = {**problem.options, **options}
    loss, gradient = bridle.cross_entropy_gradient(problem.scores, problem.target, **arrays)
    scores = tensor_of(problem.scores).requires_grad_()
    given = {
        name: tensor_of(value) if isinstance(value, np.ndarray) else value
        for name, value in arrays.items()
    }
    found = getattr(bridle, name)(scores, tensor_of(problem.target), **given)
    assert array_of(found).dtype == loss.dtype
    assert tuple(found.shape) == np.shape(loss)
    oracle.assert_close(array_of(found), loss, problem.compute_dtype, scale=1)
    if np.isnan(loss).any():
        return  # an empty mean: see the edges
    of_sum = gradient_of(found, scores)
    assert of_sum.dtype == scores.dtype
    assert of_sum.shape == scores.shape
    scale = 10 if options["reduction"] != "mean" else 3
    oracle.assert_close(array_of(of_sum), gradient, problem.scores.dtype, ulps=4, scale=scale)


@settings(max_examples=150)
@given(problem=problems(layouts=True, dtypes=FLOAT_DTYPES), reduction=REDUCTIONS)
def test_cross_entropy_is_that_of_arrays(problem: Problem, reduction: str) -> None:
    compare_with_arrays("cross_entropy", problem, {"reduction": reduction})


@settings(max_examples=100)
@given(problem=problems(layouts=True, dtypes=FLOAT_DTYPES), reduction=REDUCTIONS)
def test_cross_entropy_of_the_compiled_kernel_is_that_of_arrays(
    problem: Problem, reduction: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thresholds, "COMPILED_TENSOR_NUMBERS", 0)
        compare_with_arrays("cross_entropy", problem, {"reduction": reduction})


@given(problem=problems(dtypes=[np.dtype(np.float64)]), reduction=REDUCTIONS)
def test_nll_is_cross_entropy_of_the_softmax(problem: Problem, reduction: Any) -> None:
    axis = min(problem.scores.ndim - 1, 1)
    scores = tensor_of(problem.scores).requires_grad_()
    options: dict[str, Any] = {
        name: tensor_of(value) if isinstance(value, np.ndarray) else value
        for name, value in problem.options.items()
    }
    probabilities = bridle.softmax(scores, axis=axis)
    found = bridle.nll(probabilities, tensor_of(problem.target), **options, reduction=reduction)
    arrays = problem.options
    right = bridle.nll(array_of(probabilities), problem.target, **arrays, reduction=reduction)
    np.testing.assert_allclose(array_of(found), right, rtol=1e-12, atol=1e-14)
    if np.isnan(right).any():
        return
    right = functional.cross_entropy(
        scores, tensor_of(problem.target), **options, reduction=reduction
    )
    # A masked class has no probability at all to differentiate in: its own gradient is 0 · inf.
    np.testing.assert_allclose(
        array_of(gradient_of(found, scores)), array_of(gradient_of(right, scores)), atol=1e-10
    )


def arrays_and_tensors(dtype: np.dtype[Any]) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    array = rng.normal(scale=3, size=(4, 5, 3)).astype(dtype)
    array[0, 1, 2] = -np.inf
    return array, tensor_of(array)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("axis", [-1, 0, 1, (0, 2), (2, 1), None], ids=str)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_softmax_and_its_logarithms(name: str, axis: Any, dtype: np.dtype[Any]) -> None:
    array, tensor = arrays_and_tensors(dtype)
    function = getattr(bridle, name)
    choices: list[dict[str, Any]] = [{"temperature": 0.5}, {}]
    if name == "logsumexp":
        choices = [{"keepdims": True}, {}]
    for options in choices:
        found = function(tensor, axis=axis, **options)
        right = function(array, axis=axis, **options)
        assert tuple(found.shape) == right.shape
        assert found.dtype == tensor.dtype
        oracle.assert_close(array_of(found), right, dtype, ulps=4, scale=1)


def test_log_softmax_keeps_what_a_sure_row_has_left() -> None:
    scores = torch.tensor([[0.0, -40.0]], dtype=torch.float64)
    found = bridle.log_softmax(scores)
    np.testing.assert_allclose(array_of(found), [[-np.exp(-40.0), -40.0]], rtol=1e-15)
    assert bridle.logsumexp(scores).item() == pytest.approx(np.exp(-40.0), rel=1e-12)


def test_logsumexp_at_the_infinities() -> None:
    infinity = float("inf")
    scores = torch.tensor([[infinity, 0], [-infinity, -infinity], [float("nan"), 0]])
    found = array_of(bridle.logsumexp(scores))
    np.testing.assert_array_equal(found, [infinity, -infinity, np.nan])
    assert bridle.logsumexp(torch.zeros(2, 0)).tolist() == [-infinity, -infinity]
    assert bridle.softmax(torch.zeros(2, 0)).shape == (2, 0)
    assert bridle.log_softmax(torch.zeros(0, 3)).shape == (0, 3)


@pytest.mark.parametrize("unit", ["nats", "bits"])
@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
def test_entropy_and_divergence(dtype: np.dtype[Any], unit: str) -> None:
    rng = np.random.default_rng(4)
    p, q = (rng.dirichlet(np.ones(5), 7).astype(dtype) for _ in range(2))
    p[0], p[1], q[2] = 0, np.eye(5)[2], np.eye(5)[0]
    p[0, 3] = 1
    for name, arrays in (("entropy", (p,)), ("kl_divergence", (p, q))):
        function = getattr(bridle, name)
        found = function(*map(tensor_of, arrays), unit=unit)
        oracle.assert_close(array_of(found), function(*arrays, unit=unit), dtype, ulps=8, scale=1)
        turned = function(*(tensor_of(array.T) for array in arrays), unit=unit, axis=0)
        oracle.assert_close(array_of(turned), array_of(found), dtype, ulps=4, scale=1)


def test_derivatives_of_entropy_and_divergence() -> None:
    scores = [torch.randn(3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2)]

    def of_scores(first: Any, second: Any) -> Any:
        p, q = bridle.softmax(first), bridle.softmax(second)
        return bridle.entropy(p), bridle.kl_divergence(p, q), bridle.logsumexp(first)

    assert torch.autograd.gradcheck(of_scores, scores)
    assert torch.autograd.gradgradcheck(of_scores, scores)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
def test_binary_cross_entropy_and_quadratic_loss(dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(5)
    scores, target = rng.normal(scale=5, size=(5, 4)).astype(dtype), rng.random((5, 4))
    target = target.astype(dtype)
    weights = {"weight": rng.random(4), "pos_weight": rng.random((5, 1))}
    for reduction in ("mean", "sum", "none"):
        for name, options in (("binary_cross_entropy", weights), ("quadratic_loss", {})):
            arrays: dict[str, Any] = {**options, "reduction": reduction}
            loss, gradient = getattr(bridle, name + "_gradient")(scores, target, **arrays)
            tensors: dict[str, Any] = {key: tensor_of(value) for key, value in options.items()}
            given = tensor_of(scores).requires_grad_()
            found = getattr(bridle, name)(given, tensor_of(target), **tensors, reduction=reduction)
            oracle.assert_close(array_of(found), loss, loss.dtype, ulps=8, scale=1)
            of_sum = array_of(gradient_of(found, given))
            oracle.assert_close(of_sum, gradient, dtype, ulps=4, scale=1)


def test_lists_and_arrays_as_further_arguments() -> None:
    scores = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    right = bridle.cross_entropy(scores.numpy(), [0, 1], [1, 2], sample_weight=[1, 3])
    found = bridle.cross_entropy(scores, [0, 1], [1.0, 2.0], sample_weight=np.array([1.0, 3.0]))
    assert found.item() == pytest.approx(right)


# --- one function, two worlds -------------------------------------------------------------------


def test_the_first_argument_decides_however_it_is_passed() -> None:
    scores, target = problem_of(4, 3)
    right = functional.cross_entropy(scores, target)
    for found in (
        bridle.cross_entropy(scores, target),
        bridle.cross_entropy(target=target, input=scores),
    ):
        assert found.grad_fn is not None
        assert found == right
    assert isinstance(bridle.cross_entropy(array_of(scores), target.numpy()), np.floating)
    with pytest.raises(bridle.InputError, match="input: expected a tensor, found ndarray"):
        functional.cross_entropy(np.ones((1, 2)), torch.tensor([0]))  # type: ignore[arg-type]


def test_a_function_of_both_worlds_can_be_pickled_and_asked_for_its_signature() -> None:
    import inspect

    from bridle.losses import cross_entropy

    assert pickle.loads(pickle.dumps(bridle.cross_entropy)) is bridle.cross_entropy
    shown, plain = inspect.signature(bridle.cross_entropy), inspect.signature(cross_entropy)
    assert set(shown.parameters) == {*plain.parameters, "inplace", "group", "classes"}
    assert all(shown.parameters[name] == each for name, each in plain.parameters.items())
    text = inspect.getdoc(cross_entropy) or ""
    assert (bridle.cross_entropy.__doc__ or "").startswith(text[: text.index("Parameters")])


def test_names_order_and_defaults_are_those_for_arrays() -> None:
    import inspect

    for name in functional.__all__:
        if not hasattr(getattr(bridle, name, None), "__wrapped__"):
            continue
        arrays = inspect.signature(getattr(bridle, name)).parameters
        tensors = inspect.signature(getattr(functional, name)).parameters
        # check: by default where that is free. What only tensors have comes last in what is shown.
        plain = inspect.signature(getattr(bridle, name).__wrapped__).parameters
        shared = [key for key in plain if key != "check"]
        assert [key for key in tensors if key in shared] == shared
        for key in shared:
            assert tensors[key].default == arrays[key].default


# --- what only tensors have ---------------------------------------------------------------------

BENDINGS: list[dict[str, float]] = [
    {},
    {"z_loss": 0.1, "label_smoothing": 0.2},
    {"softcap": 2.5, "label_smoothing": 0.1},
    {"temperature": 0.6, "z_loss": 0.01},
    {"softcap": 3.0, "temperature": 2.0, "z_loss": 0.3, "label_smoothing": 1.0},
]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("bending", BENDINGS, ids=str)
@pytest.mark.parametrize("kind", ["index", "soft", "sparse"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_output_with_every_option(
    dtype: Any, weighted: bool, kind: str, bending: dict[str, float]
) -> None:
    scores, target = problem_of(7, 11, dtype, kind)
    weight = torch.linspace(0.5, 2, 11, dtype=dtype) if weighted else None
    sample_weight = torch.linspace(0, 2, 7, dtype=dtype)
    right = plain_parts(scores, target, weight, **bending)
    # Class weights do not touch z-loss: it is averaged over the samples.
    z_loss = bending.get("z_loss", 0) * right["logsumexp"] ** 2
    mean = ((right["loss"] - z_loss) * sample_weight).sum()
    mean = mean / (right.pop("divisor") * sample_weight).sum()
    mean = mean + (z_loss * sample_weight).sum() / sample_weight.sum()
    right["loss"] = right["loss"] * sample_weight
    tolerance = 3e-6 if dtype == torch.float32 else 1e-13
    options: dict[str, Any] = {"sample_weight": sample_weight, **bending}
    found = functional.cross_entropy(
        scores, target, weight, **options, outputs=tuple(right), reduction="none"
    )
    for name, value in right.items():
        each = getattr(found, name)
        assert each.shape == (7,)
        assert each.dtype == (dtype if value.is_floating_point() else value.dtype)
        np.testing.assert_allclose(array_of(each), array_of(value), tolerance, 10 * tolerance)
        if value.is_floating_point():
            gradients = [array_of(gradient_of(part, scores)) for part in (each, value)]
            np.testing.assert_allclose(gradients[0], gradients[1], atol=10 * tolerance)
    found = functional.cross_entropy(scores, target, weight, **options)
    assert found.item() == pytest.approx(mean.item(), rel=tolerance)
    normalized = functional.cross_entropy(scores, target, weight, **options, normalizer=5)
    assert normalized.item() == pytest.approx(right["loss"].sum().item() / 5, rel=tolerance)


@pytest.mark.parametrize(
    ("options", "served"),
    [({"z_loss": 0.1}, True), ({"weight": 1}, True), ({"z_loss": 0.1, "weight": 1}, False)],
    ids=str,
)
def test_kernels_that_divide_by_one_number_get_no_z_loss_with_class_weights(
    options: dict[str, Any], served: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernels for class indices of a GPU divide all terms of a mean by one number."""
    from types import SimpleNamespace

    from bridle.torch import device_loss

    def reads_indices(_: Any) -> Any:
        return SimpleNamespace(serves=lambda rows, classes: rows > 0 < classes)

    monkeypatch.setattr(kernels, "index_kernels", reads_indices)
    request = device_loss.LossCall(
        target=torch.tensor([0, 1]),
        weight=torch.ones(3) if "weight" in options else None,
        sample_weight=None,
        normalizer=None,
        options=device_loss.LossOptions(
            ignore_index=-100,
            label_smoothing=0.0,
            z_loss=options.get("z_loss", 0.0),
            temperature=1.0,
            softcap=0.0,
            reduction="mean",
            on_empty="nan",
            inplace=False,
        ),
    )
    assert (device_loss.serving_module(torch.zeros(2, 3), request) is not None) == served


def test_outputs_of_ignored_positions_and_of_unknown_targets() -> None:
    scores, _ = problem_of(3, 4)
    names = ("loss", "log_prob", "entropy", "logsumexp", "argmax", "correct")
    found = functional.cross_entropy(
        scores, torch.tensor([1, -100, 9]), outputs=names, reduction="none", check=False
    )
    assert [part[1].item() for part in found] == [0, 0, 0, 0, -1, 0]
    for name in ("loss", "log_prob"):
        assert getattr(found, name).isnan().tolist() == [False, False, True]
    alone = functional.cross_entropy(scores, torch.tensor([1, 1, 1]), outputs=["entropy"])
    assert alone.loss is None
    assert alone.entropy.shape == (3,)
    two = functional.cross_entropy(scores.T[None], torch.tensor([[0, 1, 2]]), outputs=names)
    assert two.correct.shape == (1, 3)
    assert two.loss.shape == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": ("loss", "prob")}, "outputs: expected some of loss, log_prob,"),
        ({"outputs": "loss"}, "outputs: expected some of"),
        ({"normalizer": 3, "reduction": "sum"}, "normalizer: expected a mean"),
        ({"softcap": -1.0}, "softcap: expected a number of 0 or above, found -1.0"),
        ({"temperature": 0}, "temperature: expected a finite number above 0"),
        ({"label_smoothing": 2}, "label_smoothing: expected a number in"),
        ({"reduction": "max"}, "reduction: expected one of"),
        ({"on_empty": "one"}, "on_empty: expected one of"),
        ({"weight": torch.ones(3)}, r"weight: expected shape \(4,\), found \(3,\)"),
        ({"weight": torch.ones(4, requires_grad=True)}, "weight: expected constants"),
        ({"sample_weight": torch.ones(3)}, "sample_weight: expected shape"),
        ({"inplace": True}, "inplace: expected scores that a model computed, found a leaf"),
    ],
    ids=str,
)
def test_options_that_cannot_be_used(options: dict[str, Any], message: str) -> None:
    scores, target = problem_of(2, 4)
    with pytest.raises(bridle.InputError, match=message):
        functional.cross_entropy(scores, target, **options)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ((torch.tensor([[0, 9]]), torch.tensor([[0.5, 0.5]])), r"target\[0\]: row 0, 1 is 9"),
        ((torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.6]])), r"target\[1\]: row 0 sums to 1\.1"),
        ((torch.tensor([[0.0, 1]]), torch.tensor([[0.5, 0.5]])), r"target\[0\]: expected integers"),
        ((torch.tensor([[0, 1]]), torch.tensor([[1.0]])), "target: expected indices and prob"),
        (torch.zeros(2, dtype=torch.long), "target: expected class indices"),
        (torch.zeros(1, dtype=torch.bool), "target: booleans stand for two classes"),
    ],
    ids=str,
)
def test_targets_that_cannot_be_used(target: Any, message: str) -> None:
    with pytest.raises(bridle.InputError, match=message):
        functional.cross_entropy(torch.zeros(1, 4), target)


def test_a_normalizer_of_all_devices_is_a_sum_over_the_pieces() -> None:
    scores, target = problem_of(8, 5)
    target[3] = -100
    right = functional.cross_entropy(scores, target)
    pieces = [
        functional.cross_entropy(scores[rows], target[rows], normalizer=torch.tensor(7))
        for rows in (slice(0, 5), slice(5, 8))
    ]
    assert sum(pieces).item() == pytest.approx(right.item(), rel=1e-14)


def test_gradients_in_distributions_and_sample_weights() -> None:
    scores, target = problem_of(3, 4, kind="soft")
    sample_weight = torch.tensor([0.0, 1, 2], dtype=torch.float64, requires_grad=True)

    def of(target: Any, sample_weight: Any) -> Any:
        options = {"sample_weight": sample_weight, "reduction": "sum", "check": False}
        return functional.cross_entropy(scores, target, **options)

    assert torch.autograd.gradcheck(of, (target.requires_grad_(), sample_weight))


# --- in place -----------------------------------------------------------------------------------


def model_scores(scores: Any) -> Any:
    """Return scores that are no leaf, in memory of their own."""
    return scores * 1


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["index", "soft", "sparse"])
def test_the_gradient_in_place_is_the_gradient_in_the_memory_of_the_scores(
    kind: str, dtype: Any
) -> None:
    leaf, target = problem_of(6, 9, dtype, kind)
    options: dict[str, Any] = {"label_smoothing": 0.1, "softcap": 5.0, "temperature": 0.7}
    right = functional.cross_entropy(leaf, target, **options)
    right_gradient = gradient_of(right, leaf)
    scores = model_scores(leaf)
    memory = scores.data_ptr()
    found = functional.cross_entropy(scores, target, **options, inplace=True)
    (gradient,) = torch.autograd.grad(found, scores)
    assert found == right
    assert gradient.data_ptr() == memory
    oracle.assert_close(array_of(gradient), array_of(right_gradient), array_of(gradient).dtype, 4)


FACTORS: list[dict[str, Any]] = [
    {},
    {"reduction": "sum", "weight": torch.linspace(0, 2, 9).double()},
    {"label_smoothing": 0.3, "weight": torch.linspace(0.5, 2, 9).double(), "softcap": 4.0},
    {"sample_weight": torch.tensor([0.0, 1, 2, 3, 0.5, 1]).double(), "label_smoothing": 1.0},
    {"normalizer": torch.tensor(3), "ignore_index": 2, "temperature": 0.5},
    {"ignore_index": 2, "check": False},
    {"z_loss": 0.1},
]


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("factor", [1, 7.5])
@pytest.mark.parametrize("options", FACTORS, ids=str)
def test_the_gradient_in_place_takes_every_option_and_backward_s_factor(
    options: dict[str, Any], factor: float
) -> None:
    leaf, _ = problem_of(6, 9)
    target = torch.tensor([2, 0, 1, 2, 8, 3 if "check" not in options else 30])
    options = {"check": None, **options}
    right = functional.cross_entropy(leaf, target, **options)
    right_gradient = gradient_of(right * factor, leaf)
    found = functional.cross_entropy(model_scores(leaf), target, **options, inplace=True)
    np.testing.assert_array_equal(array_of(found), array_of(right))
    gradient = gradient_of(found * factor, leaf, retain_graph=False)
    np.testing.assert_allclose(array_of(gradient), array_of(right_gradient), atol=1e-14)


@pytest.mark.usefixtures("backend")
def test_an_empty_mean_in_place_has_a_gradient_of_zeros() -> None:
    leaf, _ = problem_of(6, 9)
    found = functional.cross_entropy(
        model_scores(leaf), torch.full((6,), -100), inplace=True, on_empty="zero"
    )
    assert found == 0
    assert (gradient_of(found, leaf) == 0).all()


@pytest.mark.usefixtures("backend")
def test_in_place_spoils_no_parameter_and_tells_who_still_needs_the_scores() -> None:
    leaf, target = problem_of(4, 3)
    for scores in (leaf, leaf[1:], leaf.view(4, 3)):
        with pytest.raises(bridle.InputError, match="inplace: expected scores that a model"):
            functional.cross_entropy(scores, target[: len(scores)], inplace=True)
    with torch.no_grad():
        functional.cross_entropy(leaf, target, inplace=True)
    squashed = torch.tanh(leaf)  # keeps its output for its own backward
    loss = functional.cross_entropy(squashed, target, inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    scores = model_scores(leaf)
    loss = functional.cross_entropy(scores, target, inplace=True)
    loss.backward(retain_graph=True)
    with pytest.raises((RuntimeError, bridle.InputError), match=r"by an inplace|found a second"):
        loss.backward()
    scores = model_scores(leaf)
    loss = functional.cross_entropy(scores, target, inplace=True)
    with pytest.raises(bridle.InputError, match="inplace: expected one backward pass"):
        torch.autograd.grad(loss, scores, create_graph=True)


def test_in_place_of_rows_that_share_memory_writes_to_a_copy() -> None:
    row = torch.tensor([1.0, 2, 3], dtype=torch.float64, requires_grad=True)
    shared = (row * 1).expand(4, 3)
    target = torch.tensor([0, 1, 2, 0])
    gradients = [
        gradient_of(functional.cross_entropy(shared, target, inplace=inplace), row)
        for inplace in (False, True)
    ]
    np.testing.assert_array_equal(array_of(gradients[0]), array_of(gradients[1]))


# --- bits and memory ----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 70_000), (5000, 7), (300, 901), (1, 40_000), (40, 300)])
def test_the_number_of_threads_changes_no_bit(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(*shape, generator=generator).requires_grad_()
    target = torch.randint(0, shape[1], shape[:1], generator=generator)
    options: dict[str, Any] = {"label_smoothing": 0.1, "outputs": ("loss", "entropy")}
    before, answers = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            found = functional.cross_entropy(scores, target, **options)
            gradient = gradient_of(found.loss + found.entropy.sum(), scores)
            answers.append((found.loss, found.entropy, gradient))
    finally:
        torch.set_num_threads(before)
    for answer in answers[1:]:
        assert all(torch.equal(*pair) for pair in zip(answer, answers[0], strict=True))


@pytest.mark.parametrize("shape", [(64, 1000), (500, 130), (2000, 60), (3000, 70), (1, 60_000)])
def test_the_number_of_threads_changes_no_bit_of_a_mean(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(*shape, generator=generator).requires_grad_()
    target = torch.randint(0, shape[1], shape[:1], generator=generator)
    before, answers = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            loss = functional.cross_entropy(scores, target, label_smoothing=0.1)
            answers.append((loss.item(), gradient_of(loss, scores)))
    finally:
        torch.set_num_threads(before)
    for loss, gradient in answers[1:]:
        assert loss == answers[0][0]
        assert torch.equal(gradient, answers[0][1])


def test_a_sum_over_many_rows_has_one_order() -> None:
    from bridle.torch.reduction import ordered_sum

    values = torch.rand(100_003, generator=torch.Generator().manual_seed(2))
    before, sums = torch.get_num_threads(), set()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            sums.add(ordered_sum(values).item())
    finally:
        torch.set_num_threads(before)
    assert len(sums) == 1
    assert sums.pop() == pytest.approx(values.double().sum().item(), rel=1e-13)


def test_the_loss_of_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    scores, target = problem_of(50, 1009, torch.bfloat16)
    whole = functional.cross_entropy(scores, target, reduction="none")
    pieces = [
        functional.cross_entropy(scores[rows], target[rows], reduction="none")
        for rows in (slice(0, 1), slice(1, 18), slice(18, 50))
    ]
    assert whole.dtype == torch.float32
    assert torch.equal(torch.cat(pieces), whole)


def memory_of(step: Callable[[], Any]) -> int:
    """Return the peak of extra memory that PyTorch and NumPy gave out during a step."""
    with torch.profiler.profile(profile_memory=True) as profile:
        tracemalloc.start()  # NumPy reports its arrays to it; the profiler's own start is over
        step()
        arrays = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    held, peak = 0, 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak + arrays


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_no_copy_of_the_scores_is_made(dtype: Any, inplace: bool) -> None:
    """Neither kept for backward nor made on the way; the gradient alone is as large."""
    leaf = torch.randn(1024, 4096).to(dtype).requires_grad_()
    target = torch.randint(0, 4096, (1024,))
    functional.cross_entropy(model_scores(leaf), target, inplace=inplace).backward()  # compiles
    scores = model_scores(leaf)
    size, memory = scores.numel() * scores.element_size(), scores.untyped_storage().data_ptr()
    kept: list[int] = []

    def keep(tensor: Any) -> Any:
        kept.append(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        forward = memory_of(lambda: functional.cross_entropy(scores, target, inplace=inplace))
    scores = model_scores(leaf)
    loss = functional.cross_entropy(scores, target, inplace=inplace)
    assert inplace or memory in kept
    assert forward < 0.02 * size
    found: list[Any] = []
    backward = memory_of(lambda: found.extend(torch.autograd.grad(loss, scores)))
    assert backward < (0.02 if inplace else 1.02) * size
    assert inplace or backward >= size  # so that the gradient itself has been counted


def test_autocast_leaves_half_precision_as_it_lies() -> None:
    features, weight = torch.randn(6, 4), torch.randn(4, 9, requires_grad=True)
    target = torch.randint(0, 9, (6,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        scores = features @ weight
        found = functional.cross_entropy(scores, target)
        outside = scores.detach()
    assert scores.dtype == torch.bfloat16
    assert found.dtype == torch.float32
    assert found == functional.cross_entropy(outside, target)
    found.backward()
    assert weight.grad is not None


@pytest.mark.parametrize("axis", [-1, 0, (0, 2), None], ids=str)
def test_signed_sums_of_exponentials_are_those_of_scipy(axis: Any) -> None:
    rng = np.random.default_rng(8)
    scores, weights = rng.normal(size=(3, 4, 5)) * 3, rng.normal(size=(4, 1))
    scores[0, 1], weights[1] = np.inf, 0
    for b in (None, weights, np.abs(weights), np.where(weights < 0, weights, 0)):
        there = np.where(scores == np.inf, 1 if b is None else -np.inf, scores)
        right = special.logsumexp(there, axis=axis, b=b, return_sign=True)
        tensor = torch.tensor(there if b is None else scores)
        factors = None if b is None else torch.tensor(b)
        found = bridle.logsumexp(tensor, axis=axis, b=factors, return_sign=True)
        of_arrays = bridle.logsumexp(tensor.numpy(), axis=axis, b=b, return_sign=True)
        for ours, arrays, theirs in zip(found, of_arrays, right, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(arrays, theirs, rtol=1e-12, atol=1e-14)
        kept = bridle.logsumexp(tensor, axis=axis, b=factors, keepdims=True)
        assert kept.dim() == 3
        plain = bridle.logsumexp(tensor, axis=axis, b=factors)
        np.testing.assert_allclose(plain, np.where(right[1] < 0, np.nan, right[0]), rtol=1e-12)


def test_signed_sums_at_the_edges() -> None:
    infinity = float("inf")
    cases = [
        ([1.0, 1.0], [1.0, -1.0], -infinity, 0),
        ([1.0, 1.0, 0.0], [1.0, -1.0, -2.0], np.log(2), -1),
        ([0.0, -50.0], [1.0, 1.0], np.log1p(np.exp(-50.0)), 1),
        ([infinity, 0.0], [-1.0, 1.0], infinity, -1),
        ([-infinity, -infinity], [1.0, 2.0], -infinity, 0),
        ([0.0, 1.0], [-5.0, 1.0], np.log(5 - np.e), -1),
    ]
    for scores, b, size, sign in cases:
        z = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
        found = bridle.logsumexp(z, b=torch.tensor(b).double(), return_sign=True)
        assert found[0].item() == pytest.approx(size, rel=1e-14)
        assert found[1].item() == sign
    z = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    b = torch.randn(4, dtype=torch.float64, requires_grad=True)

    def of(z: Any, b: Any) -> Any:
        return bridle.logsumexp(z, b=b, return_sign=True)[0]

    assert torch.autograd.gradcheck(of, (z, b))
    assert torch.autograd.gradgradcheck(of, (z, b))


def test_softmax_in_another_dtype() -> None:
    scores = torch.randn(3, 4).half().requires_grad_()
    for name in ("softmax", "log_softmax"):
        found = getattr(bridle, name)(scores, dtype=torch.float64)
        right = getattr(torch, name)(scores, -1, dtype=torch.float64)
        torch.testing.assert_close(found, right, rtol=1e-14, atol=0)
        (slope,) = torch.autograd.grad(found[:, 0].sum(), scores)
        assert slope.dtype == torch.float16
        with pytest.raises(both_worlds.InputError, match=r"^dtype: expected a float dtype of Py"):
            getattr(bridle, name)(scores, dtype=torch.int64)
