"""What the user typed becomes a dataset."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bridle import checks
from bridle.data import delimited, embedded, files, parts, several, targets
from bridle.data.dataset import Dataset
from bridle.data.folder import load_files, load_folder
from bridle.data.formats import ENDINGS, Reader, check_options, reader_of
from bridle.data.options_used import STANDARD_INPUT, refuse_unused
from bridle.data.parts import Request
from bridle.data.reading import Reading, Selection
from bridle.data.scratch import Scratch
from bridle.data.text import without_words
from bridle.files import is_file, is_folder, is_there

Array = npt.NDArray[Any]


def load(
    source: several.Source,
    *,
    target: str | None = None,
    labels: str | None = None,
    feature_names: Sequence[str] | None = None,
    width: int | None = None,
    need_target: bool = True,
    reading: Reading | None = None,
    fitted: Reading | None = None,
    selection: Selection | None = None,
    as_table: bool = False,
    usual_target: str | None = None,
    arrays: Mapping[str, str] | None = None,
    training_rows: Callable[[Array], Array] | None = None,
    wants_test: bool = True,
    keep_texts: bool = False,
    scratch: Scratch | None = None,
) -> Dataset:
    """Load features and labels from a file, a folder or an embedded set.

    Parameters
    ----------
    source : str, path or sequence of them
        An embedded set (``digits``, ``iris``, ``wine``, ``breast-cancer``; ``./digits`` is the
        file of that name), a file (the ending of its name says the format), a folder of shards of
        one format, of a pair of idx files, or of one folder of images for each class; ``-`` is a
        table of text on standard input. Files or folders whose names say ``train``, ``test`` or
        ``validation`` are sets, which are not joined. Several files of one format, or patterns
        (``shards/*.npz``; ``**`` for folders in folders), are shards as those of a folder are, in
        this order; those of a pattern by name, without the file of labels and files without data.
    target : str, optional
        The column, or the array of an archive, that holds the labels. By default a column named
        target, label, class or y in any case of letters, else the last one if it looks like
        classes.
    labels : str, optional
        A file of labels, for arrays that have none: an array, or one label a line, with a heading
        or without, and perhaps with row numbers beside them.
    feature_names : sequence of str, optional
        The columns a fitted model knows; a table is encoded to exactly these.
    width : int, optional
        How many features that model has, where they have no names. svmlight writes no zeros: a
        file may be narrower than the model and mean the same.
    need_target : bool
        Whether data without labels are refused.
    reading : Reading, optional
        How the files are to be read: what is not told is recognised, and said in the notes.
    fitted : Reading, optional
        How the files of a fit were read (`Dataset.reading`): holds where nothing is told. The words
        of its columns of texts are the last of ``feature_names``.
    selection : Selection, optional
        Which columns of a table a fit uses, and how. Columns that hold mostly different texts of
        several words are read as texts by themselves.
    as_table : bool
        Whether a table is handed over as its columns, under `Dataset.table`: no target is chosen,
        no feature encoded, and ``labels`` may lie in a file beside it. Arrays do not mind.
    usual_target : str, optional
        The column that holds the labels where it is there and ``target`` is not given.
    arrays : mapping, optional
        Of an archive, the names of the arrays ``X``, ``y``, ``X_test`` and ``y_test``, or of some
        of them. By default ``X`` and ``y`` are found by their names, and the set to fit told from
        the one to test (``x_train``, ``test_images``, …).
    training_rows : callable, optional
        Says, given the target, which rows will be learnt from: words, and the means that stand in
        for missing values, are those of these alone. Where the data hold a set to test on, it is
        not asked: all others are learnt from.
    wants_test : bool
        Whether a set to test on that the data hold is loaded too.
    keep_texts : bool
        Whether the texts that words are made of are kept, as `Dataset.texts`.
    scratch : Scratch, optional
        Where features that are parsed or unpacked go, a file at a time, and are mapped from. By
        default they are held in memory.

    Returns
    -------
    Dataset

    Raises
    ------
    InputError
        Whatever is wrong, on one line that names the file, the line or row, and the column.
    MissingExtraError
        The format needs a package that is not installed; the message says how to get it.

    Notes
    -----
    Formats by the ending of the name: ``.csv``, ``.tsv``, ``.txt`` (tables of text), ``.svmlight``
    (``.libsvm``, ``.svm``), all of these also packed (``.gz``, ``.bz2``, ``.xz``, ``.zip``,
    ``.zst``); ``.parquet``, ``.npz`` (dense, or from `scipy.sparse.save_npz`), ``.npy``,
    ``.safetensors``, idx (``…-idx3-ubyte``, ``.idx``, ``.gz`` too). A model is also given a
    folder of images without classes, one image, or an array that is one row. Plain ``.npy``,
    ``.npz``, ``.safetensors`` and idx arrays are memory-mapped. Features of arrays are not
    searched for NaN here; those of tables are. Nothing pickled is ever read.

    Examples
    --------
    >>> iris = load("iris")
    >>> iris.features.shape, iris.target[0].item(), iris.feature_names[0]
    ((150, 4), 'setosa', 'sepal length (cm)')
    >>> load("irsi")
    Traceback (most recent call last):
    ...
    bridle.checks.InputError: irsi: no such file, folder or embedded set; did you mean 'iris'?
    """
    request = Request(
        source=several.name_of(source),
        files=several.files_of(source, labels),
        target=target,
        labels=labels,
        feature_names=without_words(feature_names, () if fitted is None else fitted.texts),
        width=width,
        need_target=need_target,
        told=reading or Reading(),
        fitted=fitted,
        selection=selection or Selection(),
        as_table=as_table,
        usual_target=usual_target,
        arrays=arrays,
        training_rows=training_rows,
        wants_test=wants_test,
        keep_texts=keep_texts,
        scratch=scratch,
    )
    refuse_unused(request)
    dataset = _loaded(request)
    if scratch is not None:
        scratch.release()
    labels_found = targets.as_fitted(dataset.target, request.reading)
    kind = targets.kind_of(labels_found) or request.reading.label_kind
    found = replace(dataset.reading, label_kind=kind)
    test = dataset.test
    if test is not None:
        test = replace(test, target=targets.as_fitted(test.target, found))
    read = tuple(map(str, request.files))
    return replace(dataset, target=labels_found, reading=found, test=test, files=read)


def _loaded(request: Request) -> Dataset:
    if request.source in embedded.NAMES:
        parts.refuse_arrays(request, "an embedded set")
        return embedded.load_embedded(request)
    if request.labels is not None:
        _existing_labels(request.labels)
    if request.source == STANDARD_INPUT:
        parts.refuse_arrays(request, "a table of text")
        with _standard_input() as path:
            return delimited.load_delimited([path], request)
    if len(request.files) > 1:
        return load_files({path: _reader(path) for path in request.files}, request)
    path = request.files[0] if request.files else _existing(request.source)
    if is_folder(path):
        return load_folder(path, request)
    reader = _reader(path)
    check_options(reader, path, request)
    return reader([path], request)


def _reader(path: Path) -> Reader:
    """Return the reader of a file, which is there and has something in it."""
    if not is_there(path):
        is_set = str(path) in embedded.NAMES
        raise files.broken(
            path, "an embedded set, expected files or it alone" if is_set else "no such file"
        )
    if is_folder(path):
        raise files.broken(path, "a folder among files: expected it alone, or the files in it")
    if not is_file(path):
        raise files.broken(path, "not a regular file")
    reader = reader_of(path)
    if reader is None:
        raise files.broken(
            path, f"unknown ending {files.quoted(path.suffix)}, expected one of {ENDINGS}, idx"
        )
    _refuse_empty(path, str(path))
    return reader


def _refuse_empty(path: Path, name: str) -> None:
    with files.parsing(path, "a file"), path.open("rb") as stream:
        empty = not stream.read(1)
    if empty:
        raise files.broken(name, "empty file")


@contextmanager
def _standard_input() -> Iterator[Path]:
    """Keep standard input in a file for a while: a table is gone through more than once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "standard-input.csv"
        with path.open("wb") as stream:
            shutil.copyfileobj(sys.stdin.buffer, stream)
        try:
            _refuse_empty(path, STANDARD_INPUT)
            yield path
        except checks.InputError as error:
            # The user knows nothing of that file.
            said = str(error).replace(str(path), STANDARD_INPUT)
            raise checks.InputError(said) from error


def _existing(source: str) -> Path:
    path = Path(source)
    with files.parsing(source, "a file"):
        exists = source != "" and is_there(path)
    if not exists:
        bare = "." not in source and "/" not in source
        what = "no such file, folder or embedded set" if bare else "no such file"
        raise files.broken(source or "''", what + files.suggestion(source, embedded.NAMES))
    return path


def _existing_labels(labels: str) -> None:
    with files.parsing(labels, "a file"):
        exists = is_file(labels)
    if not exists:
        raise files.broken(labels, "no such file (labels)")
