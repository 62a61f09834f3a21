"""The page on drop-ins, tables: the names of their columns go in and come out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import sklearn
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.fixes import parse_version

import bridle
import drop_in_page
from drop_in_page import at_its_optimum

Array = npt.NDArray[Any]
NAMES = ["height", "width", "slant"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the names that this section of the page has made."""
    section = "Tables of pandas, polars, Arrow and `datasets`"
    return drop_in_page.run(tmp_path_factory.mktemp("page"), section)


@pytest.fixture(scope="module")
def theirs(page: dict[str, Any]) -> Any:
    """Return what scikit-learn finds of the three columns."""
    return at_its_optimum(1.0).fit(page["frame"], page["y_train"])


def library_of_tables(name: str) -> Any:
    library = pytest.importorskip(name, reason=f"{name} is not installed")
    if name == "polars" and parse_version(sklearn.__version__) < parse_version("1.9"):
        pytest.skip("scikit-learn knows polars' frames since 1.9")
    return library


@pytest.mark.parametrize("kind", ["pandas", "pyarrow", "polars"])
def test_names_of_a_table_come_out_again(kind: str, page: dict[str, Any], theirs: Any) -> None:
    library = library_of_tables(kind)
    make = library.table if kind == "pyarrow" else library.DataFrame
    columns, y = page["columns"], page["y_train"]
    model = bridle.SoftmaxRegression(tol=1e-12).fit(make(columns), y)
    assert model.feature_names_in_.tolist() == NAMES
    assert model.to_sklearn().feature_names_in_.tolist() == NAMES
    of_array = bridle.SoftmaxRegression(tol=1e-12).fit(np.column_stack([*columns.values()]), y)
    np.testing.assert_allclose(model.coef_, of_array.coef_, atol=1e-8)
    np.testing.assert_allclose(
        model.predict_proba(make(columns)), theirs.predict_proba(page["frame"]), rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(model.predict(make(columns)), model.predict(page["frame"]))
    swapped = make({name: columns[name] for name in reversed(columns)})
    with pytest.raises(ValueError, match="feature names"):
        model.predict(swapped)
    path = bridle.softmax_regression_path(make(columns), y, [1.0], tol=1e-12)
    np.testing.assert_allclose(path.coefs[0], model.coef_, atol=1e-6)


@pytest.mark.parametrize("kind", ["pandas", "pyarrow", "polars"])
def test_labels_may_be_a_column_of_words(kind: str, page: dict[str, Any]) -> None:
    library = pytest.importorskip(kind, reason=f"{kind} is not installed")
    words = [f"digit {digit}" for digit in page["y_train"]]
    column = library.chunked_array([words]) if kind == "pyarrow" else library.Series(words)
    X = np.column_stack([*page["columns"].values()])
    model = bridle.SoftmaxRegression(tol=1e-12).fit(X, column)
    of_list = bridle.SoftmaxRegression(tol=1e-12).fit(X, words)
    assert model.classes_.tolist() == of_list.classes_.tolist()
    np.testing.assert_allclose(model.coef_, of_list.coef_, rtol=0, atol=1e-12)
    assert model.score(X, column) == of_list.score(X, words)
    found = bridle.evaluate(model.predict_log_proba(X), column, classes=model.classes_)
    assert found.accuracy == model.score(X, column)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_names_that_a_step_before_gives_out_go_in(kind: str, page: dict[str, Any]) -> None:
    library = library_of_tables(kind)
    frame, y = library.DataFrame(page["columns"]), page["y_train"]
    ours, theirs = (
        make_pipeline(StandardScaler(), last).set_output(transform=kind).fit(frame, y)
        for last in (bridle.SoftmaxRegression(tol=1e-12), at_its_optimum(1.0))
    )
    assert ours[-1].feature_names_in_.tolist() == NAMES
    np.testing.assert_allclose(
        ours.predict_proba(frame), theirs.predict_proba(frame), rtol=0, atol=1e-6
    )
    assert page["named"][-1].feature_names_in_.tolist() == NAMES


def test_a_data_set_of_datasets_is_fitted_by_its_columns(page: dict[str, Any], theirs: Any) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    dataset, table = page["dataset"], page["table"]
    assert page["of_table"].feature_names_in_.tolist() == NAMES
    assert page["of_embeddings"].coef_.shape == (10, 64)
    model = bridle.SoftmaxRegression(tol=1e-12).fit(table, dataset["digit"])
    np.testing.assert_allclose(
        model.predict_proba(table), theirs.predict_proba(page["frame"]), rtol=0, atol=1e-6
    )
    assert model.score(table, dataset["digit"]) == theirs.score(page["frame"], page["y_train"])


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_embeddings_in_a_column_of_datasets(kind: str, page: dict[str, Any]) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    pytest.importorskip(kind, reason=f"{kind} is not installed")
    dataset = page["dataset"].with_format(kind)
    embeddings, digits = dataset["embedding"][:], dataset["digit"][:]
    model = bridle.SoftmaxRegression(tol=1e-12).fit(embeddings, digits)
    X, y = page["X_train"], page["y_train"]
    expected = at_its_optimum(1.0).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(embeddings), expected, rtol=0, atol=1e-4)
    found = bridle.evaluate(model.predict_log_proba(embeddings), digits, classes=model.classes_)
    assert found.accuracy == np.mean(expected.argmax(axis=1) == y)
