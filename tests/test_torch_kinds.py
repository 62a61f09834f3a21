"""Tensors that are no plain numbers: batches of gradients, stand-ins, pieces of others."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import bridle
from bridle import InputError

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from bridle.kernels import thresholds  # noqa: E402
from bridle.torch import functional  # noqa: E402


@pytest.fixture(params=["plain PyTorch", "compiled kernel"], autouse=True)
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "compiled kernel":
        monkeypatch.setattr(thresholds, "COMPILED_TENSOR_NUMBERS", 0)


GENERATOR = torch.Generator().manual_seed(0)


def random(*shape: int) -> Any:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


SCORES, HEAD = random(6, 5), random(5, 5)
INDEX = torch.tensor([0, 4, -100, 2, 2, 1])
SOFT = torch.softmax(random(6, 5), dim=1)
SPARSE = (torch.tensor([[0, 1], [4, 2], [3, 1], [2, 0], [2, 4], [1, 0]]), SOFT[:, :2] * 0 + 0.5)
PLAIN = torch.nn.functional


def smooth(cross_entropy: Any, scores: Any) -> Any:
    weight = torch.linspace(0.5, 2, 5, dtype=torch.float64)
    return cross_entropy(scores, INDEX, weight, label_smoothing=0.1)


# Each beside the same made of PyTorch's own operations.
PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "mean": (
        lambda z: functional.cross_entropy(z, INDEX),
        lambda z: PLAIN.cross_entropy(z, INDEX),
    ),
    "in place": (
        lambda z: functional.cross_entropy(z * 1, INDEX, inplace=True),
        lambda z: PLAIN.cross_entropy(z, INDEX),
    ),
    "smooth": (
        lambda z: smooth(functional.cross_entropy, z),
        lambda z: smooth(PLAIN.cross_entropy, z),
    ),
    "each": (
        lambda z: functional.cross_entropy(z, INDEX, reduction="none"),
        lambda z: PLAIN.cross_entropy(z, INDEX, reduction="none"),
    ),
    "soft targets": (
        lambda z: functional.cross_entropy(z, SOFT, reduction="none"),
        lambda z: PLAIN.cross_entropy(z, SOFT, reduction="none"),
    ),
    "soft targets themselves": (
        lambda t: functional.cross_entropy(SCORES, t, reduction="none", check=False),
        lambda t: PLAIN.cross_entropy(SCORES, t, reduction="none"),
    ),
    "sparse targets": (
        lambda z: functional.cross_entropy(z, SPARSE, reduction="none"),
        lambda z: -torch.log_softmax(z, dim=1).gather(1, SPARSE[0]).mean(dim=1),
    ),
    "entropy": (
        lambda z: functional.cross_entropy(z, INDEX.clamp(min=0), outputs=["entropy"]).entropy,
        lambda z: torch.special.entr(torch.softmax(z, dim=1)).sum(dim=1),
    ),
    "log-softmax": (functional.log_softmax, lambda z: torch.log_softmax(z, dim=-1)),
    "log-sum-exp": (functional.logsumexp, lambda z: torch.logsumexp(z, dim=-1)),
    "linear head": (
        lambda z: functional.linear_cross_entropy(z, HEAD, INDEX, bias=HEAD[0]),
        lambda z: PLAIN.cross_entropy(z @ HEAD.T + HEAD[0], INDEX),
    ),
    "linear head, each": (
        lambda z: functional.linear_cross_entropy(SCORES, z[:5], INDEX, reduction="none"),
        lambda z: PLAIN.cross_entropy(SCORES @ z[:5].T, INDEX, reduction="none"),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_gradients_in_batches(name: str) -> None:
    ours, theirs = PAIRS[name]
    leaf = SCORES.clone().requires_grad_()
    found, right = ours(leaf), theirs(leaf)
    factors = random(3, *found.shape)
    factors[0] = 0
    (gradients,) = torch.autograd.grad(found, leaf, factors, is_grads_batched=True)
    expected = [torch.autograd.grad(right, leaf, each, retain_graph=True)[0] for each in factors]
    torch.testing.assert_close(gradients, torch.stack(expected), rtol=1e-10, atol=1e-12)
    if name == "in place":
        return  # for one backward pass
    jacobian, hessian = torch.autograd.functional.jacobian, torch.autograd.functional.hessian
    torch.testing.assert_close(
        jacobian(ours, leaf, vectorize=True), jacobian(theirs, leaf), rtol=1e-10, atol=1e-12
    )
    torch.testing.assert_close(
        hessian(lambda z: (ours(z) ** 2).sum(), leaf, vectorize=True),
        hessian(lambda z: (theirs(z) ** 2).sum(), leaf),
        rtol=1e-9,
        atol=1e-11,
    )


def test_a_second_backward_in_batches() -> None:
    features, head = SCORES.clone().requires_grad_(), HEAD.clone().requires_grad_()
    loss = functional.linear_cross_entropy(features, head, INDEX)
    right = PLAIN.cross_entropy(features @ head.T, INDEX)
    factors = random(3)
    for _ in range(2):
        found = torch.autograd.grad(
            loss, (features, head), factors, is_grads_batched=True, retain_graph=True
        )
        expected = torch.autograd.grad(
            right, (features, head), factors, is_grads_batched=True, retain_graph=True
        )
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def standing_in(move: Callable[[Any], Any], dtype: Any) -> None:
    """Run every function, forward and backward; hold shapes, dtypes and devices to PyTorch's."""
    scores = move(SCORES).to(dtype).detach().requires_grad_()
    head = move(HEAD).to(dtype).detach().requires_grad_()
    index, soft, weight = move(INDEX), move(SOFT), move(SOFT)[0]
    sparse = tuple(map(move, SPARSE))
    losses: list[Any] = [
        functional.cross_entropy(scores, index, weight, label_smoothing=0.1, z_loss=0.1),
        functional.cross_entropy(scores, index),
        functional.cross_entropy(scores, index, check=True),
        functional.cross_entropy(scores * 1, index, inplace=True),
        functional.cross_entropy(scores, soft, reduction="none"),
        functional.cross_entropy(scores, sparse, reduction="none"),
        functional.cross_entropy(scores, index, outputs=("entropy",)).entropy,
        functional.binary_cross_entropy(scores, soft),
        functional.quadratic_loss(scores, soft),
        functional.nll(functional.softmax(scores), index),
        functional.entropy(functional.softmax(scores)),
        functional.kl_divergence(functional.softmax(scores), soft.to(dtype)),
        functional.log_softmax(scores),
        functional.logsumexp(scores),
        functional.linear_cross_entropy(scores, head, index),
        functional.linear_cross_entropy(scores, head, index, gradient_filter=0.01),
        functional.linear_cross_entropy(scores, head, index, reduction="none"),
        functional.causal_lm_loss(scores[None], index[None]),
    ]
    wide = torch.float32 if dtype.itemsize < 4 else dtype
    for at, loss in enumerate(losses):
        keeps = at in (10, 11, 12, 13)  # what is not a loss keeps its dtype
        assert loss.dtype == (dtype if keeps else wide), at
        assert loss.device == scores.device
        (gradient,) = torch.autograd.grad(loss.sum(), scores, retain_graph=True)
        assert (gradient.shape, gradient.dtype) == (scores.shape, dtype)
    assert [tuple(losses[at].shape) for at in (0, 4, 12, 13, 16)] == [(), (6,), (6, 5), (6,), (6,)]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_tensors_without_values(dtype: Any) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    standing_in(lambda tensor: tensor.detach().to("meta"), dtype)
    with FakeTensorMode() as mode:
        standing_in(lambda tensor: mode.from_tensor(tensor), dtype)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Make a group of one process, over a file."""
    distributed = pytest.importorskip("torch.distributed", reason="torch without distributed")
    if not distributed.is_available():
        pytest.skip("torch was built without distributed")
    store = os.fspath(tmp_path_factory.mktemp("group") / "store")
    distributed.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield distributed.device_mesh.init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def test_tensors_of_several_processes_are_refused(mesh: Any) -> None:
    from torch.distributed.tensor import Shard, distribute_tensor

    pieces = distribute_tensor(SCORES.clone(), mesh, [Shard(0)])
    index = distribute_tensor(INDEX, mesh, [Shard(0)])
    matrix = distribute_tensor(SCORES.clone(), mesh, [Shard(1)])  # Shard(0) is a vocabulary's
    refuse_everywhere(pieces, index, "found a DTensor; its", matrix)


def test_nested_tensors_are_refused() -> None:
    nested = torch.nested.nested_tensor([SCORES[:2], SCORES[:4]], layout=torch.jagged)
    target = torch.nested.nested_tensor([INDEX[:2], INDEX[:4]], layout=torch.jagged)
    refuse_everywhere(nested, target, "found a nested one; its values")


def refuse_everywhere(scores: Any, target: Any, match: str, matrix: Any = None) -> None:
    """Ask for one line that names the argument, of scores and of targets."""
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("input", lambda: bridle.cross_entropy(scores, target)),
        ("target", lambda: bridle.cross_entropy(SCORES, target)),
        ("weight", lambda: bridle.cross_entropy(SCORES, INDEX, scores)),
        ("sample_weight", lambda: bridle.cross_entropy(SCORES, INDEX, sample_weight=scores)),
        ("p", lambda: bridle.kl_divergence(scores, SOFT)),
        ("q", lambda: bridle.kl_divergence(SOFT, scores)),
        ("mask", lambda: bridle.kl_divergence(SOFT, SOFT, mask=target)),
        ("input", lambda: bridle.binary_cross_entropy(scores, scores)),
        ("output", lambda: bridle.quadratic_loss(scores, scores)),
        ("probabilities", lambda: bridle.nll(scores, target)),
        ("scores", lambda: bridle.log_softmax(scores)),
        ("scores", lambda: bridle.logsumexp(scores)),
        ("features", lambda: bridle.linear_cross_entropy(scores, HEAD, target)),
        (
            "weight",
            lambda: bridle.linear_cross_entropy(
                SCORES, scores if matrix is None else matrix, INDEX
            ),
        ),
        ("target", lambda: bridle.linear_cross_entropy(SCORES, HEAD, target)),
        ("outputs", lambda: functional.causal_lm_loss(scores, target)),
    ]
    for name, call in calls:
        with pytest.raises(InputError, match=f"^{name}: expected a plain tensor, {match}") as found:
            call()
        assert "\n" not in str(found.value)
