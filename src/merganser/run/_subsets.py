"""Which search samples a candidate is scored on, where a search is given a few of them at a time.

Turns are numbered from 0. The seeds and the first `every` children have turn 0, the next `every` children turn 1, and
so on; CMA-ES, which compares the candidates of a generation, turns between generations only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from merganser._errors import ConfigError
from merganser.evaluation import Mixture, Rotation, Task
from merganser.evolution import CmaEs, Search, SubsetSearch
from merganser.run._settings import EvolveSettings


class Estimate(NamedTuple):
    """How much a figure on search samples rests on, where that is not all of them.

    Attributes:
        samples: Search samples that it rests on.
        of: All search samples.
    """

    samples: int
    of: int

    def __str__(self) -> str:
        return f"estimate on {self.samples:,} of {self.of:,} samples"


@dataclass(frozen=True)
class Subsets:
    """Subsets of the search samples that take turns.

    Attributes:
        rotation: The subsets.
        every: Children of a turn.
        seeds: Candidates that come before the first child.
    """

    rotation: Rotation
    every: int
    seeds: int

    def turn_of(self, index: int) -> int:
        """Number of the turn in which a candidate is scored."""
        return max(index - self.seeds, 0) // self.every

    def ids(self, turn: int) -> Int[np.ndarray, " subset"]:
        """Positions of the search samples of a turn."""
        return self.rotation.ids(turn)

    def estimate(self, known: int) -> Estimate | None:
        """What a figure rests on that is known of so many search samples; None if they are all."""
        samples = len(self.rotation.hashes)
        return Estimate(known, samples) if known < samples else None

    @property
    def least(self) -> Estimate | None:
        """What a figure rests on at least; None if every subset holds all samples."""
        return self.estimate(self.rotation.smallest)

    @property
    def note(self) -> str:
        """What somebody who starts the run should know."""
        small, large = self.rotation.smallest, -(-len(self.rotation.hashes) // self.rotation.rounds)
        size = f"{small:,}" if small == large else f"{small:,} or {large:,}"
        return (
            f"Children are scored on {size} of the {len(self.rotation.hashes):,} search samples, others after every "
            f"{self.every:,} children: scores before the end are estimates. Finalists are scored in full."
        )


def make_subsets(settings: EvolveSettings, task: Task, search: Search, seeds: int) -> Subsets | None:
    """The subsets that the settings ask for; None if they ask for none.

    Args:
        settings: What was asked for.
        task: The search split.
        search: The search, before its first child.
        seeds: Candidates that come before the first child.

    Raises:
        ConfigError: If there are not so many samples, or the search cannot change its samples.
    """
    asked = settings.subset
    if asked is None:
        return None
    if not isinstance(search, SubsetSearch):
        raise ConfigError(
            f"`{settings.search.method}` cannot go on with other samples: it places members by their scores on all of "
            "them. Leave `subset` out, or take another search, such as natural-niches."
        )
    samples = len(task.samples)
    if asked.samples > samples:
        raise ConfigError(
            f"`subset.samples` is {asked.samples:,}, but the search split of {task.name} has {samples:,} samples. Give "
            "fewer, or leave `subset` out."
        )
    rotation = Rotation.of(task, asked.samples, seed=settings.seed)
    if isinstance(task, Mixture):
        _check_shares(task, rotation)
    every = asked.every
    if isinstance(search, CmaEs):
        every = -(-every // search.generation_size) * search.generation_size
    return Subsets(rotation, every, seeds)


def _check_shares(task: Mixture, rotation: Rotation) -> None:
    least = min(task.parts, key=lambda part: len(part.samples))
    if len(least.samples) < rotation.rounds:
        needed = -(-len(task.samples) // len(least.samples))
        raise ConfigError(
            f"{rotation.rounds:,} subsets of {rotation.size:,} samples cannot all hold some of {least.name}, which has "
            f"{len(least.samples):,}. Give `subset.samples: {needed}` or more."
        )
