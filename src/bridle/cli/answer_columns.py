"""Which columns of a table are answers: found by their names, never by their place.

A column belongs to a label if it is called what the label is, or that with one prefix, one suffix
or both that all labels' columns share: ``prob_cat, prob_dog``. Case counts. Where names leave a
choice, the user makes it with ``--answers``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from bridle import checks
from bridle.cli import answer_words
from bridle.cli.outputs import escaped_formula
from bridle.data import columns, files
from bridle.data.columns import Table
from bridle.data.numbers import whole_column
from bridle.judge import kinds

Array = npt.NDArray[Any]

_PERCENT = "%"


@dataclass(frozen=True)
class Affix:
    """What stands before and after the label in the names of columns."""

    prefix: str
    suffix: str

    def __str__(self) -> str:
        return f"{self.prefix}*{self.suffix}"

    @property
    def is_empty(self) -> bool:
        """Whether columns are called what the labels are."""
        return not self.prefix and not self.suffix

    def column(self, label: str, names: Sequence[str] | frozenset[str]) -> str | None:
        """Return the column of a label, with an apostrophe if a spreadsheet would run it."""
        name = f"{self.prefix}{label}{self.suffix}"
        return next((each for each in (name, escaped_formula(name)) if each in names), None)

    def label(self, name: str) -> str | None:
        """Return what the name says beside the affix, if it has it."""
        between = len(name) > len(self.prefix) + len(self.suffix)
        if not (between and name.startswith(self.prefix) and name.endswith(self.suffix)):
            return None
        return name[len(self.prefix) : len(name) - len(self.suffix)]


@dataclass(frozen=True)
class Match:
    """Columns of answers, and the class of each; one column may answer for the last of two."""

    names: tuple[str, ...]
    classes: tuple[object, ...]
    note: str = ""


def find(
    table: Table, names: Sequence[str], labels: Sequence[object], wanted: str | None, total: float
) -> Match:
    """Return the columns that answer for the labels.

    Parameters
    ----------
    table : Table
        Whose columns they are.
    names : sequence of str
        The columns that may be answers: all but the truth.
    labels : sequence
        The different labels of the truth.
    wanted : str or None
        The argument of ``--answers``.
    total : float
        What probabilities sum to: 1, or 100 per cent. It tells whether classes without a sample
        are missing.
    """
    by_text = {str(label): label for label in labels}
    if wanted is not None:
        return _asked_for(table, names, by_text, wanted)
    affixes = _affixes(table, names, by_text)
    if len(affixes) > 1:
        raise files.broken(
            table.file,
            f"columns {files.listing(map(str, affixes))} (* is a label) all may be the answers: "
            f"say which with --answers {files.quoted(affixes[0])}",
        )
    if affixes:
        return _complete(table, names, by_text, affixes[0], total)
    return _one_of_two(table, names, by_text)


def could_be(names: Sequence[str], labels: Sequence[object]) -> bool:
    """Tell whether some columns are called after these labels."""
    texts = [str(label) for label in labels]
    single = len(texts) == 2 and len(list(_sides(names, texts))) == 1
    return single or bool(_all_affixes(names, texts))


def _all_affixes(names: Sequence[str], labels: Sequence[str]) -> list[Affix]:
    """Return every affix by which each label has a column, the empty one first."""
    known = frozenset(names)
    empty = Affix("", "")
    longest = max(labels, key=len)
    found: dict[tuple[str | None, ...], Affix] = {}  # by the columns: "aa" is "*a" and "a*"
    exact = tuple(empty.column(label, known) for label in labels)
    if None not in exact:
        found[exact] = empty
    for name in names:
        for affix in _affixes_around(name, longest):
            fitting = tuple(affix.column(label, known) for label in labels)
            if None not in fitting:
                found.setdefault(fitting, affix)
    return list(found.values())


def _affixes(table: Table, names: Sequence[str], by_text: dict[str, object]) -> list[Affix]:
    """Return the affixes that columns of numbers have; the empty one alone, if it is one."""
    found = _all_affixes(names, list(by_text))
    if len(found) <= 1:
        return found
    known = frozenset(names)
    numeric = [
        affix
        for affix in found
        if all(_is_numeric(table, affix.column(label, known) or "") for label in by_text)
    ]
    return numeric[:1] if numeric and numeric[0].is_empty else numeric or found[:1]


def _complete(
    table: Table, names: Sequence[str], by_text: dict[str, object], affix: Affix, total: float
) -> Match:
    """Return the labels' columns, and those of classes without a sample if they are missing."""
    known = frozenset(names)
    seen = [affix.column(label, known) or "" for label in by_text]
    seen = [name for name in names if name in seen]
    values = numbers(table, seen)
    fractions = bool((values != np.round(values)).any())
    rest = [
        name
        for name in names
        if name not in seen and _may_be(table, name, affix, fractions=fractions)
    ]
    if rest and _within(values, total):
        rest = [name for name in rest if _within(numbers(table, [name]), total)]
        both = [name for name in names if name in seen or name in rest]
        alone = kinds.row_sums(values, total).fits
        together = bool(rest) and kinds.row_sums(numbers(table, both), total).fits
        # A column that changes no sum is a class if it is called as classes are.
        if together and not (alone and affix.is_empty):
            return _match(both, by_text, affix)
        rest = [] if alone else rest
    if rest:
        hint = ",".join(seen) if affix.is_empty else str(affix)
        raise files.broken(
            table.file,
            f"columns {files.listing(rest)} have no sample: classes, or no answers? say which "
            f"columns are answers with --answers {files.quoted(hint)} or the like",
        )
    if len(seen) == 1:
        raise files.broken(
            table.file,
            f"one label, {files.quoted(next(iter(by_text)))}, and one column of answers, "
            f"{files.quoted(seen[0])}: what is the other class? give it a column",
        )
    return _match(seen, by_text, affix)


def _match(names: Sequence[str], by_text: dict[str, object], affix: Affix) -> Match:
    known = frozenset(names)
    own = {affix.column(label, known): label for label in by_text}
    whole = all(isinstance(label, int) for label in by_text.values())
    texts = [own.get(name) or affix.label(name) or name for name in names]
    classes = tuple(by_text.get(text, _label(text, whole=whole)) for text in texts)
    unseen = [text for text in texts if text not in by_text]
    parts = []
    if not affix.is_empty:
        parts.append(f"answers: columns {files.quoted(affix)}, * a label")
    if unseen:
        parts.append(f"classes without a sample: {files.listing(unseen)}")
    return Match(tuple(names), classes, "; ".join(parts))


def _label(text: str, *, whole: bool) -> object:
    return int(text) if whole and re.fullmatch(r"-?(0|[1-9][0-9]{0,17})", text) else text


def _may_be(table: Table, name: str, affix: Affix, *, fractions: bool) -> bool:
    """Tell whether a column may be that of a class without a sample."""
    label = affix.label(name)
    if label is None or answer_words.plain(label) in answer_words.BESIDE:
        return False
    if answer_words.names_rows(name) or not _is_numeric(table, name):
        return False
    column = table.read(name)
    # Whole numbers beside fractions count or number something: a fold, an age.
    return not (fractions and bool((column == np.round(column)).all()) and bool(column.any()))


def _one_of_two(table: Table, names: Sequence[str], by_text: dict[str, object]) -> Match:
    """Return the one column that answers for one of two labels, whose name its own name holds."""
    numeric = [name for name in names if _is_numeric(table, name)]
    sides = list(_sides(numeric, list(by_text))) if len(by_text) == 2 else []
    if len(sides) != 1:
        raise _unfitting(table, names, by_text, [name for name, _ in sides])
    name, text = sides[0]
    _refuse_related(table, numeric, name, text)
    return _single(name, text, by_text)


def _refuse_related(table: Table, numeric: Sequence[str], name: str, text: str) -> None:
    """Refuse a lone column beside others of its kind: of labels 0 and 1, p1 may be that of 0."""
    values = numbers(table, [name])
    fractions = bool((values != np.round(values)).any())
    for affix in _affixes_around(name, text):
        kin = [each for each in numeric if each != name]
        kin = [each for each in kin if _may_be(table, each, affix, fractions=fractions)]
        if kin and not affix.is_empty:
            raise files.broken(
                table.file,
                f"is column {files.quoted(name)} the answer for the label {files.quoted(text)}, "
                f"with {files.listing(kin)} beside it? say so with --answers "
                f"{files.quoted(f'{text}={name}')}, or which columns answer with --answers "
                "LABEL=COLUMN,…",
            )


def _affixes_around(name: str, text: str) -> Iterator[Affix]:
    """Yield what stands around a text, for each place in a name where it stands."""
    for place in re.finditer(f"(?={re.escape(text)})", name):
        yield Affix(name[: place.start()], name[place.start() + len(text) :])


def _single(name: str, text: str, by_text: dict[str, object]) -> Match:
    other = next(label for each, label in by_text.items() if each != text)
    note = f"answers: column {files.quoted(name)} alone, for {files.quoted(text)}"
    return Match((name,), (other, by_text[text]), note)


def _sides(names: Sequence[str], labels: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield ``(column, label)`` where a name holds one label, and else words for answers alone."""
    for name in names:
        found = [label for label in labels if _names_label(name, label)]
        if len(found) == 1:
            yield name, found[0]


def _names_label(name: str, label: str) -> bool:
    if name in (label, escaped_formula(label)):
        return True
    for affix in _affixes_around(name, label):
        before, after = affix.prefix, affix.suffix
        # "1-p_yes" and "not_yes" are no answers for yes, and "pred" says nothing of red.
        around = answer_words.words(f"{before} {after}")
        apart = _are_apart(before[-1:], label[:1]) and _are_apart(label[-1:], after[:1])
        if apart and answer_words.ANSWER.issuperset(around):
            return True
    return False


def _are_apart(sign: str, following: str) -> bool:
    letters = sign.isalpha() and following.isalpha()
    return not letters or (sign.islower() and following.isupper())


def _asked_for(
    table: Table, names: Sequence[str], by_text: dict[str, object], wanted: str
) -> Match:
    """Return what ``--answers`` says: ``prob_*``, columns, or pairs ``label=column``."""
    if wanted not in names and wanted.count("*") == 1:
        return _by_affix(table, names, by_text, Affix(*wanted.split("*")))
    items = next(csv.reader([wanted], skipinitialspace=True), [])
    if items and all(item in names for item in items):
        return _among(table, [name for name in names if name in items], by_text)
    strange = [item for item in items if item not in names and "=" not in item]
    pairs = [_pair(table, item, names, by_text) for item in strange[:1] or items or [""]]
    return _by_pairs(table, pairs, by_text)


def _by_affix(
    table: Table, names: Sequence[str], by_text: dict[str, object], affix: Affix
) -> Match:
    known = frozenset(names)
    own = {label: affix.column(label, known) for label in by_text}
    missing = [label for label, name in own.items() if name is None]
    if missing:
        present = [(name, label) for label, name in own.items() if name is not None]
        if len(own) == 2 and len(present) == 1:
            return _single(*present[0], by_text)
        raise checks.InputError(
            f"--answers {files.quoted(affix)}: {table.file} has no column "
            f"{files.quoted(f'{affix.prefix}{missing[0]}{affix.suffix}')}, "
            f"found {files.listing(names)}"
        )
    chosen = [
        name
        for name in names
        if name in own.values()
        or (not affix.is_empty and affix.label(name) is not None and _is_numeric(table, name))
    ]
    return _match(chosen, by_text, affix)


def _among(table: Table, chosen: Sequence[str], by_text: dict[str, object]) -> Match:
    affixes = _all_affixes(chosen, list(by_text))
    fitting = [affix for affix in affixes if all(affix.label(name) is not None for name in chosen)]
    if fitting and (len(fitting) == 1 or fitting[0].is_empty):
        return _match(chosen, by_text, fitting[0])
    return _one_of_two(table, chosen, by_text)


def _pair(
    table: Table, item: str, names: Sequence[str], by_text: dict[str, object]
) -> tuple[str, str]:
    splits = [
        (item[:at], item[at + 1 :])
        for at, sign in enumerate(item)
        if sign == "=" and item[at + 1 :] in names
    ]
    known = [split for split in splits if split[0] in by_text]
    if len(known or splits) != 1:
        raise checks.InputError(
            f"--answers: expected columns of {table.file}, pairs LABEL=COLUMN, or a name with * "
            f"for the label, found {files.quoted(item)}; columns: {files.listing(names)}"
            f"{files.suggestion(item, names)}"
        )
    return (known or splits)[0]


def _by_pairs(table: Table, pairs: Sequence[tuple[str, str]], by_text: dict[str, object]) -> Match:
    labels = [label for label, _ in pairs]
    if len(set(labels)) < len(labels) or len({name for _, name in pairs}) < len(pairs):
        raise checks.InputError("--answers: a label or a column is named twice")
    missing = [label for label in by_text if label not in labels]
    if len(pairs) == 1 and len(missing) == 1:
        label, name = pairs[0]
        return _single(name, label, by_text | {label: by_text.get(label, label)})
    if missing:
        raise checks.InputError(
            f"--answers: no column for the label {files.quoted(missing[0])} of {table.file}"
        )
    classes = tuple(by_text.get(label, label) for label in labels)
    return Match(tuple(name for _, name in pairs), classes)


def _unfitting(
    table: Table, names: Sequence[str], by_text: dict[str, object], half: Sequence[str]
) -> checks.InputError:
    """Return the error of columns that are not called after the labels."""
    numeric = [
        name
        for name in names
        if answer_words.plain(name) not in answer_words.BESIDE and _is_numeric(table, name)
    ]
    if half:
        what = f"columns {files.listing(half)} each answer for one label"
    elif _differ_in_case(names, by_text):
        what = "columns and labels differ in capitals"
    else:
        missing = [label for label in by_text if not any(label in name for name in names)]
        what = "no columns are called after the labels, with or without one prefix or suffix"
        if 0 < len(missing) < len(by_text):
            what = f"no column is called after the label {files.quoted(missing[0])}"
    plural = "s" * (len(numeric) != 1)
    counts = f"{len(numeric)} column{plural} of answers for {len(by_text)} labels in the target"
    start = counts if numeric else "expected a column of probabilities or scores for each class"
    return files.broken(
        table.file,
        f"{start}: {what} (labels {files.listing(by_text)}, columns {files.listing(names)}); say "
        f"which with --answers LABEL=COLUMN,… or 'PREFIX*SUFFIX' (bridle predict writes such "
        f"columns)",
    )


def _differ_in_case(names: Sequence[str], by_text: dict[str, object]) -> bool:
    lower = [text.lower() for text in by_text]
    return len(set(lower)) == len(lower) and bool(
        _all_affixes([name.lower() for name in names], lower)
    )


def column_of(table: Table, name: str) -> Array | None:
    """Return a column that may concern nobody: None if it cannot be read, has gaps or is odd."""
    try:
        return table.read(name)
    except checks.InputError:
        return None


def without_percent_signs(table: Table) -> Table:
    """Return a table in which ``7.6%`` is the number 7.6, where the user says it is per cent."""

    def read(name: str) -> Array:
        column = table.read(name)
        if not _has_percent_signs(column):
            return column
        bare = np.empty(len(column), object)
        bare[:] = [text.strip().removesuffix(_PERCENT).rstrip() for text in column.tolist()]
        typed = whole_column(bare, table.reading)
        return bare if typed is None else typed

    return replace(table, read=columns.read_once(lambda name: [read(name)], table.scratch))


def _has_percent_signs(column: Array) -> bool:
    return column.dtype == object and any(
        re.fullmatch(r"[^A-Za-z]*[0-9][^A-Za-z]*%\s*", text) for text in column.tolist()
    )


def _is_numeric(table: Table, name: str) -> bool:
    column = column_of(table, name)
    if column is None or column.ndim != 1:
        return False
    return column.dtype.kind in "iuf" or _has_percent_signs(column)


def numbers(table: Table, names: Sequence[str]) -> Array:
    """Return columns of numbers side by side; a text among them is named with its place."""
    found = []
    for name in names:
        column = table.read(name)
        if _has_percent_signs(column):
            raise files.broken(
                table.file,
                f"column {files.quoted(name)} is spelled with the sign %: --percent takes the "
                "answers as per cent",
            )
        if column.dtype == object:
            column = columns.numbers_only(table, name)
        if column.ndim != 1:
            raise files.broken(table.file, f"column {files.quoted(name)} holds lists")
        found.append(column if table.scratch is None else table.scratch.kept(column))
    return columns.side_by_side(found, table.scratch)


def _within(values: Array, total: float) -> bool:
    """Tell whether all are from 0 to the total: what probabilities may be."""
    tolerance = total * checks.sum_tolerance(values.dtype.name, values.shape[1])
    return bool(values.min() >= 0 and values.max() <= total + tolerance)
