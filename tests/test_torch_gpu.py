"""The functions for tensors over the Triton kernels: by the interpreter, and on a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")
pytest.importorskip("triton", reason="triton is not installed")

from bridle.torch import functional, kernels  # noqa: E402

CASES: list[tuple[str, dict[str, Any]]] = [
    (kind, options)
    for kind in ("index", "soft", "sparse")
    for options in (
        {},
        {"label_smoothing": 0.1, "softcap": 3.0, "temperature": 0.7, "z_loss": 0.1, "weighted": 1},
    )
]


def target_of(kind: str, rows: int, classes: int) -> Any:
    if kind == "soft":
        return torch.softmax(torch.randn(rows, classes), dim=1)
    if kind == "sparse":
        indices = torch.stack([torch.randperm(classes)[:3] for _ in range(rows)])
        return indices, torch.softmax(torch.randn(rows, 3), dim=1)
    target = torch.randint(0, classes, (rows,))
    target[2] = -100
    return target


def answers(scores: Any, target: Any, options: dict[str, Any], *, inplace: bool = False) -> Any:
    """Return loss, other outputs and the gradient of them all."""
    leaf = scores.detach().clone().requires_grad_()
    names = ("loss", "entropy", "logsumexp", "argmax")
    found = functional.cross_entropy(
        leaf * 1, target, **options, outputs=names, inplace=inplace, check=False
    )
    total = found.loss.sum() + found.entropy.sum() + found.logsumexp.sum()
    (gradient,) = torch.autograd.grad(total, leaf)
    return found.loss, found.entropy, found.logsumexp, found.argmax, gradient


def compare(device: str, patch: pytest.MonkeyPatch) -> None:
    """Hold the Triton kernels against plain PyTorch, on the CPU by the interpreter."""
    from bridle.kernels import choose

    torch.manual_seed(0)
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 1e-2)):
        scores = torch.randn(5, 37).to(dtype)
        for kind, options in CASES:
            given = dict(options)
            if given.pop("weighted", 0):
                given["weight"] = torch.rand(37)
            target = target_of(kind, 5, 37)
            patch.setattr(kernels, "backend_of", lambda _: kernels.PLAIN)
            right = answers(scores, target, given)
            patch.setattr(kernels, "backend_of", lambda _: choose.TRITON)
            given = {
                name: value.to(device) if isinstance(value, torch.Tensor) else value
                for name, value in given.items()
            }
            moved = torch.utils._pytree.tree_map(lambda part: part.to(device), target)
            for inplace in (False, True):
                found = answers(scores.to(device), moved, given, inplace=inplace)
                for one, other in zip(found, right, strict=True):
                    torch.testing.assert_close(one.cpu(), other, rtol=tolerance, atol=tolerance)


def compare_edges(device: str, patch: pytest.MonkeyPatch) -> None:
    """Hold them to the same answers where an answer is NaN, infinite, zero or nothing at all."""
    from bridle.kernels import choose

    torch.manual_seed(0)
    scores = torch.randn(8, 5)
    scores[0, 1], scores[1, 2], scores[2] = -torch.inf, torch.nan, -torch.inf
    scores[3, 0], scores[4, 3], scores[5, :4] = torch.inf, -torch.inf, 1e38
    target = torch.tensor([0, 1, 2, 3, 3, 4, -100, 2])
    ignored = torch.full((8,), -100)
    cases: list[tuple[Any, Any, dict[str, Any]]] = [
        (scores, target, {"reduction": "none"}),
        (scores, target, {"reduction": "none", "label_smoothing": 0.1}),
        (scores, ignored, {"reduction": "mean"}),
        (scores, ignored, {"reduction": "mean", "on_empty": "zero"}),
        (scores[:0], target[:0], {"reduction": "sum"}),
        (scores[:, :1], ignored.clamp(min=0), {"reduction": "none"}),
        (scores.half(), target, {"reduction": "none"}),
    ]
    for given, goal, options in cases:
        patch.setattr(kernels, "backend_of", lambda _: kernels.PLAIN)
        right = answers(given, goal, options)
        patch.setattr(kernels, "backend_of", lambda _: choose.TRITON)
        found = answers(given.to(device), goal.to(device), options)
        tolerance = 1e-3 if given.dtype == torch.float16 else 2e-6
        for one, other in zip(found, right, strict=True):
            torch.testing.assert_close(one.cpu(), other, rtol=tolerance, atol=2e-6, equal_nan=True)


def test_over_the_interpreter() -> None:
    # The interpreter must be chosen before triton is first imported, and would stay for all tests.
    program = (
        "import pytest, test_torch_gpu as t; patch = pytest.MonkeyPatch();"
        "t.compare('cpu', patch); t.compare_edges('cpu', patch)"
    )
    places = os.pathsep.join([os.path.dirname(__file__), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": places}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def _on_a_gpu() -> Iterator[None]:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("_on_a_gpu")
def test_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    compare("cuda", monkeypatch)
    compare_edges("cuda", monkeypatch)


@pytest.mark.usefixtures("_on_a_gpu")
def test_the_host_never_waits_for_a_gpu() -> None:
    scores = torch.randn(64, 1000, device="cuda", requires_grad=True)
    target = torch.randint(0, 1000, (64,), device="cuda")
    target[3], target[5] = -100, 5000
    weight, normalizer = torch.rand(1000, device="cuda"), torch.tensor(60, device="cuda")
    functional.cross_entropy(scores, target).backward()  # compiles
    torch.cuda.set_sync_debug_mode("error")
    loss = functional.cross_entropy(
        scores, target, weight, label_smoothing=0.1, normalizer=normalizer, z_loss=0.1
    )
    loss.backward()
    torch.cuda.set_sync_debug_mode("default")
    assert loss.isnan()
    assert scores.grad.isnan().any(dim=1).tolist() == [row == 5 for row in range(64)]


@pytest.mark.usefixtures("_on_a_gpu")
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1, "reduction": "sum"}], ids=str)
@pytest.mark.parametrize("shape", [(64, 10), (33, 1000), (5, 70_001)], ids=str)
def test_a_step_is_captured_in_a_graph(shape: tuple[int, int], options: dict[str, Any]) -> None:
    scores = torch.randn(shape, device="cuda", requires_grad=True)
    target = torch.randint(shape[1], shape[:1], device="cuda")

    def step() -> Any:
        loss = functional.cross_entropy(scores, target, **options)
        return loss, torch.autograd.grad(loss, scores)[0]

    beside = torch.cuda.Stream()
    with torch.cuda.stream(beside):  # compiles: a capture may not
        step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    for _ in range(2):
        with torch.no_grad():
            scores.normal_()
        target.random_(shape[1])
        target[1] = -100
        graph.replay()
        for one, other in zip(captured, step(), strict=True):
            assert torch.equal(one, other)


@pytest.mark.usefixtures("_on_a_gpu")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_compiled_step_is_the_eager_one(dtype: Any) -> None:
    scores = torch.randn(33, 1000, device="cuda").to(dtype).requires_grad_()
    target = torch.randint(1000, (33,), device="cuda")
    target[3] = -100

    def loss_of(leaf: Any) -> Any:
        return functional.cross_entropy(leaf, target, label_smoothing=0.1, z_loss=0.01)

    expected, found = loss_of(scores), torch.compile(loss_of)(scores)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)
    gradients = [torch.autograd.grad(loss, scores)[0] for loss in (expected, found)]
    torch.testing.assert_close(*gradients, rtol=1e-5 if dtype == torch.float32 else 1e-2, atol=1e-7)


@pytest.mark.usefixtures("_on_a_gpu")
def test_a_step_on_another_stream() -> None:
    scores = torch.randn(4096, 1000, device="cuda", requires_grad=True)
    target = torch.randint(1000, (4096,), device="cuda")
    expected = torch.nn.functional.cross_entropy(scores, target)
    (right,) = torch.autograd.grad(expected, scores)
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        loss = functional.cross_entropy(scores, target)
        (found,) = torch.autograd.grad(loss, scores)
    torch.cuda.current_stream().wait_stream(beside)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-10)
