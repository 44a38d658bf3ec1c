"""From settings to a genome that is a merge by rule, and the searches that take its genes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from merganser._errors import ConfigError
from merganser.evolution import (
    Genes,
    Grid,
    Grouping,
    Nsga2,
    Objectives,
    RandomSearch,
    RecipeSpace,
    Search,
)
from merganser.run._output import written_as
from merganser.run._settings import EvolveSettings, GenomeSettings
from merganser.run._strategies import POPULATION, cma_es
from merganser.weights import Checkpoint


def recipe_search(
    settings: EvolveSettings,
    space: RecipeSpace,
    weights: Float[np.ndarray, " samples"],
    objectives: Callable[[], Objectives],
) -> Search:
    """The search over the genes of a recipe, before its first candidate.

    Args:
        settings: What was asked for.
        space: The genes.
        weights: Weight of each search sample.
        objectives: What a search for several things aims at; asked for only by one.

    Raises:
        ConfigError: If it is one that crosses models.
        ValueError: If it cannot search so many genes.
    """
    s, seed, kept = settings.search, settings.seed, settings.search.population or POPULATION
    makers: dict[str, Callable[[], Search]] = {
        "cma-es": lambda: cma_es(settings, space, weights),
        "nsga2": lambda: Nsga2.start(space, objectives(), seed=seed, population=kept),
        "random": lambda: RandomSearch.start(space, weights, seed=seed, population=kept),
        "brute-force": lambda: Grid.start(space, weights, steps=s.steps, population=kept),
    }
    if s.method not in makers:
        raise ConfigError(
            f"`{s.method}` crosses models, but the genes of a merge by rule are numbers. Search them with "
            f"{', '.join(makers)}: `search: {{method: cma-es}}`."
        )
    return makers[s.method]()


def recipe_space(
    settings: EvolveSettings, models: Sequence[Checkpoint], base: Checkpoint | None
) -> RecipeSpace:
    """The space of the merges that the settings speak of.

    Args:
        settings: What was asked for.
        models: The models beside the base.
        base: The model that they were tuned from, if there is one.

    Raises:
        ConfigError: If the settings name no method, or `output` names a model that is not there.
        ValueError: If method, parameters, groups and models do not fit together.
    """
    genome = settings.genome
    if genome.method is None:
        raise ConfigError("A recipe needs a `method`, such as `genome: {kind: recipe, method: dare_ties}`.")
    names = dict.fromkeys(name for c in models for name in (*c, *c.tied))
    grouping = {
        "whole": Grouping.whole,
        "layer": lambda: Grouping.by_layer(names),
        "component": lambda: Grouping.by_component(names),
        "tensor": lambda: Grouping.by_tensor(names),
    }
    groups = genome.groups
    return RecipeSpace(
        Genes(
            genome.method,
            genome.genes,
            genome.shared,
            genome.parameters,
            grouping[groups]() if isinstance(groups, str) else Grouping.by_filters(groups, names),
        ),
        [c.digest for c in models],
        models[0].layout.size,
        base=None if base is None else base.digest,
        seed=settings.seed,
        result=written_as(settings),
    )


def refuse_recipe_keys(genome: GenomeSettings, *, has_baselines: bool) -> None:
    """Make sure that a genome that is no recipe says nothing of one; baselines may need a base.

    Raises:
        ConfigError: If it does.
    """
    usual = GenomeSettings()
    for key in ("method", *(() if has_baselines else ("base",)), "genes", "shared", "groups", "parameters"):
        if getattr(genome, key) != getattr(usual, key):
            raise ConfigError(
                f"`genome.{key}` is for merges by rule, but the genome's kind is {genome.kind!r}. Say "
                "`kind: recipe` and name a `method`, or leave it out."
            )
