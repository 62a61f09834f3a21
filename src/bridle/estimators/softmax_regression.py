"""The softmax classifier at its exact optimum, as scikit-learn knows classifiers."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from bridle import checks, files
from bridle.estimators import cluster, model_file
from bridle.estimators.array_api import as_numpy, fitting_where_the_features_are
from bridle.estimators.callbacks import CallbackSupport, Tasks, with_callbacks
from bridle.estimators.checkpoint import Checkpoint
from bridle.estimators.classifier_file import Description, SavedClassifier, Tensors
from bridle.estimators.problem import OwnRows, Problem, penalty_kind
from bridle.estimators.shares import Places, RankPlaces, Settings, rows_in, solved_over
from bridle.estimators.softmax_classifier import SoftmaxClassifier
from bridle.fit.problem.objective import Evaluation, Objective
from bridle.fit.problem.targets import ClassWeight
from bridle.fit.report import FitReport
from bridle.fit.solvers import watch
from bridle.fit.solvers.solve import Task, solve
from bridle.fit.solvers.sparse_newton import most_entries
from bridle.progress import Listener, Reporter, shown_gap
from bridle.ranks import DEFAULT_TIMEOUT, ranks_of
from bridle.rows import Features
from bridle.tensors import on_host

Array = npt.NDArray[Any]


class Optimum(NamedTuple):
    """What a fit has found, in the classifier's shapes."""

    coef: Array
    intercept: Array
    iterations: int
    report: FitReport
    debiased: FitReport | None = None


class SoftmaxRegression(CallbackSupport, SavedClassifier, SoftmaxClassifier):  # type: ignore[misc]  # untyped
    r"""Softmax (multinomial logistic) regression, fitted to its proven optimum.

    Minimises, over weights ``W`` (D, K) and an unpenalised intercept ``b`` (K,),

        Σ_i s_i · (−log softmax(x_i W + b)[y_i]) / Σ_i s_i  +  ‖W‖² / (2 C Σ_i s_i)

    which is the objective of scikit-learn's `LogisticRegression` with an L2 penalty, up to the
    constant factor. Two classes have, as there, one vector of weights ``w``, the difference of
    theirs, and its penalty ``‖w‖² / (2 C Σ_i s_i)``; `symmetric` keeps both.

    A class whose samples all have the weight 0 is kept in ``classes_`` and left out of the fit: its
    intercept is −∞, as the optimum has it, its probability 0, and a warning says so.

    With `l1_ratio` ρ above 0 the penalty is, as there, the elastic net's,

        Σ_j f_j (ρ N(W_j) + (1 − ρ) ‖W_j‖² / 2) / (C Σ_i s_i),   N(W_j) = Σ_k |W_jk|

    which makes weights exactly 0, with the same proof of the optimum. With ``group="features"`` it
    is ``N(W_j) = ‖W_j‖``: a feature is in or out for all classes at once.

    Parameters
    ----------
    C : float
        Inverse strength of the penalty, above 0; ``numpy.inf`` for none.
    l1_ratio : float
        The share ρ of L1 in the penalty, in [0, 1].
    group : "features" or None
        What is 0 together: nothing, or a feature's weights for all classes. With `l1_ratio` above
        0.
    penalty_weight : array_like (D,), optional
        What each feature's part of the penalty counts, f; 1 for all by default. 0 leaves a feature
        free: the proof then holds among all weights that are no more than ten times as large as
        its own, or as it needs to move a score by ten.
    debias : bool
        With `l1_ratio` above 0: whether the weights that are not 0 are fitted once more without any
        penalty, which has made them smaller. The first fit's report is then still `fit_report_`.
    fit_intercept : bool
        Whether there is a ``b``.
    class_weight : dict, "balanced" or None
        Factors on the sample weights by class, as in scikit-learn.
    tol : float
        The fit ends when the objective is proven to be within ``tol`` of the optimum, relative to
        it.
    max_iter : int
        Steps after which it gives up, with a warning.
    warm_start : bool
        Begin at the last fit's solution.
    standardize : bool or float
        True penalises the weights of features divided by their standard deviation, as if the data
        had gone through `StandardScaler`; a number, those of features divided by it (255 for
        pixels in bytes). Nothing is copied, and the fitted weights are those of the features as
        given.
    symmetric : bool
        Whether two classes have two vectors of weights, and the penalty is on both: the optimum for
        some ``C`` is then that of one vector for ``2 C``.
    memory_budget : int, optional
        Bytes that the fit may take beside the features, as they are stored, and some ten copies of
        its weights; by default a quarter of what the features take, between 32 and 256 MB, and on
        a device of their own 4 GB. The optimum is the same. With `l1_ratio` above 0 at least some
        32 MB are taken, of sparse features 300, for the curvature between the weights at work.
    device : str or torch.device, optional
        Where the products of a dense fit are made: None where the features lie; else a device of
        PyTorch (``"cuda"``), to which features on the host are copied in their own dtype or, if
        there is no room for them on a CUDA device, streamed in each pass; `fit_report_` says so.
        `Rows.streamed_to` tells it to stream. Answers are made on the host; where scikit-learn's
        ``array_api_dispatch`` is on, they and what was fitted go where the features are.
    verbose : int
        Above 0, a line per step.

    Attributes
    ----------
    classes_ : ndarray (K,)
        The labels, sorted; ``0 … K−1`` when fitted on probabilities.
    coef_, intercept_ : ndarray (K, D), (K,)
        ``W.T`` and ``b``, in float64, one row for each class; for two classes, unless `symmetric`,
        (1, D) and (1,): the second's less the first's.
    fit_report_ : FitReport
        Objective, proven gap, passes, seconds, why it stopped.
    debiased_report_ : FitReport
        With `debias`, the same of the fit that gave the weights. It is not proven: without a
        penalty there is no dual point.
    n_iter_, n_features_in_, feature_names_in_
        As in scikit-learn.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> X, y = load_digits(return_X_y=True)
    >>> model = SoftmaxRegression(C=0.1, standardize=True).fit(X, y)
    >>> model.fit_report_.proven, model.fit_report_.relative_gap <= 1e-6
    (True, True)
    >>> model.score(X, y) > 0.98
    True

    References
    ----------
    T. Hastie, R. Tibshirani, J. Friedman, *The Elements of Statistical Learning*, 2009, section
    4.4.
    """

    _format = model_file.SOFTMAX_REGRESSION

    fit_report_: FitReport
    debiased_report_: FitReport
    n_iter_: int

    def __init__(
        self,
        C: float = 1.0,
        *,
        l1_ratio: float = 0.0,
        group: str | None = None,
        penalty_weight: npt.ArrayLike | None = None,
        debias: bool = False,
        fit_intercept: bool = True,
        class_weight: ClassWeight = None,
        tol: float = 1e-6,
        max_iter: int = 1000,
        warm_start: bool = False,
        standardize: bool | float = False,
        symmetric: bool = False,
        memory_budget: int | None = None,
        device: Any = None,
        verbose: int = 0,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.group = group
        self.penalty_weight = penalty_weight
        self.debias = debias
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.standardize = standardize
        self.symmetric = symmetric
        self.memory_budget = memory_budget
        self.device = device
        self.verbose = verbose

    @with_callbacks
    @fitting_where_the_features_are
    def fit(
        self,
        X: Features,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        progress: Listener | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        group: Any = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Self:
        """Fit to the optimum.

        Parameters
        ----------
        X : array_like, sparse array, tensor or Rows, (N, D)
            Features of any real dtype; memory maps and `Rows` are read in blocks. The products of a
            PyTorch tensor on another device are made there, those of a dask array or data frame on
            the workers of the connected `distributed.Client`, a task for each chunk of rows.
        y : array_like, (N,) or (N, K)
            Labels, or a distribution over K classes per sample.
        sample_weight : array_like, (N,), optional
            Weight k is the same as k copies of the sample.
        progress : callable, optional
            Called after each pass over the data with a `bridle.progress.Progress`.
        checkpoint : path, optional
            A file that keeps the best weights every half minute, and from which a fit goes on if
            it is there. It is left behind at the end.
        group : torch.distributed.ProcessGroup, False or None, optional
            Processes that fit together, each with rows of its own, perhaps none: see
            `bridle.ranks`. All of them call this, and get the same classifier; the first tells
            ``progress`` and writes ``checkpoint``. By default all ranks, where
            `torch.distributed` is initialised; False: this process alone.
        timeout : float, optional
            Seconds without a sign of life after which a rank counts as lost, or a cluster without
            any worker.

        An interruption (Ctrl-C) ends the fit at the best weights seen, with a warning.

        Raises
        ------
        InputError
            Features that are not finite, fewer than two classes, weights below 0, …, each with
            the first bad row; a device that is not there, or sparse features for one.
        RankError
            A rank was lost, or something failed there; on all of them.
        ClusterError
            A Dask cluster has no workers, or loses them again and again.
        """
        C = checks.positive(self.C, "C", infinite=True)
        tol = checks.positive(self.tol, "tol")
        reporter = Reporter(progress, verbose=self.verbose)
        tasks = Tasks(self, "pass", X, y, sample_weight)
        settings = Settings(self.class_weight, self.symmetric, self.memory_budget)
        penalty = penalty_kind(self.l1_ratio, self.group, self.penalty_weight)
        if checks.flag(self.debias, "debias") and (penalty.l1_ratio == 0 or np.isinf(C)):
            raise checks.InputError.of(
                "debias", expected="a penalty with l1_ratio above 0", found="none"
            )

        def optimum(rows: OwnRows) -> Optimum:
            problem = rows.problem(
                fit_intercept=self.fit_intercept, standardize=self.standardize, penalty=penalty
            )
            return self._optimum(problem, problem.at(C), tol, reporter, checkpoint, tasks)

        places: Places
        if cluster.is_collection(X):
            parts = cluster.parts_of(X, y, sample_weight, self.device)
            self._features(parts.empty, reset=True, least=0)
            places = cluster.ClusterPlaces(parts, timeout, self.memory_budget)
            found, classes = solved_over(places, settings, optimum)
        else:
            with ranks_of(group, timeout=timeout) as ranks:
                least = 1 if ranks.size == 1 else 0
                check_own = partial(self._part, X, y, sample_weight, least=least)
                places = RankPlaces(ranks, check_own, rows_in(X))
                found, classes = solved_over(places, settings, optimum)
        self.classes_ = classes
        self.coef_, self.intercept_ = found.coef, found.intercept
        self.n_iter_, self.fit_report_ = found.iterations, found.report
        if hasattr(self, "debiased_report_"):
            del self.debiased_report_
        if found.debiased is not None:
            self.debiased_report_ = found.debiased
        tasks.end(dict)  # nothing to add: the estimator is fitted
        if places.is_first:
            warn_unless_optimal(self.fit_report_, tol=tol, max_iter=self.max_iter)
            if found.debiased is not None:
                warn_unless_optimal(found.debiased, tol=tol, max_iter=self.max_iter, at="debias: ")
        return self

    def to_sklearn(self) -> Any:
        """Return the same classifier as scikit-learn's `LogisticRegression`, fitted.

        No fit is run: its weights are copies of these, for two `symmetric` classes their
        difference. Of features in float64 its answers are the same to rounding; so whatever takes
        a `LogisticRegression` (skl2onnx, skops, MLflow) takes this.

        Its parameters tell the problem that was solved: ``C`` is that of scikit-learn's objective,
        twice ours for two `symmetric` classes and divided by the square of a number as
        `standardize`, and with L1 ``l1_ratio`` is what that makes of it; ``C=numpy.inf`` is
        ``penalty=None`` before scikit-learn 1.8. Its ``tol``
        bounds a gradient, ours a proven gap: it keeps scikit-learn's default.

        Returns
        -------
        sklearn.linear_model.LogisticRegression
            With ``classes_``, ``coef_``, ``intercept_``, ``n_iter_``, ``n_features_in_`` and, where
            the features had names, ``feature_names_in_``.

        Raises
        ------
        NotFittedError
            There was no fit.

        Warns
        -----
        UserWarning
            ``standardize=True``, `group` or `penalty_weight`, whose penalty no parameter of
            scikit-learn's stands for. The answers are the same.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = SoftmaxRegression(C=10.0).fit(X, y)
        >>> theirs = model.to_sklearn()
        >>> theirs
        LogisticRegression(C=10.0, max_iter=1000)
        >>> bool(np.abs(theirs.predict_proba(X) - model.predict_proba(X)).max() < 1e-12)
        True
        """
        from bridle.estimators.to_scikit_learn import logistic_regression

        check_is_fitted(self)
        C = checks.positive(self.C, "C", infinite=True)
        return logistic_regression(self, C, self.l1_ratio, self.n_iter_)

    def _optimum(
        self, problem: Problem, objective: Objective, tol: float, reporter: Reporter,
        checkpoint: str | os.PathLike[str] | None, tasks: Tasks | None = None,
    ) -> Optimum:  # fmt: skip
        kept = None
        if checkpoint is not None:
            kept = Checkpoint(checkpoint, problem.classes, objective.facts.width)
        start = self._start(objective, problem, kept)
        after_pass: watch.AfterPass | None = reporter.after_pass if reporter.is_heard else None
        keep = None if kept is None else _keeper(kept, objective)
        if tasks is not None and tasks.are_heard:
            after_pass, keep = _heard_by(tasks, problem, objective, after_pass, keep)
        solution = solve(
            Task(objective, problem.reader, start),
            tol=tol,
            max_iter=checks.count(self.max_iter, "max_iter"),
            after_pass=after_pass,
            keep=keep,
        )
        weight, intercept = objective.in_feature_units(solution.point.parameters)
        if kept is not None:
            kept.save(weight, intercept)
        report = FitReport.of(
            solution,
            reporter.seconds,
            problem.classes,
            self._names() or None,
            streamed_to=objective.facts.streamed_to,
        )
        fitted = problem.layout.fitted(weight, intercept)
        found = Optimum(*fitted, max(1, solution.iterations), report)
        if not self.debias or solution.stopped == "interrupted":
            return found
        weights, most = int(np.count_nonzero(fitted[0])), most_entries(objective)
        if weights > most:
            checks.warn(
                f"debias: expected at most {most} weights other than 0 for this memory_budget, "
                f"found {weights}: they are left as the penalty has made them"
            )
            return found
        coef, intercept, debiased = self._debiased(problem, objective, solution.point, tol)
        return found._replace(coef=coef, intercept=intercept, debiased=debiased)

    def _debiased(
        self, problem: Problem, objective: Objective, found: Evaluation, tol: float
    ) -> tuple[Array, Array, FitReport]:
        """Return the weights that are best without a penalty where those found are not 0."""
        assert objective.penalty is not None
        weight, _ = objective.split(found.parameters)
        penalty = objective.penalty.on_support(weight)
        objective = replace(objective, penalty=penalty)
        started = time.perf_counter()
        task = Task(objective, problem.reader, found.parameters)
        solution = solve(task, tol=tol, max_iter=checks.count(self.max_iter, "max_iter"))
        weight, intercept = objective.in_feature_units(solution.point.parameters)
        report = FitReport.of(
            solution,
            time.perf_counter() - started,
            problem.classes,
            streamed_to=objective.facts.streamed_to,
        )
        return *problem.layout.fitted(weight, intercept), report

    def save(self, path: str | os.PathLike[str], *, sparse: bool = False) -> None:
        """Write the fitted model as safetensors with JSON metadata; see `load`.

        With ``sparse`` only weights other than 0 are written: what an L1 penalty leaves. The model
        that is read is the same.

        Raises
        ------
        InputError
            Classes that are not plain scalars.
        """
        files.write_whole(path, self.to_bytes(sparse=checks.flag(sparse, "sparse")))

    def to_bytes(self, *, sparse: bool = False) -> bytes:
        """Return the fitted model as the bytes of its file; see `save`."""
        description, tensors = self.to_contents()
        if sparse:
            coef = tensors.pop("coef")
            description = {**description, "coef_shape": list(coef.shape)}
            tensors = {**tensors, **model_file.without_zeros("coef", coef)}
        return self._format.to_bytes(description, tensors)

    def _contents(self) -> tuple[Description, Tensors]:
        description = {"iterations": self.n_iter_, "fit_report": self.fit_report_.to_dict()}
        if hasattr(self, "debiased_report_"):
            description["debiased_report"] = self.debiased_report_.to_dict()
        return description, {
            "coef": np.ascontiguousarray(as_numpy(self.coef_)),
            "intercept": as_numpy(self.intercept_),
        }

    def _restore(self, description: Description, tensors: Tensors) -> None:
        if "coef_shape" in description:
            self.coef_ = model_file.with_zeros("coef", tensors, description["coef_shape"])
        else:
            self.coef_ = tensors["coef"]
        self.intercept_ = tensors["intercept"]
        self.n_features_in_ = self.coef_.shape[-1]
        self.n_iter_ = int(description["iterations"])
        self.fit_report_ = FitReport.from_dict(description["fit_report"])
        if "debiased_report" in description:
            self.debiased_report_ = FitReport.from_dict(description["debiased_report"])

    def _fits_together(self) -> bool:
        one_vector = self.classes_.shape == (2,) and not self.symmetric
        rows = (1,) if one_vector else self.classes_.shape
        return self.coef_.ndim == 2 and self.intercept_.shape == self.coef_.shape[:1] == rows

    def _plain_parameters(self) -> Description:
        # JSON knows no infinity.
        device = None if self.device is None else str(self.device)
        weights = self.penalty_weight
        return {
            **super()._plain_parameters(),
            "C": repr(float(self.C)),
            "penalty_weight": None if weights is None else np.asarray(weights, float).tolist(),
            "device": device,
        }

    @classmethod
    def _parameters(cls, plain: Description) -> dict[str, Any]:
        return {**super()._parameters(plain), "C": float(plain["C"])}

    def _start(self, objective: Objective, problem: Problem, kept: Checkpoint | None) -> Array:
        found = None if kept is None else kept.load()
        classes, layout = problem.all_classes, problem.layout
        shape = (1 if layout.one_vector else len(classes), objective.facts.width)
        if found is None and self.warm_start and self._fits(classes, shape):
            found = layout.of_fit(as_numpy(self.coef_), as_numpy(self.intercept_))
        return np.zeros(objective.shape) if found is None else objective.in_fit_units(*found)

    def _fits(self, classes: Array, shape: tuple[int, int]) -> bool:
        return (
            hasattr(self, "coef_")
            and self.coef_.shape == shape
            and np.array_equal(self.classes_, classes)
        )


def _keeper(kept: Checkpoint, objective: Objective) -> watch.Keep:
    def keep(parameters: Array) -> None:
        if kept.due:
            kept.save(*(on_host(each) for each in objective.in_feature_units(parameters)))

    return keep


def _heard_by(
    tasks: Tasks,
    problem: Problem,
    objective: Objective,
    after_pass: watch.AfterPass | None,
    keep: watch.Keep | None,
) -> tuple[watch.AfterPass, watch.Keep]:
    """Return the same two, which let callbacks hear of each pass and end the fit as Ctrl-C does."""
    best: list[Array] = []

    def keep_and_remember(parameters: Array) -> None:
        best[:] = [parameters]
        if keep is not None:
            keep(parameters)

    def fitted() -> dict[str, Any]:
        weight, intercept = map(on_host, objective.in_feature_units(best[0]))
        coef, intercept = problem.layout.fitted(weight, intercept)
        return {"classes_": problem.all_classes, "coef_": coef, "intercept_": intercept}

    def tell(passes: int, lowest: float, gap: float) -> None:
        if after_pass is not None:
            after_pass(passes, lowest, gap)
        if tasks.next(fitted):
            raise KeyboardInterrupt

    return tell, keep_and_remember


def warn_unless_optimal(report: FitReport, *, tol: float, max_iter: int, at: str = "") -> None:
    """Warn of a fit that did not end at its optimum; ``at`` says which one it was."""
    if report.stopped == "quasi-separable":
        message = (
            f"the classes are quasi-separable: without a penalty (C=inf) weights grow without end "
            f"that separate {report.separation}. They were stopped where the loss "
            "has nearly reached its infimum; choose a finite C"
        )
    elif report.separable:
        message = (
            "the classes are separable: without a penalty (C=inf) the weights grow without end. "
            "They were stopped once every sample was classified correctly; choose a finite C"
        )
    elif report.stopped == "max_iter":
        message = (
            f"max_iter={max_iter} steps reached at a relative gap of "
            f"{report.relative_gap:.1e}, above tol={tol:g}"
        )
    elif report.stopped == "precision":
        message = (
            f"rounding ended the fit at a relative gap of {report.relative_gap:.1e}, above "
            f"tol={tol:g}; scale the features or choose a smaller C"
        )
    elif report.stopped == "interrupted":
        message = (
            f"interrupted after {report.passes} passes, relative gap "
            f"{shown_gap(report.relative_gap)}: these are the best weights seen"
        )
    else:
        return
    checks.warn(at + message, ConvergenceWarning)
