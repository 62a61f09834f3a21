"""What a probability says, of tensors: as of arrays, and with PyTorch's own gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special

import bridle as both_worlds
import oracle

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from tensors import array_of, tensor_of  # noqa: E402

bridle: Any = both_worlds

FLOAT_DTYPES = [dtype for dtype in oracle.FLOAT_DTYPES if dtype != np.longdouble]
INFINITY = float("inf")


def draw(*shape: int, seed: int = 0) -> Any:
    """Return random scores in float64 that require a gradient."""
    generator = torch.Generator().manual_seed(seed)
    scores = 2 * torch.randn(*shape, dtype=torch.float64, generator=generator)
    return scores.requires_grad_()


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
def test_functions_of_single_numbers_are_those_of_arrays(dtype: np.dtype[Any]) -> None:
    probability = np.array([[1, 0.5, 0.25], [2**-14, 0, 0.75]]).astype(dtype)
    scores = np.array([-300, -20, -1, 0, 0.5, 30]).astype(dtype)
    cases: list[tuple[str, Any, dict[str, Any]]] = [
        ("surprisal", probability, {}),
        ("surprisal", probability, {"unit": "bits"}),
        ("perplexity", np.array([0, 1, 3, INFINITY]).astype(dtype), {}),
        ("perplexity", np.array([0, 1, 3, INFINITY]).astype(dtype), {"unit": "bits"}),
        ("sigmoid", scores, {}),
        ("log_sigmoid", scores, {}),
    ]
    for name, values, options in cases:
        found = getattr(bridle, name)(tensor_of(values).requires_grad_(), **options)
        right = getattr(both_worlds, name)(values, **options)
        assert found.requires_grad
        assert array_of(found).dtype == dtype
        oracle.assert_close(array_of(found), oracle.long(right), dtype, ulps=2)


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
def test_the_predicted_class_is_that_of_arrays(dtype: np.dtype[Any]) -> None:
    scores = np.random.default_rng(1).integers(0, 3, (7, 5, 4)).astype(dtype)
    for axis in (0, 1, 2, -1, -3):
        found = bridle.predicted_class(tensor_of(scores).requires_grad_(), axis=axis)
        assert found.dtype == torch.int64
        np.testing.assert_array_equal(found.numpy(), oracle.long(scores).argmax(axis=axis))
    with pytest.raises(bridle.InputError, match=r"^scores: expected at least one class"):
        bridle.predicted_class(torch.zeros(2, 0))


def test_derivatives_of_single_numbers() -> None:
    scores = draw(5)
    p = torch.sigmoid(draw(5)).detach().requires_grad_()
    for function, given in (
        (bridle.sigmoid, scores),
        (bridle.log_sigmoid, scores),
        (bridle.perplexity, p),
        (bridle.surprisal, p),
        (lambda h: bridle.perplexity(h, unit="bits"), p),
    ):
        assert torch.autograd.gradcheck(function, given, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(function, given)


def test_likelihoods_of_tensors() -> None:
    p = torch.tensor([[0.5, 0.5], [0.2, 0.8]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 1])
    assert bridle.likelihood(p, target).item() == pytest.approx(0.4, rel=1e-15)
    found = bridle.log_likelihood(p, target)
    assert found.item() == pytest.approx(np.log(0.4), rel=1e-15)
    (gradient,) = torch.autograd.grad(found, p)
    np.testing.assert_allclose(gradient, np.array([[2, 0], [0, 1.25]]))


def test_bad_numbers_are_named() -> None:
    with pytest.raises(bridle.InputError, match=r"^probability: entry 1 is 1\.5"):
        bridle.surprisal(torch.tensor([0.5, 1.5]))
    with pytest.raises(bridle.InputError, match=r"^cross_entropy: entry 0 is -1"):
        bridle.perplexity(torch.tensor([-1.0]))
    with pytest.raises(bridle.InputError, match=r"^unit: "):
        bridle.surprisal(torch.tensor(0.5), unit="hartleys")


def test_each_of_two_distributions_and_the_mask_is_named() -> None:
    p = torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    with pytest.raises(
        bridle.InputError, match=r"^q: expected a tensor or an array, found str abc"
    ):
        bridle.kl_divergence(p, "abc")
    with pytest.raises(bridle.InputError, match=r"^q: expected a tensor or an array, found list"):
        bridle.kl_divergence(p, [[0.5], [0.5, 0.5]])
    with pytest.raises(bridle.InputError, match=r"^mask: expected a tensor or an array, found str"):
        bridle.kl_divergence(p, p, mask="all")
    with pytest.raises(bridle.InputError, match=r"^p, q: expected shapes that broadcast, found"):
        bridle.kl_divergence(p, p.repeat(2, 1)[:3])
    with pytest.raises(bridle.InputError, match=r"^p, q: expected one number of classes, found"):
        bridle.kl_divergence(p, torch.ones(2, 1))


@pytest.mark.parametrize("dtype", FLOAT_DTYPES, ids=str)
@pytest.mark.parametrize("name", ["kl_divergence", "cross_entropy_of"])
def test_two_distributions_are_as_arrays_with_every_option(name: str, dtype: np.dtype[Any]) -> None:
    rng = np.random.default_rng(2)
    scores = [rng.normal(size=(4, 3, 2)).astype(dtype) for _ in range(2)]
    p, q = (both_worlds.softmax(each, axis=1) for each in scores)
    log_p, log_q = (both_worlds.log_softmax(each, axis=1) for each in scores)
    p[1, :, 0], p[1, 0, 0] = 0, 1
    positions = rng.random((4, 2)) < 0.6
    cases: list[tuple[Any, Any, dict[str, Any]]] = [
        (p, q, {}),
        (p, q, {"unit": "bits", "mask": positions}),
        (p, log_q, {"log_q": True}),
        (log_p, log_q, {"log_p": True, "log_q": True, "mask": positions}),
        (p, q, {"mask": np.array([[[True], [False], [True]]]), "check": False}),
        (p, q + q, {"check": False}),
    ]
    for first, second, options in cases:
        tensors = {
            key: torch.tensor(value) if key == "mask" else value for key, value in options.items()
        }
        found = getattr(bridle, name)(tensor_of(first), tensor_of(second), axis=1, **tensors)
        right = getattr(both_worlds, name)(first, second, axis=1, **options)
        assert array_of(found).dtype == dtype
        oracle.assert_close(array_of(found), oracle.long(right), dtype, ulps=8, scale=1)


def test_derivatives_of_two_distributions() -> None:
    first, second = draw(3, 4, seed=1), draw(3, 4, seed=2)
    positions = torch.tensor([True, False, True])
    entries = torch.tensor([[True, True, False, True]])

    def of_scores(a: Any, b: Any) -> Any:
        p, log_p = torch.softmax(a, 1), torch.log_softmax(a, 1)
        log_q = torch.log_softmax(b, 1)
        logs = {"log_p": True, "log_q": True}
        return (
            bridle.kl_divergence(p, log_q, log_q=True, mask=positions),
            bridle.kl_divergence(log_p, log_q, **logs),
            bridle.kl_divergence(log_p, log_q, **logs, mask=entries, check=False),
            bridle.cross_entropy_of(p, log_q.exp()),
        )

    assert torch.autograd.gradcheck(of_scores, (first, second), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(of_scores, (first, second))


def test_unchecked_divergence_is_torchs_with_its_gradient() -> None:
    log_q, p = draw(3, 4, seed=3), draw(3, 4, seed=4).exp().detach().requires_grad_()
    found = bridle.kl_divergence(p, log_q, log_q=True, check=False).sum()
    right = torch.nn.functional.kl_div(log_q, p, reduction="sum")
    torch.testing.assert_close(found, right, rtol=1e-13, atol=0)
    for ours, theirs in zip(
        torch.autograd.grad(found, (p, log_q)), torch.autograd.grad(right, (p, log_q)), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-14)


def test_what_is_masked_has_no_gradient_whatever_it_holds() -> None:
    p = torch.tensor([[0.5, 0.5], [float("nan"), 7.0]], requires_grad=True)
    q = torch.tensor([[0.25, 0.75], [0.0, -1.0]], requires_grad=True)
    mask = torch.tensor([True, False])
    for name in ("kl_divergence", "cross_entropy_of"):
        found = getattr(bridle, name)(p, q, mask=mask)
        assert found[1] == 0
        gradients = torch.autograd.grad(found.sum(), (p, q))
        for each in gradients:
            assert each[0].isfinite().all()
            assert (each[1] == 0).all()
    certain = torch.tensor([0.0, 1.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(bridle.cross_entropy_of(certain, certain), certain)
    assert gradient.isfinite().all()


def test_rows_that_nearly_sum_to_one() -> None:
    p, q = torch.tensor([0.500005, 0.500005]).double(), torch.tensor([0.25, 0.75]).double()
    right = special.rel_entr([0.5, 0.5], [0.25, 0.75]).sum()
    assert bridle.kl_divergence(p, q).item() == pytest.approx(right, rel=3e-5)
    with pytest.raises(bridle.InputError, match=r"^p: it sums to 1\.2, expected 1$"):
        bridle.kl_divergence(torch.tensor([0.6, 0.6]), q)
    with pytest.raises(bridle.InputError, match=r"^exp\(p\): row 1 sums to 2"):
        bridle.kl_divergence(torch.zeros(2, 2) - torch.tensor([[np.log(2)], [0]]), q, log_p=True)
    with pytest.raises(bridle.InputError, match=r"^mask: expected booleans"):
        bridle.kl_divergence(p, q, mask=torch.tensor(1))


def test_an_empty_log_softmax_has_every_derivative() -> None:
    for shape, axis in (((0, 3), -1), ((2, 0), 1), ((0, 3, 2), (0, 2)), ((3, 0), None)):
        scores = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
        found = bridle.log_softmax(scores, axis=axis)
        assert found.shape == shape
        (first,) = torch.autograd.grad(found.sum(), scores, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), scores)
        assert first.shape == second.shape == shape
    assert torch.autograd.gradgradcheck(bridle.log_softmax, draw(0, 3))
