"""An epoch in compiled code: `epoch.plain_epoch` within rounding, without its overhead.

At a batch of ten samples a small network's arithmetic takes some microseconds, and every call from
Python about one: so the loop over the batches is compiled, and so are its products
(`bridle.kernels.numba.small_products`, and `batch_products` for the features, which may be
sparse). Buffers are made once an epoch.
"""

from __future__ import annotations

import logging
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.core import types
from scipy import sparse

from bridle.kernels.numba.batch_products import (
    SparseRows,
    gathered_width,
    multiply_rows,
    multiply_transposed_rows,
)
from bridle.kernels.numba.compiling import (
    implementation_of,
    inlined,
    is_ready,
    kernel,
)
from bridle.kernels.numba.exponential import (
    BIAS_32,
    BIAS_64,
    LOWEST_32,
    LOWEST_64,
    power_exponential,
)
from bridle.kernels.numba.machine import add
from bridle.kernels.numba.small_products import multiply
from bridle.networks import epoch
from bridle.networks.epoch import BETA_1, BETA_2, EPSILON, Figures, Rule, Samples, State

Array = npt.NDArray[Any]

SIGMOID, TANH, RELU, IDENTITY = range(4)
SIGMOID_QUADRATIC, SOFTMAX_QUADRATIC, CROSS_ENTROPY, LOG_LIKELIHOOD = range(4)
_HIDDEN = {"sigmoid": SIGMOID, "tanh": TANH, "relu": RELU, "identity": IDENTITY}
_log = logging.getLogger(__name__)
_LAST = {
    ("sigmoid", "quadratic"): SIGMOID_QUADRATIC,
    ("softmax", "quadratic"): SOFTMAX_QUADRATIC,
    ("sigmoid", "cross_entropy"): CROSS_ENTROPY,
    ("softmax", "log_likelihood"): LOG_LIKELIHOOD,
}


class Kind(NamedTuple):
    """A network by its names, as `backpropagation.network` takes them."""

    activation: str
    output: str
    cost: str
    alpha: float
    l1_ratio: float
    multilabel: bool = False


class Buffers(NamedTuple):
    """Memory of an epoch, flat."""

    errors: Any  # of the hidden layers, laid out as the activations
    gradient: Any  # of the parameters, laid out as they are
    transposed: Any  # a layer's weights or errors
    product: Any  # a layer's errors, transposed


class Settings(NamedTuple):
    """A network and its rule in the numbers that compiled code takes."""

    hidden: int
    last: int
    alpha: float
    l1_ratio: float
    multilabel: bool
    adam: bool
    learning_rate: float
    momentum: float
    batch_size: int


def prepare(sizes: tuple[int, ...], samples: Samples, state: State) -> None:
    """Compile, or read what was compiled before, so that no epoch's time holds it."""
    nothing = Settings(0, 0, 0.0, 0.0, False, False, 0.0, 0.0, 1)
    order = np.zeros(0, np.int64)
    sums, squares = np.zeros(4), np.zeros(len(sizes) - 1)
    learnt = _with_plain_indices(samples)
    arguments = (nothing, np.array(sizes, np.int64), learnt, order, state, sums, squares)
    if not is_ready(_epoch, arguments):
        # The command shows this; a library that is silent for so long looks as if it hung.
        _log.info("compiling the training for this machine, once: it takes 10 to 30 seconds")
    _epoch(*arguments)


def compiled_epoch(
    kind: Kind, sizes: tuple[int, ...], samples: Samples, order: Array, rule: Rule, state: State
) -> Figures:
    """Do what `epoch.plain_epoch` does."""
    settings = Settings(
        _HIDDEN[kind.activation],
        _LAST[kind.output, kind.cost],
        float(kind.alpha),
        float(kind.l1_ratio),
        kind.multilabel,
        rule.solver == "adam",
        float(rule.learning_rate),
        float(rule.momentum),
        min(rule.batch_size, len(order)),
    )
    sums, squares = np.zeros(4), np.zeros(len(sizes) - 1)
    learnt = _with_plain_indices(samples)
    _epoch(settings, np.array(sizes, np.int64), learnt, order, state, sums, squares)
    batches = -(-len(order) // settings.batch_size)
    return epoch.figures(sums[:3], squares, float(sums[3]), batches)


def _with_plain_indices(samples: Samples) -> Samples:
    if not sparse.issparse(samples.features):
        return samples
    rows = samples.features
    # One type of indices, so that there is one thing to compile; a network wide enough for int64
    # would have weights that no memory holds.
    columns = rows.indices.astype(np.int32, copy=False)
    starts = rows.indptr.astype(np.int64, copy=False)
    return samples._replace(features=SparseRows(rows.data, columns, starts))


def _exponential(z: Any) -> Any:
    """Return ``exp(z)`` for ``z ≤ 0``, in a form that becomes vectors."""
    raise NotImplementedError


@implementation_of(_exponential)
def _exponential_of(z: Any) -> Any:
    if z == types.float64:
        return lambda z: power_exponential(z, np.int64(BIAS_64), LOWEST_64)
    return lambda z: power_exponential(z, np.int32(BIAS_32), LOWEST_32)


@inlined
def _view(buffer: Any, start: int, rows: int, columns: int) -> Any:
    return buffer[start : start + rows * columns].reshape(rows, columns)


@inlined
def _add_bias_and_activate(z: Any, bias: Any, hidden: int) -> None:
    one = z.dtype.type(1)
    for row in range(len(z)):
        a = z[row]
        for k in range(len(bias)):
            a[k] += bias[k]
        if hidden == SIGMOID:
            for k in range(len(bias)):
                e = _exponential(-abs(a[k]))
                a[k] = (one if a[k] >= 0 else e) / (one + e)
        elif hidden == TANH:
            for k in range(len(bias)):
                e = _exponential(-abs(a[k]))
                size = (one - e * e) / (one + e * e)
                a[k] = size if a[k] >= 0 else -size
        elif hidden == RELU:
            for k in range(len(bias)):
                a[k] = max(a[k], 0 * one)


@inlined
def _times_derivative(error: Any, a: Any, hidden: int) -> None:
    one = a.dtype.type(1)
    for row in range(len(a)):
        if hidden == SIGMOID:
            for k in range(a.shape[1]):
                error[row, k] *= a[row, k] * (one - a[row, k])
        elif hidden == TANH:
            for k in range(a.shape[1]):
                error[row, k] *= one - a[row, k] * a[row, k]
        elif hidden == RELU:
            for k in range(a.shape[1]):
                error[row, k] = error[row, k] if a[row, k] > 0 else 0 * one


@inlined
def _sigmoid_costs(z: Any, y: Any, quadratic: bool) -> float:
    """Turn a row of scores into outputs; return the sample's cost."""
    one, cost = z.dtype.type(1), 0.0
    for k in range(len(z)):
        score = z[k]
        e = math.exp(-abs(score))
        a = (one if score >= 0 else e) / (one + e)
        z[k] = a
        if quadratic:
            cost += 0.5 * (a - y[k]) * (a - y[k])
        else:
            # −y ln σ(z) − (1 − y) ln(1 − σ(z)), where ln(1 − σ(z)) = ln σ(z) − z.
            cost += max(score, 0 * one) - y[k] * score + math.log1p(e)
    return cost


@inlined
def _softmax_costs(z: Any, y: Any, quadratic: bool) -> float:
    """Turn a row of scores into outputs; return the sample's cost."""
    shift, total, cost = z.max(), z.dtype.type(0), 0.0
    for k in range(len(z)):
        if not quadratic and y[k] != 0:
            cost += y[k] * (shift - z[k])
        z[k] = math.exp(z[k] - shift)
        total += z[k]
    for k in range(len(z)):
        z[k] /= total
        if quadratic:
            cost += 0.5 * (z[k] - y[k]) * (z[k] - y[k])
    if quadratic:
        return cost
    mass = 0.0
    for k in range(len(z)):
        mass += y[k]
    return cost + mass * math.log(total)


@inlined
def _highest(values: Any) -> int:
    best = 0
    for k in range(1, len(values)):
        if values[k] > values[best]:
            best = k
    return best


@inlined
def _is_right(scores: Any, y: Any, multilabel: bool) -> Any:
    """Tell whether the highest score is the target's, or every sign is right."""
    if not multilabel:
        return _highest(scores) == _highest(y)
    wrong = 0
    for k in range(len(scores)):
        wrong += (scores[k] > 0) != (y[k] > 0)
    return wrong == 0


@inlined
def _output_errors(
    z: Any, bias: Any, target: Any, weight: Any, last: int, multilabel: bool, sums: Any
) -> None:
    """Turn the last layer's scores into errors (BP1), times weight; add up the figures."""
    classes = len(bias)
    one = z.dtype.type(1)
    total = z.dtype.type(0)
    for row in range(len(z)):
        total += weight[row]
    for row in range(len(z)):
        a, y = z[row], target[row]
        for k in range(classes):
            a[k] += bias[k]
        if _is_right(a, y, multilabel):
            sums[1] += weight[row]
        if last in (SIGMOID_QUADRATIC, CROSS_ENTROPY):
            cost = _sigmoid_costs(a, y, last == SIGMOID_QUADRATIC)
        else:
            cost = _softmax_costs(a, y, last == SOFTMAX_QUADRATIC)
        slope, common = 0.0, z.dtype.type(0)
        for k in range(classes):
            slope += a[k] * (one - a[k])
            common += a[k] * (a[k] - y[k])
        sums[0] += weight[row] * cost
        sums[2] += weight[row] * slope / classes
        sums[3] += weight[row]
        factor = weight[row] / total
        for k in range(classes):
            error = a[k] - y[k]
            if last == SIGMOID_QUADRATIC:
                error *= a[k] * (one - a[k])
            elif last == SOFTMAX_QUADRATIC:
                error = a[k] * (error - common)
            a[k] = error * factor


@inlined
def _add_penalty(gradient: Any, w: Any, alpha: Any, l1_ratio: Any) -> None:
    one = w.dtype.type(1)
    for j in range(len(w)):
        sign = one if w[j] > 0 else (-one if w[j] < 0 else 0 * one)
        gradient[j] += alpha * ((one - l1_ratio) * w[j] + l1_ratio * sign)


@inlined
def _descend(w: Any, gradient: Any, rate: Any) -> Any:
    """Step down the gradient; return its square."""
    square = w.dtype.type(0)
    for j in range(len(w)):
        square = add(square, gradient[j] * gradient[j])
        w[j] -= rate * gradient[j]
    return square


@inlined
def _descend_with_momentum(w: Any, velocity: Any, gradient: Any, rate: Any, momentum: Any) -> Any:
    square = w.dtype.type(0)
    for j in range(len(w)):
        square = add(square, gradient[j] * gradient[j])
        velocity[j] = momentum * velocity[j] - rate * gradient[j]
        w[j] += velocity[j]
    return square


@inlined
def _descend_by_adam(w: Any, mean: Any, spread: Any, gradient: Any, rate: Any) -> Any:
    number = w.dtype.type
    square, one = number(0), number(1)
    keep_1, keep_2, epsilon = number(BETA_1), number(BETA_2), number(EPSILON)
    for j in range(len(w)):
        g = gradient[j]
        square = add(square, g * g)
        mean[j] = keep_1 * mean[j] + (one - keep_1) * g
        spread[j] = keep_2 * spread[j] + (one - keep_2) * g * g
        w[j] -= rate * mean[j] / (np.sqrt(spread[j]) + epsilon)
    return square


@inlined
def _gather(samples: Any, rows: Any, target: Any, weight: Any) -> None:
    for place in range(len(rows)):
        row = rows[place]
        weight[place] = samples.weight[row]
        if len(samples.distributions) > 0:
            target[place] = samples.distributions[row]
        else:
            target[place] = 0
            target[place, samples.labels[row]] = 1


@inlined
def _starts(sizes: Any, gathered: int) -> Any:
    """Return where each layer begins among a sample's activations, and among the parameters."""
    unit_starts, starts = np.zeros(len(sizes) + 1, np.int64), np.zeros(len(sizes), np.int64)
    for place in range(len(sizes)):
        unit_starts[place + 1] = unit_starts[place] + (gathered if place == 0 else sizes[place])
        if place > 0:
            starts[place] = starts[place - 1] + (sizes[place - 1] + 1) * sizes[place]
    return unit_starts, starts


@inlined
def _forward(hidden: int, sizes: Any, starts: Any, units: Any, rows: int, w: Any, a: Any) -> None:
    """Compute the activations, but for the last layer's bias and output.

    The products of the first layer are there already.
    """
    for place in range(len(sizes) - 1):
        inputs, outputs = sizes[place], sizes[place + 1]
        if place > 0:
            multiply(a, units[place + 1] * rows, rows, outputs, a, units[place] * rows, inputs, 1,
                     w, starts[place], inputs)  # fmt: skip
        if place < len(sizes) - 2:
            z = _view(a, units[place + 1] * rows, rows, outputs)
            bias = w[starts[place] + inputs * outputs : starts[place + 1]]
            _add_bias_and_activate(z, bias, hidden)


@inlined
def _backward(
    hidden: int, sizes: Any, starts: Any, units: Any, features: Any, chosen: Any, w: Any, a: Any,
    buffers: Any,
) -> None:  # fmt: skip
    """Compute the gradients from the last layer's errors, which stand where a^L did."""
    rows = len(chosen)
    errors, at = a, units[len(sizes) - 1] * rows
    for place in range(len(sizes) - 2, -1, -1):
        inputs, outputs = sizes[place], sizes[place + 1]
        if place > 0:  # BP4
            multiply(buffers.gradient, starts[place], inputs, outputs,
                     a, units[place] * rows, 1, inputs, errors, at, rows)  # fmt: skip
        else:
            gradient = buffers.gradient
            multiply_transposed_rows(features, chosen, inputs, outputs, a, errors, at, gradient)
        error = _view(errors, at, rows, outputs)
        bias = buffers.gradient[starts[place] + inputs * outputs : starts[place + 1]]
        bias[:] = 0
        for row in range(rows):  # BP3
            for k in range(outputs):
                bias[k] += error[row, k]
        if place > 0:  # BP2
            _multiply_back(rows, inputs, outputs, errors, at, w, starts[place],
                     buffers, units[place] * rows)  # fmt: skip
            hidden_error = _view(buffers.errors, units[place] * rows, rows, inputs)
            _times_derivative(hidden_error, _view(a, units[place] * rows, rows, inputs), hidden)
            errors, at = buffers.errors, units[place] * rows


@inlined
def _transpose(matrix: Any, start: int, rows: int, columns: int, out: Any) -> None:
    """Write the transpose of a matrix in a flat array to the front of another."""
    for row in range(rows):
        for column in range(columns):
            out[column * rows + row] = matrix[start + row * columns + column]


@inlined
def _multiply_back(
    rows: int, inputs: int, outputs: int, errors: Any, at: int, w: Any, w_at: int,
    buffers: Any, out_at: int,
) -> None:  # fmt: skip
    """Write ``δ wᵀ`` of a layer; the smaller one is transposed, the weights or the errors."""
    if inputs * outputs <= rows * (inputs + outputs):
        _transpose(w, w_at, inputs, outputs, buffers.transposed)
        multiply(buffers.errors, out_at, rows, inputs, errors, at, outputs, 1,
                 buffers.transposed, 0, outputs)  # fmt: skip
        return
    _transpose(errors, at, rows, outputs, buffers.transposed)
    multiply(buffers.product, 0, inputs, rows, w, w_at, outputs, 1, buffers.transposed, 0, outputs)
    for j in range(inputs):
        for row in range(rows):
            buffers.errors[out_at + row * inputs + j] = buffers.product[j * rows + row]


@inlined
def _update(
    settings: Any, sizes: Any, starts: Any, state: Any, g: Any, total: Any, squares: Any
) -> None:
    """Add the penalty, take the step, and note each layer's squared gradient."""
    number = g.dtype.type
    rate, momentum = number(settings.learning_rate), number(settings.momentum)
    state.steps[0] += 1
    if settings.adam:
        steps = state.steps[0]
        rate = number(settings.learning_rate * math.sqrt(1 - BETA_2**steps) / (1 - BETA_1**steps))
    for place in range(len(sizes) - 1):
        start, end = starts[place], starts[place + 1]
        if settings.alpha > 0:
            weights = start + sizes[place] * sizes[place + 1]
            alpha, l1_ratio = number(settings.alpha / total), number(settings.l1_ratio)
            _add_penalty(g[start:weights], state.vector[start:weights], alpha, l1_ratio)
        w, gradient, first = state.vector[start:end], g[start:end], state.first[start:end]
        if settings.adam:
            second = state.second[start:end]
            squares[place] += _descend_by_adam(w, first, second, gradient, rate)
        elif settings.momentum > 0:
            squares[place] += _descend_with_momentum(w, first, gradient, rate, momentum)
        else:
            squares[place] += _descend(w, gradient, rate)


@kernel
def _epoch(
    settings: Any, sizes: Any, samples: Any, order: Any, state: Any, sums: Any, squares: Any
) -> None:
    batch_size, layers = settings.batch_size, len(sizes) - 1
    units, starts = _starts(sizes, gathered_width(samples.features, sizes[0]))
    classes = sizes[layers]
    w = state.vector
    a = np.empty(units[layers + 1] * batch_size, w.dtype)
    buffers = Buffers(
        np.empty(units[layers + 1] * batch_size, w.dtype),
        np.empty(len(w), w.dtype),
        np.empty(len(w) - starts[1] + units[layers + 1] * batch_size, w.dtype),
        np.empty(units[layers + 1] * batch_size, w.dtype),
    )
    targets = np.empty((batch_size, classes), w.dtype)
    weights = np.empty(batch_size, w.dtype)
    for begin in range(0, len(order), batch_size):
        rows = min(batch_size, len(order) - begin)
        target, weight = targets[:rows], weights[:rows]
        chosen = order[begin : begin + rows]
        _gather(samples, chosen, target, weight)
        multiply_rows(samples.features, chosen, sizes[0], sizes[1], w, a)
        _forward(settings.hidden, sizes, starts, units, rows, w, a)
        scores = _view(a, units[layers] * rows, rows, classes)
        bias = w[len(w) - classes :]
        _output_errors(scores, bias, target, weight, settings.last, settings.multilabel, sums)
        _backward(settings.hidden, sizes, starts, units, samples.features, chosen, w, a, buffers)
        _update(settings, sizes, starts, state, buffers.gradient, weight.sum(), squares)
