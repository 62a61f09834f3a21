"""``bridle fit``: data in; a classifier, its figures and a report out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import bridle
from bridle import checks, interruption, strict_json
from bridle.cli import network_training, outputs
from bridle.cli.app import DEFAULT_TOL
from bridle.cli.messages import about, one_line, tell_user
from bridle.cli.network_options import NetworkOptions
from bridle.cli.progress import live_line
from bridle.cli.sampling import Samples, Source, check_source, samples_of
from bridle.cli.sweeping import Chosen, Sweep, chosen
from bridle.data import Dataset
from bridle.estimators import NetworkClassifier, SoftmaxRegression
from bridle.judge import Evaluation
from bridle.judge import evaluate as judge

Array = npt.NDArray[Any]
Model = SoftmaxRegression | NetworkClassifier


@dataclass(frozen=True)
class Plan(Source):
    """The command's arguments."""

    C: float | None
    sweep: Sweep | None
    standardize: bool | None
    tol: float
    checkpoint: Path | None
    device: str | None
    network: NetworkOptions | None
    out: Path | None
    force: bool
    json: bool
    quiet: bool


def fit(plan: Plan) -> None:
    """Load, split, fit, judge, print and write."""
    _check(plan)
    untrained = None if plan.network is None else network_training.classifier(plan.network)
    _tell_of_checkpoint(plan)
    dataset = plan.load()
    interruption.raise_again()
    train, judged = samples_of(plan, dataset)
    model, found = _fitted(plan, dataset, train, judged, untrained)
    evaluation, log_probabilities = _judged(model, judged)
    metrics = _metrics(plan, dataset, model, train, judged, evaluation)
    if found is not None:
        metrics["cross_validation"] = found.to_dict()
    # A disk that is full costs the files, not the figures; a pipe that is closed, not the files.
    failure = _failure_to_write(plan.out, model, metrics, judged, evaluation, log_probabilities)
    if plan.json:
        print(strict_json.to_text(metrics, indent=2))
    elif not plan.quiet:
        _print(metrics, model, found, evaluation)
        if failure is None:
            _print_ending(plan.out)
    if failure is not None:
        raise failure
    if isinstance(model, SoftmaxRegression) and model.fit_report_.stopped == "interrupted":
        # What there was is judged and written; the exit code still says how it ended.
        _tell_how_to_go_on(plan)
        raise KeyboardInterrupt


def _failure_to_write(
    out: Path | None,
    model: Model,
    metrics: dict[str, Any],
    judged: Samples,
    evaluation: Evaluation,
    log_probabilities: Array,
) -> OSError | None:
    if out is None:
        return None
    few = len(model.classes_) <= outputs.MOST_CLASSES
    probabilities = np.exp(log_probabilities) if few else None
    predictions = outputs.predictions_csv(judged.ids, evaluation, probabilities)
    try:
        outputs.write_fit(out, model, metrics, predictions)
    except OSError as error:
        return error
    return None


def _tell_of_checkpoint(plan: Plan) -> None:
    if plan.checkpoint is not None and plan.checkpoint.exists() and not (plan.quiet or plan.json):
        tell_user(f"going on from the weights in {plan.checkpoint}")


def _tell_how_to_go_on(plan: Plan) -> None:
    if plan.checkpoint is not None:
        tell_user(f"the same command goes on from {plan.checkpoint}")
    else:
        tell_user("a fit with --checkpoint FILE can be gone on with")


def _check(plan: Plan) -> None:
    if plan.C is not None:
        checks.positive(plan.C, "--C", infinite=True)
    checks.positive(plan.tol, "--tol")
    if plan.sweep is not None:
        plan.sweep.check()
        for name, given in (
            ("--C", plan.C is not None),
            ("--hidden", plan.network is not None),
            ("--checkpoint", plan.checkpoint is not None),
        ):
            if given:
                raise checks.InputError(f"{name}: expected without --Cs")
    check_source(plan)
    if plan.network is not None and (plan.C is not None or plan.tol != DEFAULT_TOL):
        raise checks.InputError("--C, --tol: expected without --hidden; a network has --alpha")
    if plan.network is not None and plan.checkpoint is not None:
        raise checks.InputError("--checkpoint: expected without --hidden")
    if plan.network is not None and plan.device is not None:
        raise checks.InputError("--device: expected without --hidden: networks train on the CPU")
    if plan.out is not None:
        outputs.check_folder(plan.out, force=plan.force)
    if plan.checkpoint is not None:
        outputs.check_file(plan.checkpoint, "--checkpoint")


def _fitted(
    plan: Plan,
    dataset: Dataset,
    train: Samples,
    judged: Samples,
    untrained: NetworkClassifier | None,
) -> tuple[Model, Chosen | None]:
    """Return the model, and how its C was chosen if it was."""
    model: Model
    found = None
    if plan.device is not None:
        train = replace(train, features=train.features.on(plan.device))
    if untrained is not None:
        model = _trained(plan, untrained, dataset, train, judged)
    elif plan.sweep is not None:
        scale, wanted = _scale(plan, dataset), not (plan.json or plan.quiet)
        found = chosen(plan.sweep, train, standardize=scale, tol=plan.tol, wanted=wanted)
        model = found.model
    else:
        model = _fitted_to_optimum(plan, dataset, train)
    if dataset.feature_names is not None:
        model.feature_names_in_ = np.array(dataset.feature_names, dtype=object)
    model.reading_ = dataset.reading.to_plain()
    if dataset.target_name is not None:
        model.target_name_in_ = dataset.target_name
    return model, found


def _trained(
    plan: Plan, model: NetworkClassifier, dataset: Dataset, train: Samples, judged: Samples
) -> NetworkClassifier:
    units = network_training.units_of(train.features, dataset, plan.standardize)
    wanted = not (plan.json or plan.quiet)
    with network_training.live_epochs("training", wanted=wanted) as progress:
        return network_training.trained(model, train, judged, units, progress, wanted=wanted)


def _fitted_to_optimum(plan: Plan, dataset: Dataset, train: Samples) -> SoftmaxRegression:
    model = SoftmaxRegression(plan.C or 1.0, standardize=_scale(plan, dataset), tol=plan.tol)
    wanted, penalised = not (plan.json or plan.quiet), np.isfinite(model.C)
    line = live_line(plan.tol, penalised=bool(penalised), wanted=wanted)
    with about(train.source), line as progress:
        return model.fit(
            train.features, train.target, progress=progress, checkpoint=plan.checkpoint
        )


def _scale(plan: Plan, dataset: Dataset) -> bool | float:
    if plan.standardize is not None:
        return plan.standardize
    # Pixels have one unit. Each divided by its own deviation, those that are nearly always
    # background would count as much as the rest: noise, at the cost of accuracy.
    # Nor are words: of the rare ones, which most are, the deviation is next to nothing.
    if dataset.reading.texts:
        return False
    return 255.0 if dataset.pixels else True


def _judged(model: Model, samples: Samples) -> tuple[Evaluation, Array]:
    """Return the figures, and the log-probabilities that they are of."""
    # A distribution as target is judged by its most probable class.
    target = samples.target if samples.target.ndim == 1 else samples.target.argmax(axis=1)
    with about(samples.source):
        answers = model.predict_log_proba(samples.features)
        found = judge(answers, target, classes=model.classes_)
    # The row of the judged samples says nothing to the user; their name in the data does.
    named = tuple(
        replace(sample, index=samples.ids[int(sample.index)]) for sample in found.most_surprising
    )
    return replace(found, most_surprising=named), answers


def _metrics(
    plan: Plan,
    dataset: Dataset,
    model: Model,
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
        **_of_model(model),
        "evaluation": evaluation.to_dict(),
    }


def _of_model(model: Model) -> dict[str, Any]:
    if isinstance(model, SoftmaxRegression):
        parameters = {"C": model.C, "standardize": model.standardize, "tol": model.tol}
        return {"model": parameters, "fit": model.fit_report_.to_dict()}
    return {"model": model.get_params(), "fit": {"history": model.history_}}


def _print(
    metrics: dict[str, Any],
    model: Model,
    sweep: Chosen | None,
    evaluation: Evaluation,
) -> None:
    found = metrics["data"]
    counts = f"{found['training_samples']} samples, {found['features']} features"
    print(one_line(f"{found['source']}: {counts}, {len(model.classes_)} classes"))
    for note in found["notes"]:
        print(f"  {one_line(note)}")
    if sweep is not None:
        print(*sweep.lines(), sep="\n")
    if isinstance(model, NetworkClassifier):
        print(outputs.training_line(model))
    else:
        if model.standardize == 255:
            print("  pixels are penalised on one scale, 0 to 1 (--standardize: each on its own)")
        elif "texts" in model.reading_ and not model.standardize:
            print("  features are penalised as they are (--standardize: each on its own scale)")
        print(*outputs.fit_lines(model.fit_report_), sep="\n")
    print(f"\n{found['judged_on']} accuracy {evaluation.accuracy:.4f}\n")
    print(evaluation)


def _print_ending(out: Path | None) -> None:
    if out is None:
        print("\nnothing written; --out DIR keeps the model, its metrics and predictions")
    else:
        names = f"{outputs.MODEL}, {outputs.METRICS}, {outputs.PREDICTIONS}"
        print(f"\n{one_line(f'written to {out}: {names}')}")
