"""A trainer's diary: looks at the validation samples, the best so far, history, checkpoints, and when to stop.

A checkpoint is TRL's (`checkpoint/checkpoint-STEP`), with what was best so far beside it. It counts once it holds
`whole.json`, which is written last; the one before it is deleted only then. TRL keeps the optimiser's moments and
the state of random numbers in files of torch, which it reads with torch's weights-only loader; they are the user's
own, written by the same training.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import TrainerCallback

from merganser._training_history import append_row, write_history
from merganser.adaptation.training._folder import WHOLE_NAME, last_checkpoint, step_of
from merganser.adaptation.training._history import Row, best_look, is_stuck, read_history
from merganser.adaptation.training._settings import Training
from merganser.weights import atomic_write_text, open_checkpoint, save

_BEST_NAME = "best.safetensors"


class Journal(TrainerCallback):
    """Called by the trainer after each step.

    Args:
        trainer: The trainer.
        folder: The training's folder.
        settings: How it is trained.
        look: Mean score on the validation samples of what is trained as it is now; None if there are none.
        watch: Called with each row.

    Attributes:
        rows: What happened so far.
        best: What was trained at the best look; without looks, at the last checkpoint.
    """

    def __init__(
        self,
        trainer: Any,
        folder: Path,
        settings: Training,
        look: Callable[[], float] | None,
        watch: Callable[[Row], None] | None,
    ) -> None:
        self._trainer, self._folder, self._settings = trainer, folder, settings
        self._look, self._watch = look, watch
        self._begun, self._validation = time.monotonic(), None
        self._seconds_before = 0.0
        self.rows: tuple[Row, ...] = ()
        self.best: dict[str, Tensor] = {}

    def resume(self) -> Path | None:
        """Take up what the last whole checkpoint holds; None if there is none, and history then begins anew.

        Raises:
            RunError: If the history before it is damaged.
            CheckpointError: If it is damaged itself.
        """
        place = last_checkpoint(self._folder)
        if place is not None:
            self.rows = read_history(self._folder, until=step_of(place))
            self._seconds_before = self.rows[-1].seconds
            file = open_checkpoint(place / _BEST_NAME)
            self.best = {name: file.read(name).clone() for name in file}
        write_history(self.rows, self._folder)
        return place

    @property
    def is_over(self) -> bool:
        """Whether all steps are taken, or the looks do not get better."""
        if not self.rows:
            return False
        return self.rows[-1].step >= self._settings.steps or is_stuck(self.rows, self._settings.patience)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Look at the base, before the first step."""
        if not self.rows:
            self._take_look()
            self._add(Row(0, validation=self._validation))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Look, where it is due."""
        is_due = state.global_step % self._settings.every == 0 or state.global_step >= self._settings.steps
        self._validation = None
        if is_due:
            self._take_look()
            control.should_save = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ARG002
        """Note the step."""
        if logs is None or "loss" not in logs:
            return  # a summary at the end
        is_supervised = state.global_step <= self._settings.warm_up
        self._add(
            Row(
                state.global_step,
                loss=logs["loss"],
                reward=None if is_supervised else logs["reward"],
                spread=None if is_supervised else logs["reward_std"],
                kl=logs.get("kl"),
                entropy=logs["entropy"],
                surprise=logs["surprise"],
                length=logs["completions/mean_length"],
                gradient=logs["grad_norm"],
                validation=self._validation,
            )
        )
        control.should_training_stop |= self.is_over

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        """Make a checkpoint whole, and delete the others."""
        place = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        save(self.best, place / _BEST_NAME, overwrite=True)
        atomic_write_text(place / WHOLE_NAME, "{}\n")
        for other in place.parent.iterdir():
            if other != place:
                shutil.rmtree(other)

    def _take_look(self) -> None:
        self._validation = None if self._look is None else self._look()
        best = best_look(self.rows)
        is_best = best is None or self._validation is None or self._validation > (best.validation or 0.0)
        if is_best:
            self.best = {name: t.detach().cpu().clone() for name, t in self._trainer.trained().items()}

    def _add(self, row: Row) -> None:
        seconds = self._seconds_before + time.monotonic() - self._begun
        row = replace(row, seconds=round(seconds, 3))
        self.rows = (*self.rows, row)
        append_row(row, self._folder)
        if self._watch is not None:
            self._watch(row)
