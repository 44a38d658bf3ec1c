"""The same training with several seeds: how much of a figure is chance."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from merganser._errors import ConfigError, MerganserError, NonFiniteOutputError, RunError
from merganser._training_folder import TRAINING_NAME
from merganser.thinking._baseline_config import ThinkerConfig
from merganser.thinking._config import CTMConfig
from merganser.thinking.training._row import ThinkingRow
from merganser.thinking.training._settings import ThinkingTraining
from merganser.thinking.training._task import ThinkingTask
from merganser.thinking.training._train import ThinkingTrained, train_thinking


@dataclass(frozen=True, slots=True)
class SeedTrained:
    """What came of one seed.

    Attributes:
        seed: The seed.
        folder: Where its training is.
        trained: What came of it; None if it failed.
        failure: Why it failed; None if it did not.
    """

    seed: int
    folder: Path
    trained: ThinkingTrained | None
    failure: str | None

    @property
    def figures(self) -> dict[str, float] | None:
        """What is compared between seeds, by name; None if it failed.

        Shares in [0, 1]: `test` and `whole`, of positions and of samples that are right; `halted`, positions that are
        right where thinking stops at a certainty of 0.8, and `saved`, ticks that this saves. And `steps`, `seconds`.
        """
        if (trained := self.trained) is None:
            return None
        shares = {"test": trained.test, "whole": trained.whole, "halted": trained.halted.accuracy}
        last = trained.rows[-1]
        return {**shares, "saved": trained.halted.saved, "steps": last.step, "seconds": last.seconds}


class Spread(NamedTuple):
    """A figure over seeds.

    Attributes:
        mean: Mean.
        deviation: Standard deviation of a sample, dividing by one seed fewer; None for a single one.
        least: Smallest.
        most: Largest.
    """

    mean: float
    deviation: float | None
    least: float
    most: float


def spread(values: Sequence[float]) -> Spread:
    """Mean and spread of a figure.

    Args:
        values: One of each seed, at least one.

    Examples:
        >>> spread([0.5, 0.75, 1.0])
        Spread(mean=0.75, deviation=0.25, least=0.5, most=1.0)
    """
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values), deviation, min(values), max(values))


def spreads(seeds: Iterable[SeedTrained]) -> dict[str, Spread]:
    """Mean and spread of every figure over the seeds that did not fail; nothing if all did.

    Args:
        seeds: What came of each.
    """
    found = [each.figures for each in seeds if each.figures is not None]
    return {name: spread([figures[name] for figures in found]) for name in (found[0] if found else ())}


def train_seeds(
    task: ThinkingTask,
    config: ThinkerConfig | None,
    folder: str | Path,
    settings: ThinkingTraining | None = None,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    device: str = "cpu",
    watch: Callable[[int, ThinkingRow], None] | None = None,
) -> tuple[SeedTrained, ...]:
    """Train with several seeds, one after the other; one that fails does not stop the others.

    A training is a folder `seed-0`, `seed-1` and so on. Killed and called again, it goes on where it was; what is over
    is not trained again, and what failed fails again.

    Args:
        task: What is learnt.
        config: What models are made of; None for the task's own small model. A thought machine's pairs are drawn by
            each seed.
        folder: Where to.
        settings: How; its seed gives way to each of `seeds`.
        seeds: At least one, each once.
        device: Where to compute, as torch names it.
        watch: Called with the seed and each row of its history.

    Raises:
        ConfigError: If there are no seeds, or one comes twice.
        ValueError: If a model's answers are not those of the task.
        RunError: If the folder is that of a training with one seed.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"Expected at least one seed, each once, found {list(seeds)}.")
    parent, config, settings = (
        Path(folder).expanduser(),
        config or task.config(),
        settings or ThinkingTraining(),
    )
    if (parent / TRAINING_NAME).exists():
        raise RunError(f"{parent} holds a training with one seed. Train several seeds into another folder.")

    def train(seed: int) -> SeedTrained:
        def tell(row: ThinkingRow) -> None:
            if watch is not None:
                watch(seed, row)

        place = parent / f"seed-{seed}"
        how = replace(settings, seed=seed)
        try:
            trained = train_thinking(task, _seeded(config, seed), place, how, device=device, watch=tell)
        except (MerganserError, NonFiniteOutputError) as error:
            return SeedTrained(seed, place, None, str(error))
        return SeedTrained(seed, place, trained, None)

    return tuple(train(seed) for seed in seeds)


def _seeded(config: ThinkerConfig, seed: int) -> ThinkerConfig:
    return replace(config, seed=seed) if isinstance(config, CTMConfig) else config
