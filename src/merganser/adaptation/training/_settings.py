r"""How experts are trained, as one value; presets of it by name.

With rewards $r_i$ of $G$ answers $y_i$ to one prompt $x$, the policy $\pi$ and the base $\pi_0$, all of them maximise
$\sum_i A_i \log \pi(y_i | x)$, where the log-probability of an answer is the sum over its tokens, the one that ends
it included:

| preset | answers | advantage $A_i$ | divergence |
| --- | --- | --- | --- |
| `rloo` | drawn, 8 a prompt | $r'_i$ less the others' mean | in $r'_i = r_i - \beta \sum_t \log \frac{\pi}{\pi_0}$ |
| `grpo` | drawn, 8 a prompt | $r_i$ less the group's mean, over its spread | in the loss, whose tokens are averaged |
| `official` | greedy, one a prompt | $r_i = \pm 1$, no baseline; gradient clipped to 0.001 | none |
| `supervised` | the right ones of the task | 1 | none |

The KL divergence is that of the policy from the base, $D_{KL}(\pi \| \pi_0)$, estimated token by token on answers of
the policy: by $\log \frac{\pi}{\pi_0}$ (`rloo`), or by $\frac{\pi_0}{\pi} - 1 - \log \frac{\pi_0}{\pi}$ (`grpo`).
The authors' code has the other direction, off by default; `official` has none, for greedy answers estimate neither.

Differences of `official` from the authors' code: the token that ends an answer is trained, and prompts are not
tokenised twice.

References:
    Sun et al., *Transformer²: Self-Adaptive LLMs*, ICLR 2025, https://arxiv.org/abs/2501.06252
    Ahmadian et al., *Back to Basics: Revisiting REINFORCE Style Optimization*, ACL 2024,
    https://arxiv.org/abs/2402.14740
    Shao et al., *DeepSeekMath*, 2024, https://arxiv.org/abs/2402.03300 (GRPO)
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Preset = Literal["rloo", "grpo", "official", "supervised"]
Baseline = Literal["others", "group", "none"]
Rewards = Literal["scores", "signs"]


@dataclass(frozen=True, slots=True)
class Training:
    r"""How an expert is trained; the defaults are those of the preset `rloo`.

    Args:
        steps: Most steps of the optimiser.
        prompts: Prompts of a step.
        rollouts: Answers to each prompt; with the baseline `none` any number, else at least 2.
        learning_rate: Of Adam, constant; None for what suits the adapter.
        clip: Longest gradient, its norm over all that is trained.
        kl: Weight $\beta$ of the divergence from the base.
        temperature: What logits are divided by when answers are drawn; 0 takes the likeliest token.
        baseline: What rewards are compared with: the `others` of the same prompt, the `group` (GRPO), or `none`.
        rewards: The task's `scores`, in [0, 1], or `signs`: twice the score less 1.
        warm_up: First steps that imitate the right answers instead, from the same prompts; `steps` of them is
            supervised training.
        every: Steps between two looks at the validation samples, and between checkpoints.
        patience: Looks without an improvement after which it stops; None to take all steps.
        seed: Of the order of prompts, the answers, and where a LoRA begins.

    Raises:
        ValueError: If a number is out of its range, or the parts do not fit together.
    """

    steps: int = 100
    prompts: int = 8
    rollouts: int = 8
    learning_rate: float | None = None
    clip: float = 1.0
    kl: float = 0.01
    temperature: float = 1.0
    baseline: Baseline = "others"
    rewards: Rewards = "scores"
    warm_up: int = 0
    every: int = 10
    patience: int | None = 5
    seed: int = 0

    def __post_init__(self) -> None:
        _check_ranges(self)
        if self.is_supervised:
            return
        if self.baseline != "none" and self.rollouts < 2:
            raise ValueError(
                f"The baseline {self.baseline!r} compares answers to one prompt: expected `rollouts` of at least 2, "
                f"found {self.rollouts}. Take more, or the baseline 'none'."
            )
        if self.temperature == 0 and (self.kl or self.baseline != "none"):
            raise ValueError(
                "Greedy answers to one prompt are all the same: with a temperature of 0, expected `baseline` 'none' "
                f"and `kl` 0, found {self.baseline!r} and {self.kl:g}."
            )
        if self.baseline == "none" and self.kl:
            raise ValueError(
                f"Without a baseline the divergence is no part of the rewards: expected `kl` 0, found {self.kl:g}."
            )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Training:
        """Settings by name, with some of them changed.

        Args:
            name: One of [`PRESETS`][].
            changes: What is to differ; None leaves what the preset has.

        Raises:
            ValueError: If there is no preset of the name, or the result makes no sense.

        Examples:
            >>> Training.preset("official", steps=50).clip
            0.001
        """
        if name not in PRESETS:
            close = difflib.get_close_matches(name, PRESETS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"Expected a preset among {', '.join(PRESETS)}, found {name!r}.{hint}")
        given = {key: value for key, value in changes.items() if value is not None}
        if name == "supervised" and "steps" in given:
            given["warm_up"] = given["steps"]
        return replace(PRESETS[name], **given)

    @property
    def objective(self) -> str:
        """What is descended, in a word: `supervised`, `rloo`, `grpo`, or `reinforce` where there is no baseline."""
        if self.is_supervised:
            return "supervised"
        return {"others": "rloo", "group": "grpo", "none": "reinforce"}[self.baseline]

    @property
    def is_supervised(self) -> bool:
        """Whether all steps imitate right answers."""
        return self.warm_up >= self.steps


def _check_ranges(settings: Training) -> None:
    least = {name: getattr(settings, name) for name in ("steps", "prompts", "rollouts", "every")}
    least["patience"] = settings.patience or 1
    if wrong := [name for name, value in least.items() if value < 1]:
        raise ValueError(f"Expected `{wrong[0]}` of at least 1, found {least[wrong[0]]}.")
    for name in ("learning_rate", "clip"):
        value = getattr(settings, name)
        if value is not None and not value > 0:
            raise ValueError(f"Expected a positive `{name}`, found {value:g}.")
    for name in ("kl", "temperature", "warm_up"):
        if not (value := getattr(settings, name)) >= 0:
            raise ValueError(f"Expected a `{name}` that is not negative, found {value:g}.")
    for name, kinds in (("baseline", Baseline), ("rewards", Rewards)):
        if (found := getattr(settings, name)) not in get_args(kinds):
            raise ValueError(f"Expected `{name}` among {', '.join(get_args(kinds))}, found {found!r}.")


PRESETS: Mapping[str, Training] = {
    "rloo": Training(),
    "grpo": Training(baseline="group"),
    "official": Training(
        prompts=64,
        rollouts=1,
        learning_rate=2e-3,
        clip=1e-3,
        kl=0.0,
        temperature=0.0,
        baseline="none",
        rewards="signs",
    ),
    "supervised": Training(prompts=64, rollouts=1, kl=0.0, baseline="none", warm_up=100),
}
"""Settings by name; all see 64 answers a step."""
