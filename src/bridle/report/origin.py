"""What a page was made of, and when."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

import bridle
from bridle import mapped, strict_json
from bridle.judge import Outcomes
from bridle.report.rankings import name

Array = npt.NDArray[Any]

_BLOCK_NUMBERS = 2**18
_LONGEST_COMMAND = 1000


def origin(
    outcomes: Outcomes, answers: Array | None, command: str | None, made: str | None
) -> dict[str, Any]:
    """Return command, version, date and the fingerprint of the data."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {
        "command": None if command is None else name(command, _LONGEST_COMMAND),
        "bridle": bridle.__version__,
        "made": now if made is None else name(made),
        "fingerprint": fingerprint(outcomes, answers),
        "fingerprint_of": "labels and answers" if answers is not None else "labels and losses",
    }


def address(place: str) -> str:
    """Return the place of a file beside the page as a link to it, whatever signs are in it.

    >>> address("my pages/explain.html"), address("javascript:alert(1)")
    ('my%20pages/explain.html', 'javascript%3Aalert%281%29')
    """
    # Two strokes at its beginning would name another machine; a name may hold bytes that are no
    # UTF-8.
    plain = re.sub("^/+", "/", place.replace("\\", "/"))
    return quote(plain.encode(errors="surrogateescape"), safe="/")


def fingerprint(outcomes: Outcomes, answers: Array | None) -> str:
    """Return the SHA-256 of classes, labels and answers, the same for every dtype and layout.

    Of the classes as JSON, of each row's class as 64-bit integers and of the answers row by row as
    64-bit floats, all least byte first; of the rows' losses where there are no answers.
    """
    found = hashlib.sha256(strict_json.to_text(outcomes.classes).encode(errors="backslashreplace"))
    found.update(outcomes.target.astype("<i8").tobytes())
    values = outcomes.surprisal if answers is None else answers
    step = max(1, _BLOCK_NUMBERS // (1 if values.ndim == 1 else max(1, values.shape[1])))
    for _, block in mapped.blocks(values, step):
        found.update(np.ascontiguousarray(block, "<f8").tobytes())
    return found.hexdigest()
