"""One network under several costs, from the same weights over the same batches."""

from __future__ import annotations

from typing import Any

from bridle.estimators import NetworkClassifier
from bridle.explain.material import Kept
from bridle.networks.training import sparing_the_compiler

COSTS = (
    ("quadratic", "sigmoid", "quadratic (squared error of station 4), sigmoid outputs"),
    ("cross_entropy", "sigmoid", "cross-entropy, sigmoid outputs"),
    ("log_likelihood", "softmax", "cross-entropy, softmax outputs (log-likelihood)"),
)
_HIDDEN, _EPOCHS, _BATCH, _RATE = 30, 20, 10, 0.1
# In all epochs of all costs, in multiplications: some seconds.
_MOST_PRODUCTS = 1.5e9


def race(kept: Kept) -> dict[str, Any]:
    """Return the history of each cost: of every epoch its accuracy, cost and mean σ′.

    Weights start from N(0, 1), which saturates many neurons: that is what the race is about.
    """
    X, y = kept.train
    products = len(X) * _HIDDEN * (X.shape[1] + len(kept.classes)) * 3 * len(COSTS)
    epochs = int(max(5, min(_EPOCHS, _MOST_PRODUCTS // products)))
    runs = []
    for cost, output, label in COSTS:
        model = NetworkClassifier(
            (_HIDDEN,),
            cost=cost,
            output=output,
            init="standard_normal",
            learning_rate=_RATE,
            batch_size=_BATCH,
            max_epochs=epochs,
            multilabel=False,
            random_state=0,
        )
        with sparing_the_compiler():
            model.fit(X, y, validation=kept.judged)
        runs.append({"cost": cost, "label": label, "epochs": _epochs(model)})
    return {
        "layers": [X.shape[1], _HIDDEN, len(kept.classes)],
        "learningRate": _RATE,
        "batchSize": _BATCH,
        "runs": runs,
    }


def _epochs(model: NetworkClassifier) -> list[dict[str, Any]]:
    return [
        {
            "cost": epoch.cost,
            "accuracy": epoch.accuracy,
            "heldOutAccuracy": epoch.validation_accuracy,
            "slope": epoch.output_derivative,
        }
        for epoch in model.history_
    ]
