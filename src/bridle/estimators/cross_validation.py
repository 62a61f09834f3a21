"""The strength of the penalty by cross-validation."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from sklearn import get_config
from sklearn.metrics import get_scorer
from sklearn.model_selection import PredefinedSplit, check_cv
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted

from bridle import checks, losses
from bridle.estimators import cluster
from bridle.estimators.array_api import as_numpy, fitting_where_the_features_are, for_metrics
from bridle.estimators.path import Fit, Path, fit_folds, strengths
from bridle.estimators.problem import own_rows, penalty_kind
from bridle.estimators.shared_folds import Search, SharedFolds, held_rows, shared_folds
from bridle.estimators.shares import Places, RankPlaces, Settings, rows_in
from bridle.estimators.softmax_classifier import SoftmaxClassifier
from bridle.estimators.softmax_regression import Optimum, SoftmaxRegression, warn_unless_optimal
from bridle.fit.problem.penalty import PenaltyKind
from bridle.fit.problem.targets import (
    ClassWeight,
    FitTarget,
    WeightlessClassWarning,
    known_target,
    warn_of_weightless,
    weighted,
)
from bridle.fit.readers import Reader
from bridle.fit.readers.block_sizes import default_memory
from bridle.fit.report import FitReport
from bridle.progress import Listener, Reporter
from bridle.ranks import DEFAULT_TIMEOUT, Ranks, ranks_of
from bridle.rows import Features, Rows
from bridle.tensors import on_host

Array = npt.NDArray[Any]
Splitter: TypeAlias = Any  # int, or what scikit-learn's `check_cv` takes
Scoring = str | Callable[..., float]
Scores = dict[float, dict[float, Array]]  # of each fold, by the share of L1 and then by C

# The first step of CLIP's search in its grid of 97: two decades.
_COARSEST_STEP = 16
# A fold of so large a part of the rows is worth passes over all of them.
_LARGE_FOLD = 0.5


class SoftmaxRegressionCV(SoftmaxClassifier):
    r"""Softmax regression with the strength of its penalty chosen by cross-validation.

    For each fold and each ``C`` the classifier is fitted to its proven optimum, beginning where the
    optima before it point to; the ``C`` with the best mean score over the folds is then
    fitted on all data. All folds of dense features are fitted at once, in the same passes over
    them.

    Parameters
    ----------
    Cs : int, array_like or str
        Values of ``C``; a number of them, spread logarithmically from 1e-4 to 1e4; ``"dinov2"``,
        45 values from 1e-6 to 1e5; or ``"clip"``, 97 values from 1e-6 to 1e6 that are searched
        coarse to fine as its authors did: first every second decade, then around the best in steps
        of half the length, down to an eighth of a decade.
    cv : int, splitter or iterable
        A number of stratified folds, or what scikit-learn takes for ``cv``.
    scoring : str or callable
        ``"neg_log_loss"`` (exact: nothing is clipped), or any scorer of scikit-learn; what `score`
        returns too.
    l1_ratios : array_like, optional
        Values of `SoftmaxRegression`'s ``l1_ratio``, each tried with every ``C``; 0 by default.
    group, penalty_weight
        As in `SoftmaxRegression`.
    refit : bool
        Whether all data are fitted at the best ``C``. Else ``coef_`` and ``intercept_`` are the
        means over the folds.
    fit_intercept, class_weight, tol, max_iter, standardize, symmetric, memory_budget
        As in `SoftmaxRegression`.
    device, verbose
        As in `SoftmaxRegression`.

    Attributes
    ----------
    C_, l1_ratio_ : float
        The best; of equal ones the smallest share of L1, and then the strongest penalty.
    Cs_, l1_ratios_ : ndarray (n,), (m,)
        Those that were tried, ascending.
    scores_ : ndarray (folds, n)
        The score of each on each fold; with `l1_ratios` (folds, m, n), NaN where a ``C`` was not
        tried, as ``"clip"`` does not try all.
    fit_report_ : FitReport
        Of the fit on all data; without `refit`, of the last fold's.
    folds_ : list of FoldFit
        Which rows each fold held out, and the weights of the others at `C_`: see
        `out_of_fold_log_proba`.
    stability_ : ndarray (D,)
        The share of the folds whose weights of a feature, at `C_`, are not all 0.
    classes_, coef_, intercept_, n_features_in_, feature_names_in_
        As in `SoftmaxRegression`.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> model = SoftmaxRegressionCV([0.01, 1.0, 100.0], standardize=True)
    >>> model = model.fit(*load_wine(return_X_y=True))
    >>> model.C_, model.scores_.shape
    (100.0, (5, 3))

    References
    ----------
    A. Radford et al., *Learning Transferable Visual Models From Natural Language Supervision*,
    2021, appendix A.3; M. Oquab et al., *DINOv2: Learning Robust Visual Features without
    Supervision*, 2023.
    """

    C_: float
    Cs_: Array
    scores_: Array
    fit_report_: FitReport

    def __init__(
        self,
        Cs: str | int | npt.ArrayLike = 10,
        *,
        cv: Splitter = 5,
        scoring: Scoring = "neg_log_loss",
        l1_ratios: npt.ArrayLike | None = None,
        group: str | None = None,
        penalty_weight: npt.ArrayLike | None = None,
        refit: bool = True,
        fit_intercept: bool = True,
        class_weight: ClassWeight = None,
        tol: float = 1e-6,
        max_iter: int = 1000,
        standardize: bool | float = False,
        symmetric: bool = False,
        memory_budget: int | None = None,
        device: Any = None,
        verbose: int = 0,
    ) -> None:
        self.Cs = Cs
        self.cv = cv
        self.scoring = scoring
        self.l1_ratios = l1_ratios
        self.group = group
        self.penalty_weight = penalty_weight
        self.refit = refit
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter
        self.standardize = standardize
        self.symmetric = symmetric
        self.memory_budget = memory_budget
        self.device = device
        self.verbose = verbose

    @fitting_where_the_features_are
    def fit(
        self,
        X: Features,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        progress: Listener | None = None,
        group: Any = None,
        timeout: float = DEFAULT_TIMEOUT,
        **params: Any,
    ) -> Self:
        """Choose ``C``, and fit all data with it.

        Parameters
        ----------
        X, y, sample_weight
            As in `SoftmaxRegression.fit`, dask arrays and data frames too; ``y`` holds labels.
        progress : callable, optional
            Called with a `bridle.progress.Progress` after each ``C`` that all folds were fitted at.
        group, timeout
            As in `SoftmaxRegression.fit`: each rank has rows of its own, and every fold some on
            each. Over several ranks, or on a Dask cluster, ``cv`` is a number of folds, the same as
            those of one process with all rows in the order of the ranks or chunks, or
            scikit-learn's `PredefinedSplit`, on ranks of a rank's own rows and of a dask collection
            of all; and ``scoring`` is ``"neg_log_loss"``.
        **params
            ``groups`` of the samples, for a splitter such as `GroupKFold`. Where scikit-learn's
            metadata routing is enabled, whatever the splitter or the scorer requests.

        Raises
        ------
        InputError
            As `SoftmaxRegression.fit`; a class that a fold holds out and has not learned, where
            that makes the score infinite. Else a warning says which.
        """
        if cluster.is_collection(X):
            self._check_shared(params)
            parts = cluster.parts_of(X, y, sample_weight, self.device)
            self._features(parts.empty, reset=True, least=0)
            places = cluster.ClusterPlaces(parts, timeout, self.memory_budget)
            return self._fit_over(places, progress)
        with ranks_of(group, timeout=timeout) as ranks:
            if isinstance(ranks, Ranks):
                self._check_shared(params)
                check_own = partial(self._part, X, y, sample_weight, least=0)
                return self._fit_over(RankPlaces(ranks, check_own, rows_in(X)), progress)
        reporter = Reporter(progress, verbose=self.verbose)
        values, kinds = strengths(self.Cs), self._penalty_kinds()
        routed = self._routed("fit", sample_weight, params)
        features = self._features(X, reset=True)
        y, sample_weight = on_host(y), on_host(sample_weight)
        self.n_samples_in_ = len(features)
        everything = self._targets(y, sample_weight, len(features))
        if everything.target.ndim == 2:
            raise checks.InputError.of(
                "y", expected="labels", found="distributions: no folds of classes"
            )
        warn_of_weightless(everything)
        self.classes_ = everything.classes
        there = self._placed(features)
        data = (features, there, np.asarray(y).reshape(-1), everything.target)
        folds = list(self._folds(*data, sample_weight, *routed))
        scores: dict[float, dict[float, Array]] = {}
        for ratio in kinds:
            found = scores[ratio] = dict[float, Array]()
            for batch in _search(np.unique(values), found, coarse_to_fine=_is_clip(self.Cs)):
                fit_folds([fold.paths[ratio] for fold in folds], batch)
                for C in batch:
                    found[C] = np.array([fold.score(C, ratio) for fold in folds])
                    tried = sum(map(len, scores.values()))
                    reporter.after_strength(tried, len(folds), C, float(found[C].mean()))
                for fold in folds:
                    fold.paths[ratio].keep_only({_best(found), *list(found)[-2:]})
        self._keep_scores(scores)
        fits = [fold.fit(self.C_, self.l1_ratio_) for fold in folds]
        self.folds_ = [
            FoldFit(fold.test, fit.coef, fit.intercept)
            for fold, fit in zip(folds, fits, strict=True)
        ]
        self._finish(X if there is features else there, y, sample_weight, fits)
        return self

    def _check_shared(self, params: dict[str, Any]) -> None:
        """Refuse what needs all rows in one place."""
        if not (self._cv_is_number or isinstance(self.cv, PredefinedSplit)) or params:
            raise checks.InputError.of(
                "cv",
                expected="a number of folds or a PredefinedSplit, where rows lie in several places",
                found=f"{self.cv!r} and {', '.join(params)}" if params else repr(self.cv),
            )
        if self.scoring != "neg_log_loss":
            raise checks.InputError.of(
                "scoring",
                expected="'neg_log_loss', where rows lie in several places",
                found=repr(self.scoring),
            )

    @property
    def _cv_is_number(self) -> bool:
        return isinstance(self.cv, int | np.integer) and not isinstance(self.cv, bool)

    def _fit_over(self, places: Places, progress: Listener | None) -> Self:
        """Choose ``C`` with the rows of several places, and fit them all with it."""
        values, kinds = strengths(self.Cs), self._penalty_kinds()
        tol = checks.positive(self.tol, "tol")
        max_iter = checks.count(self.max_iter, "max_iter")
        settings = Settings(self.class_weight, self.symmetric, self.memory_budget)
        made, shape = shared_folds(
            places, int(self.cv) if self._cv_is_number else self.cv, settings
        )

        def chosen(readers: Sequence[Reader]) -> tuple[Scores, list[Fit], Optimum]:
            reporter = Reporter(progress, verbose=self.verbose)
            of_all = shape.of(readers)
            told: dict[str, Any] = {
                "fit_intercept": self.fit_intercept,
                "standardize": self.standardize,
            }
            searches, scores = dict[float, Search](), Scores()
            for ratio, kind in kinds.items():
                search = Search(of_all, tol=tol, max_iter=max_iter, penalty=kind, **told)
                searches[ratio], found = search, dict[float, Array]()
                scores[ratio] = found
                for batch in _search(np.unique(values), found, coarse_to_fine=_is_clip(self.Cs)):
                    search.fit(batch)
                    for C in batch:
                        found[C] = search.scores(C)
                        tried, mean = sum(map(len, scores.values())), float(found[C].mean())
                        reporter.after_strength(tried, len(shape.training), C, mean)
                    search.keep_only({_best(found), *list(found)[-2:]})
            ratio, C = _best_of_all(scores)
            fits = searches[ratio].fits(C)
            model = self._mean_of(fits, C, ratio, shape.classes)
            if not self.refit:
                optimum = Optimum(model.coef_, model.intercept_, 1, fits[-1].report)
                return scores, fits, optimum
            problem = of_all.rows.problem(**told, penalty=kinds[ratio])
            objective = problem.at(C)
            return scores, fits, model._optimum(problem, objective, tol, Reporter(None), None)

        scores, fits, optimum = places.solved(places.make(SharedFolds.readers, made), chosen)
        self.classes_ = shape.classes
        fold = places.own(places.make(_fold_numbers, made))
        self.n_samples_in_ = len(fold)
        self._keep_scores(scores)
        self.folds_ = [
            FoldFit(rows, fit.coef, fit.intercept)
            for rows, fit in zip(held_rows(fold, len(fits)), fits, strict=True)
        ]
        model = self._mean_of(fits, self.C_, self.l1_ratio_, shape.classes)
        model.coef_, model.intercept_ = optimum.coef, optimum.intercept
        model.n_iter_, model.fit_report_ = optimum.iterations, optimum.report
        model.warm_start = False
        self._keep_best(model)
        if places.is_first:
            warn_unless_optimal(model.fit_report_, tol=tol, max_iter=self.max_iter)
        return self

    @property
    def stability_(self) -> Array:
        """The share of the folds that have kept each feature."""
        kept = [as_numpy(fold.coef).any(axis=0) for fold in self.folds_]
        return np.asarray(np.mean(kept, axis=0))

    def _mean_of(
        self, fits: Sequence[Fit], C: float, l1_ratio: float, classes: Array
    ) -> SoftmaxRegression:
        """Return the classifier at the mean of the folds' weights, from which a fit may begin."""
        model = self._at(C, l1_ratio)
        model.classes_, model.n_features_in_ = classes, self.n_features_in_
        model.coef_ = np.mean([fit.coef for fit in fits], axis=0)
        model.intercept_ = np.mean([fit.intercept for fit in fits], axis=0)
        model.warm_start = True
        return model

    def _keep_scores(self, scores: Scores) -> None:
        self.l1_ratio_, self.C_ = _best_of_all(scores)
        self.l1_ratios_ = np.array(sorted(scores))
        self.Cs_ = np.array(sorted({C for found in scores.values() for C in found}))
        folds = len(next(iter(scores[self.l1_ratio_].values())))
        untried = np.full(folds, np.nan)
        self.scores_ = np.stack(
            [
                np.stack([scores[ratio].get(C, untried) for C in self.Cs_.tolist()], axis=1)
                for ratio in self.l1_ratios_.tolist()
            ],
            axis=1,
        )
        if self.l1_ratios is None:
            self.scores_ = self.scores_[:, 0]

    def _penalty_kinds(self) -> dict[float, PenaltyKind]:
        """Return what is penalised at each share of L1, in rising order."""
        if self.l1_ratios is None:
            return {0.0: penalty_kind(0.0, self.group, self.penalty_weight)}
        found = checks.real_numbers(self.l1_ratios, "l1_ratios")
        if found.ndim != 1 or len(found) == 0:
            raise checks.InputError.of(
                "l1_ratios", expected="one number or more in a row", found=f"shape {found.shape}"
            )
        ratios = sorted({checks.fraction(each, "l1_ratios") for each in found.tolist()})
        return {each: penalty_kind(each, self.group, self.penalty_weight) for each in ratios}

    def out_of_fold_log_proba(self, X: Features) -> Array:
        """Return the logarithms of what the folds say of the samples that they have not seen.

        Nothing is fitted again: each fold's weights at `C_` are kept in `folds_`.

        Parameters
        ----------
        X : array_like, sparse array or Rows, (N, D)
            The features that `fit` was given.

        Returns
        -------
        ndarray (N, K)
            A sample that several folds hold out has the last one's answer, one that none does NaN.

        Raises
        ------
        InputError
            Another number of rows than `fit` was given.
        """
        check_is_fitted(self)
        features = self._features(X, reset=False, least=min(1, self.n_samples_in_))
        if len(features) != self.n_samples_in_:
            expected = f"the {self.n_samples_in_} rows of the fit"
            raise checks.InputError.of("X", expected=expected, found=len(features))
        found = np.full((len(features), len(self.classes_)), np.nan)
        for fold in self.folds_:
            model = self._at(self.C_, self.l1_ratio_)
            model.classes_, model.n_features_in_ = self.classes_, self.n_features_in_
            model.coef_, model.intercept_ = fold.coef, fold.intercept
            found[fold.rows] = model.predict_log_proba(features.take(fold.rows))
        return found

    def score(
        self,
        X: Features,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        **params: Any,
    ) -> float:
        """Return the score of the fitted classifier by `scoring`: higher is better.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.
        **params
            Where scikit-learn's metadata routing is enabled, whatever the scorer requests.

        Raises
        ------
        InputError
            A label that is none of the classes, or a scorer that cannot judge the data.
        """
        check_is_fitted(self)
        _, to_scorer = self._routed("score", sample_weight, params)
        if self.scoring != "neg_log_loss":
            y, *values = for_metrics(y, *to_scorer.values())
            given = dict(zip(to_scorer, values, strict=True))
            return float(get_scorer(self.scoring)(self, X, y, **given))
        scores = as_numpy(self.predict_log_proba(X))
        found = known_target(
            as_numpy(y), as_numpy(to_scorer.get("sample_weight")), None, self.classes_, len(scores)
        )
        loss = losses.cross_entropy(scores, found.target, sample_weight=found.sample_weight)
        return -float(loss)

    def get_metadata_routing(self) -> MetadataRouter:
        """Return who takes which metadata: the fit, its splitter and its scorer."""
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(
            splitter=check_cv(self.cv, classifier=True),
            method_mapping=MethodMapping().add(caller="fit", callee="split"),
        )
        mapping = MethodMapping().add(caller="fit", callee="score")
        router.add(
            scorer=get_scorer(self.scoring),
            method_mapping=mapping.add(caller="score", callee="score"),
        )
        return router

    def to_sklearn(self) -> Any:
        """Return the classifier at `C_` as scikit-learn's `LogisticRegression`, fitted.

        See `SoftmaxRegression.to_sklearn`. Without `refit` its weights are the folds' mean, as
        ours.

        Returns
        -------
        sklearn.linear_model.LogisticRegression
            With the parameter ``C`` that was chosen.

        Raises
        ------
        NotFittedError
            There was no fit.

        Warns
        -----
        UserWarning
            As `SoftmaxRegression.to_sklearn`.
        """
        from bridle.estimators.to_scikit_learn import logistic_regression

        check_is_fitted(self)
        return logistic_regression(self, self.C_, self.l1_ratio_, self.n_iter_)

    def save(self, path: str | os.PathLike[str], *, sparse: bool = False) -> None:
        """Write the fitted model; `SoftmaxRegression.load` reads it, ``sparse`` is as there.

        Raises
        ------
        InputError
            Classes that are not plain scalars.
        """
        check_is_fitted(self)
        self.best_estimator_.save(path, sparse=sparse)

    def _folds(
        self,
        features: Rows,
        there: Rows,
        labels: Array,
        target: Array,
        sample_weight: npt.ArrayLike | None,
        to_splitter: dict[str, Any],
        to_scorer: dict[str, Any],
    ) -> Iterator[_Fold]:
        weight = None
        if sample_weight is not None:
            weight = np.broadcast_to(np.asarray(sample_weight, np.float64), len(labels))
        try:
            splitter = check_cv(self.cv, labels, classifier=True)
            splits = list(splitter.split(np.zeros(len(labels)), labels, **to_splitter))
        except (TypeError, ValueError) as error:
            raise checks.InputError(f"cv: {error}", argument="cv") from None
        if not splits:
            raise checks.InputError.of("cv", expected="at least one fold", found="none")
        budget = checks.memory_budget(self.memory_budget) or default_memory(there)
        share = max(1, budget // len(splits))  # they are fitted at the same time
        for number, (train, test) in enumerate(splits):
            data = (features, there, labels, target, weight, to_scorer)
            yield _Fold(self, number, data, train, test, share)

    def _routed(
        self, method: str, sample_weight: npt.ArrayLike | None, params: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what the splitter gets, and the scorer; without routing that is ``groups``."""
        if get_config()["enable_metadata_routing"]:
            weight = {} if sample_weight is None else {"sample_weight": sample_weight}
            found = process_routing(self, method, **params, **weight)
            splitter = dict(found.splitter.split) if method == "fit" else {}
            return splitter, dict(found.scorer.score)
        known = {"groups"} if method == "fit" else set()
        unknown = sorted(params.keys() - known)
        if unknown:
            raise checks.InputError(
                f"{unknown[0]}: {method} takes it where scikit-learn's metadata routing is "
                "enabled, and the splitter or the scorer requests it",
                argument=unknown[0],
            )
        groups = params.get("groups")
        weight = {} if sample_weight is None else {"sample_weight": sample_weight}
        return ({} if groups is None else {"groups": groups}), weight

    def _at(self, C: float, l1_ratio: float) -> SoftmaxRegression:
        """Return the plain classifier with our settings."""
        settings = self.get_params(deep=False)
        for own in ("Cs", "cv", "scoring", "l1_ratios", "refit"):
            del settings[own]
        return SoftmaxRegression(C, l1_ratio=l1_ratio, **settings)

    def _finish(
        self,
        X: Features,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None,
        fits: list[Fit],
    ) -> None:
        model = self._mean_of(fits, self.C_, self.l1_ratio_, self.classes_)
        model.n_iter_, model.fit_report_ = 1, fits[-1].report
        if self.refit:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", WeightlessClassWarning)  # it was said already
                model.fit(X, y, sample_weight, group=False)
        model.warm_start = False
        self._keep_best(model)

    def _keep_best(self, model: SoftmaxRegression) -> None:
        if hasattr(self, "feature_names_in_"):
            model.feature_names_in_ = self.feature_names_in_
        self.best_estimator_ = model
        self.coef_, self.intercept_ = model.coef_, model.intercept_
        self.fit_report_, self.n_iter_ = model.fit_report_, model.n_iter_


def search_at(model: SoftmaxRegression, cv: Splitter) -> SoftmaxRegressionCV:
    """Return a search with nothing to choose: for what folds say at the settings of a model."""
    settings = model.get_params(deep=False)
    del settings["warm_start"], settings["debias"]
    C, l1_ratio = settings.pop("C"), settings.pop("l1_ratio")
    return SoftmaxRegressionCV([C], l1_ratios=[l1_ratio], cv=cv, refit=False, **settings)


class FoldFit(NamedTuple):
    """The rows that a fold held out, and the weights of the others at the `C` that was chosen."""

    rows: Array
    coef: Array
    intercept: Array


class _Fold:
    """One part of the data to fit and one to judge."""

    def __init__(
        self,
        search: SoftmaxRegressionCV,
        number: int,
        data: Any,
        train: Array,
        test: Array,
        memory_budget: int,
    ) -> None:
        features, there, labels, target_of_all, weight, to_scorer = data
        self._number, self.test = number, test
        self._search, self._features, self._labels = search, features.take(test), labels[test]
        weighed = {} if weight is None else {"sample_weight": weight}
        self._to_scorer = {
            name: _of_rows(weighed.get(name, value), test, len(labels))
            for name, value in to_scorer.items()
        }
        share = None if weight is None else weight[train]
        classes = search.classes_
        share = weighted(target_of_all[train], share, search.class_weight, classes)
        learned = FitTarget(classes, target_of_all[train], share).counted
        if not learned.any():
            raise checks.InputError(
                f"cv: fold {number} has no training sample with weight",
                argument="cv",
                expected="a training sample with weight in every fold",
                found=f"none in fold {number}",
            )
        self._warn_of_missing(learned, target_of_all, weight, test)
        target, counted = target_of_all[train], share
        if features.is_sparse or len(train) < _LARGE_FOLD * len(labels):
            there = there.take(train)
        else:
            # With a weight of 0 for the rows held out, all folds are fitted in the same passes.
            target = target_of_all
            counted = np.bincount(train, counted, len(labels)).astype(np.float64)
        own = own_rows(
            there,
            FitTarget(classes, target, counted),
            symmetric=search.symmetric,
            memory_budget=memory_budget,
        )
        tol = checks.positive(search.tol, "tol")
        max_iter = checks.count(search.max_iter, "max_iter")
        problems = own.problems(
            search._penalty_kinds(),
            fit_intercept=search.fit_intercept,
            standardize=search.standardize,
        )
        # By the share of L1.
        self.paths = {ratio: Path(problem, tol, max_iter) for ratio, problem in problems.items()}

    def _warn_of_missing(
        self, learned: Array, target: Array, weight: Array | None, test: Array
    ) -> None:
        """Say which class the fold cannot learn; refuse it where its score would be infinite."""
        counts = np.ones(len(target), bool) if weight is None else weight > 0
        present = np.bincount(target[counts], minlength=len(learned))
        judged = np.bincount(target[test][counts[test]], minlength=len(learned))
        missing = ~learned & (present > 0)
        if not missing.any():
            return
        classes = self._search.classes_
        first = int(
            np.argmax(missing & (judged > 0) if (missing & (judged > 0)).any() else missing)
        )
        samples = f"{present[first]} sample{'s' if present[first] > 1 else ''}"
        if self._search.scoring == "neg_log_loss" and judged[first]:
            if present[first] == 1:
                why = "and whichever fold holds it out has nothing to learn it from"
            else:
                why = (
                    f"none of which fold {self._number} is fitted on; shuffle or stratify the folds"
                )
            raise checks.InputError(
                f"cv: class {classes[first]!s} has {samples}, {why}: its log loss would be "
                "infinite. Add samples of the class, merge it with another or leave it out; or "
                "choose a scoring that stays finite, as 'accuracy'",
                argument="cv",
                expected="a training sample of every class in every fold",
                found=f"none of class {classes[first]!s} in fold {self._number}",
            )
        checks.warn(
            f"cv: fold {self._number} has no training sample of class {classes[first]!s}, which "
            "has probability 0 there",
            WeightlessClassWarning,
        )

    def fit(self, C: float, l1_ratio: float) -> Fit:
        """Return the fit at ``C``, found once."""
        return dict(self.paths[l1_ratio].fits([C]))[C]

    def score(self, C: float, l1_ratio: float) -> float:
        """Return the score at ``C`` of what was not fitted."""
        fit = self.fit(C, l1_ratio)
        settings = self._search
        warn_unless_optimal(
            fit.report,
            tol=settings.tol,
            max_iter=settings.max_iter,
            at=f"C={C:g}, fold {self._number}: ",
        )
        model = self._search._at(C, l1_ratio)
        model.classes_, model.coef_ = self._search.classes_, fit.coef
        model.intercept_, model.n_features_in_ = fit.intercept, fit.coef.shape[1]
        if self._search.scoring == "neg_log_loss":
            scores = model.predict_log_proba(self._features)
            target = np.searchsorted(model.classes_, self._labels)
            weight = self._to_scorer.get("sample_weight")
            return -float(losses.cross_entropy(scores, target, sample_weight=weight))
        scorer = get_scorer(self._search.scoring)
        where = f"scoring: {self._search.scoring} at C={C:g} in fold {self._number}"
        try:
            score = float(scorer(model, self._features, self._labels, **self._to_scorer))
        except (TypeError, ValueError) as error:
            raise checks.InputError(f"{where}: {error}", argument="scoring") from error
        if math.isnan(score):
            raise checks.InputError(
                f"{where}: expected a number, found NaN",
                argument="scoring",
                expected="a number",
                found="NaN",
            )
        return score


def _of_rows(values: Any, rows: Array, count: int) -> Any:
    """Return what some rows have of values for all; what is not one for each is for all alike."""
    if isinstance(values, str) or not hasattr(values, "__len__") or len(values) != count:
        return values
    return np.asarray(values)[rows]


def _fold_numbers(folds: SharedFolds) -> Array:
    return folds.fold.astype(np.min_scalar_type(-len(folds.training)))


def _best_of_all(scores: Scores) -> tuple[float, float]:
    """Return the share of L1 and the C with the best mean score; of equal ones the first share."""
    ratio = max(sorted(scores), key=lambda each: float(scores[each][_best(scores[each])].mean()))
    return ratio, _best(scores[ratio])


def _best(found: dict[float, Array]) -> float:
    """Return the C with the best mean score; of equal ones the strongest penalty."""
    return max(sorted(found), key=lambda C: float(found[C].mean()))


def _is_clip(Cs: Any) -> bool:
    return isinstance(Cs, str) and Cs == "clip"


def _search(
    grid: Array, found: dict[float, Array], *, coarse_to_fine: bool
) -> Iterator[list[float]]:
    """Yield what to score next, by what has been ``found``: all of the grid, or coarse to fine.

    An optimum shows where the next one is: what is yielded together begins without the other's.
    """
    values = grid.tolist()
    step = _COARSEST_STEP if coarse_to_fine else 1
    yield from ([value] for value in values[::step])
    while step > 1:
        step //= 2
        best = values.index(_best(found))
        around = [place for place in (best - step, best + step) if 0 <= place < len(values)]
        yield [values[place] for place in around if values[place] not in found]
