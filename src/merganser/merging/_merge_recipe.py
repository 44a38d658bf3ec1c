"""The recipe of a merge by rule: which method, with which parameters, from which models.

A combination (see `_combination`) says what a model *is* in terms of its seeds; most methods cannot be written that
way, because they trim, elect or draw. Their recipe says what was *done*, completely: carried out again on the same
models it gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from merganser._errors import ConfigError
from merganser._version import __version__
from merganser.merging._blueprint import Blueprint
from merganser.weights import Checkpoint, fingerprint

MERGE_FORMAT = "merganser/merge"
"""What tells this kind of recipe from others."""


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A model that a recipe names.

    Args:
        reference: How to open it; None for one that was only ever in memory.
        fingerprint: What it looked like.
        digest: Name of its content, if it was known.
        recipe: How it was made, if it was made on the way only.
        statistics: What was measured on it, if the method used it; such a file is a checkpoint too.
    """

    reference: str | None
    fingerprint: str
    digest: str | None = None
    recipe: MergeRecipe | None = None
    statistics: Ingredient | None = None

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        *,
        digest: bool = False,
        recipe: MergeRecipe | None = None,
        statistics: Checkpoint | None = None,
    ) -> Ingredient:
        """The ingredient that a checkpoint is.

        Args:
            checkpoint: The checkpoint.
            digest: Whether to take the digest too, which reads every byte.
            recipe: How it was made, if it will not stay.
            statistics: What was measured on it.
        """
        reference = checkpoint.source if checkpoint.tensors.stamps and recipe is None else None
        named = checkpoint.digest if digest else None
        measured = None if statistics is None else cls.of(statistics, digest=digest)
        return cls(reference, fingerprint(checkpoint), named, recipe, measured)

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        data = {"reference": self.reference, "fingerprint": self.fingerprint, "digest": self.digest}
        measured = {} if self.statistics is None else {"statistics": self.statistics.to_json()}
        return data | measured | ({} if self.recipe is None else {"recipe": self.recipe.to_json()})

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Ingredient:
        """Read the plain form.

        Raises:
            ValueError: If it is none.
        """
        texts = {key: value for key, value in data.items() if key not in ("recipe", "statistics")}
        if not isinstance(data["fingerprint"], str) or not all(
            isinstance(v, str | None) for v in texts.values()
        ):
            raise ValueError(f"it names a model by {data!r}.")
        return cls(
            **texts,
            recipe=MergeRecipe.from_json(data["recipe"]) if "recipe" in data else None,
            statistics=cls.from_json(data["statistics"]) if "statistics" in data else None,
        )

    def check(self, checkpoint: Checkpoint, what: str = "model") -> None:
        """Make sure that a checkpoint is the one that was named.

        Args:
            checkpoint: The checkpoint.
            what: What messages call it.

        Raises:
            ConfigError: If it is another.
        """
        found = fingerprint(checkpoint)
        if found != self.fingerprint or (self.digest is not None and checkpoint.digest != self.digest):
            raise ConfigError(
                f"{checkpoint.source} is not the {what} that the recipe was made with: its fingerprint is {found}, "
                f"expected {self.fingerprint}. Give the original as an argument, or merge anew."
            )


@dataclass(frozen=True)
class MergeRecipe:
    """What was done to make a model.

    Args:
        blueprint: The merge.
        ingredients: The models that it numbers.
        licence: Under which licence the result is, if the user said so.
    """

    blueprint: Blueprint
    ingredients: tuple[Ingredient, ...]
    licence: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain form."""
        head = {"format": MERGE_FORMAT, "version": 1, "written_by": f"merganser {__version__}"}
        models = [ingredient.to_json() for ingredient in self.ingredients]
        said = {} if self.licence is None else {"licence": self.licence}
        return head | said | {"models": models} | self.blueprint.to_json()

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
        blueprint = Blueprint.from_json(data)
        ingredients = tuple(map(Ingredient.from_json, data["models"]))
        if not 0 <= blueprint.models[0] <= blueprint.models[-1] < len(ingredients):
            raise ValueError(
                f"it speaks of model {blueprint.models[-1]}, but names {len(ingredients)} models."
            )
        licence = data.get("licence")
        if not isinstance(licence, str | None):
            raise ValueError(f"its `licence` is {licence!r}.")  # noqa: TRY004
        return cls(blueprint, ingredients, licence)
