"""The page on drop-ins, out: `to_sklearn()` through ONNX, skops and MLflow and back.

Each skips where its library is not installed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import drop_in_page
from drop_in_page import is_there


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the names that this section of the page has made."""
    return drop_in_page.run(tmp_path_factory.mktemp("page"), "Out: `to_sklearn()`")


@pytest.mark.skipif(not is_there("skl2onnx"), reason="skl2onnx is not installed")
@pytest.mark.skipif(not is_there("onnxruntime"), reason="onnxruntime is not installed")
def test_onnx_answers_in_float32_what_the_model_answers(page: dict[str, Any]) -> None:
    model, X = page["model"], page["X_test"]
    assert page["onnx_probability"].dtype == np.float32
    np.testing.assert_array_equal(page["onnx_label"], model.predict(X))
    np.testing.assert_allclose(page["onnx_probability"], model.predict_proba(X), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("library", "back"), [("skops", "from_skops"), ("mlflow", "from_mlflow")])
def test_the_file_gives_scikit_learns_classifier_again(
    library: str, back: str, page: dict[str, Any]
) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed")
    model, found, X = page["model"], page[back], page["X_test"]
    assert type(found) is LogisticRegression
    assert found.get_params() == page["fitted"].get_params()
    np.testing.assert_allclose(found.predict_proba(X), model.predict_proba(X), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.predict(X), model.predict(X))


@pytest.mark.skipif(not is_there("mlflow"), reason="mlflow is not installed")
def test_mlflow_serves_it_as_its_own_kind_of_model(page: dict[str, Any]) -> None:
    found = page["served"].predict(page["X_test"])
    np.testing.assert_array_equal(found, page["model"].predict(page["X_test"]))
