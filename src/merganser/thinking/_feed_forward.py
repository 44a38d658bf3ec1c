r"""A feed-forward net that sees what a thought machine sees, and answers once.

Features of the same backbone, with the same positions, are averaged over their places or laid side by side; a
perceptron with ReLU follows: $h^l = \mathrm{relu}(W^l h^{l-1} + b^l)$, $y = W h^L + b$.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from merganser._errors import ConfigError
from merganser.thinking._baseline_config import BaselineConfig
from merganser.thinking._dropout import Dropout
from merganser.thinking._think import Thinking
from merganser.thinking._thinker import Thinker
from merganser.thinking._thought import Thought, Trace


class FeedForward(Thinker[BaselineConfig]):
    """A perceptron over all that is seen, as a thought of one tick.

    Args:
        config: Sizes and parts; `kind` is ``"feed-forward"``.

    Raises:
        ConfigError: If it is that of another kind of baseline.

    Examples:
        >>> config = BaselineConfig(kind="feed-forward", outputs=2, neurons=16, width=8, channels=3)
        >>> thought = FeedForward(config)(torch.randn(7, 3, 10))  # 7 inputs, each 10 tokens of 3 numbers
        >>> thought.predictions.shape
        torch.Size([7, 2, 1])
    """

    def __init__(self, config: BaselineConfig) -> None:
        if config.kind != "feed-forward":
            raise ConfigError(
                f"Expected the configuration of a feed-forward net, found one of kind `{config.kind}`."
            )
        super().__init__(config)
        inputs = self.channels * (config.tokens or 1)
        widths = [inputs, *[config.neurons] * (config.layers - 1)]
        self.layers = nn.ModuleList(nn.Linear(width, config.neurons) for width in widths)
        self.dropout = Dropout(config.dropout)
        self.head = nn.Linear(config.neurons, config.outputs) if config.outputs else None

    def forward(
        self, inputs: Num[Tensor, "batch ..."], *, ticks: int | None = None, trace: bool = False
    ) -> Thought[None]:
        """Answer inputs, as a thought of one tick.

        Args:
            inputs: What the backbone takes.
            ticks: 1, or None.
            trace: Whether to keep what happens inside.

        Raises:
            ValueError: If there are other ticks, or not as many features as are laid side by side.
        """
        self._checked(ticks)
        received, latent = self._run(inputs)
        kept = Trace(received.detach()[None], latent.detach()[None], None) if trace else None
        head = self._read_head if self.head else None
        return Thought(latent.t()[None], None, self.config.positions, kept, head, readout=self.readout)

    def think(self, inputs: Num[Tensor, "batch ..."], *, ticks: int | None = None) -> Thinking[None]:
        """Answer once, without gradients, as an iterator over one tick.

        Args:
            inputs: As for a call.
            ticks: 1, or None.

        Raises:
            ValueError: As for a call, or if the model has no head.
        """
        self._checked(ticks)
        with torch.no_grad():
            _, latent = self._run(inputs)
        return self._thinking(_Once(latent), len(latent), ticks)

    def _run(
        self, inputs: Num[Tensor, "batch ..."]
    ) -> tuple[Float[Tensor, "batch neurons"], Float[Tensor, "batch neurons"]]:
        """What the last layer receives, and what the head reads of it."""
        hidden = received = self._seen(self.features(inputs))
        for layer in self.layers:
            received = layer(hidden)
            hidden = self.dropout(received.relu())
        return received, hidden

    def _seen(self, features: Float[Tensor, "batch channels *places"]) -> Float[Tensor, "batch seen"]:
        tokens = self.config.tokens
        if not tokens:
            return features if features.ndim == 2 else features.flatten(2).mean(dim=2)
        found = features[0, 0].numel()
        if found != tokens:
            raise ValueError(
                f"Expected {tokens} features to lay side by side (`tokens`), but found {found}. Give inputs of one "
                "size, or set `tokens` to 0 for their mean."
            )
        return features.flatten(1)

    def _checked(self, ticks: int | None) -> int:
        if ticks not in (None, 1):
            raise ValueError(f"A feed-forward net answers once: `ticks` must be 1, but is {ticks}.")
        return 1


class _Once:
    """A thought of one tick."""

    def __init__(self, latent: Float[Tensor, "rows neurons"]) -> None:
        self._latent = latent

    def step(self) -> Float[Tensor, "rows neurons"]:
        """What the head reads."""
        return self._latent

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows of the batch alone."""
        self._latent = self._latent[rows]

    def reached(self) -> None:
        """Nothing goes on from here."""
