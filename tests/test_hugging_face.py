"""Hugging Face's Trainer with our loss: the example runs, and the loss is the one it replaces."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("accelerate", reason="accelerate, which transformers trains with, is missing")

from bridle import InputError  # noqa: E402
from bridle.torch import causal_lm_loss, cross_entropy  # noqa: E402
from tensors import array_of  # noqa: E402

EXAMPLE = Path(__file__).parents[1] / "examples" / "hugging_face_trainer.py"


def test_the_example_learns_its_pattern_offline() -> None:
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)],
        env=os.environ | offline,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    found = re.fullmatch(r"loss before ([\d.]+), after ([\d.]+) nats per word", last)
    assert found is not None, done.stdout
    before, after = map(float, found.groups())
    assert before == pytest.approx(np.log(16), abs=0.3)  # 16 words, nothing learned
    assert after < 0.1


@pytest.mark.parametrize("num_items_in_batch", [None, 7, "tensor"])
@pytest.mark.parametrize("inplace", [False, True])
def test_the_loss_is_that_of_the_models_themselves(num_items_in_batch: Any, inplace: bool) -> None:
    from transformers.loss.loss_utils import ForCausalLMLoss

    if num_items_in_batch == "tensor":
        num_items_in_batch = torch.tensor(11)
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(3, 9, 17, generator=generator)
    labels = torch.randint(0, 17, (3, 9), generator=generator)
    labels[0, :4] = labels[2, 5:] = -100

    def loss_and_gradient(loss_of: Any) -> tuple[Any, Any]:
        leaf = scores.clone().requires_grad_()
        loss = loss_of(leaf * 1)  # a copy, which may be overwritten
        loss.backward()
        return array_of(loss), array_of(leaf.grad)

    def theirs(logits: Any) -> Any:
        return ForCausalLMLoss(logits, labels, 17, num_items_in_batch=num_items_in_batch)

    def ours(logits: Any) -> Any:
        return causal_lm_loss({"logits": logits}, labels, num_items_in_batch, inplace=inplace)

    for found, right in zip(loss_and_gradient(ours), loss_and_gradient(theirs), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("count", [-1, -0.5, float("nan"), torch.tensor(-1), torch.tensor(-2.0)])
def test_a_count_of_items_below_zero_is_refused(count: Any) -> None:
    logits, labels = torch.zeros(1, 3, 4), torch.tensor([[3, 1, 2]])
    with pytest.raises(
        InputError, match=r"num_items_in_batch: expected a finite number of 0 or ab"
    ):
        causal_lm_loss(logits, labels, count)
    with pytest.raises(InputError, match=r"normalizer: expected a finite number of 0 or above"):
        cross_entropy(logits[0], labels[0], normalizer=count)
