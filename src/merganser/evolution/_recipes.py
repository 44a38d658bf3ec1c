r"""Genomes that are merges by rule: a method of the house, and genes for its parameters.

| parameter | genes |
| --- | --- |
| one value for each model (`weight`, `density`) | group × model, or one a group for all models |
| one value for all (`lambda`) | one a group |

With `dare_ties`, one group for each layer and genes for `weight` and `density` this is merging in parameter space as
in the paper: (32 blocks + embeddings + head) × 3 models × 2 = 204 genes; with one group 6. As there, a search begins in
the middle of all bounds with a step of a sixth of their range.

Weights that are searched are not normalised, unless it is asked for: the optimum that the paper found, weights that sum
to nearly 2, is out of reach for weights that are divided by their sum. (`karcher` and `nuslerp` know no other ones.)

References:
    Akiba et al., *Evolutionary Optimization of Model Merging Recipes*, 2024, https://arxiv.org/abs/2403.13187.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser.evolution._genes import Domain, Gene, Scalar
from merganser.evolution._groups import Grouping
from merganser.merging import (
    Blueprint,
    Combination,
    Module,
    Parameter,
    Setting,
    Slice,
    bind,
    method_named,
    parameters_of,
    unknown_parameter,
)

_FORMAT = "merganser/merge"


@dataclass(frozen=True, eq=False)
class RecipeGenome:
    """A merge by rule as a candidate: a value; equality, hash and digest go by content.

    Attributes:
        models: Digests of the models that the blueprint numbers: the base first, if there is one.
        blueprint: The merge.
        genes: The coordinates in [0, 1] it was decoded from, for searches that vary them; no part of what it is.
    """

    models: tuple[str, ...]
    blueprint: Blueprint
    genes: tuple[float, ...] = ()

    @cached_property
    def digest(self) -> str:
        """Hash of models, method and parameters, 32 hex digits."""
        content = json.dumps([_FORMAT, self.models, self.blueprint.to_json()], sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RecipeGenome) and self.digest == other.digest


@dataclass(frozen=True)
class Genes:
    """What of a method is searched, and what is fixed.

    Attributes:
        method: The method.
        searched: Parameters with their bounds; None for the default ones.
        shared: Those among them with one value for each model that nevertheless have one gene for all.
        fixed: Other parameters; a sequence has one value for each model.
        grouping: The groups of tensors that have genes of their own.
    """

    method: str
    searched: Mapping[str, tuple[float, float] | None]
    shared: Sequence[str] = ()
    fixed: Mapping[str, Any] | None = None
    grouping: Grouping = field(default_factory=Grouping.whole)


class RecipeSpace:
    """Merges of given models by one method; the vectors of a search are its genes, in the order of `genes`.

    Args:
        genes: What is searched.
        models: Digest of each model beside the base.
        size: Number of parameters P of each.
        base: Digest of the base, if the method needs one.
        seed: Key of the method's random numbers: the same for all candidates.
        result: What else all candidates have in common, as `Blueprint` takes it: donor, element type, vocabulary.

    Raises:
        ValueError: If the method does not have such parameters, or does not take so many models.
    """

    mutates = False
    step = 1.0 / 6.0
    bounds = (0.0, 1.0)

    def __init__(
        self,
        genes: Genes,
        models: Sequence[str],
        size: int,
        *,
        base: str | None = None,
        seed: int = 0,
        result: Mapping[str, Any] | None = None,
    ) -> None:
        self.method, self.grouping = genes.method, genes.grouping
        self._models = tuple(models) if base is None else (base, *models)
        self._base, self._count, self._seed = base, len(models), seed
        self._known = {p.name: p for p in parameters_of(method_named(genes.method))}
        self._fixed, self._result = dict(genes.fixed or {}), dict(result or {})
        _check(genes, self._known)
        self.genes = tuple(self._genes(genes))
        self._check_bound()
        self._plain = self._blueprint(self._fixed | _unnormalised(genes, self._known))
        parents = tuple(Combination.seed(models, k, size) for k in range(len(models)))
        self.untuned = self._untuned(genes)
        self.seeds = parents if self.untuned is None else (*parents, self.untuned)

    @property
    def space(self) -> RecipeSpace:
        """Itself: it knows the seeds too."""
        return self

    @property
    def start(self) -> Float[np.ndarray, " genes"]:
        """The middle of all bounds."""
        return np.full(len(self.genes), 0.5)

    def keep(self, genome: Any) -> None:
        """Nothing to do: a recipe is complete by itself."""

    def decode(self, vector: Float[np.ndarray, " genes"]) -> RecipeGenome:
        """The merge that coordinates in [0, 1] stand for."""
        values = [gene.domain.at(float(x)) for gene, x in zip(self.genes, vector, strict=True)]
        found: dict[tuple[str, int | None], list[Scalar]] = {}
        for gene, value in zip(self.genes, values, strict=True):
            found.setdefault((gene.parameter, gene.model), []).append(value)
        settings = {key: self._setting(each) for key, each in found.items()}
        return RecipeGenome(self._models, self._with(settings), tuple(map(float, vector)))

    def _setting(self, values: Sequence[Scalar]) -> Setting:
        return Setting.of(values[0]) if len(values) == 1 else self.grouping.setting(values)

    def _with(self, settings: Mapping[tuple[str, int | None], Setting]) -> Blueprint:
        """The plain merge with further settings, of all models or of one."""
        [slice_] = self._plain.slices
        sources = tuple(
            replace(source, settings={**source.settings, **_of_model(settings, place)})
            for place, source in enumerate(slice_.sources)
        )
        shared = {**self._plain.settings, **_of_model(settings, None)}
        return replace(self._plain, settings=shared, modules=(Module((Slice(sources),)),))

    def _genes(self, genes: Genes) -> Iterator[Gene]:
        domains = {name: Domain.of(self._known[name], bounds) for name, bounds in genes.searched.items()}
        for group in range(len(genes.grouping.names)):
            for name, domain in domains.items():
                is_each = self._known[name].kind == "numbers" and name not in genes.shared
                for model in range(self._count) if is_each else (None,):
                    yield Gene(name, group, model, domain)

    def _blueprint(self, parameters: Mapping[str, Any]) -> Blueprint:
        first = len(self._models) - self._count
        numbers = range(first, len(self._models))
        base = None if self._base is None else 0
        return Blueprint.plain(self.method, numbers, parameters, base=base, seed=self._seed, **self._result)

    def _check_bound(self) -> None:
        """Let the method check fixed parameters, bounds and the number of models."""
        middle = {gene.parameter: gene.domain.at(0.5) for gene in self.genes}
        bind(self.method, method_named(self.method), self._count, {**middle, **self._fixed})

    def _untuned(self, genes: Genes) -> RecipeGenome | None:
        """The merge with the method's defaults in the place of genes; None if one of them has no default."""
        if any(self._known[name].is_required for name in genes.searched):
            return None
        return RecipeGenome(self._models, self._blueprint(self._fixed))


def _check(genes: Genes, known: Mapping[str, Parameter]) -> None:
    if method_named(genes.method).rule.statistics:
        raise ValueError(
            f"`{genes.method}` merges by statistics, which a search has no place for. Merge with several values of its "
            "parameters (`merganser merge … --statistics`) and compare them with `merganser evaluate`."
        )
    if not genes.searched:
        raise ValueError(
            f"Nothing of `{genes.method}` is to be searched. Name parameters: it has {_listed(known)}."
        )
    unknown = next((name for name in (*genes.searched, *genes.shared) if name not in known), None)
    if unknown is not None:
        raise ValueError(unknown_parameter(genes.method, unknown, known))
    both = next((name for name in genes.searched if name in (genes.fixed or {})), None)
    if both is not None:
        raise ValueError(f"`{both}` is both searched and fixed. Leave one of them out.")
    unshared = next((name for name in genes.shared if known[name].kind != "numbers"), None)
    if unshared is not None:
        raise ValueError(f"`{unshared}` of `{genes.method}` has one value for all models anyway.")


def _unnormalised(genes: Genes, known: Mapping[str, Parameter]) -> dict[str, bool]:
    """That weights that are searched are not normalised, unless something else is said."""
    if "weight" not in genes.searched:
        return {}
    flags = (name for name in known if name.startswith("normalize"))
    return {name: False for name in flags if name not in genes.searched and name not in (genes.fixed or {})}


def _of_model(settings: Mapping[tuple[str, int | None], Setting], model: int | None) -> dict[str, Setting]:
    return {name: setting for (name, place), setting in settings.items() if place == model}


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"
