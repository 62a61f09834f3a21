"""The command: fit · train · compare · predict · evaluate. It sits on top; nothing imports it.

======================= ==============================================================
file                    subject
======================= ==============================================================
``app.py``              the commands together; errors become one line and a code
``commands/``           the commands, one a file: their options and their help
``options/``            the options that several commands share, by subject
``fitting.py``          the work of ``bridle fit``
``training.py``         the work of ``bridle train``
``comparing.py``        the work of ``bridle compare``
``predicting.py``       the work of ``bridle predict``
``evaluating.py``       the work of ``bridle evaluate``
``report_page.py``      the page that ``--report`` asks for
``reporting.py``        a fitted model is judged, written and reported
``answer_columns.py``   which columns of a table are answers, by name
``answer_words.py``     what people call such columns
``answer_kinds.py``     whether answers are probabilities, scores, per cent, …
``sampling.py``         what is learnt from and what is judged on
``splitting.py``        which samples are held out
``network_training.py`` a network trained on samples in whatever units
``flag_names.py``       the library's parameters by the names that are typed
``curves.py``           a picture of trainings side by side
``sweeping.py``         fit at several C: the best by cross-validation, and its table
``progress.py``         the live line of a fit
``manual.py``           the manual page of all commands
``config_file.py``      the options of commands in a file
``outputs.py``          what is printed, and the files that are written
``messages.py``         what goes wrong, in one line that says where
======================= ==============================================================
"""

from bridle.cli.app import run

__all__ = ["run"]
