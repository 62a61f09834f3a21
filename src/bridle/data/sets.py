"""Files and folders beside each other whose names say what they are for: to fit, or to test.

As in an archive of several sets (`bridle.data.archive`), a fit learns from the first and is judged
on the second; a model that is there already is given the second. What says nothing of the kind is
there to fit, unless something else says that it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle.data import files, targets
from bridle.data.archive import NONE, TEST, TRAIN, VALIDATION, set_of_word
from bridle.data.dataset import Dataset
from bridle.data.parts import Request
from bridle.data.reading import Selection
from bridle.data.text import without_words

Array = npt.NDArray[Any]
Loader = Callable[[Request], Dataset]

_SET = re.compile(
    r"(?<![a-z])(train|training|test|testing|holdout|val|valid|validation|dev|eval|evaluation)"
    r"(?:set|data)?(?![a-z])"
)
_CAMEL = re.compile(r"([a-z])([A-Z])")


@dataclass(frozen=True)
class Set:
    """What lies in a folder for one purpose: the names, and what loads them together."""

    names: tuple[str, ...]
    load: Loader

    def __str__(self) -> str:
        return files.listing(self.names, most=4)


def set_of_name(name: str) -> str:
    """Return which set a file or folder is by its name; of several, or of none, it is ``""``.

    >>> [set_of_name(name) for name in ("train-00000-of-00002.parquet", "reviewsTest.csv", "testset")]
    ['train', 'test', 'test']
    >>> set_of_name("latest.csv"), set_of_name("train_test.csv")
    ('', '')
    """  # noqa: E501
    words = _SET.findall(_CAMEL.sub(r"\1 \2", name).lower())
    found = {set_of_word(word) for word in words}
    return found.pop() if len(found) == 1 else NONE


def parted(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Return paths by the set that their names say."""
    sets = dict[str, list[Path]]()
    for path in paths:
        sets.setdefault(set_of_name(path.name), []).append(path)
    return sets


def load_sets(where: Path | str, sets: dict[str, Set], request: Request) -> Dataset:
    """Load the set that is asked for and, for a fit, the one to test on beside it."""
    if len(sets) == 1:
        return next(iter(sets.values())).load(request)
    if request.as_table:
        raise _ambiguous(sets, where, sets)
    held = next((part for part in (TEST, VALIDATION) if part in sets), None)
    if request.has_model and held is not None:
        return replace(sets[held].load(request), taken=", ".join(sets[held].names))
    to_fit = [part for part in (TRAIN, NONE) if part in sets]
    if len(to_fit) > 1:
        raise _ambiguous(sets, where, to_fit, "" if request.has_model else ", others by --test")
    if not to_fit:
        raise files.broken(
            where,
            f"nothing to fit, only to test: found {', '.join(map(str, sets.values()))}; name one",
        )
    tests = [sets[part] for part in (TEST, VALIDATION) if part in sets]
    if request.wants_test:
        return _fit_and_test(where, sets[to_fit[0]], tests, request)
    dataset = sets[to_fit[0]].load(request)
    notes = (f"{sets[to_fit[0]]} are learnt from", *_unused(tests))
    return replace(dataset, notes=(*notes, *dataset.notes))


def _ambiguous(
    sets: dict[str, Set], where: Path | str, choices: Iterable[str], more: str = ""
) -> Exception:
    listed = " or ".join(str(sets[part]) for part in choices)
    return files.broken(where, f"which is meant, {listed}? name one file or folder{more}")


def _fit_and_test(
    where: Path | str, fitted: Set, tests: Sequence[Set], request: Request
) -> Dataset:
    """Return the set to fit, with the first of those to test that has labels."""
    # Where there is one, all rows to fit are learnt from.
    dataset = fitted.load(replace(request, training_rows=None))
    notes = list[str]()
    for place, held in enumerate(tests):
        test = _test(where, held, dataset, request)
        if test is not None:
            said = (
                f"{fitted} are learnt from; {held} are there to test (--test or --holdout take "
                "their place)"
            )
            notes = [said, *notes, *_unused(tests[place + 1 :])]
            return replace(dataset, notes=(*notes, *dataset.notes), test=test)
        notes.append(f"{held}: no labels, not used")
    dataset = fitted.load(request)
    return replace(dataset, notes=(f"{fitted} are learnt from", *notes, *dataset.notes))


def _unused(sets: Sequence[Set]) -> tuple[str, ...]:
    return (f"not used: {', '.join(map(str, sets))}",) if sets else ()


def _test(where: Path | str, held: Set, dataset: Dataset, request: Request) -> Dataset | None:
    """Return the set to test on, read as the one to fit was; None where it has no labels."""
    is_file = isinstance(where, Path) and len(held.names) == 1
    like = replace(
        request,
        source=str(Path(where) / held.names[0] if is_file else where),
        labels=None,
        feature_names=without_words(dataset.feature_names, dataset.reading.texts),
        width=dataset.features.shape[1],
        fitted=replace(dataset.reading, label_kind=targets.kind_of(dataset.target)),
        selection=Selection(),
        usual_target=dataset.target_name,
        need_target=False,
        training_rows=None,
    )
    test = held.load(like)
    if test.target is None and test.target_name is not None:
        return held.load(replace(like, need_target=True))  # says what is wrong with its labels
    return None if test.target is None or _are_withheld(test.target, dataset.target) else test


def _are_withheld(labels: Array, fitted: Array | None) -> bool:
    """Tell whether all labels are -1 and no class is, as where those of a contest are kept back."""
    if labels.ndim != 1 or labels.dtype.kind not in "iU" or fitted is None:
        return False
    return bool(
        (labels.astype(np.str_) == "-1").all() and not (fitted.astype(np.str_) == "-1").any()
    )
