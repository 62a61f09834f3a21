"""A network of any depth, as scikit-learn knows classifiers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from bridle import checks, probabilities
from bridle.estimators import model_file, network_file
from bridle.estimators import network_settings as settings
from bridle.estimators import network_targets as targets
from bridle.estimators.array_api import (
    answering_where_the_features_are,
    as_numpy,
    fitting_where_the_features_are,
)
from bridle.estimators.callbacks import CallbackSupport, Tasks, with_callbacks
from bridle.estimators.classifier_file import Description, SavedClassifier, Tensors
from bridle.fit.problem.targets import ClassWeight, FitTarget
from bridle.networks import backpropagation, parameters, samples, training
from bridle.networks.backpropagation import Layer
from bridle.networks.epoch import Samples, State, new_state
from bridle.networks.units import Standardize, Units, chosen
from bridle.progress import Epoch, Listener, Reporter
from bridle.rows import Features
from bridle.tensors import on_host

Array = npt.NDArray[Any]
Targets = Any  # labels or a matrix, dense or sparse
Validation = tuple[Features, Targets]

_PREDICTED_ROWS = 1024  # at a time


class NetworkClassifier(CallbackSupport, SavedClassifier):  # type: ignore[misc]  # untyped
    r"""A network of fully connected layers, trained by backpropagation in batches.

    Minimises, over the weights ``w`` and biases of all layers,

        (Σ_i s_i C_i + alpha · ((1 − l1_ratio) ½ Σ w² + l1_ratio Σ |w|)) / Σ_i s_i

    where ``C_i`` is the cost of a sample and ``s_i`` its weight, both sums over a batch. An epoch
    runs in compiled code.

    Parameters
    ----------
    hidden_layer_sizes : sequence of int
        Units in each hidden layer; empty for none.
    activation : {"sigmoid", "tanh", "relu", "identity"}
        Of the hidden layers.
    output : {"softmax", "sigmoid"}
        Of the last layer: one distribution, or a yes or no for each class.
    cost : {"log_likelihood", "cross_entropy", "quadratic"}
        ``−ln a_y`` (softmax); ``−Σ [y ln a + (1 − y) ln(1 − a)]`` (sigmoid); ``½ Σ (a − y)²``
        (both). `bridle.networks.costs` tells what each sends back.
    alpha, l1_ratio : float
        Strength of the penalty, and how much of it is L1; ``alpha`` as in `MLPClassifier`.
    learning_rate : float
        Step per gradient of a batch's mean cost.
    batch_size : int
        Samples in a batch, drawn anew without replacement in each epoch; the last one may be
        smaller.
    max_epochs : int
        How often the samples are gone over; each call of `partial_fit` goes over its own once.
    momentum : float
        What is kept of the last step in the next, in [0, 1); of ``solver="sgd"`` only.
    solver : {"sgd", "adam"}
        Gradient descent, or Adam with its authors' constants.
    init : {"scaled", "standard_normal"}
        Weights from N(0, 1 / inputs) and biases 0, or both from N(0, 1).
    standardize : bool, float or (shift, scale)
        Learn from features of about unit size, and give the weights for features as they are.
        True: of mean 0 and deviation 1 (sparse ones are not centred, and have root mean square 1);
        a number: divided by it, as by 255 for pixels; a pair: ``(x − shift) / scale``, of all
        columns alike or each its own. The penalty is of the weights that are learnt.
    validation_fraction : float
        The share of each class that is held out in `fit` to be judged after each epoch.
    early_stopping : bool or int
        End when the validation cost has found no new low for 10 (or so many) epochs, at the
        weights of the lowest.
    tol : float or None
        End when the mean training cost has not fallen by more than this below its lowest for 10
        epochs, as `MLPClassifier` does; a `ConvergenceWarning` where `max_epochs` come first. None
        goes over the samples `max_epochs` times.
    warm_start : bool
        Begin at the last fit's weights.
    class_weight : dict, "balanced" or None
        Factors on the sample weights by class, as in scikit-learn.
    multilabel : bool or None
        Whether ``y`` holds several labels a sample, a matrix of 0 or 1 for each class; sigmoid
        outputs only. None: where the outputs are sigmoids and ``y`` is such a matrix, as in
        scikit-learn. False takes its rows for distributions.
    random_state : int, RandomState or None
        Decides the weights to start from, the validation samples and the batches.
    verbose : int
        Above 0, a line per epoch.

    Attributes
    ----------
    classes_ : ndarray (K,)
        The labels, sorted; ``0 … K−1`` when fitted on probabilities or several labels a sample.
    multilabel_ : bool
        Whether ``y`` held several labels a sample.
    coefs_, intercepts_ : list of ndarray
        Weights (n_in, n_out) and biases (n_out,) of each layer, in the dtype of the features; in
        float64 where `standardize` gives other units.
    history_ : list of Epoch
        Cost, accuracy, gradient norms, mean σ′ of the outputs and seconds of each epoch.
    n_iter_, n_features_in_, feature_names_in_
        As in scikit-learn; ``n_iter_`` counts epochs.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = NetworkClassifier((30,), max_epochs=20, random_state=0).fit(X / 16, y)
    >>> model.score(X / 16, y) > 0.97
    True
    >>> [len(each) for each in model.coefs_], len(model.history_)
    ([64, 30], 20)

    References
    ----------
    M. A. Nielsen, *Neural Networks and Deep Learning*, 2015, chapters 1 to 3. D. Kingma, J. Ba,
    *Adam: a method for stochastic optimization*, 2015.
    """

    _reference = ("networks", "bridle")
    _format = model_file.NETWORK_CLASSIFIER
    _kind = "network"

    coefs_: list[Array]
    intercepts_: list[Array]
    history_: list[Epoch]
    multilabel_: bool
    n_iter_: int
    _random: np.random.RandomState
    _state: State

    def __init__(
        self,
        hidden_layer_sizes: Sequence[int] = (30,),
        *,
        activation: str = "sigmoid",
        output: str = "softmax",
        cost: str = "log_likelihood",
        alpha: float = 0.0,
        l1_ratio: float = 0.0,
        learning_rate: float = 0.5,
        batch_size: int = 32,
        max_epochs: int = 100,
        momentum: float = 0.0,
        solver: str = "sgd",
        init: str = "scaled",
        standardize: Standardize = False,
        validation_fraction: float = 0.0,
        early_stopping: bool | int = False,
        tol: float | None = None,
        warm_start: bool = False,
        class_weight: ClassWeight = None,
        multilabel: bool | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.output = output
        self.cost = cost
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.momentum = momentum
        self.solver = solver
        self.init = init
        self.standardize = standardize
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.tol = tol
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.multilabel = multilabel
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    @fitting_where_the_features_are
    def fit(
        self,
        X: Features,
        y: Targets,
        sample_weight: npt.ArrayLike | None = None,
        *,
        validation: Validation | None = None,
        progress: Listener | None = None,
    ) -> Self:
        """Train for `max_epochs`, or until early stopping or `tol` end it.

        Parameters
        ----------
        X : array_like, sparse array or Rows, (N, D)
            Features of any real dtype, best of about unit size: see `standardize`. Sparse ones are
            never made dense.
        y : array_like, (N,) or (N, K), or sparse array, (N, K)
            Labels, a distribution over K classes per sample, or several labels a sample: 0 or 1
            for each class, for sigmoid outputs (see `multilabel`).
        sample_weight : array_like, (N,), optional
            In a batch that holds all samples, weight k is the same as k copies.
        validation : (X, y), optional
            Samples to judge after each epoch, in place of a share of the first.
        progress : callable, optional
            Called after each epoch with a `bridle.progress.Progress`.

        Raises
        ------
        InputError
            A cost without meaning for the output, features that are not finite, fewer than two
            classes, several labels a sample for softmax, a learning rate too high, …
        """
        reporter = Reporter(progress, verbose=self.verbose)
        tasks = Tasks(self, "epoch", X, y, sample_weight)
        plan = settings.plan(self, has_validation=validation is not None)
        features = self._features(X, reset=True)
        y, sample_weight = on_host(y), on_host(sample_weight)
        multilabel = targets.is_multilabel(self, y)
        plan = plan.of_targets(multilabel=multilabel)
        found = targets.whole_target(self, y, sample_weight, len(features), multilabel=multilabel)
        values = samples.numbers(features)
        random = check_random_state(self.random_state)
        sizes = (values.shape[1], *plan.hidden_layer_sizes, len(found.classes))
        units = chosen(self.standardize, values)
        state = self._start(found.classes, sizes, random, values.dtype, units)
        learnt = _samples(values, found, units)
        judged = None
        if validation is not None:
            judged = self._validation(validation, found.classes, values.dtype, multilabel, units)
        elif self.validation_fraction > 0:
            learnt, judged = samples.split(learnt, self.validation_fraction, random)
        work = plan.training(sizes, self.max_epochs, len(learnt.weight))
        start = training.judge(work, learnt, state.vector)[0]

        def fitted() -> dict[str, Any]:
            return {"multilabel_": multilabel} | _answering(found.classes, sizes, state, units)

        wants_end = partial(tasks.next, fitted) if tasks.are_heard else None
        history = training.train(work, learnt, judged, state, random, reporter, wants_end)
        training.warn_of_divergence(work, learnt, start, history[-1].cost)
        self._random, self.history_, self.multilabel_ = random, history, multilabel
        self._keep(found.classes, sizes, state, units)
        tasks.end(dict)  # nothing to add: the estimator is fitted
        return self

    @fitting_where_the_features_are
    def partial_fit(
        self,
        X: Features,
        y: Targets,
        classes: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        *,
        progress: Listener | None = None,
    ) -> Self:
        """Go over some samples once, from where the last call or fit ended.

        Parameters
        ----------
        X, y, sample_weight, progress
            As in `fit`.
        classes : array_like, (K,), optional
            All labels there will be; needed in the first call unless ``y`` holds all of them. The
            first call also decides whether samples have several labels.

        Raises
        ------
        InputError
            ``standardize=True``, which needs all samples at once; and as `fit`.
        """
        reporter = Reporter(progress, verbose=self.verbose)
        plan = settings.plan(self, has_validation=True)
        first = not hasattr(self, "coefs_")
        features = self._features(X, reset=first)
        y, sample_weight = on_host(y), on_host(sample_weight)
        multilabel = targets.is_multilabel(self, y) if first else self.multilabel_
        plan = plan.of_targets(multilabel=multilabel)
        if first and classes is None:
            classes = targets.classes_of(y)
        known = self.classes_ if classes is None else np.unique(np.asarray(classes))
        if not first and not np.array_equal(known, self.classes_):
            raise checks.InputError(
                "classes: expected those of the first call, or None",
                argument="classes",
                expected="those of the first call, or None",
                found=str(known.tolist()),
            )
        values = samples.numbers(features)
        if not first:
            values = values.astype(self._dtype(), copy=False)
        units = chosen(settings.standardize_in_parts(self), values)
        found = targets.partial_target(
            self, y, sample_weight, known, len(features), multilabel=multilabel
        )
        learnt = _samples(values, found, units)
        if not hasattr(self, "_random"):
            self._random = check_random_state(self.random_state)
        sizes = (values.shape[1], *plan.hidden_layer_sizes, len(known))
        if first:
            vector = parameters.initial(sizes, self.init, self._random, values.dtype)
            state, self.history_ = new_state(vector), []
        else:
            state = self._continued(sizes, units)
        training_plan = plan.training(
            sizes, 1, len(learnt.weight), len(self.history_) + 1, to_the_end=True
        )
        self.history_ += training.train(training_plan, learnt, None, state, self._random, reporter)
        self.multilabel_ = multilabel
        self._keep(known, sizes, state, units)
        return self

    @answering_where_the_features_are
    def predict(self, X: Features) -> Array:
        """Return each sample's class of the highest output; ties go to the first.

        For several labels a sample, 1 where the probability is above ½, else 0: integers (N, K).
        """
        check_is_fitted(self)
        if self.multilabel_:
            return np.asarray((self._scores(X) > 0).astype(np.int64))
        return super().predict(X)

    @answering_where_the_features_are
    def predict_proba(self, X: Features) -> Array:
        """Return the class probabilities (N, K); sigmoid outputs are divided by their sum.

        For several labels a sample they are not: each is the probability of its own class.
        """
        check_is_fitted(self)
        if self.multilabel_:
            return np.asarray(probabilities.sigmoid(self._scores(X)))
        return super().predict_proba(X)

    @answering_where_the_features_are
    def predict_log_proba(self, X: Features) -> Array:
        """Return the logarithms of the class probabilities (N, K), right far below underflow."""
        check_is_fitted(self)
        if self.multilabel_:
            return self._logarithms(self._scores(X))
        return super().predict_log_proba(X)

    def _scores(self, X: Features) -> Array:
        check_is_fitted(self)
        net = backpropagation.network(self.activation, self.output, self.cost)
        features = self._features(X, reset=False)
        fitted = self._layers()
        dtype = np.result_type(features.dtype, fitted[0].weight.dtype)
        layers = [
            Layer(weight.astype(dtype, copy=False), bias.astype(dtype, copy=False))
            for weight, bias in fitted
        ]
        scores = np.empty((len(features), len(self.classes_)), dtype)
        for rows, block in features.blocks(_PREDICTED_ROWS, dtype):
            checks.finite_rows(block, "X", rows.start)
            scores[rows] = backpropagation.forward(net, layers, block).scores
        return scores

    def _logarithms(self, scores: Array) -> Array:
        # The softmax of ln a is a / Σ a, and never 0 / 0.
        return scores if self.output == "softmax" else np.asarray(probabilities.log_sigmoid(scores))

    def _contents(self) -> tuple[Description, Tensors]:
        return network_file.contents(self)

    def _restore(self, description: Description, tensors: Tensors) -> None:
        network_file.restore(self, description, tensors)

    def _fits_together(self) -> bool:
        return network_file.fits_together(self)

    def _plain_parameters(self) -> Description:
        return network_file.plain_parameters(super()._plain_parameters())

    @classmethod
    def _parameters(cls, plain: Description) -> dict[str, Any]:
        parameters = super()._parameters(plain)
        return {**parameters, "hidden_layer_sizes": tuple(parameters["hidden_layer_sizes"])}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self.output == "sigmoid" and self.multilabel is not False
        return tags

    def _validation(
        self,
        given: Validation,
        classes: Array,
        dtype: np.dtype[Any],
        multilabel: bool,
        units: Units | None,
    ) -> Samples:
        X, y = given[0], on_host(given[1])
        features = self._features(X, reset=False)
        values = samples.numbers(features, "validation").astype(dtype)
        found = targets.validation_target(self, y, classes, len(features), multilabel=multilabel)
        return _samples(values, found, units)

    def _start(
        self,
        classes: Array,
        sizes: tuple[int, ...],
        random: np.random.RandomState,
        dtype: np.dtype[Any],
        units: Units | None,
    ) -> State:
        if self.warm_start and self._fits(classes, sizes):
            return new_state(self._vector(units).astype(dtype))
        return new_state(parameters.initial(sizes, self.init, random, dtype))

    def _fits(self, classes: Array, sizes: tuple[int, ...]) -> bool:
        return (
            hasattr(self, "coefs_")
            and np.array_equal(self.classes_, classes)
            and tuple(len(each) for each in self.coefs_) == sizes[:-1]
        )

    def _continued(self, sizes: tuple[int, ...], units: Units | None) -> State:
        if not self._fits(self.classes_, sizes):
            raise checks.InputError(
                "hidden_layer_sizes: partial_fit expected those of the weights there are",
                argument="hidden_layer_sizes",
                expected="those of the weights there are",
                found=repr(self.hidden_layer_sizes),
            )
        vector = self._vector(units).astype(self._dtype(), copy=False)
        if not hasattr(self, "_state"):
            return new_state(vector)
        return self._state._replace(vector=vector)

    def _dtype(self) -> np.dtype[Any]:
        """Return what the weights are learnt in."""
        known = self._state.vector if hasattr(self, "_state") else self._layers()[0].weight
        return known.dtype

    def _layers(self) -> list[Layer]:
        """Return what was fitted, on the host."""
        weights, biases = map(as_numpy, self.coefs_), map(as_numpy, self.intercepts_)
        return [Layer(*each) for each in zip(weights, biases, strict=True)]

    @property
    def _fitted_array(self) -> Any:
        return self.coefs_[0]

    def _vector(self, units: Units | None) -> Array:
        layers = self._layers()
        if units is not None:
            layers[0] = Layer(*units.out_of_layer(*layers[0]))
        return np.concatenate([part.ravel() for layer in layers for part in layer])

    def _keep(
        self, classes: Array, sizes: tuple[int, ...], state: State, units: Units | None
    ) -> None:
        for name, value in _answering(classes, sizes, state, units).items():
            setattr(self, name, value)
        self._state, self.n_iter_ = state, len(self.history_)


def _answering(
    classes: Array, sizes: tuple[int, ...], state: State, units: Units | None
) -> dict[str, Any]:
    """Return the attributes that answers are made of."""
    layers = parameters.layers(state.vector.copy(), sizes)
    if units is not None:
        layers = [Layer(*(part.astype(np.float64) for part in layer)) for layer in layers]
        layers[0] = Layer(*units.into_layer(*layers[0]))
    return {
        "classes_": classes,
        "coefs_": [layer.weight for layer in layers],
        "intercepts_": [layer.bias for layer in layers],
    }


def _samples(values: Features, found: FitTarget, units: Units | None) -> Samples:
    if units is not None:
        values = units.of(values)
    return samples.from_arrays(values, found.target, found.sample_weight, len(found.classes))
