"""The recipe of a merge by rule: which method, with which parameters, from which models.

A combination (see `_combination`) says what a model *is* in terms of its seeds; most methods cannot be written that
way, because they trim, elect or draw. Their recipe says what was *done*, completely: carried out again on the same
models it gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from merganser._errors import ConfigError
from merganser._version import __version__
from merganser.weights import Checkpoint, atomic_write_text, fingerprint

RECIPE_NAME = "recipe.json"

_FORMAT = "merganser/merge"


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A model that a recipe names.

    Args:
        reference: How to open it; None for one that was only ever in memory.
        fingerprint: What it looked like.
        digest: Name of its content, if it was known.
    """

    reference: str | None
    fingerprint: str
    digest: str | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, digest: bool = False) -> Ingredient:
        """The ingredient that a checkpoint is.

        Args:
            checkpoint: The checkpoint.
            digest: Whether to take the digest too, which reads every byte.
        """
        reference = checkpoint.source if checkpoint.tensors.stamps else None
        return cls(reference, fingerprint(checkpoint), checkpoint.digest if digest else None)

    def check(self, checkpoint: Checkpoint) -> None:
        """Make sure that a checkpoint is the one that was named.

        Raises:
            ConfigError: If it is another.
        """
        found = fingerprint(checkpoint)
        if found != self.fingerprint or (self.digest is not None and checkpoint.digest != self.digest):
            raise ConfigError(
                f"{checkpoint.source} is not the model that the recipe was made with: its fingerprint is {found}, "
                f"expected {self.fingerprint}. Give the original as an argument, or merge anew."
            )


@dataclass(frozen=True)
class MergeRecipe:
    """What was done to make a model.

    Args:
        method: The method's name.
        models: The models beside the base.
        base: The base, if there is one.
        parameters: All of the method's parameters, defaults included.
        donor: Which of base and models, counted from the base, gave names, types and configuration.
        dtype: Element type of all merged tensors; None for the donor's.
        seed: Key of random numbers.
    """

    method: str
    models: tuple[Ingredient, ...]
    base: Ingredient | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    donor: int = 0
    dtype: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))

    @property
    def ingredients(self) -> tuple[Ingredient, ...]:
        """Base, if there is one, and models."""
        return self.models if self.base is None else (self.base, *self.models)

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        return {
            "format": _FORMAT,
            "version": 1,
            "written_by": f"merganser {__version__}",
            "method": self.method,
            "base": None if self.base is None else dataclasses.asdict(self.base),
            "models": [dataclasses.asdict(model) for model in self.models],
            "parameters": dict(self.parameters),
            "donor": self.donor,
            "dtype": self.dtype,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MergeRecipe:
        """Read the plain form.

        Raises:
            ValueError: If it is another format or a newer version.
        """
        if data.get("format") != _FORMAT or data.get("version") != 1:
            raise ValueError(
                f"Expected a recipe of format {_FORMAT!r}, version 1, but found {data.get('format')!r}, "
                f"version {data.get('version')!r}. Was it written by a newer release?"
            )
        return cls(
            method=data["method"],
            models=tuple(Ingredient(**model) for model in data["models"]),
            base=None if data["base"] is None else Ingredient(**data["base"]),
            parameters=data["parameters"],
            donor=data["donor"],
            dtype=data["dtype"],
            seed=data["seed"],
        )

    def write(self, path: Path) -> None:
        """Write it as JSON, atomically.

        Raises:
            OutputError: If the file cannot be written.
        """
        atomic_write_text(path, json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> MergeRecipe:
        """Read it from a file.

        Raises:
            ConfigError: If the file is missing, no JSON, or no recipe of this release.
        """
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise ConfigError(f"Cannot read the recipe {path}: {error.strerror}.") from error
        except KeyError as error:
            raise ConfigError(f"{path} is no recipe of a merge: it has no {error}.") from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} is no recipe of a merge: {error}") from error
