"""What the user typed becomes a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bridle.data import embedded, files, parts
from bridle.data.dataset import Dataset
from bridle.data.folder import load_folder
from bridle.data.formats import ENDINGS, check_options, reader_of
from bridle.data.parts import Request
from bridle.data.text import TextColumn, without_words

Array = npt.NDArray[Any]


def load(
    source: str,
    *,
    target: str | None = None,
    labels: str | None = None,
    feature_names: Sequence[str] | None = None,
    width: int | None = None,
    need_target: bool = True,
    arrays: Mapping[str, str] | None = None,
    text: Sequence[str] = (),
    texts: Sequence[TextColumn] = (),
    training_rows: Callable[[Array], Array] | None = None,
) -> Dataset:
    """Load features and labels from a file, a folder or an embedded set.

    Parameters
    ----------
    source : str
        An embedded set (``digits``, ``iris``, ``wine``, ``breast-cancer``; ``./digits`` is the
        file of that name), a file (the ending of its name says the format), a folder of shards of
        one format, of a pair of idx files, or of one folder of images for each class.
    target : str, optional
        The column, or the array of an archive, that holds the labels. By default a column named
        target, label, class or y in any case of letters, else the last one if it looks like
        classes.
    labels : str, optional
        A file of labels, for arrays that have none: an array, or one label a line.
    feature_names : sequence of str, optional
        The columns a fitted model knows; a table is encoded to exactly these.
    width : int, optional
        How many features that model has, where they have no names. svmlight writes no zeros: a
        file may be narrower than the model and mean the same.
    need_target : bool
        Whether data without labels are refused.
    arrays : mapping, optional
        Of an archive, the names of the arrays ``X``, ``y``, ``X_test`` and ``y_test``, or of some
        of them. By default ``X`` and ``y`` are found by their names, and the set to fit told from
        the one to test (``x_train``, ``test_images``, …).

    text : sequence of str
        Columns of a table whose words become the features, weighed by TF-IDF. Columns that hold
        mostly different texts of several words are read so by themselves.
    texts : sequence of TextColumn
        The columns of texts a fitted model knows; the last of ``feature_names`` are their words.
    training_rows : callable, optional
        Says, given the target, which rows will be learnt from: words are learnt from these alone.

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
    Formats by the ending of the name: ``.csv``, ``.tsv`` (both ``.gz`` too), ``.parquet``,
    ``.npz`` (dense, or from `scipy.sparse.save_npz`), ``.npy``, ``.safetensors``, ``.svmlight``
    (``.libsvm``, ``.svm``), idx (``…-idx3-ubyte``, ``.idx``, ``.gz`` too). A model is also given a
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
        source=source,
        target=target,
        labels=labels,
        feature_names=without_words(feature_names, texts),
        width=width,
        need_target=need_target,
        arrays=arrays,
        text=tuple(text),
        texts=tuple(texts),
        training_rows=training_rows,
    )
    if source in embedded.NAMES:
        parts.refuse_arrays(request, "an embedded set")
        parts.refuse_texts(request, "an embedded set")
        return embedded.load_embedded(request)
    path = _existing(source)
    if labels is not None:
        _existing_labels(labels)
    if path.is_dir():
        return load_folder(path, request)
    reader = reader_of(path)
    if not path.is_file():
        raise files.broken(path, "not a regular file")
    if reader is None:
        raise files.broken(
            path, f"unknown ending {files.quoted(path.suffix)}, expected one of {ENDINGS}, idx"
        )
    with files.parsing(path, "a file"), path.open("rb") as stream:
        empty = not stream.read(1)
    if empty:
        raise files.broken(path, "empty file")
    check_options(reader, path, request)
    return reader([path], request)


def _existing(source: str) -> Path:
    path = Path(source)
    with files.parsing(source, "a file"):
        exists = source != "" and path.exists()
    if not exists:
        bare = "." not in source and "/" not in source
        what = "no such file, folder or embedded set" if bare else "no such file"
        raise files.broken(source or "''", what + files.suggestion(source, embedded.NAMES))
    return path


def _existing_labels(labels: str) -> None:
    with files.parsing(labels, "a file"):
        exists = Path(labels).is_file()
    if not exists:
        raise files.broken(labels, "no such file (labels)")
