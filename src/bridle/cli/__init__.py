"""The command: fit · compare · predict · evaluate. It sits on top, and nothing of ours imports it.

======================= ==============================================================
file                    subject
======================= ==============================================================
``app.py``              arguments and their help; errors become one line and a code
``fitting.py``          ``bridle fit``
``comparing.py``        ``bridle compare``
``predicting.py``       ``bridle predict``
``evaluating.py``       ``bridle evaluate``
``answer_columns.py``   which columns of a table are answers, by name
``answer_words.py``     what people call such columns
``answer_kinds.py``     whether answers are probabilities, scores, per cent, …
``sampling.py``         what is learnt from and what is judged on
``help_panels.py``      the help of many options, by subject
``array_names.py``      which arrays of a file are meant
``splitting.py``        which samples are held out
``reading_options.py``  the options of how files are read
``network_options.py``  the options of a network
``network_training.py`` a network trained on samples in whatever units
``curves.py``           a picture of trainings side by side
``sweeping.py``         fit at several C: the best by cross-validation, and its table
``progress.py``         the live line of a fit
``outputs.py``          what is printed, and the files that are written
``messages.py``         what goes wrong, in one line that says where
======================= ==============================================================
"""

from bridle.cli.app import run

__all__ = ["run"]
