"""What a file for mergekit-evolve says, and what of it means something else here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

METHODS = ("linear", "task_arithmetic", "ties", "dare_ties", "slerp")
"""The merge methods that mergekit-evolve searches over."""

NEED_BASE = frozenset({"task_arithmetic", "ties", "dare_ties"})

_NORMALISED = frozenset({"linear", "ties", "dare_ties"})
"""Methods whose weights mergekit divides by their sum unless told otherwise."""


@dataclass(frozen=True, slots=True)
class WeightedTask:
    """A task of lm-evaluation-harness and how much it counts.

    Attributes:
        name: lm-eval's name of a task or group.
        weight: Factor of its metric in the objective.
        metric: `METRIC,FILTER`.
    """

    name: str
    weight: float = 1.0
    metric: str = "acc,none"


@dataclass(frozen=True, slots=True)
class EvolvedMerge:
    """The merges that are searched: genes per group of layers, filter and model.

    Attributes:
        models: References of the models.
        method: One of `linear`, `task_arithmetic`, `ties`, `dare_ties` and `slerp`.
        base: The base model, for the methods that need one.
        tokenizer_source: Whose tokens the result has.
        layer_granularity: Layers of a group; it must divide their number. 0 makes one group of all.
        normalize: Whether weights are divided by their sum; None leaves it to the method.
        allow_negative_weights: Whether a weight may be negative; otherwise its absolute value counts.
        filters: Parts of tensors' names that have genes of their own; the rest has some, too.
        smooth: Whether values are interpolated over the layers.
    """

    models: tuple[str, ...]
    method: str
    base: str | None = None
    tokenizer_source: str | None = None
    layer_granularity: int = 0
    normalize: bool | None = None
    allow_negative_weights: bool = False
    filters: tuple[str, ...] = ()
    smooth: bool = False

    @property
    def is_normalized(self) -> bool:
        """Whether mergekit divides the weights by their sum."""
        return self.method in _NORMALISED if self.normalize is None else self.normalize


@dataclass(frozen=True, slots=True)
class MergekitEvolveConfig:
    """A file for mergekit-evolve.

    Attributes:
        genome: The merges that are searched.
        tasks: What they are scored on; the objective is the weighted sum.
        limit: Documents of each task; None for all.
        num_fewshot: Examples before each question; None for the task's own number.
        shuffle: Whether the documents of a limit are drawn at random.
        random_init: Whether the search begins at a random point.
        apply_chat_template: Whether prompts are conversations.
        fewshot_as_multiturn: Whether examples are turns of their own.
    """

    genome: EvolvedMerge
    tasks: tuple[WeightedTask, ...]
    limit: int | None = None
    num_fewshot: int | None = None
    shuffle: bool = False
    random_init: bool = False
    apply_chat_template: bool = True
    fewshot_as_multiturn: bool = True

    @property
    def notes(self) -> tuple[str, ...]:
        """What of this file mergekit-evolve takes in another sense than this house does."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        yield (
            "mergekit-evolve searches and reports on the same documents; here they are divided, the winner is chosen "
            "on validation, and the test is scored once."
        )
        if self.genome.normalize is None and self.genome.is_normalized:
            yield (
                f"`genome.normalize` is not given: mergekit divides the weights of {self.genome.method} by their sum, "
                "so sums far from 1 are never tried. The paper's search does not normalize."
            )
        if self.shuffle and self.limit is not None:
            yield (
                "`shuffle` has no seed in mergekit-evolve, and its workers may score different documents; here the "
                "documents of a limit are chosen once, by their content."
            )
        elif self.limit is not None:
            yield f"`limit` takes the first {self.limit} documents of a task, which need not be like the others."
        if self.random_init:
            yield "`random_init` has no seed in mergekit-evolve; here the run's seed decides."
        yield (
            "Embeddings take the values of the first group of layers there, the final norm and the head those of the "
            "last; in the paper they have values of their own."
        )
