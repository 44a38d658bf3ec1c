"""When to stop specialising: two models trained apart, step by step, and what their merge is worth at each.

While two copies of a model are tuned apart, each becomes better at its own task, and for a while so does their merge.
Then they grow apart, and merging them costs more than they learn. Where that is depends on models and tasks, so it is
measured: at every step both checkpoints are compared, merged and scored.

How alike representations are falls from the first step on and levels off; it cannot say where the merge is best
([`Series.best`][] needs scores). It is kept beside the scores for what it does say: how far apart the models are.

References:
    Pari, Jelassi, Agrawal, *Collective Model Intelligence Requires Compatible Specialization*, 2024,
    https://arxiv.org/abs/2411.02207 (merges of activations that become worse again with training).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser._errors import CheckpointError
from merganser.comparison._barrier import Barrier, barrier
from merganser.comparison._best_steps import may_be_best
from merganser.comparison._data import Data, view_for
from merganser.comparison._geometry import Part, geometry, plain
from merganser.comparison._representations import Representations, represent, representations
from merganser.comparison._save import save_found
from merganser.comparison._tick import Watch
from merganser.comparison._view import View
from merganser.evaluation import Chosen, Interval, difference_interval
from merganser.merging import Model, open_models
from merganser.weights import Checkpoint, Execution

_MIDDLE = 0.5


@dataclass(frozen=True, eq=False)
class Step:
    """Two models after the same number of training steps.

    Args:
        step: Training steps.
        models: Their names.
        part: How they lie to each other, and to the base if there is one.
        cka: How alike their representations are; None if it was not measured.
        line: Scores of both and of three merges between them; None if they were not measured.
        unmeasured: What could not be measured, and why.
    """

    step: int
    models: tuple[str, str]
    part: Part
    cka: Representations | None = None
    line: Barrier | None = None
    unmeasured: tuple[str, ...] = ()

    @property
    def merged(self) -> Float[np.ndarray, " samples"]:
        """Score of the average of both on every sample; empty if it was not measured."""
        return np.empty(0) if self.line is None else self.line.scores[_MIDDLE]

    @property
    def gain(self) -> Interval | None:
        """What the average scores beyond the better of the two, on the same samples."""
        return None if self.line is None else self.line.gain

    def to_json(self) -> dict[str, Any]:
        """As plain data; None where a number is undefined."""
        relative = self.part.relative
        return {
            "step": self.step,
            "models": list(self.models),
            "lengths": None if relative is None else plain(relative),
            "cosine": plain(float(self.part.cosines[0, 1])),
            "distance": plain(float(self.part.distances[0, 1])),
            "cka": self.cka and self.cka.to_json(),
            "line": self.line and self.line.to_json(),
            "gain": self.gain and self.gain._asdict(),
            "unmeasured": list(self.unmeasured),
        }


@dataclass(frozen=True, eq=False)
class Series:
    """Two models trained apart, step by step.

    Args:
        base: Name of the model that both began as, if it was given.
        task: Name of the task that scores; None without one.
        steps: The steps, in order.
        left_out: Steps that only one of them has.
    """

    base: str | None
    task: str | None
    steps: tuple[Step, ...]
    left_out: tuple[int, ...]

    @cached_property
    def best(self) -> Step | None:
        """The critical point: the step whose average scores best, the first of several; None without scores."""
        scored = [step for step in self.steps if step.line is not None]
        return max(scored, key=lambda step: float(step.merged.mean()), default=None)

    @cached_property
    def may_be_best(self) -> tuple[int, ...]:
        """Steps that the samples cannot tell from the best, at 95 % for all together."""
        scored = [step for step in self.steps if step.line is not None]
        if not scored:
            return ()
        rows = np.stack([step.merged for step in scored])
        return tuple(scored[i].step for i in may_be_best(rows))

    @property
    def falls(self) -> bool:
        """Whether it is shown that specialising can go too far: the last step is not among the best."""
        scored = [step.step for step in self.steps if step.line is not None]
        return bool(scored) and scored[-1] not in self.may_be_best

    @property
    def words(self) -> tuple[str, ...]:
        """When to stop, and how sure that is, as sentences."""
        best, scored = self.best, [step for step in self.steps if step.line is not None]
        if best is None or best.line is None:
            return (
                "Nothing was scored, so no step can be called the best: likeness falls from the first step on, whether "
                "merges gain or lose. Name a task that both models together should solve.",
            )
        value, low, high = (100 * each for each in best.line.means[_MIDDLE])
        rest = [f"{step:,}" for step in self.may_be_best if step != best.step]
        said = [
            f"The average of both scores best after {best.step:,} steps: {value:.1f} % ({low:.1f} to {high:.1f})."
        ]
        if rest:
            said.append(f"By these samples the best may also be {', '.join(rest)} (95 % for all together).")
        else:
            said.append("By these samples no other step may be the best (95 % for all together).")
        if self.falls:
            cost = difference_interval(best.merged, scored[-1].merged)
            value, low, high = (100 * each for each in cost)
            said.append(
                f"Stop there: after {scored[-1].step:,} steps the average scores {value:.1f} points less ({low:.1f} to "
                f"{high:.1f})."
            )
        elif best is scored[-1]:
            said.append("That is the last step: the average may become better still.")
        else:
            said.append("That training on costs anything is not shown. Score more samples, or train on.")
        return tuple(said)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "base": self.base,
            "task": self.task,
            "steps": [step.to_json() for step in self.steps],
            "best": self.best and self.best.step,
            "may_be_best": list(self.may_be_best),
            "falls": self.falls,
            "words": list(self.words),
            "left_out": list(self.left_out),
        }

    def save(self, folder: str | Path) -> Path:
        """Write everything to `series.json` in a folder, atomically.

        Raises:
            OutputError: If it cannot be written.
        """
        return save_found(folder, "series", self.to_json())


def stop_specialising(
    first: Mapping[int, Model],
    second: Mapping[int, Model],
    base: Model | None = None,
    *,
    chosen: Chosen | None = None,
    data: Data | None = None,
    view: View | None = None,
    cache: str | Path | None = None,
    execution: Execution | None = None,
    dtype: str | None = None,
    watch: Watch | None = None,
) -> Series:
    """Compare, merge and score two models at every step of their training.

    Args:
        first: One model's checkpoints by training step, each as `merge` takes it.
        second: The other's. Steps that only one of them has are left out.
        base: The model that both began as.
        chosen: Samples to score both, their average and two other merges on; without, there is no best step.
        data: Texts, or arrays for perceptrons, on which to compare representations.
        view: How they are looked at; by default as [`view_for`][] chooses.
        cache: As in [`compare`][].
        execution: As there.
        dtype: As there.
        watch: Told how far each part of the work is.

    Raises:
        ValueError: If they have fewer than two steps in common, or two models of a step do not fit each other.
        CheckpointError: If a model cannot be read, or holds NaN.
        ConfigError: If a library that a model needs is not installed.
        OutputError: If the cache cannot be written.
    """
    common = sorted(first.keys() & second.keys())
    if len(common) < 2:
        raise ValueError(
            f"Expected two series with two or more steps in common, but they share {len(common)}: the first has "
            f"{_listed(first)}, the second {_listed(second)}."
        )
    device = "cpu" if execution is None else execution.device
    name: str | None = None
    steps: list[Step] = []
    for number, step in enumerate(common, start=1):
        told = _told(watch, f"step {step} ({number} of {len(common)})")
        models, origin, _ = open_models([first[step], second[step]], base, None)
        name = None if origin is None else origin.source
        part = geometry(models, origin, overlap=False, execution=execution, watch=told).total
        found = Step(step, (models[0].source, models[1].source), part)
        if data is not None:
            sight = view or view_for(data)
            named = {"first": models[0], "second": models[1]}
            sums, unseen = represent(named, data, sight, cache=cache, device=device, dtype=dtype, watch=told)
            cka = None if sums is None else representations(sums, "first", "second")
            found = replace(found, cka=cka, unmeasured=tuple(unseen.values()))
        if chosen is not None:
            found = _scored(found, models, chosen, dtype=dtype, device=device, watch=told)
        steps.append(found)
    return Series(
        name,
        None if chosen is None else chosen.name,
        tuple(steps),
        tuple(sorted(first.keys() ^ second.keys())),
    )


def _scored(
    found: Step,
    models: Sequence[Checkpoint],
    chosen: Chosen,
    *,
    dtype: str | None,
    device: str,
    watch: Watch | None,
) -> Step:
    """The step with the scores of both models and their merges; or with the reason why there are none."""
    try:
        return replace(
            found, line=barrier(models[0], models[1], chosen, dtype=dtype, device=device, watch=watch)
        )
    except (CheckpointError, ValueError) as error:
        return replace(found, unmeasured=(*found.unmeasured, str(error)))


def _told(watch: Watch | None, step: str) -> Watch | None:
    if watch is None:
        return None
    return lambda tick: watch(tick._replace(doing=f"{step}: {tick.doing}"))


def _listed(series: Mapping[int, Model]) -> str:
    return ", ".join(map(str, sorted(series))) or "none"
