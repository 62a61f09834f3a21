"""Files of several named arrays, and which of them are the features and the labels.

Many such files hold two sets at once, one to fit and one to test (``x_train``, ``y_train``,
``x_test``, ``y_test``; ``train_images``, ``train_labels``, …). A fit takes the first and is judged
on the second; a model that is there already is given the second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.data import files
from bridle.data.parts import Request

Array = npt.NDArray[Any]

FEATURE_KEYS = ("x", "features", "data", "embeddings", "embedding", "inputs", "images")
TARGET_KEYS = ("y", "target", "targets", "label", "labels")
# What `--arrays` may say.
ROLES = ("X", "y", "X_test", "y_test")

TRAIN, TEST, VALIDATION, NONE = "train", "test", "val", ""
_WORDS = {
    TRAIN: ("training", "train"),
    TEST: ("testing", "test", "holdout"),
    VALIDATION: ("validation", "valid", "val", "dev", "evaluation", "eval"),
}
_SEPARATORS = "_-. "


@dataclass(frozen=True)
class Archive:
    """Named arrays of one file, each read when asked for."""

    file: str
    names: tuple[str, ...]
    read: Callable[[str], Array]


@dataclass(frozen=True)
class Choice:
    """The names of the features and, if there are any, of the labels of one set."""

    features: str
    target: str | None

    def __str__(self) -> str:
        return self.features if self.target is None else f"{self.features}, {self.target}"


def choose(archive: Archive, request: Request) -> tuple[Choice, Choice | None]:
    """Return what is asked for and, for a fit, the set to test on if there is one.

    Names count in any case of letters. A single array is the features whatever its name.
    """
    if request.arrays:
        return _named(archive, request, request.arrays)
    sets = _sets(archive)
    found = {part for part in (TRAIN, TEST, VALIDATION) if (part, True) in sets}
    if not found:
        return _only(archive, request), None
    if request.has_model:
        part = next(each for each in (TEST, VALIDATION, TRAIN, NONE) if (each, True) in sets)
        return _of_part(archive, request, part), None
    part = TRAIN if TRAIN in found else NONE
    if (part, True) not in sets:
        names = files.listing(archive.names)
        raise files.broken(
            archive.file,
            f"no features to fit, only to test: found {names}; --arrays X=NAME,y=NAME names them",
        )
    if part == TRAIN and (NONE, True) in sets:
        both = sets[TRAIN, True] + sets[NONE, True]
        raise _ambiguous(archive, "features", both)
    fitted = _of_part(archive, request, part)
    held = next((each for each in (TEST, VALIDATION) if each in found), None)
    tested = None if held is None else _test(archive, request, fitted, held)
    return fitted, tested


def part_of(name: str) -> tuple[str, bool] | None:
    """Return which set an array of that name belongs to, and whether it holds features.

    >>> part_of("x_train"), part_of("test_labels"), part_of("X"), part_of("weights")
    (('train', True), ('test', False), ('', True), None)
    """
    lowered = name.lower()
    splits = [(NONE, lowered)]
    for part, words in _WORDS.items():
        for word in words:
            if lowered.startswith(word):
                splits.append((part, lowered.removeprefix(word).lstrip(_SEPARATORS)))
            if lowered.endswith(word):
                splits.append((part, lowered.removesuffix(word).rstrip(_SEPARATORS)))
    for part, rest in splits:
        if rest in FEATURE_KEYS or rest in TARGET_KEYS:
            return part, rest in FEATURE_KEYS
    return None


def set_of_word(word: str) -> str:
    """Return which set a word stands for."""
    return next(part for part, words in _WORDS.items() if word in words)


def only_labels(archive: Archive) -> Array:
    """Return the labels of an archive that is asked for nothing else."""
    named = [name for name in archive.names if name.lower() in TARGET_KEYS]
    candidates = named or list(archive.names)
    if len(candidates) != 1:
        expected = f"expected one array of labels ({', '.join(TARGET_KEYS)})"
        raise files.broken(
            archive.file, f"{expected}, found {files.listing(archive.names) or 'none'}"
        )
    return np.asarray(archive.read(candidates[0]))


def _sets(archive: Archive) -> dict[tuple[str, bool], list[str]]:
    sets = dict[tuple[str, bool], list[str]]()
    for name in archive.names:
        place = part_of(name)
        if place is not None:
            sets.setdefault(place, []).append(name)
    return sets


def _of_part(archive: Archive, request: Request, part: str) -> Choice:
    sets = _sets(archive)
    features = sets[part, True]
    if len(features) > 1:
        raise _ambiguous(archive, "features", features)
    if request.target is not None:
        return Choice(features[0], _asked_for(archive, request))
    labels = sets.get((part, False), [])
    if len(labels) > 1:
        raise _ambiguous(archive, "labels", labels)
    return Choice(features[0], labels[0] if labels else None)


def _test(archive: Archive, request: Request, fitted: Choice, part: str) -> Choice | None:
    """Return the set to test on; None where it has no labels."""
    if request.target is not None:
        # Labels named for the fit have their counterpart's name for the test, or none.
        target = re.sub("train(ing)?", part, request.target, count=1, flags=re.IGNORECASE)
        named = [name for name in archive.names if name.lower() == target.lower()]
        found = Choice(_sets(archive)[part, True][0], named[0] if named else None)
        return found if found.target not in (None, fitted.target) else None
    found = _of_part(archive, request, part)
    return None if found.target is None else found


def _only(archive: Archive, request: Request) -> Choice:
    target = _target(archive, request)
    others = tuple(name for name in archive.names if name != target)
    named = [name for name in others if name.lower() in FEATURE_KEYS]
    candidates = named or list(others)
    if len(candidates) == 1:
        return Choice(candidates[0], target)
    found = f"found {files.listing(archive.names)}" if archive.names else "found no array"
    raise files.broken(
        archive.file,
        f"expected one array of features ({', '.join(FEATURE_KEYS)}), {found}; "
        "--arrays X=NAME,y=NAME names others",
    )


def _target(archive: Archive, request: Request) -> str | None:
    if request.target is not None:
        return _asked_for(archive, request)
    named = [name for name in archive.names if name.lower() in TARGET_KEYS]
    if len(named) > 1:
        raise files.broken(
            archive.file,
            f"which array holds the labels? name it with --target: {files.listing(named)}",
        )
    return named[0] if named else None


def _asked_for(archive: Archive, request: Request) -> str | None:
    assert request.target is not None
    if request.target in archive.names or not request.need_target:
        return request.target if request.target in archive.names else None
    raise checks.InputError(
        f"target: {archive.file} has no array {files.quoted(request.target)}, "
        f"found {files.listing(archive.names)}{files.suggestion(request.target, archive.names)}",
        argument="target",
        expected=f"the array {files.quoted(request.target)}",
        found=files.listing(archive.names),
    )


def _named(
    archive: Archive, request: Request, arrays: Mapping[str, str]
) -> tuple[Choice, Choice | None]:
    if request.target is not None and "y" in arrays:
        raise checks.InputError.of("--target", expected="without --arrays y=…", found="both")
    for name in arrays.values():
        if name not in archive.names:
            raise checks.InputError(
                f"--arrays: {archive.file} has no array {files.quoted(name)}, found "
                f"{files.listing(archive.names)}{files.suggestion(name, archive.names)}",
                argument="--arrays",
                expected=f"the array {files.quoted(name)}",
                found=files.listing(archive.names),
            )
    target = arrays.get("y")
    if "X" not in arrays:
        others = [name for name in archive.names if name not in arrays.values()]
        features = _only(Archive(archive.file, tuple(others), archive.read), request).features
    else:
        features = arrays["X"]
        if target is None:
            target = _companion(archive, request, features, set(arrays.values()))
    test = Choice(arrays["X_test"], arrays.get("y_test")) if "X_test" in arrays else None
    if test is not None and test.target is None:
        companion = _companion(archive, request, test.features, {*arrays.values(), target or ""})
        test = Choice(test.features, companion)
    return Choice(features, target), None if request.has_model else test


def _companion(archive: Archive, request: Request, features: str, taken: set[str]) -> str | None:
    """Return the labels that go with features that were named."""
    if request.target is not None:
        return _asked_for(archive, request)
    part = (part_of(features) or (NONE, True))[0]
    labels = [name for name in _sets(archive).get((part, False), []) if name not in taken]
    if len(labels) > 1:
        raise _ambiguous(archive, "labels", labels)
    return labels[0] if labels else None


def _ambiguous(archive: Archive, what: str, names: list[str]) -> checks.InputError:
    return files.broken(
        archive.file,
        f"which array holds the {what}? {files.listing(names)}: --arrays X=NAME,y=NAME names them",
    )
