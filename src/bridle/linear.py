"""(Features, weight, target) → cross-entropy and its gradients, without the scores.

The scores ``features @ weight.T + bias`` of a block of rows are made in memory that every block
uses again, turned to their gradient there, and multiplied back: see `bridle.kernels.products`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.kernels import choose, products
from bridle.kernels.numpy import residual_filter
from bridle.kernels.numpy.reference import accumulator_dtype
from bridle.losses.class_targets import ClassTargets, class_targets
from bridle.losses.cross_entropy import mean_divisor
from bridle.losses.head_calls import ARRAYS, takes_head_calls
from bridle.losses.outputs import (
    CrossEntropyOutputs,
    LinearGradient,
    asked_outputs,
    collect_outputs,
)
from bridle.losses.reduction import gradient_scale, reduce_losses
from bridle.losses.score_rows import LossOptions, RowLosses, rows_of_scores

Array = npt.NDArray[Any]


@takes_head_calls(ARRAYS)
def linear_cross_entropy(
    features: npt.ArrayLike,
    weight: npt.ArrayLike,
    target: Any,
    *,
    bias: npt.ArrayLike | None = None,
    class_weight: npt.ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    normalizer: float | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: checks.OnEmpty = "nan",
    outputs: Sequence[str] | None = None,
    memory_budget: int | None = None,
    check: bool = True,
) -> Any:
    r"""Return the cross-entropy of ``features @ weight.T + bias`` without holding those scores.

    The same as ``cross_entropy(features @ weight.T + bias, target, …)``, with the same meaning of
    every argument. Ignored rows are not multiplied.

    The argument names of `torch.nn.functional.linear_cross_entropy` are taken too: ``input``,
    ``linear_weight``, ``linear_bias``, and ``weight`` for what each class weighs where the head's
    weight is given by its place or as ``linear_weight``. (torch's ``options`` say how to cut
    blocks, and are not needed.) As there, a weight (C, d1, …, D) beside features (N, D) has an
    output at each of d1 · … places, with targets (N, d1, …) or distributions (N, C, d1, …).

    Parameters
    ----------
    features : array_like, (…, D)
        What the scores are made from. Half precision is multiplied out in float32.
    weight : array_like, (C, D)
        A row for each class.
    target : array_like, or a pair of them
        Class indices (…), distributions (…, C), or a tuple of indices (…, k) and probabilities
        (…, k).
    bias : array_like, (C,), optional
        A score for each class, whatever the features are.
    class_weight : array_like, (C,), optional
        What `cross_entropy` calls ``weight``.
    outputs, ignore_index, reduction, label_smoothing, sample_weight, normalizer, z_loss, softcap
        As in `cross_entropy`.
    temperature, on_empty, check
        As there.
    shift : int
        How many positions labels are ahead: the features (…, T, D) of a position are scored against
        the label ``shift`` further on, as for a language model with ``shift=1``. With
        ``reduction="none"`` a value stands where its label does, and the first are 0.
    memory_budget : int, optional
        Bytes that the scores of a block may take; by default 16 MiB, or what 256 rows take. The
        result depends on it by rounding alone.
    gradient_filter, unbiased
        Of tensors alone, whose gradient is made with the loss: see `linear_cross_entropy_gradient`.
    group, classes
        Of tensors alone: the rows of the weight are shared out over the ranks of a process group;
        see `bridle.torch.linear_cross_entropy`.

    Returns
    -------
    ndarray, NumPy scalar or CrossEntropyOutputs
        As `cross_entropy`.

    Raises
    ------
    InputError, TargetRangeError
        As `cross_entropy`, and for features, weight and bias that do not fit.

    Examples
    --------
    >>> features, weight = [[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 3.0], [0.0, 0.0]]
    >>> float(linear_cross_entropy(features, weight, [0, 1]).round(4))
    0.2513

    References
    ----------
    E. Wijmans et al., *Cut Your Losses in Large-Vocabulary Language Models*, 2025.
    """
    asked = asked_outputs(outputs)
    options = {
        "bias": bias,
        "class_weight": class_weight,
        "ignore_index": ignore_index,
        "reduction": reduction,
        "label_smoothing": label_smoothing,
        "sample_weight": sample_weight,
        "normalizer": normalizer,
        "z_loss": z_loss,
        "softcap": softcap,
        "temperature": temperature,
        "on_empty": on_empty,
        "memory_budget": memory_budget,
        "check": check,
    }
    call = _HeadCall.of(features, weight, target, asked, options)
    pieces = [
        rows_of_scores(replace(call.problem.take(rows), scores=scores), None, call.loss_options)
        for rows, _, scores in call.blocks()
    ]
    found = RowLosses(
        np.concatenate([piece.losses for piece in pieces]),
        None,
        [part for piece in pieces for part in piece.parts],
        [each for piece in pieces for each in piece.log_probability],
    )
    loss = call.reduce(found.losses)
    if outputs is None:
        return loss
    collected = collect_outputs(asked, loss, call.problem, found)
    return CrossEntropyOutputs(
        *(
            value if value is None or name == "loss" else call.to_positions(value, name)
            for name, value in collected._asdict().items()
        )
    )


@takes_head_calls(ARRAYS)
def linear_cross_entropy_gradient(
    features: npt.ArrayLike,
    weight: npt.ArrayLike,
    target: Any,
    *,
    bias: npt.ArrayLike | None = None,
    class_weight: npt.ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: checks.Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: npt.ArrayLike | None = None,
    normalizer: float | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: checks.OnEmpty = "nan",
    memory_budget: int | None = None,
    gradient_filter: float | None = None,
    unbiased: bool = True,
    random_state: int | np.random.Generator | None = None,
    check: bool = True,
) -> LinearGradient:
    """Return ``(loss, d_features, d_weight, d_bias)`` of `linear_cross_entropy`.

    The gradient is made while a block's scores are there: three matrix products. PyTorch's argument
    names, ``shift``, and a weight with several outputs are taken as there. Tensors are taken as
    arrays, and arrays come back: tensors have their gradient from `linear_cross_entropy`.

    Parameters
    ----------
    features, weight, target, bias, class_weight
        As in `linear_cross_entropy`.
    ignore_index, reduction, label_smoothing, sample_weight, normalizer, z_loss, softcap
        As there.
    temperature, on_empty, memory_budget, check, shift
        As there.
    gradient_filter : float, optional
        Entries of a row's gradient in the scores that are smaller than this share of the row's
        weight (for class indices: probabilities below it) are not multiplied back.
    unbiased : bool
        Keep such an entry p < ε at the value ε with the probability p / ε, so that the expected
        gradient is exact; False drops it, which with many classes loses much of the mass.
    random_state : int or Generator, optional
        What an unbiased filter draws from.

    Returns
    -------
    LinearGradient
        A named tuple. Gradients have the shapes and dtypes of what they are of; that of a bias
        there is not is None. With ``reduction="none"`` a row of ``d_features`` is the gradient of
        that row's loss, ``d_weight`` and ``d_bias`` are those of their sum.

    Raises
    ------
    InputError, TargetRangeError
        As `linear_cross_entropy`.

    Examples
    --------
    >>> weight = np.array([[2.0, 0.0], [1.0, 3.0], [0.0, 0.0]])
    >>> found = linear_cross_entropy_gradient(np.eye(2), weight, [0, 1])
    >>> found.d_weight.round(3)
    array([[-0.167,  0.023],
           [ 0.122, -0.045],
           [ 0.045,  0.023]])
    """
    options = {
        "bias": bias,
        "class_weight": class_weight,
        "ignore_index": ignore_index,
        "reduction": reduction,
        "label_smoothing": label_smoothing,
        "sample_weight": sample_weight,
        "normalizer": normalizer,
        "z_loss": z_loss,
        "softcap": softcap,
        "temperature": temperature,
        "on_empty": on_empty,
        "memory_budget": memory_budget,
        "check": check,
    }
    call = _HeadCall.of(features, weight, target, frozenset(), options)
    threshold = 0.0
    if gradient_filter is not None:
        threshold = checks.fraction(gradient_filter, "gradient_filter")
    generator = np.random.default_rng(random_state) if unbiased else None
    losses = np.empty(len(call.problem.scores), call.problem.compute_dtype)
    d_features = np.zeros(call.features.shape, call.weight.dtype)
    d_weight = np.zeros_like(call.weight)
    d_bias = np.zeros_like(call.weight, shape=len(d_weight))
    scale = gradient_scale(call.divisor, call.reduction)
    for rows, block, scores in call.blocks():
        problem = replace(call.problem.take(rows), scores=scores)
        losses[rows] = rows_of_scores(problem, scale, call.loss_options, out=scores).losses
        gradients = (d_features[rows], d_weight, d_bias)
        row_threshold = threshold * float(scale) * problem.row_weight()
        if threshold and _add_filtered(
            scores, block, call.weight, gradients, row_threshold, generator
        ):
            continue
        products.multiply_back(scores, call.weight, d_features[rows])
        products.add_products(scores, block, d_weight)
        d_bias += scores.sum(axis=0, dtype=np.float64)
    return LinearGradient(
        call.reduce(losses),
        call.features_to_positions(d_features),
        d_weight.astype(call.original_weight.dtype, copy=False),
        None if call.bias is None else d_bias.astype(call.bias_dtype, copy=False),
    )


def _add_filtered(
    residual: Array,
    features: Array,
    weight: Array,
    gradients: tuple[Array, Array, Array],
    threshold: Array,
    generator: np.random.Generator | None,
) -> bool:
    """Filter a block and add its products; False if too many entries are left for that."""
    draws = None if generator is None else generator.random(len(residual))
    if not choose.worth_compiling(residual.size):
        residual_filter.filter_rows(residual, threshold, draws)
        return False
    from bridle.kernels.numba import filtered_products
    from bridle.kernels.numba import residual_filter as compiled_filter

    entries = compiled_filter.kept_entries(residual, threshold, draws)
    if entries is None:
        compiled_filter.filter_rows(residual, threshold, draws)
        return False
    columns = filtered_products.transposed(entries, len(weight))
    d_features, d_weight, d_bias = gradients
    filtered_products.add_products(entries, weight, d_features)
    filtered_products.add_products(columns, features, d_weight)
    filtered_products.add_products(
        columns, np.ones_like(weight, shape=(len(residual), 1)), d_bias[:, None]
    )
    return True


class _HeadCall(NamedTuple):
    """A checked call: its rows, those that are not ignored, and how they become an answer."""

    features: Array  # (n, D), as given; only the counted rows
    weight: Array  # (C, D), as it is multiplied
    bias: Array | None
    problem: ClassTargets  # of the counted rows
    loss_options: LossOptions
    reduction: checks.Reduction
    on_empty: checks.OnEmpty
    divisor: Any
    rows_per_block: int
    counted_rows: Array | None  # which rows are counted; None: all
    shape: tuple[int, ...]  # of the features
    original_weight: Array
    bias_dtype: Any

    @classmethod
    def of(
        cls,
        features: npt.ArrayLike,
        weight: npt.ArrayLike,
        target: Any,
        asked: frozenset[str],
        options: dict[str, Any],
    ) -> _HeadCall:
        """Check the arguments and bring them to rows."""
        original_features, matrix = (
            checks.floating(features, "features"),
            checks.floating(weight, "weight"),
        )
        checks.linear_head(original_features.shape, matrix.shape)
        bias, bias_dtype = _bias(options.pop("bias", None), len(matrix))
        dtype = np.result_type(*map(accumulator_dtype, (original_features.dtype, matrix.dtype)))
        if dtype not in (np.float32, np.float64):
            raise checks.InputError.of("features", expected="float64 or narrower", found=dtype)
        budget = checks.memory_budget(options.pop("memory_budget", None))
        rows_per_block = choose.CPU_HEAD.rows(
            prod(original_features.shape[:-1]), len(matrix), dtype.itemsize, budget
        )
        reduction, on_empty = options.pop("reduction", "mean"), options.pop("on_empty", "nan")
        normalizer = options.pop("normalizer", None)
        checks.reduction(reduction)
        checks.on_empty(on_empty)
        checks.normalizer(normalizer, reduction)
        loss_options = LossOptions(
            float(options.pop("z_loss", 0.0)),
            checks.softcap(options.pop("softcap", 0.0)),
            checks.positive(options.pop("temperature", 1.0), "temperature"),
            asked,
        )
        shape = original_features.shape[:-1]
        sample_weight = options.pop("sample_weight", None)
        placeholder = np.broadcast_to(np.zeros(1, dtype), (prod(shape), len(matrix)))
        problem = class_targets(
            placeholder,
            checks.linear_target(target, shape, len(matrix)),
            options.pop("class_weight", None),
            sample_weight=_flat_weight(sample_weight, shape),
            **options,
        )
        divisor, z_share = mean_divisor(problem, reduction, normalizer)
        loss_options = replace(loss_options, z_loss=loss_options.z_loss * z_share)
        rows = original_features.reshape(prod(shape), original_features.shape[-1])
        counted_rows = None if problem.counted.all() else np.flatnonzero(problem.counted)
        if counted_rows is not None:
            # Without the scores: selecting rows of the placeholder would copy it.
            rows, problem = (
                rows[counted_rows],
                replace(problem, scores=placeholder[:, :0]).take(counted_rows),
            )
            placeholder = placeholder[: len(counted_rows)]
        problem = replace(problem, scores=placeholder, input_shape=placeholder.shape)
        return cls(
            features=rows,
            weight=np.ascontiguousarray(matrix, dtype),
            bias=None if bias is None else bias.astype(dtype),
            problem=problem,
            loss_options=loss_options,
            reduction=reduction,
            on_empty=on_empty,
            divisor=divisor,
            rows_per_block=rows_per_block,
            counted_rows=counted_rows,
            shape=original_features.shape,
            original_weight=matrix,
            bias_dtype=bias_dtype,
        )

    def blocks(self) -> Iterator[tuple[slice, Array, Array]]:
        """Yield rows, their features, and their scores, which may be overwritten."""
        count, dtype = len(self.features), self.weight.dtype
        score_buffer = np.empty((min(self.rows_per_block, count), len(self.weight)), dtype)
        for begin in range(0, max(count, 1), self.rows_per_block):
            rows = slice(begin, min(begin + self.rows_per_block, count))
            block = np.ascontiguousarray(self.features[rows], dtype)
            scores = score_buffer[: len(block)]
            products.make_scores(block, self.weight, self.bias, scores)
            yield rows, block, scores

    def reduce(self, losses: Array) -> Array:
        """Return the answer of the rows' losses."""
        if self.reduction == "none":
            return self.to_positions(losses, "loss")
        return reduce_losses(losses, self.divisor, reduction=self.reduction, on_empty=self.on_empty)

    def to_positions(self, values: Array, name: str) -> Array:
        """Return the values in the shape of the positions; ignored rows hold a fixed value."""
        if self.counted_rows is not None:
            ignored_value = {"argmax": -1, "correct": False}.get(name, 0)
            all_positions = np.full(prod(self.shape[:-1]), ignored_value, values.dtype)
            all_positions[self.counted_rows] = values
            values = all_positions
        return values.reshape(self.shape[:-1])[()]

    def features_to_positions(self, gradient: Array) -> Array:
        """Return the gradient in the features, 0 for ignored rows."""
        dtype = self.features.dtype
        if self.counted_rows is not None:
            all_positions = np.zeros((prod(self.shape[:-1]), self.shape[-1]), dtype)
            all_positions[self.counted_rows] = gradient
            gradient = all_positions
        return gradient.astype(dtype, copy=False).reshape(self.shape)


def _bias(bias: npt.ArrayLike | None, classes: int) -> tuple[Array | None, Any]:
    if bias is None:
        return None, None
    checked = checks.floating(bias, "bias")
    if checked.shape != (classes,):
        raise checks.InputError.of("bias", expected=f"shape ({classes},)", found=checked.shape)
    return checked, checked.dtype


def _flat_weight(sample_weight: npt.ArrayLike | None, shape: tuple[int, ...]) -> Any:
    if sample_weight is None:
        return None
    weights = checks.floating(sample_weight, "sample_weight")
    if weights.shape == shape[:1] and len(shape) > 1:
        # One weight per sample also serves all of its positions.
        weights = weights.reshape(weights.shape + (1,) * (len(shape) - 1))
        weights = np.broadcast_to(weights, shape)
    elif weights.shape != shape:
        raise checks.InputError.of("sample_weight", expected=f"shape {shape}", found=weights.shape)
    return weights.reshape(-1)
