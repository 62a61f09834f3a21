"""The verdict: three sentences of plain words, made from the figures of the page."""

from __future__ import annotations

from typing import Any

from scipy import stats

from bridle.report.numbers import count, number, percent

# How improbable so many bins outside their bands have to be before a model is called off.
_CHANCE = 0.05
_SHARE_OUTSIDE = 0.05  # of the bins of a calibrated model
_SPACE = "\u00a0"  # does not break
_SAMPLES = {"held-out": "held-out ", "test": "test ", "training": "training "}


def verdict(found: dict[str, Any]) -> list[str]:
    """Return how good the model is, whether its confidence comes true, and where it fails."""
    return [_how_good(found), _how_calibrated(found), _where_it_fails(found)]


def _how_good(found: dict[str, Any]) -> str:
    figures = found["evaluation"]
    samples = figures["samples"]
    what = f"{count(samples)} {_SAMPLES.get(found['judged_on'], '')}sample{'s' * (samples != 1)}"
    low, high = figures["intervals"]["accuracy"]
    right = (
        f"Of {what} the model names the right class for {percent(figures['accuracy'])} "
        f"(95{_SPACE}% interval {percent(low)} to {percent(high)})"
    )
    if figures["infinite_losses"]:
        some = count(figures["infinite_losses"])
        return f"{right}, but its loss is infinite: it gave {some} of the labels probability 0."
    loss = figures["cross_entropy_bits"]
    frequency, uniform = figures["class_frequency_bits"], figures["uniform_bits"]
    if frequency == 0:
        return f"{right}; all have the same label, so there is nothing that guessing would miss."
    guesses = (
        f"guessing by class frequencies loses {number(frequency)} and guessing all alike "
        f"{number(uniform)}"
    )
    lowest, highest = figures["intervals"]["cross_entropy_bits"]
    if highest < frequency:
        share = percent(found["share_of_uncertainty_removed"])
        verdict = f"it takes away {share} of what is uncertain without it"
    elif lowest > frequency:
        verdict = "it is worse than not looking at the samples at all"
    else:
        verdict = "so few samples do not tell whether it is better than such a guess"
    return f"{right} and loses {number(loss)} bits a sample, where {guesses}: {verdict}."


def _how_calibrated(found: dict[str, Any]) -> str:
    """Return whether chance alone explains how far confidence and accuracy are apart.

    It does not where too many groups are outside of their bands, nor where the mean confidence is
    outside of the accuracy's interval.
    """
    shown, figures = found["calibration"]["before"], found["evaluation"]
    bins, outside = len(shown["bins"]), shown["outside"]
    sure, (low, high) = shown["mean_confidence"], figures["intervals"]["accuracy"]
    means = f"sure to {percent(sure)} on average and right in {percent(figures['accuracy'])}"
    groups = f"{outside} of {bins} group{'s' * (bins != 1)} by confidence"
    ending = f"{groups} lie{'s' * (outside == 1)} outside the 95{_SPACE}% band"
    many_outside = stats.binom.sf(outside - 1, bins, _SHARE_OUTSIDE) <= _CHANCE
    if not many_outside and low <= sure <= high:
        return f"Its confidence comes true, as far as these samples tell: {means}, and {ending}."
    too_sure, too_little = shown["too_sure"], shown["not_sure_enough"]
    if sure > high or (low <= sure and not too_little):
        fault = "It is too sure of itself"
    elif sure < low or not too_sure:
        fault = "It is not sure enough"
    else:
        fault = "It is here too sure of itself, and there not sure enough"
    gap = percent(shown["expected_calibration_error"])
    return f"{fault}: {means}, {gap} apart group by group; {ending}."


def _where_it_fails(found: dict[str, Any]) -> str:
    confused = found["confusions"]
    if not confused["shown"]:
        return "It makes no mistake on these samples."
    worst, most = found["classes"]["shown"][0], confused["shown"][0]
    return (
        f"It fails most on “{worst['label']}” ({percent(worst['recall'])} of "
        f"{count(worst['support'])} found, {number(worst['loss_bits'])} bits each), and most often "
        f"takes “{most['label']}” for “{most['predicted']}” ({_times(most['count'])}, "
        f"{percent(most['share'])} of that class)."
    )


def _times(value: float) -> str:
    return "once" if value == 1 else f"{count(value)} times"
