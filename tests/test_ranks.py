"""Fits over the ranks of a process group, on this machine: gloo, on loopback, a free port."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
import pytest
from sklearn.datasets import load_digits

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
if not torch.distributed.is_available() or not hasattr(os, "fork"):
    pytest.skip("needs torch.distributed and processes that fork", allow_module_level=True)

from bridle import SoftmaxRegression, checks  # noqa: E402 - after PyTorch is known to be there
from bridle.ranks import Alone, RankError, ranks_of  # noqa: E402
from forking import Forked, starter_of  # noqa: E402

SUITE = Path(__file__).parent / "ranks_suite.py"
# Only ends a test that hangs: many times what the slowest takes.
HANGS = 600


def kept_store() -> Any:
    """Return a store that this process keeps, as a launcher does: it outlives each of the ranks."""
    return torch.distributed.TCPStore(
        "127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=HANGS), wait_for_workers=False
    )


def environments(size: int, port: int, *, first_keeps_store: bool = False) -> list[dict[str, str]]:
    """Return what PyTorch's launcher tells each rank, and that they meet on loopback."""
    found = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(size),
        "LOCAL_WORLD_SIZE": str(size),
        "TORCHELASTIC_USE_AGENT_STORE": str(not first_keeps_store),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
    }
    return [found | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(size)]


class Rank(NamedTuple):
    """A rank of a small world, and what it prints."""

    process: Forked
    printed: IO[str]

    def succeed(self) -> None:
        """Wait for its end, which must be a good one."""
        code = self.process.wait(HANGS)
        self.printed.seek(0)
        assert code == 0, self.printed.read()


@contextmanager
def world(
    size: int, cases: str, out: Path, *, first_keeps_store: bool = False
) -> Iterator[list[Rank]]:
    """Start the ranks, whose store is this process's, and leave none of them behind."""
    store = None if first_keeps_store else kept_store()
    port = free_port() if store is None else store.port
    started: list[Rank] = []
    with ExitStack() as stack:
        nothing = stack.enter_context(open(os.devnull))
        found = environments(size, port, first_keeps_store=first_keeps_store)
        for rank, environment in enumerate(found):
            printed = stack.enter_context(TemporaryFile("w+"))
            streams = [nothing.fileno(), printed.fileno(), printed.fileno()]
            process = starter_of(rank).start([SUITE, out, cases], environment, streams)
            stack.callback(process.end)
            started.append(Rank(process, printed))
        yield started


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def run(size: int, cases: str, out: Path) -> None:
    """Let all ranks come to their end."""
    with world(size, cases, out) as started:
        for each in started:
            each.succeed()


@pytest.mark.parametrize("size", [2, 3])
def test_any_number_of_ranks_finds_the_optimum_of_one(size: int, tmp_path: Path) -> None:
    run(size, "compare,penalties,path,search,calibrate,judge,large", tmp_path / "out")
    found = json.loads((tmp_path / "out.compare").read_text())
    assert len(found) == 4 * 3 * (3 if size == 3 else 1)
    for each in found:
        assert each["proven"], each
        assert each["gap"] <= 1e-12, each
        assert abs(each["difference"]) < 1e-12, each
        assert each["same"], each
        assert each["classes"], each
    for each in json.loads((tmp_path / "out.penalties").read_text()):
        assert each["stopped"] == "gap", each
        assert abs(each["difference"]) < 1e-9, each
        assert each["support"], each
        assert each["zeros"], each
    path = json.loads((tmp_path / "out.path").read_text())
    assert np.abs(path["differences"]).max() < 1e-12
    assert path["same"], "the ranks' weights differ"
    for name, differences in json.loads((tmp_path / "out.search").read_text()).items():
        assert differences["C"] == 0, name
        assert differences["scores"] < 1e-7, (name, differences)
        assert differences["coef"] < 1e-5, (name, differences)
        assert differences["out of fold"] < 1e-4, (name, differences)
    temperature, proven = json.loads((tmp_path / "out.calibrate").read_text())
    assert 0.1 < temperature < 10
    assert proven
    merged, whole = json.loads((tmp_path / "out.judge").read_text())
    assert merged.keys() == whole.keys()
    assert merged["confusion_matrix"] == whole["confusion_matrix"]
    for name in ("samples", "cross_entropy_nats", "accuracy", "brier_score"):
        assert merged[name] == pytest.approx(whole[name], rel=1e-12), name
    for rank in range(size):
        order = json.loads((tmp_path / f"out.large.{rank}").read_text())
        assert order == {"same": True, "again": True, "changed": True}


def test_what_is_wrong_on_one_rank_is_said_on_all(tmp_path: Path) -> None:
    run(2, "errors", tmp_path / "out")
    first, second = (json.loads((tmp_path / f"out.errors.{rank}").read_text()) for rank in (0, 1))
    assert first == second
    nan, sparse_nan, negative, width, kinds, sparse, names, one_class, weightless, nothing = first
    half = 1797 // 2
    assert nan.startswith("InputError: X: ")
    assert f"row {half + 3}" in nan, "the row is counted over all ranks"
    assert nan.endswith(f"(rank 1: row 3 of its own, row {half + 3} of all)")
    assert sparse_nan == nan
    assert negative.startswith("InputError: sample_weight: ")
    # Weights of 0 are no less for a sign: the first that is not.
    numbers = re.search(r"rank 1: row (\d+) of its own", negative)
    assert numbers is not None
    first_bad = int(numbers[1])
    weight = np.random.default_rng(0).integers(0, 4, 1797)
    _, y = load_digits(return_X_y=True)
    assert first_bad == np.flatnonzero(weight[np.argsort(y, kind="stable")][half:])[0]
    assert negative.endswith(f"row {half + first_bad} of all)")
    assert "as many features in all shares, found [50, 64]" in width
    assert "labels of one kind in all parts, found text and numbers" in kinds
    assert "dense features in all shares or sparse ones in all" in sparse
    assert "features of the same names" in names
    assert "found c0 in one and c63 in another" in names
    assert "at least two classes, found one class" in one_class
    assert "all weights are zero" in weightless
    assert nothing == "nothing", "a fit after errors succeeds"


def test_the_store_does_not_grow(tmp_path: Path) -> None:
    run(3, "keys", tmp_path / "out")
    found = json.loads((tmp_path / "out.keys").read_text())
    assert len(found["after"]) == 5
    assert len(set(found["after"])) == 1, found["after"]
    # Beside what is there after it, a fit has a sign of life of each rank and what was said last.
    assert len(found["during"]) > 30
    assert max(found["during"]) <= found["after"][0] + found["size"] + 2, found


def test_an_error_in_the_middle_of_a_pass_ends_all_ranks(tmp_path: Path) -> None:
    run(3, "failing", tmp_path / "out")
    for rank in range(3):
        said = (tmp_path / f"out.failing.{rank}").read_text()
        assert said == "RankError: rank 2: no more memory"


@pytest.mark.parametrize(
    ("case", "lost"),
    [("killed", 2), ("stopped", 2), ("driver_killed", 0), ("judge_killed", 2)],
)
def test_a_lost_rank_ends_the_others(case: str, lost: int, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with world(3, case, out) as started:
        for rank, each in enumerate(started):
            if rank == lost:
                continue
            each.succeed()
            said = Path(f"{out}.{case}.{rank}").read_text()
            assert said.startswith(f"RankError: rank {lost}: "), said
        if case in ("killed", "judge_killed"):
            assert started[lost].process.wait(HANGS) == -signal.SIGKILL


def test_a_store_whose_keeper_stopped_is_not_waited_for(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with world(2, "keeper_stopped", out, first_keeps_store=True) as started:
        started[1].succeed()
        said = Path(f"{out}.keeper_stopped.1").read_text()
        assert said.startswith("RankError: the group's store is lost"), said


def test_a_rank_that_does_not_come_is_named(tmp_path: Path) -> None:
    run(2, "absent", tmp_path / "out")
    said = (tmp_path / "out.absent.0").read_text()
    assert "rank 1: no sign of life for 2 s" in said
    assert "group=False: this process alone" in said


def test_another_number_of_ranks_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    run(2, "begin", tmp_path / "out")
    run(3, "resume", tmp_path / "out")
    first_gap, unfinished = json.loads((tmp_path / "out.begin").read_text())
    gap, objective = json.loads((tmp_path / "out.resume").read_text())
    assert gap <= 1e-12 < first_gap
    assert objective < unfinished
    (tmp_path / "kept.checkpoint").unlink()
    run(2, "resume", tmp_path / "anew")
    _, found_anew = json.loads((tmp_path / "anew.resume").read_text())
    assert objective == pytest.approx(found_anew, rel=1e-12)


def shards(folder: Path, count: int) -> Path:
    """Write ``count`` shards of one data set, of different length, as half precision."""
    random = np.random.default_rng(0)
    y = random.integers(5, size=count * 60)
    X = random.normal(size=(len(y), 12)) + np.eye(5, 12)[y]
    ends = np.cumsum([0, *(30 + 60 * place % 90 for place in range(count - 1))])
    folder.mkdir()
    for place, (begin, end) in enumerate(zip(ends, [*ends[1:], len(y)], strict=True)):
        np.savez(folder / f"part-{place}.npz", X=X[begin:end].astype(np.float16), y=y[begin:end])
    return folder


def torchrun(size: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command on several ranks, as PyTorch's launcher starts them.

    That it does is promised: one fit that is made and one that fails go through it. What the ranks
    do is the same with `on_ranks`, which takes no new interpreters.
    """
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    typed = [*launcher, f"--nproc-per-node={size}", "-m", "bridle", *map(str, arguments)]
    found = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(
        typed, env=found, capture_output=True, text=True, timeout=HANGS, check=False
    )


def on_ranks(
    size: int, *arguments: object, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command on several ranks as `torchrun` does, of which each is forked and none new."""
    store = kept_store()
    return ended_commands(arguments, environments(size, store.port), given)


def bridle(*arguments: object, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in one process."""
    return ended_commands(arguments, [dict(os.environ)], given)


def ended_commands(
    arguments: Sequence[object], found: list[dict[str, str]], given: str | None
) -> subprocess.CompletedProcess[str]:
    """Run the command once for each environment, and return the first code that is not 0.

    As with a launcher, all have the same streams, and the first that fails ends the others.
    """
    typed = ["-m", "bridle", *map(str, arguments)]
    reader, writer = os.pipe()
    with TemporaryFile("w+") as out, TemporaryFile("w+") as errors, ExitStack() as stack:
        started = []
        with open(reader) as stdin:
            streams = [stdin.fileno(), out.fileno(), errors.fileno()]
            for environment in found:
                # One that is alone is compared with a first rank, and has another starter.
                starter = starter_of(int(environment.get("RANK", "1")))
                started.append(starter.start(typed, environment, streams))
                stack.callback(started[-1].end)
        with suppress(BrokenPipeError), open(writer, "w") as stdin:
            stdin.write(given or "")
        code = first_failure(started)
        out.seek(0)
        errors.seek(0)
        return subprocess.CompletedProcess(typed, code, out.read(), errors.read())


def first_failure(started: list[Forked]) -> int:
    """Wait for the end of all, or of one that fails: it ends the others, and its code is told."""
    end = time.monotonic() + HANGS
    while True:
        codes = [each.poll() for each in started]
        failed = [code for code in codes if code]
        if failed:
            break
        if None not in codes:
            return 0
        assert time.monotonic() < end, "the command hangs"
        time.sleep(0.01)
    for each in started:
        each.kill(signal.SIGTERM)
        each.wait(HANGS)
    return failed[0]


def test_the_command_on_several_ranks_writes_what_it_writes_on_one(tmp_path: Path) -> None:
    folder = shards(tmp_path / "shards", 5)
    options = ["fit", folder, "--tol", "1e-12", "--out"]
    config = tmp_path / "run.toml"
    together = torchrun(2, *options, tmp_path / "two", "--save-config", config)
    assert together.returncode == 0, together.stderr
    told = {"data": str(folder), "tol": 1e-12, "out": str(tmp_path / "two")}
    assert tomllib.loads(config.read_text(encoding="utf-8")) == {"fit": told}
    assert together.stdout.count("fitted by 2 processes") == 1
    assert together.stdout.count("written to") == 1, "one rank alone prints and writes"
    alone = bridle(*options, tmp_path / "one")
    assert alone.returncode == 0, alone.stderr
    one, two = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two")
    )
    assert one["fit"]["proven"]
    assert two["fit"]["proven"]
    assert two["fit"]["objective"] == pytest.approx(one["fit"]["objective"], rel=1e-12)
    labels = [
        [line.split(",")[:3] for line in (tmp_path / name / "predictions.csv").open()]
        for name in ("one", "two")
    ]
    assert labels[0] == labels[1]


def test_the_command_chooses_what_one_process_chooses(tmp_path: Path) -> None:
    folder = shards(tmp_path / "shards", 3)
    options = ["fit", folder, "--Cs", "0.01,1", "--tol", "1e-12", "--json"]
    alone = bridle(*options)
    assert alone.returncode == 0, alone.stderr
    together = on_ranks(2, *options)
    assert together.returncode == 0, together.stderr
    figures = [json.loads(each.stdout)["cross_validation"]["scores"] for each in (alone, together)]
    for one, other in zip(*figures, strict=True):
        # One process judges the folds by products in the features' float32.
        assert other == pytest.approx(one, rel=1e-6)


def test_every_rank_writes_its_part_of_the_predictions(tmp_path: Path) -> None:
    folder, out = shards(tmp_path / "shards", 5), tmp_path / "answers.csv"
    for arguments in (
        ["fit", folder, "--out", tmp_path / "model", "-q"],
        ["predict", tmp_path / "model", folder, "--out", tmp_path / "whole.csv"],
    ):
        done = bridle(*arguments)
        assert done.returncode == 0, done.stderr
    found = on_ranks(3, "predict", tmp_path / "model", folder, "--out", out)
    assert found.returncode == 0, found.stderr
    manifest = json.loads((tmp_path / "answers.json").read_text())
    texts = [(tmp_path / each["file"]).read_text() for each in manifest["files"]]
    assert [each["file"] for each in manifest["files"]] == [
        f"answers-{place}-of-3.csv" for place in (1, 2, 3)
    ]
    rows = [text.splitlines()[1:] for text in texts]
    assert [each["rows"] for each in manifest["files"]] == [len(each) for each in rows]
    assert [each["first_row"] for each in manifest["files"]] == [0, 100, 200]
    whole = (tmp_path / "whole.csv").read_text().splitlines()
    assert [whole[0], *rows[0], *rows[1], *rows[2]] == whole
    nowhere = on_ranks(2, "predict", tmp_path / "model", folder)
    assert nowhere.returncode >= 1
    assert nowhere.stderr.count("bridle: --out: expected a file's name") == 1


def test_what_one_rank_makes_is_dealt_out(tmp_path: Path) -> None:
    run(3, "deal", tmp_path / "out")
    said = [json.loads((tmp_path / f"out.deal.{rank}").read_text()) for rank in range(3)]
    assert said[0] == said[1] == said[2]
    unsendable, first, last, memory, gone, right = said[0]
    assert unsendable.startswith("RankError: rank 0: Can't pickle")
    assert (first, last) == ("InputError: x.csv: line 3", "InputError: x.csv: line 4")
    assert memory == "RankError: rank 0: no more memory"
    assert re.fullmatch(r"InputError: .*values.npy: expected the file .* \(rank 1\)", gone)
    assert right == "True"


_WATCH = """
import os, sys
seen = []
def watch(event, arguments):
    name = str(arguments[0]) if event == "open" else ""
    if name.startswith({folder!r}) and not name.endswith(".log"):
        seen.append(os.path.basename(name))
        with open({folder!r} + "/rank-" + os.environ.get("RANK", "none") + ".log", "a") as log:
            log.write(seen[-1] + "\\n")
sys.addaudithook(watch)
"""


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Let every process that is started write down which files of a folder it opens."""
    (folder / "sitecustomize.py").write_text(_WATCH.format(folder=str(folder)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(
            "PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
        )
        yield


def opened(folder: Path, rank: int) -> set[str]:
    """Return which files of a watched folder a rank has opened so far, and forget them."""
    log = folder / f"rank-{rank}.log"
    names = set(log.read_text().splitlines()) if log.exists() else set()
    log.unlink(missing_ok=True)
    return names & {"table.csv", "test.csv", "X.npy", "y.npy", "answers.csv"}


def test_a_file_is_parsed_by_one_process_alone(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    y = random.integers(3, size=200)
    X = (random.normal(size=(200, 4)) + np.eye(3, 4)[y]).round(3)
    colours = np.array(["red", "green", "blue"])[random.integers(3, size=200)]
    rows = [
        ",".join(map(str, [*row, colour, f"c{label}"]))
        for row, colour, label in zip(X, colours, y, strict=True)
    ]
    heading = "a,b,c,d,colour,label\n"
    (tmp_path / "table.csv").write_text(heading + "\n".join(rows[:150]))
    (tmp_path / "test.csv").write_text(heading + "\n".join(rows[150:]))
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    np.save(tmp_path / "y.npy", y)
    table, arrays = tmp_path / "table.csv", [tmp_path / "X.npy", "--labels", tmp_path / "y.npy"]
    fit = ["fit", table, "--test", tmp_path / "test.csv", "--tol", "1e-12", "--json", "--force"]
    sweep: list[object] = ["fit", "-", "--Cs", "0.1,1", "--cv", "3", "--tol", "1e-12", "--json"]
    of_arrays = ["fit", *arrays, "--tol", "1e-12", "--json"]
    answers = tmp_path / "answers.csv"
    cases: list[tuple[list[object], str | None, dict[str, set[str]]]] = [
        (
            [*fit, "--out", tmp_path / "of-table"],
            None,
            {"0": {"table.csv", "test.csv"}, "1": set()},
        ),
        (sweep, table.read_text(), {"0": set(), "1": set()}),
        (of_arrays, None, {"0": {"X.npy", "y.npy"}, "1": {"X.npy"}}),
    ]
    with watched(tmp_path):
        for typed, given, files in cases:
            together = on_ranks(2, *typed, given=given)
            assert together.returncode == 0, together.stderr
            assert {str(rank): opened(tmp_path, rank) for rank in range(2)} == files
            one, two = json.loads(bridle(*typed, given=given).stdout), json.loads(together.stdout)
            assert two["fit"]["proven"]
            assert two["fit"]["objective"] == pytest.approx(one["fit"]["objective"], rel=1e-12)
            assert two["evaluation"]["accuracy"] == one["evaluation"]["accuracy"]
            assert two["data"] == one["data"]
        model = tmp_path / "of-table"
        for typed in (
            ["predict", model, tmp_path / "test.csv", "--out", answers],
            ["evaluate", "--model", model, tmp_path / "test.csv"],
        ):
            together = on_ranks(2, *typed)
            assert together.returncode == 0, together.stderr
            assert opened(tmp_path, 0) == {"test.csv"}
            assert opened(tmp_path, 1) == set()
        assert bridle("predict", model, tmp_path / "test.csv", "--out", answers).returncode == 0
        together = on_ranks(2, "evaluate", answers)
        assert together.returncode == 0, together.stderr
        assert opened(tmp_path, 1) == set()
    halves = [(tmp_path / f"answers-{place}-of-2.csv").read_text().splitlines() for place in (1, 2)]
    assert halves[0] + halves[1][1:] == answers.read_text().splitlines()


def test_parts_are_judged_as_the_whole_is(tmp_path: Path) -> None:
    run(3, "judge_answers", tmp_path / "out")
    first, second, third = (
        json.loads((tmp_path / f"out.judge_answers.{rank}").read_text()) for rank in range(3)
    )
    refused = {"per cent", "counts", "with a NaN", "a broken row", "finer later"}
    for name, (together, alone) in first.items():
        if name not in refused:
            assert together == alone, name
            assert second[name][0] is None, "the figures are the first rank's"
            continue
        assert isinstance(alone, str), name
        assert second[name][0] == third[name][0] == together
        if name == "with a NaN":
            assert "file: row 90 has a NaN" in alone
            # Two thirds of 101 rows begin at 67.
            assert "file: row 23 has a NaN" in together
            assert together.endswith("(rank 2: row 23 of its own, row 90 of all)")
        else:  # all ranks look through all rows
            assert together == alone, name


def test_the_command_judges_on_several_ranks_as_on_one(tmp_path: Path) -> None:
    folder, model = shards(tmp_path / "shards", 3), tmp_path / "model"
    answers, page = tmp_path / "answers.csv", tmp_path / "page.html"
    for arguments in (
        ["fit", folder, "--out", model, "-q"],
        ["predict", model, folder, "--out", answers],
    ):
        assert bridle(*arguments).returncode == 0
    costs = tmp_path / "costs.csv"
    costs.write_text("\n".join(",".join(map(str, row)) for row in 1 - np.eye(5, dtype=int)))
    typed = ["evaluate", answers, "--json", "--slices", "predicted", "--costs", costs]
    alone, together = bridle(*typed), on_ranks(3, *typed, "--report", page)
    assert alone.returncode == 0, alone.stderr
    assert together.returncode == 0, together.stderr
    one, other = json.loads(alone.stdout), json.loads(together.stdout)
    assert other.pop("report")["evaluation"]["samples"] == one["samples"] == 180
    assert other == one, "row by row the same, and summed in the same order"
    assert page.read_text().startswith("<!doctype html>")
    typed = ["evaluate", "--model", model, folder, "--json"]
    alone, together = bridle(*typed), on_ranks(2, *typed)
    assert together.returncode == 0, together.stderr
    one, other = json.loads(alone.stdout), json.loads(together.stdout)
    assert other["samples"] == one["samples"]
    assert other["confusion_matrix"] == one["confusion_matrix"]
    for name in ("cross_entropy_nats", "brier_score", "accuracy", "expected_calibration_error"):
        assert other[name] == pytest.approx(one[name], rel=1e-6), name


def test_what_is_wrong_with_answers_ends_all_ranks(tmp_path: Path) -> None:
    values, labels = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 3
    values[33, 1] = np.nan
    np.save(tmp_path / "scores.npy", values)
    np.save(tmp_path / "labels.npy", labels)
    typed = ["evaluate", tmp_path / "scores.npy", "--labels", tmp_path / "labels.npy"]
    found = on_ranks(2, *typed, "--timeout", "20")
    assert found.returncode >= 1
    said = [line for line in found.stderr.splitlines() if line.startswith("bridle: ")]
    assert len(said) == 1, found.stderr
    assert "scores.npy: row 13 has a NaN" in said[0]
    assert said[0].endswith("(rank 1: row 13 of its own, row 33 of all)")
    assert not found.stdout


def test_a_broken_shard_ends_all_ranks_with_its_name(tmp_path: Path) -> None:
    folder = shards(tmp_path / "shards", 3)
    broken = folder / "part-1.npz"
    broken.write_bytes(broken.read_bytes()[:-300])
    found = torchrun(2, "fit", folder, "--timeout", "20")
    assert found.returncode >= 1
    said = [line for line in found.stderr.splitlines() if line.startswith("bridle: ")]
    assert len(said) == 1, found.stderr
    assert "part-1.npz" in said[0]
    assert "Traceback" not in said[0]


def test_a_bad_row_is_named_by_its_rank_its_shard_and_its_numbers(tmp_path: Path) -> None:
    folder, model = shards(tmp_path / "shards", 3), tmp_path / "model"
    assert bridle("fit", folder, "--out", model, "-q").returncode == 0
    with np.load(folder / "part-2.npz") as found:
        X, y = found["X"], found["y"]
    X[17, 4] = np.inf
    np.savez(folder / "part-2.npz", X=X, y=y)
    row = 30 + 90 + 17  # the shards before have 30 and 90 rows
    where = f"part-2.npz: row 17 of its own, row {row} of all)"
    said = f"expected finite numbers, found infinity at row {row}, column 4"
    alone = bridle("fit", folder)
    assert said in alone.stderr
    assert alone.stderr.rstrip().endswith(where)
    together = on_ranks(2, "fit", folder, "--timeout", "20")
    line = next(line for line in together.stderr.splitlines() if line.startswith("bridle: "))
    assert said in line
    assert line.endswith(f"{where} (rank 1)")
    # What is read in parts is counted there; 90 of the 180 rows are the other process's.
    for typed in (["predict", model, folder, "--out", tmp_path / "a.csv"],
                  ["evaluate", "--model", model, folder]):  # fmt: skip
        together = on_ranks(2, *typed, "--timeout", "20")
        line = next(line for line in together.stderr.splitlines() if line.startswith("bridle: "))
        assert f"at row {row - 90}, column 4" in line
        assert f"(rank 1: row {row - 90} of its own, row {row} of all)" in line
        assert line.endswith(where)


def test_what_is_parsed_is_dealt_out_of_a_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, temporary = shards(tmp_path / "shards", 4), tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import parquet

    (tmp_path / "tables").mkdir()
    for path in sorted(folder.iterdir()):
        with np.load(path) as found:
            X, y = found["X"], found["y"]
        np.savez_compressed(path, X=X, y=y)
        lists = arrow.array(list(X.astype(np.float32)))
        table = arrow.table({"embedding": lists, "label": arrow.array(y)})
        parquet.write_table(table, tmp_path / "tables" / f"{path.stem}.parquet", row_group_size=20)
    for source in (folder, tmp_path / "tables"):
        typed = ["fit", source, "--tol", "1e-12", "--json"]
        together, alone = on_ranks(2, *typed), bridle(*typed)
        assert together.returncode == 0, together.stderr
        two, one = json.loads(together.stdout), json.loads(alone.stdout)
        assert two["fit"]["proven"]
        assert two["fit"]["objective"] == pytest.approx(one["fit"]["objective"], rel=1e-12)
        assert two["evaluation"]["accuracy"] == one["evaluation"]["accuracy"]
        assert two["data"] == one["data"]
    X[17, 4] = np.nan
    np.savez_compressed(folder / "part-3.npz", X=X, y=y)
    together, alone = on_ranks(2, "fit", folder, "--timeout", "20"), bridle("fit", folder)
    assert "NaN at row" in alone.stderr
    assert "part-3.npz: row 17 of its own" in alone.stderr
    assert alone.stderr.strip() in together.stderr
    assert not [path for path in temporary.iterdir() if path.name.startswith("bridle")]


def test_commands_that_do_not_fit_together_are_refused() -> None:
    for arguments, named in (
        (["train", "digits"], "bridle train: expected one process"),
        (["evaluate", "a.csv", "b.csv"], "several files of answers, which are compared row by row"),
        (["fit", "digits", "--label-errors"], "--label-errors: expected one process"),
    ):
        found = on_ranks(2, *arguments)
        assert found.returncode >= 1
        assert found.stderr.count(named) == 1, found.stderr


def test_one_process_is_alone() -> None:
    assert isinstance(ranks_of(), Alone)
    assert isinstance(ranks_of(False), Alone)
    with pytest.raises(checks.InputError, match="timeout: expected a finite number above 0"):
        SoftmaxRegression().fit([[0.0], [1.0]], [0, 1], timeout=0)
    error = RankError("rank 3: lost", 3)
    assert error.rank == 3
