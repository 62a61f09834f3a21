"""One compiled program serves every size: `torch.compile`, counted, and `torch.export`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import bridle

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

from bridle.torch import functional  # noqa: E402

# torch.compile's own imports use what torch has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

# Sizes on both sides of every threshold that the uncompiled code knows: numbers that are summed in
# one thread, scores that go to compiled kernels, rows that are long.
SIZES = [(5, 7), (6, 9), (300, 500), (20000, 3), (8, 40000)]

Sized = Callable[[int, int], tuple[Any, ...]]


def scores(rows: int, classes: int) -> tuple[Any, ...]:
    return (torch.randn(rows, classes, requires_grad=True),)


def indices(rows: int, classes: int) -> tuple[Any, ...]:
    return *scores(rows, classes), torch.randint(0, classes, (rows,))


def distributions(rows: int, classes: int) -> tuple[Any, ...]:
    return *scores(rows, classes), torch.softmax(torch.randn(rows, classes), dim=1)


def weighted(rows: int, classes: int) -> tuple[Any, ...]:
    return *indices(rows, classes), torch.rand(classes) + 0.1, torch.rand(rows)


def head(rows: int, classes: int) -> tuple[Any, ...]:
    weight = torch.randn(classes, 3, requires_grad=True)
    return torch.randn(rows, 3, requires_grad=True), weight, torch.randint(0, classes, (rows,))


def every_option(input: Any, target: Any, weight: Any, sample_weight: Any) -> Any:
    return functional.cross_entropy(
        input,
        target,
        weight,
        sample_weight=sample_weight,
        label_smoothing=0.1,
        z_loss=0.1,
        softcap=3.0,
        temperature=0.5,
    )


def several_outputs(input: Any, target: Any) -> Any:
    found = functional.cross_entropy(input, target, outputs=("loss", "entropy", "logsumexp"))
    return found.loss + found.entropy.sum() + found.logsumexp.sum()


def loss_of_each(features: Any, weight: Any, target: Any) -> Any:
    return functional.linear_cross_entropy(features, weight, target, reduction="none")


def two_distributions(rows: int, classes: int) -> tuple[Any, ...]:
    p, q = torch.randn(rows, classes), torch.randn(classes)
    return tuple(torch.softmax(each, dim=-1).requires_grad_() for each in (p, q))


def divergences(p: Any, q: Any) -> Any:
    """Return divergences of rows from one distribution, with a mask of positions and of entries."""
    kept = p.sum(dim=-1) > 0.5
    found = functional.kl_divergence(p, q) + functional.kl_divergence(q, p, mask=kept)
    beside = functional.kl_divergence(p, q.expand_as(p), check=False, mask=p >= 0)
    return found + beside + functional.cross_entropy_of(p.T, q.expand_as(p).T, axis=0)


FUNCTIONS: dict[str, tuple[Callable[..., Any], Sized]] = {
    "cross-entropy": (functional.cross_entropy, indices),
    "of both worlds": (bridle.cross_entropy, indices),
    "soft targets": (functional.cross_entropy, distributions),
    "every option": (every_option, weighted),
    "outputs": (several_outputs, indices),
    "likelihood": (lambda z, y: functional.nll(torch.softmax(z, dim=1), y), indices),
    "binary": (functional.binary_cross_entropy, distributions),
    "quadratic": (functional.quadratic_loss, distributions),
    "divergences": (divergences, two_distributions),
    "softmax": (functional.softmax, scores),
    "log-softmax": (functional.log_softmax, scores),
    "log-sum-exp": (functional.logsumexp, scores),
    "linear head": (functional.linear_cross_entropy, head),
    "linear head, each": (loss_of_each, head),
}


def answer(function: Callable[..., Any], given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what the function gives, and the gradients."""
    found = function(*given)
    leaves = [each for each in given if each.requires_grad]
    return found, *torch.autograd.grad(found.sum(), leaves)


@pytest.mark.parametrize(
    ("name", "dynamic"),
    [(name, None) for name in FUNCTIONS] + [("cross-entropy", True), ("linear head", True)],
)
def test_sizes_are_compiled_once(name: str, dynamic: bool | None) -> None:
    """Once for the first size and once for all others, as PyTorch's own functions are."""
    from torch._dynamo.testing import CompileCounterWithBackend

    function, sized = FUNCTIONS[name]
    torch._dynamo.reset()
    torch.manual_seed(0)
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, backend=counter, fullgraph=True, dynamic=dynamic)
    for rows, classes in SIZES:
        given = sized(rows, classes)
        torch.testing.assert_close(answer(compiled, given), answer(function, given))
    assert counter.frame_count <= 2


class Module(torch.nn.Module):  # type: ignore[misc]
    """A function as what can be exported."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *given: Any) -> Any:
        return self.function(*given)


@pytest.mark.skipif(
    torch.__version__.startswith("2.9."), reason="PyTorch 2.9's export loses the names of *given"
)
@pytest.mark.parametrize("strict", [False, True], ids=["traced", "strict"])
@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "of both worlds"])
def test_an_exported_program_takes_any_size(name: str, strict: bool) -> None:
    rows, classes = torch.export.Dim("rows"), torch.export.Dim("classes")
    function, sized = FUNCTIONS[name]
    torch.manual_seed(0)
    example = tuple(each.detach() for each in sized(5, 7))
    sizes = {5: rows, 7: classes}
    dynamic = tuple(
        {axis: sizes[size] for axis, size in enumerate(each.shape) if size in sizes}
        for each in example
    )
    program = torch.export.export(
        Module(function), example, dynamic_shapes=(dynamic,), strict=strict
    ).module()
    for shape in SIZES:
        given = tuple(each.detach() for each in sized(*shape))
        torch.testing.assert_close(program(*given), function(*given))


def test_the_sum_s_operator_keeps_what_it_promises() -> None:
    from bridle.torch.reduction import sum_operator

    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    for count in (0, 3, 40_000):
        values = torch.randn(count, requires_grad=True)
        torch.library.opcheck(sum_operator, (values,), test_utils=tests)
        torch.testing.assert_close(sum_operator(values).item(), values.double().sum().item())
