"""Sparse kernels against their NumPy reference, and sparse fits against dense ones."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from asking import answered, evaluated, stated
from bridle import InputError, SoftmaxRegression
from bridle.fit.problem.objective import Evaluation, Objective
from bridle.fit.readers import SparseReader
from bridle.fit.readers import sparse as sparse_reader
from bridle.fit.readers.sparse_layout import SparseFeatures
from bridle.fit.requests import HessianProduct, Point, Statistics, Values
from bridle.fit.solvers import newton_cg
from bridle.fit.solvers.watch import Watch
from bridle.kernels import thresholds
from bridle.kernels.numba import sparse as cpu_sparse
from bridle.kernels.numpy import reference
from bridle.kernels.numpy import sparse as sparse_reference
from bridle.rows import Rows
from problems import random_csr

Array = npt.NDArray[Any]


def ragged(
    generator: np.random.Generator, rows: int, width: int, data: Any, indices: Any
) -> sparse.csr_array:
    """Return a matrix with empty rows and columns, unsorted rows and entries that occur twice."""
    lengths = generator.integers(0, 7, rows) * generator.integers(0, 2, rows)
    lengths = lengths if width else np.zeros(rows, np.int64)
    indptr = np.concatenate([[0], lengths.cumsum()]).astype(indices)
    used = generator.permutation(max(width, 1))[: max(1, width // 2)]
    columns = generator.choice(used, indptr[-1]).astype(indices)
    values = generator.normal(size=indptr[-1]).astype(data)
    return sparse.csr_array((values, columns, indptr), shape=(rows, width))


SIZES = st.sampled_from([0, 1, 2, 7, 31])
CLASSES = st.sampled_from([1, 2, 7, 8, 16, 17, 31, 33, 64, 65, 127, 1000])
FLOATS = st.sampled_from(["float32", "float64"])
INTEGERS = st.sampled_from(["int32", "int64"])


class TestProduct:
    @given(st.integers(0, 2**32), SIZES, SIZES, CLASSES, FLOATS, INTEGERS, FLOATS)
    def test_equals_the_dense_product(
        self, seed: Any, rows: Any, width: Any, classes: Any, data: Any, indices: Any, work: Any
    ) -> None:
        generator = np.random.default_rng(seed)
        matrix = ragged(generator, rows, width, data, indices)
        assert matrix.indices.dtype == indices
        dense = generator.normal(size=(width, classes)).astype(work)
        out = generator.normal(size=(rows, classes)).astype(work)
        exact = out + matrix.toarray().astype(np.float64) @ dense
        plain = out.copy()
        cpu_sparse.add_product(cpu_sparse.compressed(matrix), dense, out)
        sparse_reference.add_product(matrix, dense, plain)
        precision = 1e-5 if work == "float32" else 1e-12 if data == "float64" else 1e-6
        np.testing.assert_allclose(out, exact, rtol=precision, atol=precision)
        np.testing.assert_allclose(plain, exact, rtol=precision, atol=precision)

    def test_numbers_beside_a_line_stay(self) -> None:
        # The last vector of a line ends beyond it, in the next one.
        matrix = cpu_sparse.compressed(sparse.csr_array(np.ones((1, 3))))
        out = np.full((3, 7), 5.0)
        cpu_sparse.add_product(matrix, np.ones((3, 7)), out[1:2])
        np.testing.assert_array_equal(out, [[5.0] * 7, [8.0] * 7, [5.0] * 7])

    @pytest.mark.parametrize("work", ["float32", "float64"])
    def test_bits_do_not_depend_on_the_number_of_threads(self, work: Any) -> None:
        generator = np.random.default_rng(0)
        matrix = cpu_sparse.compressed(ragged(generator, 50_021, 307, "float32", "int32"))
        dense = generator.normal(size=(307, 13)).astype(work)
        results = []
        for threads in (1, 2, None):
            out = np.zeros((50_021, 13), work)
            cpu_sparse.add_product(matrix, dense, out, threads=threads)
            results.append(out)
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_array_equal(results[0], results[2])

    def test_ranges_are_of_about_equal_work(self) -> None:
        lengths = np.concatenate([[10_000], np.ones(10_000, np.int64)])
        indptr = np.concatenate([[0], lengths.cumsum()])
        shape = (len(lengths), 10_000)
        matrix = sparse.csr_array(
            (np.ones(20_000), np.r_[np.arange(10_000), np.zeros(10_000, int)], indptr), shape=shape
        )
        edges = cpu_sparse.compressed(matrix).edges
        assert (edges[0], edges[-1]) == (0, len(lengths))
        assert np.all(np.diff(edges) > 0)
        assert len(edges) > 8
        assert np.diff(edges).max() < len(lengths) / 4


@st.composite
def curved_rows(draw: st.DrawFn) -> tuple[Array, Array, Array, Array | None]:
    """Draw scores, residuals of other scores, their target and sample weights."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows, classes = draw(st.sampled_from([0, 1, 2, 13])), draw(st.sampled_from([1, 2, 3, 7, 20]))
    other = generator.normal(size=(rows, classes)) * draw(st.sampled_from([1.0, 30.0]))
    target: Array = generator.integers(classes, size=rows)
    if draw(st.booleans()):
        target = generator.dirichlet(np.ones(classes), rows)
    weight = generator.integers(0, 3, rows).astype(np.float64) if draw(st.booleans()) else None
    reference.residual_in_place(other, target, weight)
    return generator.normal(size=(rows, classes)), other, target, weight


class TestCurvature:
    @given(curved_rows())
    def test_is_the_slope_of_the_residual(self, given_rows: Any) -> None:
        scores, residual, target, weight = given_rows
        share = np.ones(len(scores)) if weight is None else weight
        soft = target if target.ndim == 2 else np.eye(scores.shape[1])[target]
        # Where the weight is 0, any probability will do.
        p = residual / np.where(share > 0, share, 1)[:, None] + soft
        exact = share[:, None] * (p * scores - p * (p * scores).sum(axis=1, keepdims=True))
        for dtype, precision in (("float64", 1e-12), ("float32", 1e-5)):
            for curve in (cpu_sparse.multiply_by_hessian, sparse_reference.multiply_by_hessian):
                given_scores = scores.astype(dtype)
                curve(given_scores, residual, target, weight)
                np.testing.assert_allclose(given_scores, exact, atol=precision)

    @pytest.mark.parametrize(
        "curve", [cpu_sparse.multiply_by_hessian, sparse_reference.multiply_by_hessian]
    )
    def test_a_sure_row_keeps_its_digits(self, curve: Any) -> None:
        # p = (1 − 1e-9, 1e-9): p (z − z̄) is 1e-9 · 3, which 1 − p alone no float32 can tell.
        scores = np.array([[5.0, 2.0]], np.float32)
        curve(scores, np.array([[-1e-9, 1e-9]]), np.array([0]), None)
        np.testing.assert_allclose(scores, [[3e-9, -3e-9]], rtol=1e-5)


def sparse_problem(seed: int, rows: int, width: int, classes: int) -> Any:
    generator = np.random.default_rng(seed)
    X = random_csr((rows, width), 0.2, generator)
    scores = X @ generator.normal(size=(width, classes)) * 4
    y = (scores + generator.gumbel(size=scores.shape)).argmax(axis=1)
    y[:classes] = np.arange(classes)
    return X, y


@pytest.fixture(params=[False, True], ids=["plain", "compiled"])
def compiled(request: Any, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Have every sparse problem on this path, whatever its size, and in several blocks."""
    monkeypatch.setattr(thresholds, "SPARSE_COMPILED_PRODUCTS", 0 if request.param else 2**62)
    monkeypatch.setattr(thresholds, "SPARSE_FEWEST_ROWS", 50)
    monkeypatch.setattr(thresholds, "SPARSE_BLOCK_NUMBERS", 1)
    return bool(request.param)


def newton_of(objective: Objective) -> newton_cg._Newton:
    return newton_cg._Newton(Watch(objective), np.dtype(np.float64), 1e-13)


@pytest.mark.usefixtures("compiled")
class TestFit:
    @pytest.mark.parametrize("C", [0.01, 1.0, 1e4])
    @pytest.mark.parametrize("intercept", [True, False])
    def test_equals_the_dense_fit(self, C: float, intercept: bool) -> None:
        X, y = sparse_problem(1, 211, 37, 3)
        thin = SoftmaxRegression(C=C, tol=1e-9, fit_intercept=intercept).fit(X, y)
        thick = SoftmaxRegression(C=C, tol=1e-9, fit_intercept=intercept).fit(X.toarray(), y)
        assert thin.fit_report_.stopped == "gap"
        np.testing.assert_allclose(
            thin.fit_report_.objective, thick.fit_report_.objective, rtol=3e-9
        )
        np.testing.assert_allclose(thin.predict_proba(X), thick.predict_proba(X), atol=1e-3)

    @pytest.mark.parametrize("standardize", [True, 0.5])
    def test_scaled_features_soft_targets_and_weights(self, standardize: Any) -> None:
        X, y = sparse_problem(2, 157, 23, 4)
        X = (X * np.geomspace(1e-3, 1e3, 23)).tocsr()
        generator = np.random.default_rng(3)
        soft = 0.7 * np.eye(4)[y] + 0.3 * generator.dirichlet(np.ones(4), len(y))
        weight = generator.integers(0, 4, len(y)).astype(float)
        fits = [
            SoftmaxRegression(C=0.1, tol=1e-9, standardize=standardize).fit(each, soft, weight)
            for each in (X, X.toarray())
        ]
        objectives = [fit.fit_report_.objective for fit in fits]
        assert fits[0].fit_report_.stopped == "gap"
        np.testing.assert_allclose(objectives[0], objectives[1], rtol=3e-9)

    @pytest.mark.parametrize("data", ["float32", "float64"])
    @pytest.mark.parametrize("indices", ["int32", "int64"])
    def test_every_storage_gives_the_same(self, data: Any, indices: Any) -> None:
        X, y = sparse_problem(4, 120, 19, 3)
        X = X.astype(data)
        X.indices, X.indptr = X.indices.astype(indices), X.indptr.astype(indices)
        fit = SoftmaxRegression(tol=1e-10).fit(X, y)
        dense = SoftmaxRegression(tol=1e-10).fit(X.toarray().astype("float64"), y)
        np.testing.assert_allclose(
            fit.fit_report_.objective, dense.fit_report_.objective, rtol=1e-9
        )

    def test_entries_that_occur_twice_are_added_and_the_input_is_left_alone(self) -> None:
        X, y = sparse_problem(5, 90, 11, 3)
        indptr = X.indptr * 2
        twice = sparse.csr_array(
            (np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), indptr), shape=X.shape
        )
        once = SoftmaxRegression(tol=1e-10, standardize=True).fit(X, y)
        other = SoftmaxRegression(tol=1e-10, standardize=True).fit(twice, y)
        assert twice.nnz == 2 * X.nnz
        np.testing.assert_allclose(once.coef_, other.coef_, atol=1e-4)

    def test_several_parts_and_chosen_rows(self) -> None:
        X, y = sparse_problem(6, 160, 17, 3)
        parts = Rows([X[:7], X[7:7], X[7:]])
        order = np.random.default_rng(0).permutation(160)
        whole = SoftmaxRegression(tol=1e-10).fit(X, y).fit_report_.objective
        for rows, labels in ((parts, y), (parts.take(order), y[order])):
            found = SoftmaxRegression(tol=1e-10).fit(rows, labels).fit_report_.objective
            np.testing.assert_allclose(found, whole, rtol=1e-9)

    def test_residuals_found_again_are_as_good_as_kept_ones(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        X, y = sparse_problem(7, 160, 17, 3)
        kept = SoftmaxRegression(tol=1e-10).fit(X, y)
        monkeypatch.setattr(sparse_reader, "_KEPT_BYTES", 0)
        again = SoftmaxRegression(tol=1e-10).fit(X, y)
        assert again.fit_report_.stopped == "gap"
        np.testing.assert_allclose(
            kept.fit_report_.objective, again.fit_report_.objective, rtol=1e-9
        )

    def test_the_first_number_that_is_not_finite_is_named(self) -> None:
        X, y = sparse_problem(8, 160, 17, 3)
        X.data[X.indptr[123]] = np.nan
        with pytest.raises(InputError, match="X: expected finite numbers, found NaN at row 123"):
            SoftmaxRegression().fit(X, y)

    def test_hessian_is_the_slope_of_the_gradient(self) -> None:
        X, y = sparse_problem(9, 130, 13, 3)
        objective, reader = stated(X, y, 3, standardize=True)
        generator = np.random.default_rng(0)
        point, direction = generator.normal(size=(2, *objective.shape))
        step = 1e-5 * direction
        ahead, behind = (evaluated(objective, reader, point + s * step).gradient for s in (1, -1))
        request = HessianProduct(objective.point(point), objective.point(direction))
        sums = reader.answer(request)
        found = objective.with_penalty(sums.product, sums.residual, direction)
        np.testing.assert_allclose(found, (ahead - behind) / 2e-5, atol=1e-8)

    @pytest.mark.parametrize("soft", [True, False])
    @pytest.mark.parametrize("many", [True, False])
    def test_close_to_its_best_the_intercept_is_perfected(
        self, soft: bool, many: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(newton_cg, "_LARGEST_SYSTEM", 3 if many else 4)
        X, y = sparse_problem(12, 130, 13, 4)
        target = 0.9 * np.eye(4)[y] + 0.025 if soft else y
        weight = np.random.default_rng(0).integers(0, 3, 130).astype(float)
        objective, reader = stated(X, target, 4, standardize=True, sample_weight=weight)
        newton = newton_of(objective)
        newton.weights_gap = 0.0  # as where the weights are at theirs
        point = np.random.default_rng(1).normal(size=objective.shape)
        for _ in range(200):  # damped steps, until the intercept is close
            place = answered(newton.evaluate(point), reader)
            at: Evaluation = place.evaluation
            step = answered(newton_cg.intercept_step(place.point, at.gradient[-1]), reader)
            point = point + 0.7 * np.vstack([np.zeros((13, 4)), step[None]])
            if np.abs(at.gradient[-1]).max() < 1e-12:
                break
        exact = evaluated(objective, reader, at.parameters)
        assert np.abs(exact.gradient[-1]).max() < 1e-12
        np.testing.assert_allclose(at.gradient, exact.gradient, atol=1e-12)
        np.testing.assert_allclose(at.value, exact.value, rtol=1e-13)

    def test_the_intercept_is_brought_as_near_its_best_as_the_weights_are_to_theirs(self) -> None:
        X, y = sparse_problem(12, 130, 13, 4)
        objective, reader = stated(X, y, 4, standardize=True)
        start = np.zeros(objective.shape)
        start[:-1] = np.random.default_rng(1).normal(size=(13, 4)) / 100
        start[-1] = np.log(objective.target_mean)
        slopes = []
        for gap in (1.0, 1e-3, 1e-6):
            newton = newton_of(objective)
            newton.weights_gap = gap
            place = answered(newton.evaluate(start), reader)
            slopes.append(np.abs(place.evaluation.gradient[-1]).max())
            assert slopes[-1] <= 1e-4 * gap
        assert slopes[0] > slopes[2], "all digits at any distance"

    @pytest.mark.parametrize("intercept", [True, False])
    @pytest.mark.parametrize("cold", [True, False])
    def test_evaluation_is_the_objectives_own(self, intercept: bool, cold: bool) -> None:
        X, y = sparse_problem(11, 130, 13, 3)
        weight = np.random.default_rng(0).integers(0, 3, 130).astype(float)
        options: dict[str, Any] = {"fit_intercept": intercept, "standardize": True}
        objective, reader = stated(X, y, 3, sample_weight=weight, **options)
        point = np.random.default_rng(1).normal(size=objective.shape)
        objective.split(point)[0][:] *= 0 if cold else 1
        found = answered(newton_of(objective).evaluate(point), reader).evaluation
        exact = evaluated(objective, reader, point)
        np.testing.assert_allclose(found.gradient, exact.gradient, atol=1e-12)
        np.testing.assert_allclose(
            [found.value, found.loss, found.worst_loss],
            [exact.value, exact.loss, exact.worst_loss],
            rtol=1e-12,
        )


def test_statistics_are_those_of_the_dense_features(compiled: bool) -> None:
    X, y = sparse_problem(10, 130, 13, 3)
    X = sparse.csr_array(sparse.hstack([X, np.full((130, 1), 1e6), np.zeros((130, 1))]))
    weight = np.random.default_rng(0).integers(0, 3, 130).astype(float)
    reader = SparseReader(Rows([X]), y, weight, 3)
    assert reader.layout.compiled == compiled
    assert len(reader.layout.blocks) == 3
    found = reader.answer(Statistics(15, 3))
    dense = X.toarray()
    exact = weight @ dense / weight.sum()
    np.testing.assert_allclose(found.mean, exact, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.squares, weight @ (dense - exact) ** 2, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        found.target_product, dense.T @ (weight[:, None] * np.eye(3)[y]), atol=1e-9
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.usefixtures("compiled")
def test_scores_of_few_features_with_weights_are_those_of_all(
    part: float, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_rows = []
    product = SparseFeatures.add_product

    def heard(self: SparseFeatures, *arguments: Any) -> None:
        by_rows.append(arguments)
        product(self, *arguments)

    monkeypatch.setattr(SparseFeatures, "add_product", heard)
    generator = np.random.default_rng(2)
    X, y = ragged(generator, 130, 211, dtype, "int32"), generator.integers(3, size=130)
    weight = generator.normal(size=(211, 3)).astype(dtype)
    weight[generator.permutation(211) >= part * 211] = 0
    weight[:, 1][weight[:, 0] > 0] = 0
    point = Point(weight, generator.normal(size=3).astype(dtype))
    reader = SparseReader(Rows([X]), y, None, 3)
    question = Values(point)
    blocks = list(reader.blocks(question))
    assert len(blocks) == 3
    by_rows.clear()
    scores = np.concatenate([block.scores(point) for block in blocks])
    assert len(by_rows) == (0 if part < 0.1 else 3)
    assert scores.dtype == dtype
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(scores, X @ weight + point.offset, rtol=tolerance, atol=tolerance)


def test_nothing_is_ever_dense() -> None:
    # Dense, these features would take 800 MB; their parameters take 3.2 MB.
    generator = np.random.default_rng(0)
    X = random_csr((2_000, 50_000), 2e-4, generator)
    y = generator.integers(8, size=2_000)
    tracemalloc.start()
    try:
        SoftmaxRegression(C=1.0, tol=1e-5).fit(X, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 80e6


def test_a_small_fit_loads_no_compiler() -> None:
    program = """
import sys
import numpy as np
from scipy import sparse
from bridle import SoftmaxRegression
X = sparse.csr_array(sparse.random(300, 40, 0.1, "csr", None, np.random.default_rng(0)))
SoftmaxRegression().fit(X, np.arange(300) % 3).predict_proba(X)
print("numba" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
