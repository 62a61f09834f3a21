"""The page on drop-ins, training: PyTorch Lightning with our loss, and an exact head at its end.

Hugging Face's Trainer has `test_hugging_face.py`.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import bridle
import drop_in_page
from drop_in_page import at_its_optimum

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")
lightning: Any = pytest.importorskip("lightning", reason="PyTorch Lightning is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the names that this section of the page has made."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's advice on workers
        return drop_in_page.run(tmp_path_factory.mktemp("page"), "PyTorch Lightning")


def losses(page: dict[str, Any], how: str) -> type[Any]:
    """Return the page's module with its own loss, ours of scores, or PyTorch's."""
    of_scores = {
        "cross_entropy": bridle.cross_entropy,
        "PyTorch's": torch.nn.functional.cross_entropy,
    }

    of_the_page: Any = page["Digits"]

    class OfScores(of_the_page):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> Any:  # noqa: ARG002  # theirs
            features, target = batch
            return of_scores[how](self.head(self.backbone(features)), target)

    return of_the_page if how == "linear_cross_entropy" else OfScores


@pytest.mark.filterwarnings("ignore:The 'train_dataloader' does not have many workers")
@pytest.mark.parametrize("how", ["linear_cross_entropy", "cross_entropy"])
def test_lightning_trains_the_same_weights_as_with_their_loss(
    how: str, page: dict[str, Any]
) -> None:
    """In float64, in which rounding cannot hide a difference."""
    trained = []
    for each in (how, "PyTorch's"):
        torch.manual_seed(0)
        module = losses(page, each)().double()
        before = module.head.weight.detach().clone()
        images = torch.as_tensor(page["X_train"][:320] / 16)
        rows = torch.utils.data.TensorDataset(images, torch.as_tensor(page["y_train"][:320]))
        trainer = lightning.Trainer(
            max_epochs=3, accelerator="cpu", enable_model_summary=False, **page["quiet"]
        )
        trainer.fit(module, torch.utils.data.DataLoader(rows, batch_size=64))
        assert trainer.global_step == 15
        assert (module.head.weight - before).abs().max() > 0.01
        trained.append(module.state_dict())
    for name, weight in trained[0].items():
        np.testing.assert_allclose(weight.numpy(), trained[1][name].numpy(), rtol=0, atol=1e-12)


def test_the_callback_puts_the_head_at_scikit_learns_optimum(page: dict[str, Any]) -> None:
    module, probe = page["module"], page["exact"].probe
    assert probe.fit_report_.proven
    with torch.no_grad():
        hidden = module.backbone(page["images"])
        answers = module.head(hidden).softmax(dim=1).numpy()
    np.testing.assert_allclose(answers, probe.predict_proba(hidden), rtol=0, atol=1e-5)
    features, y = hidden.numpy().astype(np.float64), page["y_train"]
    theirs = at_its_optimum(1.0).fit(features, y).predict_proba(features)
    ours = bridle.SoftmaxRegression(tol=1e-12).fit(features, y).predict_proba(features)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    np.testing.assert_allclose(answers, theirs, rtol=0, atol=1e-2)  # the page's `tol` is 1e-6
