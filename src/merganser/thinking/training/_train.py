"""Training a thought machine, or a baseline: from a task and a configuration to a folder; killed, it goes on."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from merganser._errors import NonFiniteOutputError
from merganser._training_folder import begin, finish
from merganser._training_history import append_row, read_rows, write_history
from merganser._version import __version__
from merganser.models import threads_for
from merganser.thinking._answers import Answers, answers_of
from merganser.thinking._baseline_config import ThinkerConfig
from merganser.thinking._halting import HaltingPoint, halting_point
from merganser.thinking._loss import thought_loss
from merganser.thinking._pretrained import new_thinker, open_thinker
from merganser.thinking._thinker import Thinker
from merganser.thinking._thought import split_positions
from merganser.thinking.training._checkpoint import load_checkpoint, save_checkpoint
from merganser.thinking.training._row import ThinkingRow
from merganser.thinking.training._settings import ThinkingTraining
from merganser.thinking.training._task import ThinkingTask
from merganser.weights import single_threaded

MODEL_NAME = "model"
ENOUGH = 0.8
"""Certainty at which the test stops thinking beside thinking for all ticks; the paper's."""


@dataclass(frozen=True, slots=True)
class ThinkingTrained:
    """A training that is over.

    Attributes:
        folder: Where it is.
        task: What was trained on.
        parameters: How many numbers were trained.
        rows: What happened, step by step.
        stopped: Why it ended: `enough` samples right, all `steps` taken, or its `seconds` over.
        test: Share of test positions answered right at the surest of all ticks; by an LSTM at the last.
        whole: Share of test samples answered right at every position.
        halted: The same as `test` where thinking stops at a certainty of 0.8, and what that saves.
    """

    folder: Path
    task: ThinkingTask
    parameters: int
    rows: tuple[ThinkingRow, ...]
    stopped: str
    test: float
    whole: float
    halted: HaltingPoint

    @property
    def path(self) -> Path:
        """The folder of the model."""
        return self.folder / MODEL_NAME


def train_thinking(
    task: ThinkingTask,
    config: ThinkerConfig | None,
    folder: str | Path,
    settings: ThinkingTraining | None = None,
    *,
    start: str | Path | None = None,
    device: str = "cpu",
    watch: Callable[[ThinkingRow], None] | None = None,
) -> ThinkingTrained:
    """Train a thought machine on a task, for its best and its surest tick; a baseline for its best and its last.

    Kept is the model of the last step. Killed and called again with the same arguments, it goes on from its last
    checkpoint, to the same history and model bit for bit; called once more, it gives what came of it.

    Args:
        task: What it learns.
        config: What it is made of, a thought machine or a baseline; None for the task's own small model.
        folder: Where to; new, empty, or the folder of this very training.
        settings: How.
        start: A model to begin with in place of drawn weights, as [`open_thinker`][merganser.thinking.open_thinker]
            takes it; its configuration is taken, too.
        device: Where to compute, as torch names it.
        watch: Called with each row of the history.

    Returns:
        What came of it.

    Raises:
        ValueError: If the model's answers are not those of the task, or a configuration is given beside a start.
        NonFiniteOutputError: If the loss becomes NaN or infinite. Checkpoints stay.
        RunError: If the folder holds another training.
        OutputError: If the folder holds something else, or cannot be written.
        CheckpointError: If a checkpoint is damaged.
    """
    if start is not None and config is not None:
        raise ValueError(
            "Both a start and a configuration are given. A start has its own; leave `config` out."
        )
    begun = None if start is None else open_thinker(start)
    made: ThinkerConfig = begun.config if begun is not None else config or task.config()
    settings, place = settings or ThinkingTraining(), Path(folder).expanduser()
    _check_fit(task, made)
    of = {
        "task": {"kind": task.name, **asdict(task)},  # pyright: ignore[reportArgumentType]
        "config": made.to_dict(),
        "settings": asdict(settings),
        "versions": {"merganser": __version__, "torch": torch.__version__},
    }
    if start is not None:
        of["start"] = str(start)
    found = begin(place, of)
    if found is None:
        with _seeded(settings.seed, 0):
            model = (begun or new_thinker(made)).to(device)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        with _threads(parameters):
            journal = _Journal(task, model, place, settings, watch)
            journal.run()
            model.save_pretrained(place / MODEL_NAME, overwrite=True)
            found = {"parameters": parameters, "steps": journal.step, "stopped": journal.stopped}
            found |= _tested(journal.look(task.test()))
        finish(place, of, found)
    return result(place, task, found)


def result(folder: Path, task: ThinkingTask, found: Mapping[str, Any]) -> ThinkingTrained:
    """What came of a training, from what its folder says of it.

    Raises:
        RunError: If the history is damaged.
    """
    rows = read_rows(folder, ThinkingRow, until=found["steps"])
    halted = HaltingPoint(*found["halted"])
    given = {name: found[name] for name in ("parameters", "stopped", "test", "whole")}
    return ThinkingTrained(folder, task, rows=rows, halted=halted, **given)


class _Journal:
    """A training under way: takes steps, looks, notes and saves."""

    def __init__(
        self,
        task: ThinkingTask,
        model: Thinker[Any],
        folder: Path,
        settings: ThinkingTraining,
        watch: Callable[[ThinkingRow], None] | None,
    ) -> None:
        self._task, self._model, self._folder, self._settings = task, model, folder, settings
        self._watch = watch
        self._optimiser = torch.optim.AdamW(model.parameters(), weight_decay=settings.weight_decay)
        step = load_checkpoint(folder, model, self._optimiser)
        self.rows = () if step is None else read_rows(folder, ThinkingRow, until=step)
        self._before = self.rows[-1].seconds if self.rows else 0.0
        self._begun = time.monotonic()
        write_history(self.rows, folder)

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.rows[-1].step if self.rows else 0

    @property
    def stopped(self) -> str | None:
        """Why it is over; None if it is not."""
        if not self.rows:
            return None
        last, settings = self.rows[-1], self._settings
        if settings.enough is not None and (last.whole or 0.0) >= settings.enough:
            return "enough"
        if last.step >= settings.steps:
            return "steps"
        is_late = settings.seconds is not None and last.seconds >= settings.seconds
        return "seconds" if is_late and last.whole is not None else None

    def run(self) -> None:
        """Take steps until it is over, with a look and a checkpoint where they are due."""
        if not self.rows:
            self._add(self._looked(ThinkingRow(0)))
        while self.stopped is None:
            row = self._take(self.step + 1)
            seconds = self._seconds()
            is_late = self._settings.seconds is not None and seconds >= self._settings.seconds
            is_due = row.step % self._settings.every == 0 or row.step >= self._settings.steps or is_late
            self._add(self._looked(row) if is_due else row)
            if is_due:
                save_checkpoint(self._folder, row.step, self._model, self._optimiser)

    def look(self, samples: Any) -> Answers:
        """What the model answers as it is now."""
        device = next(self._model.parameters()).device
        return answers_of(self._model, samples.inputs.to(device), samples.targets.to(device))

    def _take(self, step: int) -> ThinkingRow:
        settings, device = self._settings, next(self._model.parameters()).device
        for group in self._optimiser.param_groups:
            group["lr"] = settings.rate(step)
        inputs, targets = self._task.batch(settings.batch, seed=settings.seed, step=step)
        inputs, targets = inputs.to(device), targets.to(device)
        self._model.train()
        with _seeded(settings.seed, step):
            thought = self._model(inputs)
            loss = thought_loss(thought, targets, look_ahead=self._task.look_ahead)
        value = float(loss.value.detach())
        if not math.isfinite(value):
            raise NonFiniteOutputError(
                f"The loss of step {step} is {value}. Train into another folder with a lower learning rate "
                "or a shorter longest gradient."
            )
        self._optimiser.zero_grad(set_to_none=True)
        loss.value.backward()
        longest = math.inf if settings.clip is None else settings.clip
        gradient = torch.nn.utils.clip_grad_norm_(self._model.parameters(), longest)
        self._optimiser.step()
        with torch.no_grad():
            logits = split_positions(thought.predictions, thought.positions)
            answer = Answers(logits, thought.certainties, targets, thought.readout)
        return ThinkingRow(
            step,
            loss=value,
            accuracy=float(answer.scores()[:, -1].mean()),
            gradient=float(gradient),
            best=float(loss.best.double().mean()) + 1,
            surest=float(loss.surest.double().mean()) + 1,
        )

    def _looked(self, row: ThinkingRow) -> ThinkingRow:
        answers = self.look(self._task.validation())
        positions = answers.right()[:, :, -1].double().mean(dim=0)
        return replace(
            row,
            validation=float(positions.mean()),
            whole=float(answers.scores(whole=True)[:, -1].double().mean()),
            positions=tuple(positions.tolist()),
            certainties=tuple(answers.certainties.double().mean(dim=0).tolist()),
        )

    def _add(self, row: ThinkingRow) -> None:
        row = replace(row, seconds=round(self._seconds(), 3))
        self.rows = (*self.rows, row)
        append_row(row, self._folder)
        if self._watch is not None:
            self._watch(row)

    def _seconds(self) -> float:
        return self._before + time.monotonic() - self._begun


def _tested(answers: Answers) -> dict[str, Any]:
    halted = halting_point(answers.scores(), answers.certainties, ENOUGH)
    return {
        "test": float(answers.scores()[:, -1].double().mean()),
        "whole": float(answers.scores(whole=True)[:, -1].double().mean()),
        "halted": list(halted),
    }


def _check_fit(task: ThinkingTask, config: ThinkerConfig) -> None:
    wanted, found = (task.positions, task.classes), (config.positions, config.classes)
    if wanted != found:
        raise ValueError(
            f"The task {task.name} asks for {wanted[0]} answers of {wanted[1]} classes, but the model gives "
            f"{found[0]} of {found[1]}. Set `positions` to {wanted[0]} and `outputs` to {wanted[0] * wanted[1]}."
        )


@contextmanager
def _seeded(seed: int, step: int) -> Iterator[None]:
    """Random numbers of torch that follow from seed and step, and leave those of everybody else alone."""
    with torch.random.fork_rng():
        torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]))
        yield


@contextmanager
def _threads(parameters: int) -> Iterator[None]:
    """One thread for a small model: starting and joining more costs what they save."""
    if threads_for(parameters) == 1:
        with single_threaded():
            yield
    else:
        yield
