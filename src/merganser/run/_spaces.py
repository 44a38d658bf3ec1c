"""From settings to a space of genomes, and to a search in it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from merganser._errors import ConfigError
from merganser.evaluation import Task
from merganser.evolution import (
    BruteForce,
    CombinationSpace,
    DenseSpace,
    DenseVectors,
    LayerWeights,
    MapElites,
    NaturalNiches,
    Niches,
    Nsga2,
    PathSpace,
    RandomSearch,
    RecipeSpace,
    Search,
    Space,
    Variation,
    VectorSpace,
)
from merganser.merging import Gram, default_workers
from merganser.run._chromosomes import chromosomes_of, refuse_chromosomes
from merganser.run._expert_scales import log_scales, pools_of
from merganser.run._objectives import axes_of, required_objectives
from merganser.run._output import refuse_output
from merganser.run._path_genome import path_search, path_space, refuse_path_keys
from merganser.run._recipe_genome import recipe_search, recipe_space, refuse_recipe_keys
from merganser.run._settings import EvolveSettings
from merganser.run._strategies import POPULATION, cma_es
from merganser.weights import Checkpoint, Execution, flat_read

_EXPERT_STEP = 0.1
"""Initial standard deviation with which CMA-ES searches logarithms of scales: a tenth more or less."""


def make_space(
    settings: EvolveSettings, models: Sequence[Checkpoint], base: Checkpoint | None, *, large: bool = False
) -> Space | RecipeSpace | PathSpace:
    """The space of genomes that the settings speak of.

    Args:
        settings: What was asked for.
        models: The models that a run starts from.
        base: The model they were tuned from, if there is one.
        large: Whether parameters stay on disk: then genomes are recipes, and only their inner products are read.

    Raises:
        ConfigError: If parts of the settings exclude each other.
        CheckpointError: If paths cannot go through the models.
        ValueError: If models, method and parameters do not fit together.
    """
    genome, from_scratch = settings.genome, settings.models == "scratch"
    _refuse_bands(settings)
    if genome.kind == "path":
        refuse_output(settings)
        refuse_chromosomes(genome)
        refuse_recipe_keys(genome, has_baselines=bool(settings.baselines))
        if not large:
            raise ConfigError(
                "Paths go through the blocks of language models, but these models are plain networks. Give language "
                "`models` and a task that asks them something, or leave `kind: path` out."
            )
        return path_space(settings, models)
    refuse_path_keys(genome)
    if genome.is_recipe:
        refuse_chromosomes(genome)
        return recipe_space(settings, models, base)
    refuse_output(settings)
    refuse_recipe_keys(genome, has_baselines=bool(settings.baselines))
    is_dense = genome.kind == "dense" or (genome.kind == "auto" and from_scratch)
    if is_dense:
        refuse_chromosomes(genome)
        if settings.adapt is not None:
            return _dense_experts(settings, models)
        if large:
            raise ConfigError(
                "Dense genomes hold every parameter of every candidate, which is for small networks. Leave `kind: "
                "dense` out: language models evolve as combinations or recipes."
            )
    digests = [model.digest for model in models]
    chromosomes = None if is_dense else chromosomes_of(genome, models[0])
    if large:
        gram = Gram.over(models, execution=Execution(default_workers()))
        return CombinationSpace(
            digests, gram, rule=genome.rule, angles=genome.angles, chromosomes=chromosomes
        )
    values = np.stack([flat_read(model, dtype=np.float32) for model in models])
    if is_dense:
        return DenseSpace(
            settings.seed,
            values.shape[1],
            starts=list(values),
            sigma=genome.mutation,
            rule=genome.rule,
            angles=genome.angles,
        )
    return CombinationSpace(digests, values, rule=genome.rule, angles=genome.angles, chromosomes=chromosomes)


def _dense_experts(settings: EvolveSettings, models: Sequence[Checkpoint]) -> DenseSpace:
    """Logarithms of experts' scales as vectors."""
    genome = settings.genome
    return DenseSpace(
        settings.seed,
        models[0].layout.size,
        starts=[log_scales(model) for model in models],
        sigma=genome.mutation,
        rule=genome.rule,
        angles=genome.angles,
        pools=pools_of(models[0], genome.bands),
        is_around_starts=True,
    )


def _refuse_bands(settings: EvolveSettings) -> None:
    if settings.genome.bands is not None and (settings.adapt is None or settings.genome.kind != "dense"):
        raise ConfigError(
            "`genome.bands` is for scales of experts that are searched as they are. Say `kind: dense` beside it, and "
            "`adapt`, or leave it out."
        )


def make_search(
    settings: EvolveSettings,
    space: Space | RecipeSpace | PathSpace,
    task: Task,
    weights: Float[np.ndarray, " samples"],
    donor: Checkpoint,
) -> Search:
    """The search that the settings name, before its first child.

    Args:
        settings: What was asked for.
        space: Where its genomes live.
        task: The search split.
        weights: Weight of each of its samples.
        donor: One of the models, for the layers that have genes of their own.

    Raises:
        ConfigError: If the search does not fit the space or the task.
        ValueError: If its settings do not fit together.
    """
    s, seed = settings.search, settings.seed
    if isinstance(space, RecipeSpace):
        return recipe_search(settings, space, weights, lambda: required_objectives(task))
    if isinstance(space, PathSpace):
        return path_search(settings, space, weights)
    population = s.population or POPULATION
    if s.method in ("natural-niches", "ga"):
        ga = s.method == "ga"
        variation = Variation(
            s.attraction and not ga, s.split_point, s.crossover, s.early_rejection, s.warmup
        )
        niches = Niches(0.0 if ga else s.alpha, s.epsilon, task.binary)
        return NaturalNiches.start(
            space, weights, seed=seed, population=population, niches=niches, variation=variation
        )
    makers: dict[str, Callable[[], Search]] = {
        "map-elites": lambda: MapElites.start(
            space, weights, seed=seed, groups=axes_of(task, s.axes), bins=s.bins
        ),
        "nsga2": lambda: Nsga2.start(space, required_objectives(task), seed=seed, population=population),
        "cma-es": lambda: cma_es(settings, _vectors(settings, space, donor), weights, population=POPULATION),
        "random": lambda: RandomSearch.start(space, weights, seed=seed, population=population),
        "brute-force": lambda: BruteForce.start(space, weights, steps=s.steps, population=population),
    }
    if s.method not in makers:
        raise ConfigError(
            f"`{s.method}` searches paths through blocks: say `genome: {{kind: path}}` beside it."
        )
    return makers[s.method]()


def _vectors(settings: EvolveSettings, space: Space, donor: Checkpoint) -> VectorSpace:
    if isinstance(space, DenseSpace):
        return DenseVectors(space) if settings.adapt is None else DenseVectors(space, _EXPERT_STEP)
    assert isinstance(space, CombinationSpace)
    sizes = [
        sum(donor.spec(n).numel for n in layer.tensors if n in donor.layout.names) for layer in donor.layers
    ]
    return LayerWeights(space, tuple(itertools.accumulate([s for s in sizes if s], initial=0)))
