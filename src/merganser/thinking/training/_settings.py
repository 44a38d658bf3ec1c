r"""How a thought machine is trained, as one value.

The learning rate rises evenly from 0 to its peak $\eta$ over the warm-up $w$, then falls as a cosine to $\eta_0$ at the
last of $n$ steps. At step $s$, counted from 1:

$\eta s / w$ for $s \le w$, then $\eta_0 + \frac{\eta - \eta_0}{2} \big(1 + \cos \pi \frac{s - w}{n - w}\big)$.

References:
    Loshchilov, Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019, https://arxiv.org/abs/1711.05101 (AdamW)
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ThinkingTraining:
    """How a thought machine is trained.

    Args:
        steps: Most steps of the optimiser; the learning rate falls over all of them.
        batch: Samples of a step.
        learning_rate: Peak of AdamW's.
        least_rate: Where it ends.
        warm_up: Steps over which it rises.
        weight_decay: Of AdamW.
        clip: Longest gradient, its norm over all parameters; None to leave gradients as they are.
        every: Steps between two looks at the validation samples, and between checkpoints.
        enough: Share of validation samples answered right at every position at which it stops; None to take all steps.
        seconds: Training time after which it stops; None for no limit. The one setting that reads a clock: where it
            stops a training, another run of the same may stop elsewhere on the same way.
        seed: Of the first weights, the batches and dropout.

    Raises:
        ValueError: If a number is out of its range.
    """

    steps: int = 2_000
    batch: int = 64
    learning_rate: float = 2e-3
    least_rate: float = 1e-7
    warm_up: int = 100
    weight_decay: float = 0.0
    clip: float | None = 1.0
    every: int = 50
    enough: float | None = 1.0
    seconds: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "every"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"Expected `{name}` of at least 1, found {value}.")
        for name in ("learning_rate", "clip", "seconds", "enough"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"Expected a positive `{name}`, found {value:g}.")
        for name in ("least_rate", "warm_up", "weight_decay", "seed"):
            if not (value := getattr(self, name)) >= 0:
                raise ValueError(f"Expected a `{name}` that is not negative, found {value:g}.")

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 1.

        Examples:
            >>> settings = ThinkingTraining(steps=300, warm_up=100, learning_rate=1.0, least_rate=0.0)
            >>> [round(settings.rate(step), 3) for step in (1, 50, 100, 200, 300)]
            [0.01, 0.5, 1.0, 0.5, 0.0]
        """
        if step <= self.warm_up:
            return self.learning_rate * step / self.warm_up
        way = (step - self.warm_up) / max(self.steps - self.warm_up, 1)
        return self.least_rate + (self.learning_rate - self.least_rate) * (1 + math.cos(math.pi * way)) / 2
