"""Several files as one: in a list, by a pattern, or in a folder, they mean the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from bridle import InputError
from bridle.data import load, options_used_by
from bridle.data.several import files_of, name_of
from commands import Command

RANDOM = np.random.default_rng(0)
LABELS = RANDOM.integers(3, size=90)
FEATURES = RANDOM.normal(size=(90, 4)) + np.eye(3, 4)[LABELS]
THIRDS = (slice(0, 20), slice(20, 65), slice(65, 90))


def _svmlight(label: int, row: Any) -> str:
    return f"{label} " + " ".join(f"{place}:{each}" for place, each in enumerate(row, 1))


def written(folder: Path, ending: str) -> list[str]:
    """Write three shards, and return their names."""
    folder.mkdir()
    names = [str(folder / f"part-{place}{ending}") for place in range(3)]
    for name, rows in zip(names, THIRDS, strict=True):
        X, y = FEATURES[rows], LABELS[rows]
        pairs = list(zip(X, y, strict=True))
        if ending == ".npz":
            np.savez(name, X=X, y=y)
        elif ending == ".csv":
            lines = ["a,b,c,d,y", *(",".join(map(str, [*row, label])) for row, label in pairs)]
            Path(name).write_text("\n".join(lines))
        else:
            Path(name).write_text("\n".join(_svmlight(label, row) for row, label in pairs))
    return names


@pytest.mark.parametrize("ending", [".npz", ".csv", ".svmlight"])
def test_a_list_and_a_pattern_are_what_a_folder_is(ending: str, tmp_path: Path) -> None:
    names = written(tmp_path / "shards", ending)
    (tmp_path / "shards" / "README.md").write_text("three shards")
    pattern = str(tmp_path / "shards" / f"*{ending}")
    deep = str(tmp_path / "**" / f"part-?{ending}")
    for source in (str(tmp_path / "shards"), names, pattern, deep):
        found = load(source)
        assert found.target is not None
        np.testing.assert_array_equal(found.target, LABELS)
        X = found.features.to_array()
        X = X.toarray() if sparse.issparse(X) else X
        np.testing.assert_allclose(X, FEATURES, rtol=1e-6)
    turned = load([names[2], names[0]])
    assert turned.target is not None
    np.testing.assert_array_equal(turned.target, np.concatenate([LABELS[65:], LABELS[:20]]))
    assert turned.source == f"{names[2]} and 1 more"
    assert load(pattern).source == pattern
    # One file in a list, or one that a pattern fits, is that file.
    one: list[Any] = [[names[1]], str(tmp_path / "shards" / f"*-1{ending}")]
    for source in one:
        found = load(source)
        assert found.target is not None
        np.testing.assert_array_equal(found.target, LABELS[20:65])


def test_a_file_may_be_called_as_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a[1].csv").write_text("x,y\n1,a\n2,b\n3,a\n")
    (tmp_path / "a1.csv").write_text("x,y\n1,c\n")
    assert files_of(str(tmp_path / "a[1].csv")) == ()
    assert load(str(tmp_path / "a[1].csv"), target="y").features.shape == (3, 1)
    assert files_of(str(tmp_path / "a[!2].csv")) == (tmp_path / "a1.csv",)
    assert name_of(("a", "b")) == "a and 1 more"


def test_names_may_say_which_are_to_test(tmp_path: Path) -> None:
    names = written(tmp_path / "shards", ".csv")
    for name, new in zip(names, ("train-0", "train-1", "test"), strict=True):
        Path(name).rename(tmp_path / "shards" / f"{new}.csv")
    found = load(str(tmp_path / "shards" / "*.csv"))
    assert len(found.features) == 65
    assert found.test is not None
    assert len(found.test.features) == 25
    listed = load([str(tmp_path / "shards" / f"{name}.csv") for name in ("train-1", "test")])
    assert len(listed.features) == 45
    assert listed.test is not None


def test_what_does_not_go_together_is_said(tmp_path: Path) -> None:
    arrays, tables = written(tmp_path / "a", ".npz"), written(tmp_path / "b", ".csv")
    (tmp_path / "c.csv").touch()
    (tmp_path / "d.py").write_text("pass")
    (tmp_path / "images-idx3-ubyte").write_bytes(b"\0\0\x08\3")
    cases: list[tuple[Any, str]] = [
        ([arrays[0], tables[0]], "part-0.npz and 1 more: expected files of one kind, found 'part"),
        ([arrays[0], "absent.npz"], "absent.npz: no such file"),
        ([arrays[0], str(tmp_path / "b")], "b: a folder among files: expected it alone, or the"),
        ([tables[0], str(tmp_path / "c.csv")], "c.csv: empty file"),
        ([tables[0], str(tmp_path / "d.py")], "d.py: unknown ending '.py'"),
        (
            [str(tmp_path / "images-idx3-ubyte"), arrays[0]],
            "expected one such file alone, or a folder",
        ),
        ([arrays[0], "-"], r"- \(standard input\): expected a file, or it alone, among 2"),
        ([arrays[0], ""], "'': expected a file, or it alone, among 2"),
        (str(tmp_path / "*.npy"), r"\*.npy: no such file"),
    ]
    for source, said in cases:
        with pytest.raises(InputError, match=said):
            load(source)
    assert options_used_by(arrays) == {"na_spellings"}
    assert "delimiter" in options_used_by(str(tmp_path / "b" / "*.csv"))


def test_a_pattern_passes_over_what_a_folder_does(tmp_path: Path) -> None:
    np.save(tmp_path / "x1.npy", FEATURES[:40])
    np.save(tmp_path / "x2.npy", FEATURES[40:])
    np.save(tmp_path / "labels.npy", LABELS)
    (tmp_path / "README.md").write_text("arrays")
    (tmp_path / "folder").mkdir()
    (tmp_path / "gone.npy").symlink_to(tmp_path / "nowhere.npy")
    labels = str(tmp_path / "labels.npy")
    for source in (str(tmp_path / "*"), [str(tmp_path / "x1*"), str(tmp_path / "x2*")]):
        found = load(source, labels=labels)
        assert found.target is not None
        np.testing.assert_array_equal(found.target, LABELS)
        assert found.files == (str(tmp_path / "x1.npy"), str(tmp_path / "x2.npy"))
    assert load(tmp_path / "x1.npy", need_target=False).features.shape == (40, 4)
    assert load([tmp_path / "x1.npy"], need_target=False).source == str(tmp_path / "x1.npy")


def test_a_file_counts_once(tmp_path: Path) -> None:
    names = written(tmp_path / "shards", ".csv")
    again = str(tmp_path / "shards" / ".." / "shards" / "part-0.csv")
    for source in ([names[0], names[0]], [names[0], again], [names[0], names[1][:-5] + "*.csv"]):
        with pytest.raises(InputError, match=r"part-0.csv: named twice, or fits two patterns"):
            load(source)


@pytest.mark.parametrize("data", ["part-[0-9].csv", "", "part-1.csv"])
def test_a_page_replaces_nothing_that_is_read(data: str, command: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    written(tmp_path / "shards", ".csv")
    before = (tmp_path / "shards" / "part-1.csv").read_bytes()
    page = str(tmp_path / "shards" / "part-1.csv")
    code, _, err = command("fit", str(tmp_path / "shards" / data), "--report", page)
    assert (code, err) == (2, f"bridle: --report {page}: expected another file than what is read\n")
    assert (tmp_path / "shards" / "part-1.csv").read_bytes() == before


def test_a_page_beside_what_is_read_is_replaced(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `report` is not installed")
    folder, model = tmp_path / "shards", tmp_path / "model"
    names = written(folder, ".csv")
    for _ in range(2):
        assert command("fit", str(folder), "--report", str(folder / "page.html"), "-q").code == 0
    assert command("fit", str(folder), "--out", str(model), "-q").code == 0
    typed = ("evaluate", "--model", str(model), names[0], "--report", str(model / "page.html"))
    for _ in range(2):
        assert command(*typed).code == 0
    typed = (*typed[:-1], str(model / "model.safetensors"))
    assert "expected another file than what is read" in command(*typed).err


def test_the_command_takes_them(command: Command, tmp_path: Path) -> None:
    names = written(tmp_path / "shards", ".npz")
    pattern = str(tmp_path / "shards" / "*.npz")
    objectives = []
    for place, data in enumerate(([str(tmp_path / "shards")], names, [pattern])):
        code, out, err = command("fit", *data, "--json", "--out", str(tmp_path / f"m{place}"))
        assert (code, err) == (0, "")
        figures = json.loads(out)
        objectives.append(figures["fit"]["objective"])
        assert figures["data"].get("files", names) == names
    assert len(set(objectives)) == 1
    answers = [command("predict", str(tmp_path / "m0"), *data).out for data in (names, [pattern])]
    assert answers[0] == answers[1]
    assert len(answers[0].splitlines()) == 91
    code, out, err = command("fit", names[0], "--decimal", ",", names[1])
    assert (code, out) == (2, "")
    assert (
        err == f"bridle: --decimal: {names[0]} and 1 more is no table, to which it says nothing\n"
    )
