"""A fitted classifier on disk: what the files of all of them hold, and how they are read back."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from bridle import checks, files
from bridle.estimators import model_file
from bridle.estimators.base import Classifier
from bridle.estimators.model_file import Format

Array = npt.NDArray[Any]
Tensors = dict[str, Array]
Description = dict[str, Any]  # of JSON's types


class SavedClassifier(Classifier):
    """A classifier that has a file of its own.

    Whoever inherits brings the format and what only its own files hold.
    """

    _format: ClassVar[Format]
    _kind: ClassVar[str] = "model"  # what messages call it
    target_name_in_: str

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model as safetensors with JSON metadata; see `load`.

        Raises
        ------
        InputError
            Classes that are not plain scalars, a `random_state` that is no number.
        """
        files.write_whole(path, self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the fitted model as the bytes of its file; see `save`."""
        return self._format.to_bytes(*self.to_contents())

    def to_contents(self) -> tuple[Description, Tensors]:
        """Return what the fitted model's file holds: a description and tensors."""
        check_is_fitted(self)
        description, tensors = self._contents()
        common = {
            **model_file.class_description(self.classes_, self._names()),
            # What the command found out about the files of the fit, for later ones, and what
            # their column of labels was called.
            "reading": getattr(self, "reading_", {}),
            "target_name": getattr(self, "target_name_in_", None),
            "parameters": self._plain_parameters(),
        }
        return self._format.described({**common, **description}), tensors

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote; nothing in the file is executed.

        Raises
        ------
        InputError
            No such file, or none that holds a model of ours.
        """
        tensors, description = cls._format.read(path)
        return cls.from_contents(description, tensors, path)

    @classmethod
    def from_contents(
        cls, description: Description, tensors: Tensors, path: str | os.PathLike[str]
    ) -> Self:
        """Return the model that `to_contents` told of; errors name the file at ``path``."""
        cls._format.check(description, path)
        model = cls()
        try:
            model.set_params(**cls._parameters(description["parameters"]))
            model.classes_, names = model_file.classes_and_names(description)
            model._restore_account_of_files(description)
            model._restore(description, tensors)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise checks.InputError(f"{path}: no readable bridle {cls._kind} ({error})") from None
        if not model._fits_together() or len(names) not in (0, model.n_features_in_):
            raise checks.InputError(
                f"{path}: the {cls._kind}'s weights and classes do not fit together"
            )
        if names:
            model.feature_names_in_ = np.array(names, dtype=object)
        return model

    def _contents(self) -> tuple[Description, Tensors]:
        """Return what only this kind of classifier has."""
        raise NotImplementedError

    def _restore(self, description: Description, tensors: Tensors) -> None:
        """Take back what `_contents` returned, and set the number of features.

        Raises
        ------
        ArithmeticError, AttributeError, LookupError, TypeError, ValueError
            What `_contents` would not have returned.
        """
        raise NotImplementedError

    def _fits_together(self) -> bool:
        """Tell whether what was read has the shapes of one fit."""
        raise NotImplementedError

    def _plain_parameters(self) -> Description:
        """Return the parameters in JSON's types, whose keys are all strings."""
        plain = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in self.get_params().items()
        }
        weights = plain["class_weight"]
        if isinstance(weights, dict):
            pairs = [[np.asarray(label).item(), float(value)] for label, value in weights.items()]
            plain["class_weight"] = pairs
        return plain

    @classmethod
    def _parameters(cls, plain: Description) -> dict[str, Any]:
        """Undo `_plain_parameters`."""
        pairs = plain["class_weight"]
        return {**plain, "class_weight": dict(pairs) if isinstance(pairs, list) else pairs}

    def _restore_account_of_files(self, description: Description) -> None:
        """Take back what is known of the files of the fit.

        What is in ``reading`` is for `bridle.data` to judge.
        """
        reading, name = description.get("reading", {}), description.get("target_name")
        if not isinstance(reading, dict):
            raise ValueError("expected an object as reading")
        if not isinstance(name, str | None):
            raise ValueError("expected a text as target_name")
        self.reading_ = reading
        if name is not None:
            self.target_name_in_ = name
