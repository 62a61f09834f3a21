"""Calibrators and label-error rankings beside their peers, on samples that none of them has seen.

    python benchmarks/calibration.py                      # both tables, some minutes
    python benchmarks/calibration.py --tables calibrators --data digits --repeat 2

Scores are out of fold: of five softmax classifiers, each asked for what it has not learnt from. So
are the calibrators judged: fitted to a random half of the samples, they answer the other half, and
then the other way round. All see the same halves. ``nats above`` is the mean loss less that of
bridle's calibrator of the same kind, over the halves, with the standard error of that difference:
above 0, bridle's is better.

For the second table a share of the labels is replaced by another class, the folds learn from those,
and ``average precision`` says how early a ranking comes to them.

Peers take part as they are installed: scikit-learn 1.8 or later, netcal, probmetrics, dirichletcal
and cleanlab. Each has its defaults.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score

import bridle
import fit_data
from bridle.calibrate import METHODS

Array = npt.NDArray[Any]
# Fitted to log-probabilities and labels, answering log-probabilities of others.
Calibrate = Callable[[Array, Array, Array], Array]
Rank = Callable[[Array, Array], Array]

DATA = ("digits", "mnist10k", "letters")
# Of the classifier: as it is by default, and one that has hardly a penalty and is too sure.
STRENGTHS = (1.0, 1000.0)
FLIPPED = (0.02, 0.05, 0.1)


class Peer(NamedTuple):
    """Who it is, which of our calibrators it is held against, and what it does."""

    package: str
    name: str
    kind: str
    calibrate: Calibrate


# --- data -----------------------------------------------------------------------------------------


def made(name: str) -> tuple[Array, Array]:
    """Return features about 0 to 1, and class indices."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        return X / 16, y
    if name == "mnist10k":
        X, y = fit_data.make(name, quick=False)
        return X.astype(np.float64), y
    return letters()


def letters() -> tuple[Array, Array]:
    """Return data like the UCI's letters: 20,000 rows, 16 numbers from 0 to 15, 26 classes.

    A class is four shapes, so that linear scores tell some three of four letters.
    """
    random = np.random.default_rng(0)
    shapes = random.normal(7, 1.7, (26, 1, 16)) + random.normal(0, 1.6, (26, 4, 16))
    y = random.integers(0, 26, 20_000)
    X = shapes[y, random.integers(0, 4, len(y))] + random.normal(0, 2.0, (len(y), 16))
    return np.clip(X.round(), 0, 15) / 15, y


def out_of_fold(X: Array, y: Array, C: float) -> Array:
    """Return the log-probabilities of folds that have not seen the row."""
    search = bridle.SoftmaxRegressionCV([C], cv=5, refit=False)
    return search.fit(X, y).out_of_fold_log_proba(X)


# --- calibrators ----------------------------------------------------------------------------------


def ours(kind: str) -> Calibrate:
    """Return one of bridle's calibrators with its defaults."""

    def calibrate(scores: Array, target: Array, others: Array) -> Array:
        return METHODS[kind]().fit(scores, target).predict_log_proba(others)

    return calibrate


class Given(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # untyped bases
    """A fitted classifier whose features are its answers, for scikit-learn."""

    def __init__(self, classes: int = 2, *, as_scores: bool = True) -> None:
        self.classes, self.as_scores = classes, as_scores

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def classes_(self) -> Array:
        """The indices of the columns."""
        return np.arange(self.classes)

    def fit(self, *_: Array) -> Given:
        """Do nothing."""
        return self

    def predict_proba(self, X: Array) -> Array:
        """Return the probabilities that were given as scores."""
        return np.asarray(np.exp(log_softmax(X, axis=1)))

    def predict(self, X: Array) -> Array:
        """Return the places of the highest scores."""
        return np.asarray(X.argmax(axis=1))


class GivenScores(Given):
    """The same with scores, which scikit-learn prefers to probabilities."""

    def decision_function(self, X: Array) -> Array:
        """Return the scores that were given."""
        return X


def scikit(method: str, given: type[Given]) -> Calibrate:
    """Return scikit-learn's calibrator of one method, fitted to all samples."""

    def calibrate(scores: Array, target: Array, others: Array) -> Array:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.frozen import FrozenEstimator

        model = CalibratedClassifierCV(FrozenEstimator(given(scores.shape[1])), method=method)
        return logarithms(model.fit(scores, target).predict_proba(others))

    return calibrate


def scikit_regression(scores: Array, target: Array, others: Array) -> Array:
    """Fit scikit-learn's logistic regression to log-probabilities."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=10_000).fit(scores, target)
    return np.asarray(model.predict_log_proba(others))


def netcal(module: str, name: str, **settings: Any) -> Calibrate:
    """Return one of netcal's calibrators."""

    def calibrate(scores: Array, target: Array, others: Array) -> Array:
        model = getattr(import_module(f"netcal.{module}"), name)(**settings)
        with contextlib.redirect_stderr(io.StringIO()):  # its progress
            model.fit(np.exp(scores), target)
            return logarithms(model.transform(np.exp(others)))

    return calibrate


def probmetrics(name: str) -> Calibrate:
    """Return one of probmetrics' calibrators."""

    def calibrate(scores: Array, target: Array, others: Array) -> Array:
        model = import_module("probmetrics.calibrators").get_calibrator(name)
        with contextlib.redirect_stdout(io.StringIO()):
            model.fit(np.exp(scores), target)
        return logarithms(model.predict_proba(np.exp(others)))

    return calibrate


def dirichletcal(scores: Array, target: Array, others: Array) -> Array:
    """Fit the Dirichlet calibrator of its authors, regularised off the diagonal (ODIR)."""
    calibrator = import_module("dirichletcal.calib.fulldirichlet").FullDirichletCalibrator
    model = calibrator(reg_lambda=1e-3, reg_mu=1e-3)  # of their grid's middle
    return logarithms(model.fit(np.exp(scores), target).predict_proba(np.exp(others)))


PEERS = (
    Peer("sklearn", "temperature", "temperature", scikit("temperature", GivenScores)),
    Peer("netcal", "TemperatureScaling", "temperature", netcal("scaling", "TemperatureScaling")),
    Peer("probmetrics", "temp-scaling", "temperature", probmetrics("temp-scaling")),
    Peer("probmetrics", "ts-mix", "temperature", probmetrics("ts-mix")),
    Peer("sklearn", "sigmoid", "vector", scikit("sigmoid", GivenScores)),
    Peer("netcal", "LogisticCalibration", "vector", netcal("scaling", "LogisticCalibration")),
    Peer("probmetrics", "svs", "vector", probmetrics("svs")),
    Peer("sklearn", "LogisticRegression", "matrix", scikit_regression),
    Peer("probmetrics", "sms", "matrix", probmetrics("sms")),
    Peer("dirichletcal", "ODIR", "dirichlet", dirichletcal),
    Peer("probmetrics", "sms", "dirichlet", probmetrics("sms")),
    Peer("sklearn", "isotonic", "isotonic", scikit("isotonic", Given)),
    Peer("netcal", "IsotonicRegression", "isotonic", netcal("binning", "IsotonicRegression")),
    Peer("probmetrics", "isotonic", "isotonic", probmetrics("isotonic")),
    Peer("probmetrics", "cir", "isotonic", probmetrics("cir")),
)


def logarithms(probability: Any) -> Array:
    """Return logarithms, −inf of what is 0."""
    with np.errstate(divide="ignore"):
        return np.log(np.asarray(probability, np.float64))


def halves(count: int, repeat: int) -> Iterator[tuple[Array, Array]]:
    """Yield rows to fit and rows to judge: halves, both ways round."""
    for seed in range(repeat):
        rows = np.random.default_rng(seed).permutation(count)
        first, second = rows[: count // 2], rows[count // 2 :]
        yield first, second
        yield second, first


def losses(calibrate: Calibrate, scores: Array, target: Array, repeat: int) -> Array:
    """Return the mean loss on each half."""
    found = []
    for fitted, judged in halves(len(target), repeat):
        answers = calibrate(scores[fitted].copy(), target[fitted], scores[judged].copy())
        found.append(-answers[np.arange(len(judged)), target[judged]].mean())
    return np.array(found)


def compare_calibrators(name: str, repeat: int) -> None:
    """Print the rows of one data set."""
    X, y = made(name)
    for C in STRENGTHS:
        scores = out_of_fold(X, y, C)
        before = -scores[np.arange(len(y)), y].mean()
        print(f"| {name}, C = {C:g} | as they are | | {before:.5f} | |", flush=True)
        for kind in METHODS:
            own = losses(ours(kind), scores, y, repeat)
            print(f"| | **bridle {kind}** | {kind} | {own.mean():.5f} | |", flush=True)
            for peer in PEERS:
                if peer.kind == kind:
                    found = beside(peer, own, scores, y, repeat)
                    print(f"| | {peer.package} {peer.name} | {kind} | {found} |", flush=True)


def beside(peer: Peer, own: Array, scores: Array, target: Array, repeat: int) -> str:
    """Return a peer's loss and its distance from ours, or why there is none."""
    try:
        import_module(peer.package)
    except ImportError:
        return "absent | "
    try:
        theirs = losses(peer.calibrate, scores, target, repeat)
    except Exception as error:
        return f"{type(error).__name__} | "
    if not np.isfinite(theirs).all():
        return "∞ | " + ("" if np.isfinite(own).all() else "∞ both")
    away = theirs - own
    deviation = away.std(ddof=1) / np.sqrt(len(away))
    return f"{theirs.mean():.5f} | {away.mean():+.5f} ± {deviation:.5f}"


# --- label errors ---------------------------------------------------------------------------------


def our_ranking(probability: Array, given: Array) -> Array:
    """Return bridle's doubt of each label."""
    return bridle.label_errors(probability, given, kind="probabilities").doubt


def cleanlabs(method: str) -> Rank:
    """Return one of cleanlab's rankings."""

    def rank(probability: Array, given: Array) -> Array:
        scores = import_module("cleanlab.rank").get_label_quality_scores(
            given, probability, method=method, adjust_pred_probs=False
        )
        return -np.asarray(scores)

    return rank


RANKINGS = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


def compare_rankings(name: str, repeat: int) -> None:
    """Print the rows of one data set."""
    X, y = made(name)
    classes = int(y.max()) + 1
    for share in FLIPPED:
        found: dict[str, list[float]] = {}
        for seed in range(repeat):
            random = np.random.default_rng(seed)
            wrong = random.random(len(y)) < share
            given = np.where(wrong, (y + random.integers(1, classes, len(y))) % classes, y)
            probability = np.exp(out_of_fold(X, given, 1.0))
            ranked = {"bridle": our_ranking, **{each: cleanlabs(each) for each in RANKINGS}}
            for who, rank in ranked.items():
                try:
                    doubt = rank(probability, given)
                except ImportError:
                    continue
                found.setdefault(who, []).append(float(average_precision_score(wrong, doubt)))
        cells = [
            f"{statistics.mean(found[who]):.4f}" if who in found else "absent"
            for who in ("bridle", *RANKINGS)
        ]
        print(f"| {name} | {share:.0%} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", nargs="+", choices=DATA, default=DATA)
    parser.add_argument("--tables", nargs="+", choices=("calibrators", "rankings"),
                        default=("calibrators", "rankings"))  # fmt: skip
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if "calibrators" in options.tables:
        print("| scores | calibrator | kind | held-out loss, nats | nats above bridle's |")
        print("|---|---|---|---|---|")
        for name in options.data:
            compare_calibrators(name, options.repeat)
        print()
    if "rankings" in options.tables:
        print(
            f"| data | flipped | bridle | {' | '.join(f'cleanlab {each}' for each in RANKINGS)} |"
        )
        print(f"|---|---|---|{'---|' * len(RANKINGS)}")
        for name in options.data:
            if name != "letters":
                compare_rankings(name, options.repeat)


if __name__ == "__main__":
    main()
