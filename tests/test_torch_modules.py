"""The modules in training, and the loss of a causal language model."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")

import bridle  # noqa: E402
from bridle.kernels import thresholds  # noqa: E402
from bridle.torch import (  # noqa: E402
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    QuadraticLoss,
    causal_lm_loss,
    functional,
)
from tensors import array_of  # noqa: E402


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """So few numbers are no work for several threads, which would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def losses_of_training(criterion: Any, steps: int, dtype: Any = torch.float32) -> list[float]:
    """Train a small network by stochastic gradient descent and return the loss of every step."""
    torch.manual_seed(7)
    network = torch.nn.Sequential(
        torch.nn.Linear(20, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    ).to(dtype)
    features = torch.randn(640, 20).to(dtype)
    target = (features @ torch.randn(20, 10).to(dtype)).argmax(dim=1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for step in range(steps):
        batch = slice(64 * (step % 10), 64 * (step % 10 + 1))
        loss = criterion(network(features[batch]), target[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.1, "weight": torch.ones(10)}], ids=str
)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.usefixtures("_one_thread")
def test_training_takes_the_same_way_as_with_pytorch(
    options: dict[str, Any], compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thresholds, "COMPILED_TENSOR_NUMBERS", 0 if compiled else 2**17)
    right = losses_of_training(torch.nn.CrossEntropyLoss(**options), 200)
    for ours in (CrossEntropyLoss(**options), CrossEntropyLoss(**options, inplace=True)):
        np.testing.assert_allclose(losses_of_training(ours, 200), right, atol=1e-5)
    assert right[-1] < right[0] / 2


def test_modules_are_functions_that_keep_their_arguments() -> None:
    scores, target = torch.randn(4, 3), torch.tensor([0, 1, 2, -1])
    weight, sample_weight = torch.rand(3), torch.rand(4)
    module = CrossEntropyLoss(weight, ignore_index=-1, label_smoothing=0.1, z_loss=0.2)
    options: dict[str, Any] = {"ignore_index": -1, "label_smoothing": 0.1, "z_loss": 0.2}
    right = functional.cross_entropy(scores, target, weight, sample_weight=sample_weight, **options)
    assert module(scores, target, sample_weight=sample_weight) == right
    right = functional.cross_entropy(scores, target, weight, normalizer=9, **options)
    assert module(scores, target, normalizer=9) == right
    assert "ignore_index=-1, reduction='mean', label_smoothing=0.1, z_loss=0.2" in repr(module)
    assert list(module.state_dict()) == ["weight"]
    assert next(iter(module.to(torch.float64).buffers())).dtype == torch.float64
    answers = torch.rand(4, 3)
    binary = BinaryCrossEntropyLoss(weight, pos_weight=weight, reduction="sum")
    right = functional.binary_cross_entropy(
        scores, answers, weight, pos_weight=weight, reduction="sum"
    )
    assert binary(scores, answers) == right
    quadratic = QuadraticLoss(reduction="sum")(scores, answers)
    assert quadratic == functional.quadratic_loss(scores, answers, reduction="sum")
    every: list[Any] = [CrossEntropyLoss, BinaryCrossEntropyLoss, QuadraticLoss]
    for broken in every:
        with pytest.raises(bridle.InputError, match="reduction: expected one of"):
            broken(reduction="max")


def test_a_pytorch_checkpoint_fits_the_module_and_back() -> None:
    theirs, ours = torch.nn.CrossEntropyLoss(torch.rand(3)), CrossEntropyLoss(torch.ones(3))
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours.weight, theirs.weight)


def test_bridle_torch_is_there_when_asked_for() -> None:
    program = "import bridle, sys; assert 'torch' not in sys.modules; bridle.torch.CrossEntropyLoss"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("statement", ["bridle.torch", "import bridle.torch"])
def test_without_pytorch_the_message_says_how_to_get_it(statement: str) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import bridle\n"
        "assert bridle.softmax([0.0]) == 1\n"
        f"try:\n    {statement}\n"
        "except bridle.MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "[torch]'" in done.stdout


# --- a causal language model --------------------------------------------------------------------


def hugging_face_loss(logits: Any, labels: Any, items: Any, ignore_index: int = -100) -> Any:
    """Return transformers' `ForCausalLMLoss`, which upcasts, pads and shifts."""
    logits = logits.float()
    shifted = torch.nn.functional.pad(labels, (0, 1), value=ignore_index)[..., 1:].contiguous()
    reduction = "mean" if items is None else "sum"
    loss = torch.nn.functional.cross_entropy(
        logits.view(-1, logits.shape[-1]),
        shifted.view(-1),
        ignore_index=ignore_index,
        reduction=reduction,
    )
    return loss if items is None else loss / items


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("items", [None, 11, torch.tensor(11)], ids=str)
@pytest.mark.parametrize("inplace", [False, True])
def test_the_causal_loss_is_hugging_face_s(inplace: bool, items: Any, dtype: Any) -> None:
    leaf = torch.randn(2, 7, 13).to(dtype).requires_grad_()
    labels = torch.randint(0, 13, (2, 7))
    labels[0, :3] = -100
    right = hugging_face_loss(leaf, labels, items)
    (right_gradient,) = torch.autograd.grad(right, leaf)
    logits = leaf * 1
    memory = logits.data_ptr()
    for outputs in (logits, {"logits": logits}, SimpleNamespace(logits=logits)):
        loss = causal_lm_loss(outputs, labels, items, inplace=inplace)
        torch.testing.assert_close(loss, right)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient.data_ptr() == memory) == inplace
    tolerance = 1e-3 if dtype == torch.bfloat16 else 1e-7
    np.testing.assert_allclose(
        array_of(gradient.double()), array_of(right_gradient.double()), atol=tolerance
    )


def test_the_causal_loss_shifts_the_labels_and_copies_no_logits() -> None:
    logits = torch.randn(2, 5, 9, requires_grad=True)
    kept: list[int] = []

    def keep(tensor: Any) -> Any:
        kept.append(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        causal_lm_loss(logits, torch.randint(0, 9, (2, 5)), label_smoothing=0.1)
    assert logits.untyped_storage().data_ptr() in kept


def test_labels_that_do_not_fit() -> None:
    logits = torch.zeros(2, 5, 9)
    with pytest.raises(bridle.InputError, match=r"labels: expected \(…, T\) beside logits"):
        causal_lm_loss(logits, torch.zeros(2, 4, dtype=torch.long))
    with pytest.raises(bridle.TargetRangeError, match="target: row 3 is 9"):
        causal_lm_loss(logits, torch.full((2, 5), 9).masked_fill(torch.arange(5) < 4, 1))


def test_the_example_trains_a_language_model_offline() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    example = Path(__file__).parents[1] / "examples" / "hugging_face_trainer.py"
    done = subprocess.run([sys.executable, example], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "loss" in done.stdout


@pytest.mark.parametrize(
    "scripted",
    [
        bridle.cross_entropy,
        bridle.softmax,
        functional.linear_cross_entropy,
        functional.kl_divergence,
        CrossEntropyLoss(),
        torch.nn.Sequential(torch.nn.Linear(2, 2), QuadraticLoss()),
    ],
)
def test_torch_script_is_refused_in_one_line(scripted: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript itself is deprecated
        with pytest.raises(bridle.InputError, match=r"^torch\.jit\.script: .* take it$"):
            torch.jit.script(scripted)
