"""The words that people who write answers call columns by."""

from __future__ import annotations

import re

_TRUTH_TEXT = """
target label class y truth true actual gold ytrue truelabel trueclass groundtruth labeltrue
classtrue observed obs
"""
_PREDICTION_TEXT = """
pred preds prediction predictions predicted predlabel predclass predictedlabel predictedclass yhat
ypred argmax top1 guess
"""
_BESIDE_TEXT = """
id ids index idx row rownumber rowid unnamed0 key fold folds cv split partition subset set group
batch epoch step seed weight weights sampleweight confidence conf maxprob maxproba maxprobability
max min mean std sum total margin entropy surprisal loss nll uncertainty variance correct iscorrect
hit rank count n labels probability proba prob score time timestamp date year month day
"""
_ANSWER_TEXT = """
p pr prob probs proba probas probability probabilities pred predicted prediction predictions score
scores logit logits odds log logodds answer answers class label of for is y hat yhat softmax sigmoid
"""
# The true label of a sample.
TRUTH = frozenset(_TRUTH_TEXT.split())
# The label that was predicted.
PREDICTION = frozenset(_PREDICTION_TEXT.split())
# Whatever else is said of a sample or of a model's answer: never a class that has no sample.
BESIDE = TRUTH | PREDICTION | frozenset(_BESIDE_TEXT.split())
# What may stand around a label where a single column is for one of two.
ANSWER = frozenset(_ANSWER_TEXT.split())

_CAMEL = re.compile(r"([a-z])([A-Z])")
_ENDS_AS_ID = re.compile(r"(?:[\W_]|[a-z](?=I))(?i:id)$")


def plain(name: str) -> str:
    """Return a name in lower case, without the signs between its words.

    >>> plain("Row-number"), plain("y_true")
    ('rownumber', 'ytrue')
    """
    return re.sub(r"[\W_]", "", name).lower()


def words(name: str) -> list[str]:
    """Return the words of a name and its numbers, in lower case.

    >>> words("1-probYes of_it")
    ['1', 'prob', 'yes', 'of', 'it']
    """
    return [word.lower() for word in re.findall(r"[^\W\d_]+|\d+", _CAMEL.sub(r"\1 \2", name))]


def names_rows(name: str) -> bool:
    """Tell whether a name ends as that of an identifier.

    >>> [names_rows(name) for name in ("customer_id", "userId", "valid", "android")]
    [True, True, False, False]
    """
    return _ENDS_AS_ID.search(name) is not None
