"""``bridle compare``: the same network, first weights and batches under one cost after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from bridle import checks, interruption, strict_json
from bridle.cli import outputs
from bridle.cli.curves import check_picture, draw
from bridle.cli.messages import one_line
from bridle.cli.network_training import classifier, live_epochs, trained, units_of
from bridle.cli.options.config import save_options
from bridle.cli.options.network import NetworkOptions
from bridle.cli.options.output import Printing
from bridle.cli.sampling import Source, samples_of
from bridle.networks import Epoch

_LAYERS_A_LINE = 3


@dataclass(frozen=True)
class Options:
    """What is compared: the options as typed."""

    costs: Sequence[str]
    network: NetworkOptions
    standardize: bool | None
    accuracy: float | None
    out: Path | None


@dataclass(frozen=True)
class Run:
    """What one cost led to; `epochs` and `seconds` are those to the accuracy asked for."""

    cost: str
    output: str
    epochs: int | None
    seconds: float | None
    accuracy: float
    final_cost: float
    first_gradient_norms: tuple[float, ...]
    final_gradient_norms: tuple[float, ...]
    history: list[Epoch]


def compare(source: Source, options: Options, printing: Printing) -> None:
    """Load, split, train under each cost, print and draw."""
    _check(options)
    untrained = [classifier(options.network.with_cost(cost)) for cost in options.costs]
    dataset = source.load()
    interruption.raise_again()
    train, judged = samples_of(source, dataset)
    save_options()
    units = units_of(train.features, dataset, options.standardize)
    histories, wanted = [], printing.for_people
    for model in untrained:
        with live_epochs(model.cost, wanted=wanted) as progress:
            model.set_params(standardize=units.standardize)
            fitted = trained(model, train, judged, progress, wanted=wanted)
        histories.append(fitted.history_)
    goal = min(_accuracies(each)[-1] for each in histories)
    goal = goal if options.accuracy is None else options.accuracy
    runs = [
        _run(model.cost, model.output, history, goal)
        for model, history in zip(untrained, histories, strict=True)
    ]
    failure = _failure_to_draw(options, dataset.source, judged.role, runs)
    if printing.json:
        found = {
            "accuracy": goal,
            "notes": dataset.notes,
            "features": units.description,
            "runs": runs,
        }
        print(strict_json.to_text(found, indent=2))
    elif printing.for_people:
        layers = f"{train.features.shape[1]}-{options.network.hidden.replace(',', '-')}"
        counts = f"{len(train.target)} samples, {len(judged.target)} {judged.role}"
        print(one_line(f"{dataset.source}: {counts}; network {layers}-{_classes(untrained[0])}"))
        for note in dataset.notes:
            print(f"  {one_line(note)}")
        print(units.line)
        print(f"\n{_table(runs, goal, judged.role)}")
        if failure is None:
            _print_ending(options.out)
    if failure is not None:
        raise failure


def _failure_to_draw(
    options: Options, source: str, role: str, runs: Sequence[Run]
) -> OSError | None:
    if options.out is None:
        return None
    named = [(f"{run.cost} ({run.output})", run.history) for run in runs]
    try:
        draw(options.out, f"{source}: {options.network.hidden} hidden", role, named)
    except OSError as error:
        return error
    return None


def _check(options: Options) -> None:
    if options.accuracy is not None:
        checks.fraction(options.accuracy, "--accuracy")
    if len(set(options.costs)) < len(options.costs):
        raise checks.InputError("--cost: expected each cost once")
    if options.out is not None:
        check_picture(options.out)
        outputs.check_file(options.out)


def _classes(model: Any) -> int:
    return len(model.classes_)


def _accuracies(history: list[Epoch]) -> list[float]:
    return [float(epoch.validation_accuracy or 0.0) for epoch in history]


def _run(cost: str, output: str, history: list[Epoch], goal: float) -> Run:
    accuracies = _accuracies(history)
    reached = next((place for place, each in enumerate(accuracies) if each >= goal), None)
    seconds = list(accumulate(epoch.seconds for epoch in history))
    return Run(
        cost=cost,
        output=output,
        epochs=None if reached is None else reached + 1,
        seconds=None if reached is None else seconds[reached],
        accuracy=accuracies[-1],
        final_cost=history[-1].cost,
        first_gradient_norms=history[0].gradient_norms,
        final_gradient_norms=history[-1].gradient_norms,
        history=history,
    )


def _table(runs: Sequence[Run], goal: float, role: str) -> str:
    """Return the figures of all runs, in lines of 80 columns at most."""
    to_goal = f"to {role} {goal:.4f}"
    lines = [
        f"{'':16}{'':9}{to_goal:>24}{'at the end':>23}",
        f"{'cost':16}{'output':9}{'epochs':>14}{'seconds':>10}{'accuracy':>12}{'cost':>11}",
    ]
    for run in runs:
        epochs = "not reached" if run.epochs is None else str(run.epochs)
        seconds = "" if run.seconds is None else f"{run.seconds:.2f}"
        lines.append(
            f"{run.cost:16}{run.output:9}{epochs:>14}{seconds:>10}{run.accuracy:>12.4f}"
            f"{run.final_cost:>11.4g}"
        )
    lines += ["", "gradient norm of each layer, first epoch → last"]
    for run in runs:
        lines += _norm_lines(run)
    return "\n".join(lines)


def _norm_lines(run: Run) -> list[str]:
    pairs = [
        f"{first:.2g} → {last:.2g}"
        for first, last in zip(run.first_gradient_norms, run.final_gradient_norms, strict=True)
    ]
    return [
        f"  {run.cost if start == 0 else '':16}"
        + "".join(f"{pair:20}" for pair in pairs[start : start + _LAYERS_A_LINE]).rstrip()
        for start in range(0, len(pairs), _LAYERS_A_LINE)
    ]


def _print_ending(out: Path | None) -> None:
    if out is None:
        print("\nnothing drawn; --out curves.png (or .svg) draws the curves")
    else:
        print(f"\n{one_line(f'drawn to {out}')}")
