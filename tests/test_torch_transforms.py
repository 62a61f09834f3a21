"""Derivatives of every order and mode, `torch.func`, and `torch.compile`, against plain PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bridle

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from bridle.kernels import thresholds  # noqa: E402
from bridle.torch import functional  # noqa: E402
from tensors import array_of, gradient_of, plain_parts  # noqa: E402

CrossEntropy = Callable[..., Any]


# torch.compile's own imports use what torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@pytest.fixture(params=["plain PyTorch", "compiled kernel"], autouse=True)
def _backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "compiled kernel":
        monkeypatch.setattr(thresholds, "COMPILED_TENSOR_NUMBERS", 0)


GENERATOR = torch.Generator().manual_seed(3)
SCORES = torch.randn(5, 7, dtype=torch.float64, generator=GENERATOR)
INDEX = torch.randint(0, 7, (5,), generator=GENERATOR)
SOFT = torch.softmax(torch.randn(5, 7, dtype=torch.float64, generator=GENERATOR), dim=1)
SPARSE = (torch.stack([INDEX, (INDEX + 2) % 7], dim=1), torch.tensor([[0.3, 0.7]] * 5).double())
WEIGHT = torch.rand(7, dtype=torch.float64, generator=GENERATOR)
OPTIONS: dict[str, Any] = {"weight": WEIGHT, "label_smoothing": 0.1}

Transform = Callable[[Callable[[Any], Any]], Callable[[Any], Any]]
grad, vmap, jvp = torch.func.grad, torch.func.vmap, torch.func.jvp
jacrev, jacfwd, hessian = torch.func.jacrev, torch.func.jacfwd, torch.func.hessian

TRANSFORMS: dict[str, Transform] = {
    "grad": grad,
    "hessian": hessian,
    "jacrev of jacrev": lambda loss: jacrev(jacrev(loss)),
    "jacrev of jacfwd": lambda loss: jacrev(jacfwd(loss)),
    "jacfwd of jacfwd": lambda loss: jacfwd(jacfwd(loss)),
    "jvp": lambda loss: lambda scores: jvp(loss, (scores,), (scores.cos(),)),
    "vjp": lambda loss: lambda scores: torch.func.vjp(loss, scores)[1](torch.ones(()).double())[0],
}


def assert_close(found: Any, right: Any) -> None:
    torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("target", [INDEX, SOFT], ids=["index", "soft"])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_of_a_loss(name: str, target: Any) -> None:
    def result(cross_entropy: CrossEntropy) -> Any:
        return TRANSFORMS[name](lambda scores: cross_entropy(scores, target, **OPTIONS))(SCORES)

    assert_close(result(functional.cross_entropy), result(torch.nn.functional.cross_entropy))


MAPPED: dict[str, Callable[[CrossEntropy], Any]] = {
    "samples": lambda ce: vmap(lambda z, y: ce(z, y, WEIGHT))(SCORES, INDEX),
    "gradients of samples": lambda ce: vmap(grad(ce))(SCORES, INDEX),
    "batches": lambda ce: vmap(lambda z: ce(z, INDEX, **OPTIONS))(torch.stack([SCORES, -SCORES])),
    "batches that lie last": lambda ce: vmap(
        lambda z: ce(z, INDEX, reduction="none"), in_dims=2, out_dims=1
    )(torch.stack([SCORES, -SCORES], dim=2)),
    "targets": lambda ce: vmap(lambda y: ce(SCORES, y))(torch.stack([INDEX, INDEX.flip(0)])),
    "class weights": lambda ce: vmap(lambda w: ce(SCORES, INDEX, w))(
        torch.stack([WEIGHT, WEIGHT + 1])
    ),
    "ignored targets": lambda ce: vmap(lambda y: ce(SCORES, y, reduction="none"))(
        torch.stack([INDEX, torch.where(INDEX > 2, -100, INDEX)])
    ),
    "soft targets": lambda ce: vmap(lambda t: ce(SCORES, t))(torch.stack([SOFT, SOFT.flip(1)])),
    "maps of maps": lambda ce: vmap(vmap(ce))(
        torch.stack([SCORES, -SCORES]), torch.stack([INDEX, INDEX])
    ),
    "jacobian": lambda ce: jacrev(lambda z: ce(z, INDEX, reduction="none", **OPTIONS))(SCORES),
    "soft targets' gradient": lambda ce: grad(lambda z, t: ce(z, t, **OPTIONS), argnums=(0, 1))(
        SCORES, SOFT
    ),
    "soft targets' direction": lambda ce: jvp(
        lambda z, t: ce(z, t, **OPTIONS), (SCORES, SOFT), (SCORES.sin(), SOFT.cos())
    ),
}


@pytest.mark.parametrize("name", MAPPED)
def test_mapped_losses(name: str) -> None:
    ours, theirs = functional.cross_entropy, torch.nn.functional.cross_entropy
    assert_close(MAPPED[name](ours), MAPPED[name](theirs))


def test_an_index_out_of_range_inside_a_map_makes_its_loss_nan() -> None:
    found = vmap(lambda z, y: functional.cross_entropy(z, y))(SCORES, torch.tensor([0, 9, 1, 2, 3]))
    assert found.isnan().tolist() == [False, True, False, False, False]


@pytest.mark.parametrize("target", [INDEX, SOFT, SPARSE], ids=["index", "soft", "sparse"])
@pytest.mark.parametrize(
    "options",
    [{}, {"softcap": 2.0, "temperature": 0.7, "z_loss": 0.1, "label_smoothing": 0.2}],
    ids=["plain", "every option"],
)
def test_derivatives_of_first_and_second_order(target: Any, options: dict[str, Any]) -> None:
    names = ("loss", "log_prob", "entropy", "logsumexp")

    def outputs(scores: Any) -> Any:
        found = functional.cross_entropy(
            scores, target, WEIGHT, reduction="none", outputs=names, **options
        )
        return tuple(getattr(found, name) for name in names)

    scores = SCORES[:3].clone().requires_grad_()
    target = tuple(part[:3] for part in target) if isinstance(target, tuple) else target[:3]
    assert torch.autograd.gradcheck(outputs, scores, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(outputs, scores)


def test_derivatives_of_losses_composed_of_pytorch_s_own_operations() -> None:
    scores = SCORES[:2].clone().requires_grad_()
    answers = torch.sigmoid(SCORES[2:4])
    losses: list[Callable[[Any], Any]] = [
        lambda z: functional.binary_cross_entropy(z, answers, WEIGHT, pos_weight=WEIGHT),
        lambda z: functional.quadratic_loss(z, answers),
        lambda z: functional.log_softmax(z, temperature=0.5),
        lambda z: functional.softmax(z, temperature=2.0),
        lambda z: functional.nll(functional.softmax(z), INDEX[:2], WEIGHT, label_smoothing=0.1),
    ]
    for loss in losses:
        assert torch.autograd.gradcheck(loss, scores, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(loss, scores)


def test_second_derivatives_with_masked_classes_and_broken_rows() -> None:
    scores = SCORES.clone()
    scores[0, 1], scores[1], scores[2] = -torch.inf, torch.nan, -torch.inf
    target = torch.tensor([0, -100, -100, 1, 2])
    loss = hessian(lambda z: functional.cross_entropy(z, target, label_smoothing=0.1))
    found = loss(scores)
    assert found[[0, 3, 4]][:, :, [0, 3, 4]].isfinite().all()
    assert (found[0, 1] == 0).all()
    assert (found[[1, 2]] == 0).all()


COMPILED: dict[str, tuple[Any, dict[str, Any]]] = {
    "index": (INDEX, {}),
    "ignored": (torch.where(INDEX > 2, -100, INDEX), {"label_smoothing": 0.1, "weight": WEIGHT}),
    "soft": (SOFT, {"softcap": 2.0, "temperature": 0.7}),
    "sparse": (SPARSE, {"z_loss": 0.1, "sample_weight": torch.rand(5).double()}),
}


def compiled_answers(function: CrossEntropy, target: Any, options: dict[str, Any]) -> Any:
    scores = SCORES.clone().requires_grad_()
    found = function(scores, target, **options, outputs=("loss", "entropy", "correct"))
    return found.loss, found.correct, gradient_of(found.loss + found.entropy.sum(), scores)


@pytest.mark.parametrize("name", COMPILED)
def test_a_compiler_takes_it_whole(name: str) -> None:
    target, options = COMPILED[name]
    torch._dynamo.reset()
    compiled = torch.compile(functional.cross_entropy, fullgraph=True, backend="aot_eager")
    found = compiled_answers(compiled, target, options)
    assert_close(found, compiled_answers(functional.cross_entropy, target, options))


def test_a_compiler_takes_the_function_of_both_worlds() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(bridle.cross_entropy, fullgraph=True, backend="aot_eager")
    assert_close(compiled(SCORES, INDEX), functional.cross_entropy(SCORES, INDEX))


@pytest.mark.parametrize("name", ["grad", "hessian", "jvp"])
@pytest.mark.parametrize("target", [INDEX, SOFT], ids=["index", "soft"])
def test_a_compiler_takes_transforms(name: str, target: Any) -> None:
    def loss(scores: Any) -> Any:
        found = functional.cross_entropy(
            scores, target, **OPTIONS, z_loss=0.1, outputs=("loss", "entropy", "argmax")
        )
        return found.loss + found.entropy.sum()

    transform = TRANSFORMS[name](loss)
    torch._dynamo.reset()
    compiled = torch.compile(transform, fullgraph=True, backend="aot_eager")
    assert_close(compiled(SCORES), transform(SCORES))


def test_a_compiler_takes_a_map_of_gradients() -> None:
    torch._dynamo.reset()
    gradients = vmap(grad(functional.cross_entropy))
    compiled = torch.compile(gradients, fullgraph=True, backend="aot_eager")
    assert_close(compiled(SCORES, INDEX), gradients(SCORES, INDEX))


def test_a_compiler_takes_rows_of_any_number() -> None:
    torch._dynamo.reset()
    compiled = torch.compile(
        functional.cross_entropy, fullgraph=True, backend="aot_eager", dynamic=True
    )
    for rows in (5, 3, 2):
        scores = SCORES[:rows].clone().requires_grad_()
        loss = compiled(scores, INDEX[:rows])
        right = plain_parts(scores, INDEX[:rows])["loss"].mean()
        np.testing.assert_allclose(array_of(loss), array_of(right), rtol=1e-13)
        gradients = [gradient_of(each, scores, retain_graph=False) for each in (loss, right)]
        assert_close(*gradients)


def test_a_compiler_that_writes_c(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import exc
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except exc.InvalidCxxCompiler as error:
        pytest.skip(f"torch.compile needs a C++ compiler: {error}")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    compiled = torch.compile(functional.cross_entropy, fullgraph=True)
    target, options = COMPILED["ignored"]
    found = compiled_answers(compiled, target, options)
    assert_close(found, compiled_answers(functional.cross_entropy, target, options))


@pytest.mark.parametrize("target", [INDEX, SOFT, SPARSE], ids=["index", "soft", "sparse"])
def test_the_operators_keep_what_they_promise(target: Any) -> None:
    """Fake results like the real ones, no argument changed, derivatives registered."""
    from bridle.torch.rows import parts_operator

    aim = target[0] if isinstance(target, tuple) else target
    scores = SCORES.clone().requires_grad_()
    arguments = (scores, aim, WEIGHT, True, True, True, 0.7, 2.0)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(parts_operator, arguments, test_utils=tests)


@pytest.mark.parametrize("rows", [1, 7, 3000])
def test_a_mean_in_every_order_of_backward(rows: int) -> None:
    """A mean's gradient may be known before backward: kept, scaled, left out, derived again."""
    scores = torch.randn(rows, 101, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 101, (rows,))
    ours = functional.cross_entropy(scores, target, label_smoothing=0.1)
    theirs = torch.nn.functional.cross_entropy(scores, target, label_smoothing=0.1)
    for factor in (1.0, -3.0, 0.0):
        (found,) = torch.autograd.grad(ours * factor, scores, retain_graph=True)
        (right,) = torch.autograd.grad(theirs * factor, scores, retain_graph=True)
        torch.testing.assert_close(found, right, rtol=1e-12, atol=1e-15)
    direction = torch.randn_like(scores)
    seconds = []
    for loss in (ours, theirs):
        (first,) = torch.autograd.grad(loss**2, scores, create_graph=True)
        seconds.append(torch.autograd.grad((first * direction).sum(), scores)[0])
    torch.testing.assert_close(*seconds, rtol=1e-10, atol=1e-15)


def test_a_broken_mean_that_is_left_out_leaves_no_gradient() -> None:
    scores = torch.full((4, 3), torch.nan, requires_grad=True)
    loss = functional.cross_entropy(scores, torch.zeros(4, dtype=torch.long))
    torch.where(loss.isfinite(), loss, 0.0).backward()
    assert (scores.grad == 0).all()
