"""TRL's trainers with this package's tokens, answers and rewards.

A trainer of TRL is used for all it does: the loss, the baselines, the divergence from the base, the optimiser,
checkpoints and going on from them. What is put in its place, in both in the same way:

| method | here |
| --- | --- |
| `_tokenize_prompts` | prompts as evaluation asks them; what TRL calls a prompt is the question's position, as text |
| `_generate_single_turn` | answers of the model as evaluation lets it answer (stop strings, limit), or right ones |
| `_generate_and_score_completions` | where there is no baseline, the advantage is the reward itself |
| `_save`, `_load_from_checkpoint` | only what is trained, as safetensors |

TRL refuses one answer to a prompt, for it has no baseline to compare it with. The published recipe has none, so its
configuration is made for two and the trainer then told that there is one; supervised steps are the same: a right
answer whose advantage is 1, so that the gradient is that of its log-probability.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer

from merganser.adaptation.training._lessons import Answered, Lessons
from merganser.adaptation.training._settings import Training
from merganser.weights import open_checkpoint, save

TRAINED_NAME = "trained.safetensors"


class _Lessoned:
    """What is put in the place of TRL's own.

    Attributes:
        lessons: What is asked and answered; set before training.
        settings: How it is trained; set before training.
    """

    lessons: Lessons
    settings: Training
    _asked: list[int]
    _answered: Answered

    def trained(self: Any) -> dict[str, Tensor]:
        """What is trained, by name, where it lives."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def put(self: Any, tensors: dict[str, Tensor]) -> None:
        """Take over numbers of what is trained."""
        with torch.no_grad():
            for name, parameter in self.trained().items():
                parameter.copy_(tensors[name])

    def create_model_card(self: Any, *_: Any, **__: Any) -> None:
        """None is written into checkpoints."""

    def reward(self, prompts: list[str], **_: Any) -> list[float]:  # noqa: ARG002
        """Rewards of the answers that were just made: TRL's function for them."""
        return self._answered.rewards

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        self._asked = [int(position) for position in prompts]
        return self.lessons.prompts(self._asked), None, {}

    def _answer(self: Any) -> list[list[int]]:
        self._answered = self.lessons.answers(self._asked, self.state.global_step)
        return self._answered.tokens

    def _generate_and_score_completions(self: Any, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        is_supervised = self.lessons.is_supervised(self.state.global_step)
        self.beta = 0.0 if is_supervised else self.settings.kl
        together = 1 if is_supervised or self.settings.baseline == "none" else self.settings.rollouts
        every = (
            self.num_generations if is_supervised else 1
        )  # each question once, for right answers are the same
        before, self.num_generations = self.num_generations, together
        try:
            made = super()._generate_and_score_completions(inputs[::every])  # pyright: ignore
        finally:
            self.num_generations = before
        if together == 1:
            made["advantages"] = torch.tensor(self._answered.rewards, device=made["advantages"].device)
        return made

    def _get_per_token_logps_and_entropies(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)  # pyright: ignore
        self._log_probabilities = found[0].detach()
        return found

    def _compute_loss(self: Any, model: Any, inputs: dict[str, Any]) -> Tensor:
        loss = super()._compute_loss(model, inputs)  # pyright: ignore
        mask = inputs["completion_mask"]
        surprise = -(self._log_probabilities * mask).sum() / mask.sum()
        self._metrics["train"]["surprise"].append(surprise.item())
        return loss

    def _save(self: Any, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ARG002
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        save({n: p.detach() for n, p in self.trained().items()}, folder / TRAINED_NAME, overwrite=True)

    def _load_from_checkpoint(self: Any, resume_from_checkpoint: str, model: Any = None) -> None:  # noqa: ARG002
        file = open_checkpoint(Path(resume_from_checkpoint) / TRAINED_NAME)
        self.put({name: file.read(name) for name in file})


class RlooWithLessons(_Lessoned, RLOOTrainer):
    """Leave-one-out baseline, or none."""

    def _generate_single_turn(self, *_: Any) -> list[list[int]]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._answer()


class GrpoWithLessons(_Lessoned, GRPOTrainer):
    """The group's mean as baseline, over its spread."""

    def _generate_single_turn(self, *_: Any) -> tuple[list[list[int]], None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._answer(), None
