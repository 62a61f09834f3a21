"""``bridle calibrate``: answers in; the same answers with probabilities that come true out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks, strict_json
from bridle.calibrate import METHODS, Calibrator, create, out_of_fold
from bridle.cli import before_and_after, outputs
from bridle.cli.answer_kinds import as_scores
from bridle.cli.evaluating import Answers, read_answers
from bridle.cli.messages import about, one_line
from bridle.cli.options.answers import AnswerOptions
from bridle.cli.options.config import save_options
from bridle.data import Reading
from bridle.judge import Evaluation
from bridle.judge import evaluate as judge

Array = npt.NDArray[Any]

_FOLDS = 5


@dataclass(frozen=True)
class Options:
    """How answers are calibrated, and where what becomes of them goes."""

    method: str
    out: Path | None
    save: Path | None
    json: bool


def calibrate(
    source: str,
    *,
    target: str | None,
    labels: str | None,
    arrays: Mapping[str, str] | None,
    answers: AnswerOptions,
    reading: Reading,
    options: Options,
) -> None:
    """Fit a calibrator to answers and their labels, print what it gains, and write the result."""
    checks.one_of(options.method, "--method", tuple(METHODS))
    for file, name in ((options.out, "--out"), (options.save, "--save")):
        if file is not None:
            outputs.check_file(file, name)
    found, judged = read_answers(source, target, labels, arrays, answers, reading)
    save_options()
    classes: list[Any] = list(found.classes)
    with about(source):
        scores = as_scores(judged)
        truth = checks.labelled_target(found.truth, classes, len(scores))
        model = create(options.method).fit(scores, truth)
        before = judge(scores, truth, kind="scores")
        after = judge(out_of_fold(model, scores, truth, folds=_FOLDS), truth, kind="scores")
        probability = model.predict_proba(scores)
    if options.out is not None:
        outputs.write_text(options.out, _table(found, classes, probability))
    if options.save is not None:
        model.save(options.save)
    if options.json:
        print(strict_json.to_text(_figures(options, model, before, after, found), indent=2))
        return
    for note in found.notes:
        print(f"  {one_line(note)}")
    print("\n".join(_lines(model, before, after)))
    for path in (options.out, options.save):
        if path is not None:
            print(f"written: {path}")


def _table(found: Answers, classes: Sequence[object], probability: Array) -> str:
    best = probability.argmax(axis=1)
    labels = np.array(classes, dtype=object)
    columns: dict[str, Sequence[object]] = {
        "id": found.ids if found.ids is not None else range(len(best)),
        "target": np.asarray(found.truth).tolist(),
        "predicted": labels[best].tolist(),
        "probability": outputs.nine_digits(probability[np.arange(len(best)), best]),
    }
    return outputs.answers_csv(columns, classes, probability)


def _figures(
    options: Options, model: Calibrator, before: Evaluation, after: Evaluation, found: Answers
) -> dict[str, Any]:
    figures: dict[str, Any] = {"method": options.method, "notes": list(found.notes)}
    figures |= before_and_after.proof(model)
    figures["before"] = before_and_after.figures(before)
    figures["after_out_of_fold"] = before_and_after.figures(after)
    return figures


def _lines(model: Calibrator, before: Evaluation, after: Evaluation) -> list[str]:
    temperature = before_and_after.temperature(model)
    return [
        f"{before.samples} answers, {len(before.classes)} classes",
        *([] if temperature is None else [temperature]),
        "",
        *before_and_after.table(before, after),
        "",
        f"after: by {_FOLDS} calibrators, each judged on rows that it has not seen",
    ]
