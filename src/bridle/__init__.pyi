"""What type checkers are told of the public names: arrays in, arrays out; tensors in, tensors out.

`bridle.dispatch` does what is stated here. An overload for tensors has the parameters of the
function in `bridle.torch`, one for arrays those of the function of the walk; ``tests/test_face.py``
holds them together.
"""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar, overload

from numpy.typing import ArrayLike, DTypeLike, NDArray
from torch import dtype as TorchDType  # noqa: N812 — its own name is the parameter's
from torch.distributed import ProcessGroup
from torch.distributed.device_mesh import DeviceMesh

from bridle import calibrate as calibrate

# The rooms, each of which is imported when it is first asked for.
from bridle import checks as checks
from bridle import data as data
from bridle import estimators as estimators
from bridle import experiments as experiments
from bridle import fit as fit
from bridle import information as information
from bridle import judge as judge
from bridle import linear as linear
from bridle import losses as losses
from bridle import networks as networks
from bridle import probabilities as probabilities
from bridle import progress as progress
from bridle import report as report
from bridle import rows as rows
from bridle import torch as torch
from bridle.calibrate import load as load
from bridle.checks import InputError as InputError
from bridle.checks import MissingExtraError as MissingExtraError
from bridle.checks import OnEmpty, Reduction, Unit
from bridle.checks import TargetRangeError as TargetRangeError
from bridle.dispatch import TensorLike
from bridle.estimators import NetworkClassifier as NetworkClassifier
from bridle.estimators import SoftmaxPath as SoftmaxPath
from bridle.estimators import SoftmaxRegression as SoftmaxRegression
from bridle.estimators import SoftmaxRegressionCV as SoftmaxRegressionCV
from bridle.estimators import softmax_regression_path as softmax_regression_path
from bridle.fit import FitReport as FitReport
from bridle.judge import Evaluation as Evaluation
from bridle.judge import compare_models as compare_models
from bridle.judge import evaluate as evaluate
from bridle.judge import label_errors as label_errors
from bridle.linear import linear_cross_entropy_gradient as linear_cross_entropy_gradient
from bridle.losses import CrossEntropyOutputs as CrossEntropyOutputs
from bridle.losses import binary_cross_entropy_gradient as binary_cross_entropy_gradient
from bridle.losses import cross_entropy_gradient as cross_entropy_gradient
from bridle.losses import focal_loss_gradient as focal_loss_gradient
from bridle.losses import quadratic_loss_gradient as quadratic_loss_gradient

__version__: str

__all__ = [
    "CrossEntropyOutputs",
    "Evaluation",
    "FitReport",
    "InputError",
    "MissingExtraError",
    "NetworkClassifier",
    "SoftmaxPath",
    "SoftmaxRegression",
    "SoftmaxRegressionCV",
    "TargetRangeError",
    "binary_cross_entropy",
    "binary_cross_entropy_gradient",
    "compare_models",
    "cross_entropy",
    "cross_entropy_gradient",
    "cross_entropy_of",
    "entropy",
    "evaluate",
    "focal_loss",
    "focal_loss_gradient",
    "kl_divergence",
    "label_errors",
    "likelihood",
    "linear_cross_entropy",
    "linear_cross_entropy_gradient",
    "load",
    "log_likelihood",
    "log_sigmoid",
    "log_softmax",
    "logsumexp",
    "nll",
    "perplexity",
    "predicted_class",
    "quadratic_loss",
    "quadratic_loss_gradient",
    "sigmoid",
    "softmax",
    "softmax_regression_path",
    "surprisal",
]

T = TypeVar("T")
Array = NDArray[Any]
Axis = int | tuple[int, ...] | None
# What stands beside a tensor: another, or what becomes one on its device.
Beside = TensorLike[Any] | ArrayLike

@overload
def binary_cross_entropy(
    input: TensorLike[T],
    target: Beside,
    weight: Beside | None = None,
    *,
    reduction: Reduction = "mean",
    pos_weight: Beside | None = None,
    check: bool | None = None,
) -> T: ...
@overload
def binary_cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    reduction: Reduction = "mean",
    pos_weight: ArrayLike | None = None,
    check: bool = True,
) -> Array: ...
@overload
def cross_entropy(
    input: TensorLike[T],
    target: Beside | tuple[Beside, Beside],
    weight: Beside | None = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: Beside | None = None,
    normalizer: Beside | ProcessGroup | DeviceMesh | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: OnEmpty = "nan",
    inplace: bool = False,
    outputs: None = None,
    axis: int | None = None,
    dim: int | None = None,
    check: bool | None = None,
    group: ProcessGroup | DeviceMesh | None = None,
    classes: int | None = None,
) -> T: ...
@overload
def cross_entropy(
    input: TensorLike[T],
    target: Beside | tuple[Beside, Beside],
    weight: Beside | None = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: Beside | None = None,
    normalizer: Beside | ProcessGroup | DeviceMesh | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: OnEmpty = "nan",
    inplace: bool = False,
    outputs: Sequence[str],
    axis: int | None = None,
    dim: int | None = None,
    check: bool | None = None,
    group: ProcessGroup | DeviceMesh | None = None,
    classes: int | None = None,
) -> CrossEntropyOutputs: ...
@overload
def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    normalizer: float | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: OnEmpty = "nan",
    outputs: None = None,
    axis: int | None = None,
    dim: int | None = None,
    check: bool = True,
) -> Array: ...
@overload
def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    normalizer: float | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: OnEmpty = "nan",
    outputs: Sequence[str],
    axis: int | None = None,
    dim: int | None = None,
    check: bool = True,
) -> CrossEntropyOutputs: ...
@overload
def cross_entropy_of(
    p: TensorLike[T],
    q: Beside,
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: Unit = "nats",
    log_p: bool = False,
    log_q: bool = False,
    mask: Beside | None = None,
    check: bool | None = None,
) -> T: ...
@overload
def cross_entropy_of(
    p: ArrayLike,
    q: ArrayLike,
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: Unit = "nats",
    log_p: bool = False,
    log_q: bool = False,
    mask: ArrayLike | None = None,
    check: bool = True,
) -> Array: ...
@overload
def entropy(
    probabilities: TensorLike[T],
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: Unit = "nats",
    check: bool | None = None,
) -> T: ...
@overload
def entropy(
    probabilities: ArrayLike,
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: Unit = "nats",
    check: bool = True,
) -> Array: ...
@overload
def focal_loss(
    input: TensorLike[T],
    target: Beside,
    weight: Beside | None = None,
    *,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    sample_weight: Beside | None = None,
    normalizer: Beside | ProcessGroup | DeviceMesh | None = None,
    on_empty: OnEmpty = "nan",
    axis: int | None = None,
    dim: int | None = None,
    check: bool | None = None,
) -> T: ...
@overload
def focal_loss(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    gamma: float = 2.0,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    sample_weight: ArrayLike | None = None,
    normalizer: float | None = None,
    on_empty: OnEmpty = "nan",
    axis: int | None = None,
    dim: int | None = None,
    check: bool = True,
) -> Array: ...
@overload
def kl_divergence(
    p: TensorLike[T],
    q: Beside,
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: Unit = "nats",
    log_p: bool = False,
    log_q: bool = False,
    mask: Beside | None = None,
    check: bool | None = None,
) -> T: ...
@overload
def kl_divergence(
    p: ArrayLike,
    q: ArrayLike,
    *,
    axis: int = -1,
    dim: int | None = None,
    unit: Unit = "nats",
    log_p: bool = False,
    log_q: bool = False,
    mask: ArrayLike | None = None,
    check: bool = True,
) -> Array: ...
@overload
def likelihood(probabilities: TensorLike[T], target: Beside | tuple[Beside, Beside]) -> T: ...
@overload
def likelihood(probabilities: ArrayLike, target: ArrayLike) -> Array: ...
@overload
def linear_cross_entropy(
    features: TensorLike[T],
    weight: Beside,
    target: Beside | tuple[Beside, Beside],
    *,
    bias: Beside | None = None,
    class_weight: Beside | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: Beside | None = None,
    normalizer: Beside | ProcessGroup | DeviceMesh | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: OnEmpty = "nan",
    outputs: None = None,
    memory_budget: int | None = None,
    gradient_filter: float | None = None,
    unbiased: bool = True,
    check: bool | None = None,
    group: ProcessGroup | DeviceMesh | None = None,
    classes: int | None = None,
    shift: int = 0,
) -> T: ...
@overload
def linear_cross_entropy(
    features: TensorLike[T],
    weight: Beside,
    target: Beside | tuple[Beside, Beside],
    *,
    bias: Beside | None = None,
    class_weight: Beside | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: Beside | None = None,
    normalizer: Beside | ProcessGroup | DeviceMesh | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: OnEmpty = "nan",
    outputs: Sequence[str],
    memory_budget: int | None = None,
    gradient_filter: float | None = None,
    unbiased: bool = True,
    check: bool | None = None,
    group: ProcessGroup | DeviceMesh | None = None,
    classes: int | None = None,
    shift: int = 0,
) -> CrossEntropyOutputs: ...

# By the names of `torch.nn.functional.linear_cross_entropy`.
@overload
def linear_cross_entropy(
    input: TensorLike[T],
    linear_weight: Beside,
    target: Beside | tuple[Beside, Beside],
    *,
    linear_bias: Beside | None = None,
    weight: Beside | None = None,
    reduction: Reduction = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: object = None,
) -> T: ...
@overload
def linear_cross_entropy(
    features: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike | tuple[ArrayLike, ArrayLike],
    *,
    bias: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    normalizer: float | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: OnEmpty = "nan",
    outputs: None = None,
    memory_budget: int | None = None,
    check: bool = True,
    shift: int = 0,
) -> Array: ...
@overload
def linear_cross_entropy(
    features: ArrayLike,
    weight: ArrayLike,
    target: ArrayLike | tuple[ArrayLike, ArrayLike],
    *,
    bias: ArrayLike | None = None,
    class_weight: ArrayLike | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    normalizer: float | None = None,
    z_loss: float = 0.0,
    softcap: float = 0.0,
    temperature: float = 1.0,
    on_empty: OnEmpty = "nan",
    outputs: Sequence[str],
    memory_budget: int | None = None,
    check: bool = True,
    shift: int = 0,
) -> CrossEntropyOutputs: ...
@overload
def log_likelihood(probabilities: TensorLike[T], target: Beside | tuple[Beside, Beside]) -> T: ...
@overload
def log_likelihood(probabilities: ArrayLike, target: ArrayLike) -> Array: ...
@overload
def log_sigmoid(scores: TensorLike[T]) -> T: ...
@overload
def log_sigmoid(scores: ArrayLike) -> Array: ...
@overload
def log_softmax(
    scores: TensorLike[T],
    *,
    temperature: float = 1.0,
    axis: Axis = -1,
    dim: Axis = None,
    dtype: TorchDType | None = None,
) -> T: ...
@overload
def log_softmax(
    scores: ArrayLike,
    *,
    temperature: float = 1.0,
    axis: Axis = -1,
    dim: Axis = None,
    dtype: DTypeLike | None = None,
) -> Array: ...
@overload
def logsumexp(
    scores: TensorLike[T],
    *,
    axis: Axis = -1,
    dim: Axis = None,
    keepdims: bool = False,
    b: Beside | None = None,
    return_sign: Literal[False] = False,
) -> T: ...
@overload
def logsumexp(
    scores: TensorLike[T],
    *,
    axis: Axis = -1,
    dim: Axis = None,
    keepdims: bool = False,
    b: Beside | None = None,
    return_sign: Literal[True],
) -> tuple[T, T]: ...
@overload
def logsumexp(
    scores: TensorLike[T],
    *,
    axis: Axis = -1,
    dim: Axis = None,
    keepdims: bool = False,
    b: Beside | None = None,
    return_sign: bool,
) -> T | tuple[T, T]: ...
@overload
def logsumexp(
    scores: ArrayLike,
    *,
    axis: Axis = -1,
    dim: Axis = None,
    keepdims: bool = False,
    b: ArrayLike | None = None,
    return_sign: Literal[False] = False,
) -> Array: ...
@overload
def logsumexp(
    scores: ArrayLike,
    *,
    axis: Axis = -1,
    dim: Axis = None,
    keepdims: bool = False,
    b: ArrayLike | None = None,
    return_sign: Literal[True],
) -> tuple[Array, Array]: ...
@overload
def logsumexp(
    scores: ArrayLike,
    *,
    axis: Axis = -1,
    dim: Axis = None,
    keepdims: bool = False,
    b: ArrayLike | None = None,
    return_sign: bool,
) -> Array | tuple[Array, Array]: ...
@overload
def nll(
    probabilities: TensorLike[T],
    target: Beside | tuple[Beside, Beside],
    weight: Beside | None = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: Beside | None = None,
    normalizer: Beside | ProcessGroup | DeviceMesh | None = None,
    on_empty: OnEmpty = "nan",
    axis: int | None = None,
    dim: int | None = None,
    check: bool | None = None,
) -> T: ...
@overload
def nll(
    probabilities: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    *,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
    sample_weight: ArrayLike | None = None,
    normalizer: float | None = None,
    on_empty: OnEmpty = "nan",
    axis: int | None = None,
    dim: int | None = None,
    check: bool = True,
) -> Array: ...
@overload
def perplexity(cross_entropy: TensorLike[T], *, unit: Unit = "nats") -> T: ...
@overload
def perplexity(cross_entropy: ArrayLike, *, unit: Unit = "nats") -> Array: ...
@overload
def predicted_class(scores: TensorLike[T], *, axis: int = -1, dim: int | None = None) -> T: ...
@overload
def predicted_class(scores: ArrayLike, *, axis: int = -1, dim: int | None = None) -> Array: ...
@overload
def quadratic_loss(
    output: TensorLike[T], target: Beside, *, reduction: Reduction = "mean"
) -> T: ...
@overload
def quadratic_loss(
    output: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Array: ...
@overload
def sigmoid(scores: TensorLike[T]) -> T: ...
@overload
def sigmoid(scores: ArrayLike) -> Array: ...
@overload
def softmax(
    scores: TensorLike[T],
    *,
    temperature: float = 1.0,
    axis: Axis = -1,
    dim: Axis = None,
    dtype: TorchDType | None = None,
) -> T: ...
@overload
def softmax(
    scores: ArrayLike,
    *,
    temperature: float = 1.0,
    axis: Axis = -1,
    dim: Axis = None,
    dtype: DTypeLike | None = None,
) -> Array: ...
@overload
def surprisal(probability: TensorLike[T], *, unit: Unit = "nats") -> T: ...
@overload
def surprisal(probability: ArrayLike, *, unit: Unit = "nats") -> Array: ...
