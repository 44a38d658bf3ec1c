"""From settings to genomes that are paths through the models' blocks, and the searches that find them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from merganser._errors import ConfigError
from merganser.evolution import MixedCmaEs, PathSpace, RandomSearch, Search
from merganser.merging import PathLayout, ScaleMatrix, ScaleNetwork, Scales, check_parents, path_stack
from merganser.run._settings import EvolveSettings, GenomeSettings
from merganser.run._strategies import POPULATION, cma_es
from merganser.weights import Checkpoint

_KEYS = ("repeats", "scales", "unit", "scaling", "lead")


def path_space(settings: EvolveSettings, models: Sequence[Checkpoint]) -> PathSpace:
    """The space of the paths that the settings speak of.

    Args:
        settings: What was asked for.
        models: The models to go through; the first gives embeddings and head.

    Raises:
        CheckpointError: If one is of a family that paths do not go through, or they differ in what a block is.
        ConfigError: If a model is listed twice.
    """
    genome = settings.genome
    digests = tuple(model.digest for model in models)
    twice = next((i for i, digest in enumerate(digests) if digest in digests[:i]), None)
    if twice is not None:
        raise ConfigError(
            f"{models[twice].source} is the same model as another of `models`. List it once: `repeats` says how often "
            "a path may go through its blocks."
        )
    check_parents(models)
    blocks = tuple(len(path_stack(model).blocks) for model in models)
    layout = PathLayout(digests, blocks, genome.repeats, genome.scaling)
    kinds: dict[str, Callable[[], Scales | None]] = {
        "none": lambda: None,
        "matrix": lambda: ScaleMatrix(sum(blocks), genome.unit),
        "network": lambda: ScaleNetwork(sum(blocks), layout.positions, unit=genome.unit),
    }
    return PathSpace(layout, scales=kinds[genome.scales](), lead=genome.lead)


def path_search(settings: EvolveSettings, space: PathSpace, weights: Float[np.ndarray, " samples"]) -> Search:
    """The search over paths, before its first candidate.

    Args:
        settings: What was asked for.
        space: The paths.
        weights: Weight of each search sample.

    Raises:
        ConfigError: If it is one that does not search paths, or needs a library that is not installed.
    """
    s, seed = settings.search, settings.seed
    makers: dict[str, Callable[[], Search]] = {
        "cat-cma": lambda: MixedCmaEs.start(
            space, weights, seed=seed, population=s.population, tie_breaker=s.tie_breaker
        ),
        "cma-es": lambda: cma_es(settings, space, weights),
        "random": lambda: RandomSearch.start(
            space, weights, seed=seed, population=s.population or POPULATION
        ),
    }
    if s.method not in makers:
        raise ConfigError(
            f"`{s.method}` does not search paths through blocks. Use one of {', '.join(makers)}: "
            "`search: {method: cat-cma}`."
        )
    return makers[s.method]()


def refuse_path_keys(genome: GenomeSettings) -> None:
    """Make sure that a genome that is no path says nothing of one.

    Raises:
        ConfigError: If it does.
    """
    usual = GenomeSettings()
    for key in _KEYS:
        if getattr(genome, key) != getattr(usual, key):
            raise ConfigError(
                f"`genome.{key}` is for paths through blocks, but the genome's kind is {genome.kind!r}. Say "
                "`kind: path`, or leave it out."
            )
