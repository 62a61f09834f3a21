"""The command: fit · predict · evaluate. It sits on top, and nothing of ours imports it.

================= ================================================================
file              subject
================= ================================================================
``app.py``        arguments and their help; errors become one line and a code
``fitting.py``    ``bridle fit``
``predicting.py`` ``bridle predict``
``evaluating.py`` ``bridle evaluate``
``splitting.py``  which samples are held out
``progress.py``   the live line of a fit
``outputs.py``    what is printed, and the files that are written
``messages.py``   what goes wrong, in one line that says where
================= ================================================================
"""

from bridle.cli.app import run

__all__ = ["run"]
