"""A user's file of tensors: see `user_types`."""

from __future__ import annotations

from typing import assert_type

import torch
from torch import Tensor

import bridle
from bridle import CrossEntropyOutputs

Pair = tuple[Tensor, Tensor]


def tensors() -> None:
    """Tensors in, tensors out; what stands beside them may be a list or an array."""
    scores, target = torch.tensor([[2.0, 1.0, 0.0], [0.0, 3.0, 0.0]]), torch.tensor([0, 1])
    p = assert_type(bridle.softmax(scores, dim=1), Tensor)
    assert_type(bridle.softmax(scores, axis=None, dtype=torch.float64), Tensor)
    assert_type(bridle.softmax(torch.nn.Parameter(scores)), Tensor)
    assert_type(bridle.log_softmax(scores, dim=(0, 1)), Tensor)
    assert_type(bridle.logsumexp(scores, dim=1, keepdims=True), Tensor)
    assert_type(bridle.logsumexp(scores, b=scores, return_sign=True), Pair)
    assert_type(bridle.sigmoid(scores), Tensor)
    assert_type(bridle.log_sigmoid(scores), Tensor)
    assert_type(bridle.predicted_class(scores, dim=0), Tensor)
    assert_type(bridle.surprisal(p, unit="bits"), Tensor)
    assert_type(bridle.entropy(p, dim=1, check=None), Tensor)
    assert_type(bridle.kl_divergence(p, p, log_q=False, dim=1), Tensor)
    assert_type(bridle.cross_entropy_of(p, p, dim=-1), Tensor)
    assert_type(bridle.perplexity(torch.tensor(1.5)), Tensor)
    assert_type(bridle.cross_entropy(scores, target), Tensor)
    assert_type(bridle.cross_entropy(scores, [0, 1], reduction="none", dim=1), Tensor)
    assert_type(bridle.cross_entropy(scores * 1, target, inplace=True), Tensor)
    assert_type(bridle.cross_entropy(scores, target, outputs=["correct"]), CrossEntropyOutputs)
    assert_type(bridle.cross_entropy(scores, target, normalizer=torch.tensor(2.0)), Tensor)
    assert_type(bridle.nll(p, target, label_smoothing=0.1, normalizer=3, dim=1), Tensor)
    assert_type(bridle.likelihood(p, target), Tensor)
    assert_type(bridle.log_likelihood(p, target), Tensor)
    assert_type(bridle.binary_cross_entropy(p, p, pos_weight=torch.tensor(2.0)), Tensor)
    assert_type(bridle.quadratic_loss(p, p, reduction="sum"), Tensor)
    weight = torch.ones(4, 3)
    assert_type(bridle.linear_cross_entropy(scores, weight, target, shift=0), Tensor)
    assert_type(
        bridle.linear_cross_entropy(scores, weight, target, outputs=["entropy"], unbiased=False),
        CrossEntropyOutputs,
    )
    assert_type(
        bridle.linear_cross_entropy(
            input=scores, linear_weight=weight, target=target, weight=torch.ones(4)
        ),
        Tensor,
    )
    assert_type(bridle.torch.entropy(p), Tensor)
