"""The recipe of a merge by rule: which method, with which parameters, from which models.

A combination (see `_combination`) says what a model *is* in terms of its seeds; most methods cannot be written that
way, because they trim, elect or draw. Their recipe says what was *done*, completely: carried out again on the same
models it gives the same bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from merganser._errors import ConfigError
from merganser._version import __version__
from merganser.weights import Checkpoint, fingerprint

MERGE_FORMAT = "merganser/merge"
"""What tells this kind of recipe from others."""

_KINDS: Mapping[str, Any] = {
    "method": str,
    "models": list,
    "parameters": dict,
    "donor": int,
    "dtype": str | None,
    "seed": int,
}


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

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ingredient:
        """Read the plain form.

        Raises:
            ValueError: If it is none.
        """
        if not isinstance(data["fingerprint"], str) or not all(
            isinstance(v, str | None) for v in data.values()
        ):
            raise ValueError(f"it names a model by {data!r}.")
        return cls(**data)

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
            "format": MERGE_FORMAT,
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
        if data.get("format") != MERGE_FORMAT or data.get("version") != 1:
            raise ValueError(
                f"Expected a recipe of format {MERGE_FORMAT!r}, version 1, but found {data.get('format')!r}, "
                f"version {data.get('version')!r}. Was it written by a newer release?"
            )
        for key, kind in _KINDS.items():
            if not isinstance(data[key], kind) or isinstance(data[key], bool):
                raise ValueError(f"its `{key}` is {data[key]!r}.")  # noqa: TRY004
        listed = [*data["models"], *([] if data["base"] is None else [data["base"]])]
        if not data["models"] or not 0 <= data["donor"] < len(listed):
            raise ValueError(f"its donor is number {data['donor']} of {len(listed)} models.")
        return cls(
            method=data["method"],
            models=tuple(Ingredient.from_json(model) for model in data["models"]),
            base=None if data["base"] is None else Ingredient.from_json(data["base"]),
            parameters=data["parameters"],
            donor=data["donor"],
            dtype=data["dtype"],
            seed=data["seed"],
        )
