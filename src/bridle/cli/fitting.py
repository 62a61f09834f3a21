"""``bridle fit``: data in; a classifier, its figures and a report out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import bridle
from bridle import checks, data, strict_json
from bridle.cli import outputs
from bridle.cli.messages import about, one_line
from bridle.cli.progress import live_line
from bridle.cli.splitting import holdout_split
from bridle.data import Dataset
from bridle.fit import SoftmaxRegression
from bridle.judge import Evaluation
from bridle.judge import evaluate as judge
from bridle.rows import Rows

Array = npt.NDArray[Any]

_CHECKED_ROWS = 1024  # at a time


@dataclass(frozen=True)
class Plan:
    """The command's arguments."""

    data: str
    target: str | None
    labels: str | None
    test: str | None
    test_labels: str | None
    holdout: float | None
    C: float
    standardize: bool | None
    tol: float
    out: Path | None
    json: bool
    quiet: bool


@dataclass(frozen=True)
class Samples:
    """Samples to fit or to judge: where from, features, targets, and what to call them."""

    source: str
    features: Rows
    target: Array
    ids: list[int | str]
    role: str


def fit(plan: Plan) -> None:
    """Load, split, fit, judge, print and write."""
    _check(plan)
    dataset = data.load(plan.data, target=plan.target, labels=plan.labels)
    train, judged = _samples(plan, dataset)
    model = _fitted(plan, dataset, train)
    evaluation = _judged(model, judged)
    metrics = _metrics(plan, dataset, model, train, judged, evaluation)
    if plan.out is not None:
        predictions = outputs.predictions_csv(judged.ids, evaluation)
        outputs.write_fit(plan.out, model, metrics, predictions)
    if plan.json:
        print(strict_json.to_text(metrics, indent=2))
    elif not plan.quiet:
        _print(metrics, model, evaluation, plan.out)


def _check(plan: Plan) -> None:
    checks.positive(plan.C, "--C", infinite=True)
    checks.positive(plan.tol, "--tol")
    if plan.test is not None and plan.holdout is not None:
        raise checks.InputError("--holdout: expected without --test, found both")
    if plan.test is None and plan.test_labels is not None:
        raise checks.InputError("--test-labels: expected with --test, found it alone")
    if plan.holdout is not None and not 0 <= plan.holdout < 1:
        raise checks.InputError(f"--holdout: expected a share in [0, 1), found {plan.holdout:g}")
    if plan.out is not None:
        outputs.check_folder(plan.out)


def _samples(plan: Plan, dataset: Dataset) -> tuple[Samples, Samples]:
    everything = _all_samples(dataset, "training")
    if plan.test is not None:
        return everything, _test_samples(plan, plan.test, dataset)
    share = 0.2 if plan.holdout is None else plan.holdout
    if share == 0:
        return everything, everything
    with about(dataset.source):
        kept, held = holdout_split(everything.target, share)
    return _chosen(everything, kept, "training"), _chosen(everything, held, "held-out")


def _all_samples(dataset: Dataset, role: str) -> Samples:
    assert dataset.target is not None  # load refuses data without labels
    _check_labels(dataset.source, dataset.target)
    _check_finite(dataset)
    ids: list[int | str] = list(dataset.ids or range(len(dataset.target)))
    return Samples(dataset.source, dataset.features, dataset.target, ids, role)


def _check_labels(source: str, target: Array) -> None:
    if target.ndim == 1 and target.dtype.kind == "f":
        fraction = target[np.argmax(target != np.trunc(target))]
        raise checks.InputError(
            f"{source}: target: expected whole numbers or texts as labels, found {fraction:g}"
        )


def _check_finite(dataset: Dataset) -> None:
    # Before the split, which would count other rows; and before a long fit, which a NaN among the
    # held-out samples would waste.
    for rows, block in dataset.features.blocks(_CHECKED_ROWS):
        checks.finite_rows(block, dataset.source, rows.start)


def _chosen(samples: Samples, rows: Array, role: str) -> Samples:
    return Samples(
        source=samples.source,
        features=samples.features.take(rows),
        target=samples.target[rows],
        ids=[samples.ids[row] for row in rows],
        role=role,
    )


def _test_samples(plan: Plan, source: str, dataset: Dataset) -> Samples:
    test = data.load(
        source,
        target=plan.target,
        labels=plan.test_labels,
        feature_names=dataset.feature_names,
        width=dataset.features.shape[1],
    )
    found = _all_samples(test, "test")
    if _are_texts(dataset.target) and not _are_texts(found.target):
        # Texts that all look like numbers are read as numbers; the other file shows they are not.
        return replace(found, target=found.target.astype(str))
    return found


def _are_texts(target: Array | None) -> bool:
    return target is not None and target.dtype.kind in "OU"


def _fitted(plan: Plan, dataset: Dataset, train: Samples) -> SoftmaxRegression:
    scale = _default_scale(dataset) if plan.standardize is None else plan.standardize
    model = SoftmaxRegression(plan.C, standardize=scale, tol=plan.tol)
    wanted = not (plan.json or plan.quiet)
    with about(train.source), live_line(plan.tol, wanted=wanted) as progress:
        model.fit(train.features, train.target, progress=progress)
    if dataset.feature_names is not None:
        model.feature_names_in_ = np.array(dataset.feature_names, dtype=object)
    return model


def _default_scale(dataset: Dataset) -> bool | float:
    # Pixels have one unit. Each divided by its own deviation, those that are nearly always
    # background would count as much as the rest: noise, at the cost of accuracy.
    return 255.0 if dataset.pixels else True


def _judged(model: SoftmaxRegression, samples: Samples) -> Evaluation:
    # A distribution as target is judged by its most probable class.
    target = samples.target if samples.target.ndim == 1 else samples.target.argmax(axis=1)
    with about(samples.source):
        found = judge(model.predict_log_proba(samples.features), target, classes=model.classes_)
    # The row of the judged samples says nothing to the user; their name in the data does.
    named = tuple(
        replace(sample, index=samples.ids[int(sample.index)]) for sample in found.most_surprising
    )
    return replace(found, most_surprising=named)


def _metrics(
    plan: Plan,
    dataset: Dataset,
    model: SoftmaxRegression,
    train: Samples,
    judged: Samples,
    evaluation: Evaluation,
) -> dict[str, Any]:
    return {
        "bridle": bridle.__version__,
        "data": {
            "source": dataset.source,
            "test_source": plan.test,
            "features": train.features.shape[1],
            "training_samples": len(train.target),
            "judged_samples": len(judged.target),
            "judged_on": judged.role,
            "notes": dataset.notes,
        },
        "model": {"C": model.C, "standardize": model.standardize, "tol": model.tol},
        "fit": model.fit_report_.to_dict(),
        "evaluation": evaluation.to_dict(),
    }


def _print(
    metrics: dict[str, Any], model: SoftmaxRegression, evaluation: Evaluation, out: Path | None
) -> None:
    found = metrics["data"]
    counts = f"{found['training_samples']} samples, {found['features']} features"
    print(one_line(f"{found['source']}: {counts}, {len(model.classes_)} classes"))
    for note in found["notes"]:
        print(f"  {one_line(note)}")
    if model.standardize == 255:
        print("  pixels are penalised on one scale, 0 to 1 (--standardize: each on its own)")
    print(outputs.fit_line(model.fit_report_))
    print(f"\n{found['judged_on']} accuracy {evaluation.accuracy:.4f}\n")
    print(evaluation)
    if out is None:
        print("\nnothing written; --out DIR keeps the model, its metrics and predictions")
    else:
        names = f"{outputs.MODEL}, {outputs.METRICS}, {outputs.PREDICTIONS}"
        print(f"\n{one_line(f'written to {out}: {names}')}")
