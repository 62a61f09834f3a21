"""What every rank of a small world does, started by `test_ranks.py`: ``ranks_suite.py OUT CASE``.

Each case writes what rank 0 found to ``OUT``, or what every rank says to ``OUT.<rank>``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.model_selection import PredefinedSplit
from torch import distributed

import bridle
from bridle import SoftmaxRegression, SoftmaxRegressionCV, checks, softmax_regression_path
from bridle.calibrate import CalibratedClassifier
from bridle.cli.answer_kinds import as_judged
from bridle.cli.judging_parts import judged, kind_of_all, rows_to_judge
from bridle.cli.options.answers import AnswerOptions
from bridle.data import Dataset
from bridle.fit.readers import DenseReader
from bridle.judge import Evaluator
from bridle.mapped import mapped_file
from bridle.ranks import RankError, alone, ranks_of
from bridle.rows import Rows

STORAGES: dict[str, Callable[[Any], Any]] = {
    "float64": np.asarray,
    "float16": lambda X: X.astype(np.float16),
    "sparse": sparse.csr_array,
    "bfloat16": lambda X: torch.tensor(X).bfloat16(),
}
SHARES = ("even", "uneven", "one has all")
TARGETS = ("labels", "soft", "two classes")
QUICK = 2.0  # seconds without a sign of life


def own_rows(count: int, shares: str) -> slice:
    """Return which rows a rank has."""
    rank, size = distributed.get_rank(), distributed.get_world_size()
    if shares == "even":
        ends = np.linspace(0, count, size + 1).astype(int)
    elif shares == "uneven":
        ends = np.array([0] + [count // 7] * (size - 1) + [count])
    else:
        ends = np.array([0] * size + [count])
    return slice(int(ends[rank]), int(ends[rank + 1]))


@contextmanager
def first_alone() -> Iterator[bool]:
    """Let the first rank work alone, as long as it takes: the others wait."""
    yield distributed.get_rank() == 0
    distributed.barrier()


def data(target: str) -> tuple[Any, Any, Any]:
    X, y = load_digits(return_X_y=True)
    weight = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    # Sorted by class, so that most ranks miss most classes.
    order = np.argsort(y, kind="stable")
    X, y, weight = X[order], y[order], weight[order]
    if target == "two classes":
        return X, np.where(y < 5, "low", "a very high one"), weight
    if target == "labels":
        return X, y, weight
    soft = np.full((len(y), 10), 0.02)
    soft[np.arange(len(y)), y] += 0.8
    return X, soft, weight


def compare(out: Path) -> None:
    """Fit every storage, target and sharing on all ranks, and on rank 0 alone."""
    found = []
    for target in TARGETS:
        X, y, weight = data(target)
        for place, (storage, stored) in enumerate(STORAGES.items()):
            for number, shares in enumerate(SHARES):
                # Three ranks share out all of them in every way, two ranks each in one.
                if distributed.get_world_size() == 2 and number != (place + len(target)) % 3:
                    continue
                rows = own_rows(len(y), shares)
                settings: dict[str, Any] = {"C": 0.1, "tol": 1e-12, "standardize": number % 2 == 1}
                features = stored(X)
                model = SoftmaxRegression(**settings)
                model.fit(features[rows], y[rows], weight[rows])
                with first_alone() as is_first:
                    if not is_first:
                        continue
                    one = SoftmaxRegression(**settings).fit(features, y, weight, group=False)
                    found.append({
                        "case": f"{storage}, {target}, {shares}",
                        "proven": model.fit_report_.proven and one.fit_report_.proven,
                        "difference": model.fit_report_.objective / one.fit_report_.objective - 1,
                        "gap": model.fit_report_.relative_gap,
                        "same": bool((model.predict(features) == one.predict(features)).all()),
                        "classes": model.classes_.tolist() == one.classes_.tolist(),
                    })  # fmt: skip
    if distributed.get_rank() == 0:
        out.write_text(json.dumps(found))


def penalties(out: Path) -> None:
    """Fit with penalties that make weights 0, on all ranks and on rank 0 alone."""
    found = []
    for target, storage, group in (
        ("labels", "float64", None), ("soft", "sparse", None), ("labels", "float16", "features"),
        ("two classes", "bfloat16", None),
    ):  # fmt: skip
        X, y, weight = data(target)
        rows, features = own_rows(len(y), "uneven"), STORAGES[storage](X)
        settings: dict[str, Any] = {"C": 0.01, "l1_ratio": 0.9, "group": group, "tol": 1e-9}
        model = SoftmaxRegression(**settings).fit(features[rows], y[rows], weight[rows])
        with first_alone() as is_first:
            if not is_first:
                continue
            one = SoftmaxRegression(**settings).fit(features, y, weight, group=False)
            found.append({
                "case": f"{storage}, {target}, {group}",
                "stopped": model.fit_report_.stopped,
                "difference": model.fit_report_.objective / one.fit_report_.objective - 1,
                "support": bool(((model.coef_ == 0) == (one.coef_ == 0)).all()),
                "zeros": int((one.coef_ == 0).sum()),
            })  # fmt: skip
    if distributed.get_rank() == 0:
        out.write_text(json.dumps(found))


def path(out: Path) -> None:
    """Find a path together, with balanced classes."""
    X, y, weight = data("labels")
    rows = own_rows(len(y), "even")
    Cs = [0.01, 0.1, 1.0]
    settings: dict[str, Any] = {"Cs": Cs, "class_weight": "balanced", "tol": 1e-12}
    found = softmax_regression_path(X[rows], y[rows], sample_weight=weight[rows], **settings)
    every = [None] * distributed.get_world_size()
    distributed.all_gather_object(every, found.coefs.tobytes())
    with first_alone() as is_first:
        if not is_first:
            return
        whole = softmax_regression_path(X, y, sample_weight=weight, group=False, **settings)
        differences = [
            one.objective / other.objective - 1
            for one, other in zip(found.reports, whole.reports, strict=True)
        ]
        same = len(set(every)) == 1
        out.write_text(json.dumps({"differences": differences, "same": same}))


def search(out: Path) -> None:
    """Choose C by folds that lie with all ranks."""
    X, y, weight = data("labels")
    y = np.where(y == 3, "three", "other")[np.random.default_rng(1).permutation(len(y))]
    y[::3] = "third"
    rows, differences = own_rows(len(y), "uneven"), {}
    cases: dict[str, dict[str, Any]] = {
        "plain": {},
        "balanced, standardised": {"class_weight": "balanced", "standardize": True},
        "not refitted": {"refit": False},
    }
    # Folds that are told, some rows in none of them, and the numbers with a gap.
    numbers = np.where(np.arange(len(y)) % 7 == 0, -1, np.arange(len(y)) % 3 * 2)
    predefined = {"own": PredefinedSplit(numbers[rows]), "all": PredefinedSplit(numbers)}
    cases["predefined"] = {"cv": predefined}
    for name, settings in cases.items():
        told = {"Cs": [1e-4, 1e-3, 1e-2], "cv": 4, "tol": 1e-12, **settings}
        splits = told["cv"] if isinstance(told["cv"], dict) else dict.fromkeys(("own", "all"), 4)
        model = SoftmaxRegressionCV(**(told | {"cv": splits["own"]}))
        found = model.fit(X[rows], y[rows], weight[rows])
        own = np.nan_to_num(found.out_of_fold_log_proba(X[rows]))
        with first_alone() as is_first:
            if not is_first:
                continue
            whole = SoftmaxRegressionCV(**(told | {"cv": splits["all"]}))
            one = whole.fit(X, y, weight, group=False)
            answers = np.nan_to_num(one.out_of_fold_log_proba(X)[rows])
            differences[name] = {
                "C": abs(found.C_ - one.C_),
                "scores": float(np.abs(found.scores_ - one.scores_).max()),
                "coef": float(np.abs(found.coef_ - one.coef_).max()),
                "out of fold": float(np.abs(own - answers).max(initial=0)),
            }
    if distributed.get_rank() == 0:
        out.write_text(json.dumps(differences))


def calibrate(out: Path) -> None:
    """Calibrate on one rank alone, which the others do not wait for."""
    with first_alone() as is_first:
        if not is_first:
            return
        X, y, _ = data("labels")
        model = CalibratedClassifier(SoftmaxRegression(C=0.01)).fit(X, y)
        found: list[Any] = [model.calibrator_.temperature_]
        with alone():
            found.append(SoftmaxRegression(C=0.01).fit(X, y).fit_report_.proven)
        out.write_text(json.dumps(found))


def deal(out: Path) -> None:
    """Deal out what the first rank makes: small and large, from files, and what goes wrong."""
    rank, size = distributed.get_rank(), distributed.get_world_size()
    values = np.arange(60_000, dtype=np.float16).reshape(-1, 6)
    path = out.with_name("values.npy")
    made = []

    def fine() -> Iterator[Any]:
        np.save(path, values)
        there = np.load(path, mmap_mode="r")
        for each in range(size):
            made.append(each)
            yield {"rank": each, "array": values[each::size], "mapped": there[each::size]}

    def bad_at(place: int, error: Exception) -> Iterator[int]:
        for each in range(size):
            if each == place:
                raise error
            yield each

    def many_words() -> Iterator[Any]:
        for each in range(size):
            yield [
                f"{each}, word {place}, of a vocabulary that is large" for place in range(300_000)
            ]

    def unsendable() -> Iterator[Any]:
        yield from [0, lambda: None, 2][:size]

    def gone() -> Iterator[Any]:
        there = np.load(path, mmap_mode="r")
        path.unlink()
        yield from [there] * size

    with ranks_of(timeout=20) as ranks:
        own = ranks.dealt(fine)
    assert own["rank"] == rank
    assert made == (list(range(size)) if rank == 0 else []), "the first makes all, the others none"
    for name in ("array", "mapped"):
        np.testing.assert_array_equal(own[name], values[rank::size])
    assert mapped_file(own["mapped"]) is not None
    assert mapped_file(own["array"]) is None
    with ranks_of(timeout=20) as ranks:
        words = ranks.dealt(many_words)
    assert len(words) == 300_000
    assert words[-1].startswith(f"{rank}, word 299999")
    said = []
    for make in (
        unsendable,
        lambda: bad_at(0, checks.InputError("x.csv: line 3")),
        lambda: bad_at(size - 1, checks.InputError("x.csv: line 4")),
        lambda: bad_at(0, MemoryError("no more memory")),
        gone,
        lambda: bad_at(-1, ValueError()),
    ):
        try:
            with ranks_of(timeout=20) as ranks:
                said.append(str(ranks.dealt(make) == rank))
        except (checks.InputError, RankError) as error:
            said.append(f"{type(error).__name__}: {error}")
    Path(f"{out}.{rank}").write_text(json.dumps(said))


def judge(out: Path) -> None:
    """Judge each rank's own rows, and merge what was found."""
    X, y, _ = data("labels")
    rows = own_rows(len(y), "even")
    model = SoftmaxRegression(C=0.1).fit(X[rows], y[rows])
    own = Evaluator(kind="scores").update(model.predict_log_proba(X[rows]), y[rows])
    with ranks_of() as ranks:
        first, *others = ranks.gathered(lambda: own)
    for other in others:
        first.merge(other)
    merged = first.result().to_dict()
    whole = bridle.evaluate(model.predict_log_proba(X), y, kind="scores").to_dict()
    if distributed.get_rank() == 0:
        out.write_text(json.dumps([merged, whole], default=str))


def judge_answers(out: Path) -> None:
    """Judge answers of many kinds in parts, and say what one process makes of all of them."""
    random = np.random.default_rng(3)
    truth = random.integers(4, size=101)
    scores = random.normal(size=(101, 4)) * 3
    exact = np.exp(scores)
    exact /= exact.sum(axis=1, keepdims=True)
    coarse, with_nan, mixed = exact.round(3), scores.copy(), exact.copy()
    with_nan[90, 2] = np.nan
    mixed[60:] = scores[60:]
    # Of the first rows three decimals explain why they miss 1; all have more.
    fine_later = np.concatenate([coarse[:50], exact[50:].round(7)])
    broken = exact.copy()
    broken[97] *= 0.7
    cases: dict[str, tuple[Any, dict[str, Any]]] = {
        "scores": (scores, {}),
        "half precision": (exact.astype(np.float16), {}),
        "exact": (exact, {}),
        "three decimals": (coarse, {}),
        "finer later": (fine_later, {}),
        "per cent": (exact * 100, {}),
        "told per cent": (exact * 100, {"percent": True}),
        "counts, normalised": ((exact * 1000).round(), {"normalize": True}),
        "counts": ((exact * 1000).round(), {}),
        "scores above 0": (scores + 20, {}),
        "with a NaN": (with_nan, {}),
        "mixed": (mixed, {}),
        "mixed, told": (mixed, {"kind": "scores"}),
        "a broken row": (broken, {}),
        "one row": (exact[:1], {}),
        "two rows": (scores[:2], {}),
    }
    found = {}
    for name, (values, told) in cases.items():
        options = AnswerOptions(**told)
        said = []
        for group in (None, False):
            with ranks_of(group, timeout=60) as ranks:
                said.append(_judged(ranks, values, truth, options))
        found[name] = said
    Path(f"{out}.{distributed.get_rank()}").write_text(json.dumps(found, default=str))


NAMED = Dataset(Rows([np.zeros((1, 1))]), None, None, None, "file")


def _judged(ranks: Any, values: Any, truth: Any, options: AnswerOptions) -> Any:
    def place(row: int) -> str:
        return f"file: row {row}"

    try:
        own = ranks.dealt(
            lambda: rows_to_judge(
                NAMED, values.__getitem__, truth[: len(values)], range(4), ranks.size
            )
        )
        kind = kind_of_all(
            ranks, own.values, options, lambda: as_judged(values, options, place, "file")
        )
        outcome = judged(ranks, own, lambda: kind.values, kind=kind.kind, keep_answers=True)
    except checks.InputError as error:
        return f"InputError: {error}"
    if outcome is None:
        return None
    evaluation, answers = outcome
    assert answers is not None
    return [evaluation.to_dict(), kind.note, kind.rounded, answers.tolist()]


def judge_killed(out: Path) -> None:
    """Kill the last rank while it judges its part."""
    rank = distributed.get_rank()
    if rank == distributed.get_world_size() - 1:
        Evaluator.update = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign,assignment]
    answers = np.eye(3)[[0, 1, 2, 0, 1, 2]]
    try:
        with ranks_of(timeout=QUICK) as ranks:
            read, truth = answers.__getitem__, np.arange(6) % 3
            own = ranks.dealt(lambda: rows_to_judge(NAMED, read, truth, range(3), ranks.size))
            judged(ranks, own, lambda: own.values, kind="probabilities", keep_answers=False)
        said = "nothing"
    except RankError as error:
        said = f"RankError: {error}"
    Path(f"{out}.{rank}").write_text(said)
    sys.stdout.flush()
    os._exit(0)


def keys(out: Path) -> None:
    """Count the keys in the group's store: after each of several works, and in each pass."""
    X, y, weight = data("labels")
    rows, size = own_rows(len(y), "uneven"), distributed.get_world_size()
    store = distributed.distributed_c10d._get_default_store()
    during: list[int] = []
    after: list[int] = []

    def count(*_: Any) -> None:
        during.append(store.num_keys())

    def fit(tol: float) -> None:
        model = SoftmaxRegression(C=0.1, tol=tol)
        model.fit(X[rows], y[rows], weight[rows], progress=count if rows.start == 0 else None)

    def fail() -> None:
        # Wrong where only a last rank has it, and after passes were asked for.
        broken = X[rows].copy()
        broken[-1:, -1] = np.nan
        try:
            SoftmaxRegression(C=0.1).fit(broken if rows.stop == len(y) else X[rows], y[rows])
        except checks.InputError:
            return
        raise AssertionError("a NaN was fitted")

    def ask_again() -> None:
        """Let one group of ranks work twice: the first's last word is none of the second's."""
        with ranks_of() as ranks:
            for number in range(3):
                found = ranks.led(_itself, _added, partial(_asking, number))
                assert found == number * size
            ranks.gathered(lambda: None)

    def sweep() -> None:
        SoftmaxRegressionCV([1e-4, 1e-3], cv=2).fit(X[rows], y[rows], weight[rows])

    fit(0.1)  # with it the group for arrays is made, which has keys of PyTorch's
    # After an error the group for arrays is made anew: the next fit would have more of those keys.
    works: list[Callable[[], None]] = [
        partial(fit, 0.1),
        partial(fit, 1e-12),
        sweep,
        ask_again,
        fail,
    ]
    for work in works:
        work()
        # The first comes back when all have left.
        after.append(store.num_keys())
        distributed.barrier()
    if distributed.get_rank() == 0:
        out.write_text(json.dumps({"size": size, "during": during, "after": after}))


def _itself(question: int) -> int:
    return question


def _added(_: int, one: int, other: int) -> int:
    return one + other


def _asking(number: int, ask: Callable[[int], int]) -> int:
    return ask(number)


def errors(out: Path) -> None:
    """Give each rank what is wrong, one after the other; all of them must say so."""
    X, y, weight = data("labels")
    rows = own_rows(len(y), "even")
    is_last = distributed.get_rank() == distributed.get_world_size() - 1
    said = []

    def attempt(**changed: Any) -> None:
        given = {"X": X[rows], "y": y[rows], "sample_weight": weight[rows]} | changed
        try:
            SoftmaxRegression(C=0.1).fit(**given)
            said.append("nothing")
        except (checks.InputError, RankError) as error:
            said.append(f"{type(error).__name__}: {error}")

    broken = X[rows].copy()
    if is_last:
        broken[3, 5] = np.nan
    attempt(X=broken)
    attempt(X=sparse.csr_array(broken))
    attempt(sample_weight=-weight[rows] if is_last else weight[rows])
    attempt(X=X[rows][:, :50] if is_last else X[rows])
    attempt(y=y[rows].astype(str) if is_last else y[rows])
    attempt(X=sparse.csr_array(X[rows]) if is_last else X[rows])
    columns = [f"c{place}" for place in range(X.shape[1])]
    frame = pd.DataFrame(X[rows], columns=columns)
    attempt(X=frame[columns[::-1]] if is_last else frame)
    attempt(y=np.zeros(len(y[rows])))
    attempt(sample_weight=np.zeros(len(y[rows])))
    attempt()
    Path(f"{out}.{distributed.get_rank()}").write_text(json.dumps(said))


def failing(out: Path) -> None:
    """Let the last rank's memory end in the middle of a pass."""
    _break_a_pass(lambda: (_ for _ in ()).throw(MemoryError("no more memory")))
    _say_how_it_ends(out)


def killed(out: Path) -> None:
    """Kill the last rank in the middle of a pass."""
    _break_a_pass(lambda: os.kill(os.getpid(), signal.SIGKILL))
    _say_how_it_ends(out)


def stopped(out: Path) -> None:
    """Stop the last rank in the middle of a pass: it is there, but does nothing any more."""
    _break_a_pass(lambda: os.kill(os.getpid(), signal.SIGSTOP))
    _say_how_it_ends(out)


def keeper_stopped(out: Path) -> None:
    """Stop the first rank, which keeps the store itself."""
    _break_a_pass(lambda: os.kill(os.getpid(), signal.SIGSTOP), rank=0)
    _say_how_it_ends(out)


def driver_killed(out: Path) -> None:
    """Kill the first rank; the store is the starting process's."""
    _break_a_pass(lambda: os.kill(os.getpid(), signal.SIGKILL), rank=0)
    _say_how_it_ends(out)


def absent(out: Path) -> None:
    """Let one rank not come to the fit at all."""
    if distributed.get_rank() == distributed.get_world_size() - 1:
        Path(f"{out}.{distributed.get_rank()}").write_text("stayed away")
        return
    _say_how_it_ends(out)


def _break_a_pass(happens: Callable[[], Any], rank: int | None = None) -> None:
    breaking = distributed.get_world_size() - 1 if rank is None else rank
    if distributed.get_rank() != breaking:
        return
    answer_together, passes = DenseReader.answer_together, 0

    def broken(self: Any, asked: Any) -> Any:
        nonlocal passes
        passes += 1
        if passes == 10:
            happens()
        return answer_together(self, asked)

    DenseReader.answer_together = broken  # type: ignore[method-assign]


def _say_how_it_ends(out: Path) -> None:
    X, y, weight = data("labels")
    rows, rank = own_rows(len(y), "even"), distributed.get_rank()
    checkpoint = f"{out}.checkpoint" if rank == 0 else None
    try:
        SoftmaxRegression(C=0.1, tol=1e-12).fit(
            X[rows], y[rows], weight[rows], timeout=QUICK, checkpoint=checkpoint
        )
        said = "nothing"
    except RankError as error:
        said = f"RankError: {error}"
    Path(f"{out}.{rank}").write_text(said)
    # The others are not waited for: some are gone.
    sys.stdout.flush()
    os._exit(0)


def begin(out: Path) -> None:
    """Leave a checkpoint behind far from the optimum."""
    _fit_from_checkpoint(out, tol=0.1)


def resume(out: Path) -> None:
    """Go on from the checkpoint of another number of ranks."""
    _fit_from_checkpoint(out, tol=1e-12)


def _fit_from_checkpoint(out: Path, tol: float) -> None:
    X, y, weight = data("labels")
    rows, is_first = own_rows(len(y), "uneven"), distributed.get_rank() == 0
    model = SoftmaxRegression(C=0.1, tol=tol, standardize=True)
    kept = out.parent / "kept.checkpoint"
    model.fit(X[rows], y[rows], weight[rows], checkpoint=kept if is_first else None)
    if is_first:
        report = model.fit_report_
        out.write_text(json.dumps([report.relative_gap, report.objective]))


def large(out: Path) -> None:
    """Say that questions are merged in one order, whichever rank is late."""
    import time

    sums = []
    for late in range(distributed.get_world_size()):
        with ranks_of() as ranks:

            def answer(question: Any, late: int = late, rank: int = ranks.rank) -> Any:
                if rank == late:
                    time.sleep(0.05)
                return question * np.random.default_rng(rank).normal(size=len(question))

            def lead(ask: Any) -> Any:
                # The same array, and then with other numbers.
                question = np.ones(5_000)
                first = [ask(question), ask(question)]
                question[0] = 2
                return [*first, ask(question)]

            sums.append(np.stack(ranks.led(answer, lambda _, one, other: one + other, lead)))
    one, other, doubled = sums[0]
    result = {
        "same": all(np.array_equal(each, sums[0]) for each in sums),
        "again": bool(np.array_equal(one, other)),
        "changed": bool(doubled[0] == 2 * one[0] and np.array_equal(doubled[1:], one[1:])),
    }
    Path(f"{out}.{distributed.get_rank()}").write_text(json.dumps(result))


CASES = {
    each.__name__: each
    for each in (
        compare, penalties, path, search, calibrate, judge, judge_answers, judge_killed, keys,
        errors, failing, killed, stopped, keeper_stopped, driver_killed, absent, begin, resume,
        large, deal,
    )
}  # fmt: skip

if __name__ == "__main__":
    assert bridle.__version__
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    for case in sys.argv[2].split(","):
        CASES[case](Path(sys.argv[1] + "." + case))
    distributed.destroy_process_group()
