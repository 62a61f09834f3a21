"""Files become arrays: features in blocks of rows, labels, and where both came from.

One file per subject. `loading` looks at what was asked for and picks the reader; `formats` says
which ending belongs to which reader; `folder` does the same for a directory. Readers either hand
over named columns (`table`) or arrays (`parts`); both end in a `Dataset`.
"""

from bridle.data.dataset import Dataset
from bridle.data.loading import load
from bridle.data.options_used import options_used_by
from bridle.data.reading import Reading, Selection
from bridle.data.scratch import Scratch
from bridle.data.targets import kind_of as label_kind

__all__ = [
    "Dataset", "Reading", "Scratch", "Selection", "label_kind", "load", "options_used_by",
]  # fmt: skip
