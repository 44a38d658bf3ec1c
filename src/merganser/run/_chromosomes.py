"""From settings to chromosomes: groups of tensors that crossover splits independently."""

from __future__ import annotations

from merganser._errors import ConfigError
from merganser.evolution import Grouping
from merganser.merging import Chromosomes
from merganser.run._settings import GenomeSettings
from merganser.weights import Checkpoint


def chromosomes_of(genome: GenomeSettings, model: Checkpoint) -> Chromosomes | None:
    """The chromosomes over a model's flat order; None for one.

    Raises:
        ValueError: If a filter leads to no tensors.
    """
    if genome.chromosomes == "whole":
        return None
    names = model.layout.names
    if isinstance(genome.chromosomes, str):
        grouping = Grouping.by_component(names)
    else:
        grouping = Grouping.by_filters(genome.chromosomes, names)
    spans = model.layout.spans()
    sizes = ((grouping.of(name), end - begin) for name in names for begin, end in [spans[name]])
    return Chromosomes.of((owner, size) for owner, size in sizes if size)


def refuse_chromosomes(genome: GenomeSettings) -> None:
    """Make sure that a genome that is no combination says nothing of chromosomes.

    Raises:
        ConfigError: If it does.
    """
    if genome.chromosomes != "whole":
        raise ConfigError(
            "`genome.chromosomes` is for combinations of given models, which are crossed; leave it out, or say "
            "`kind: combination` and name `models`."
        )
