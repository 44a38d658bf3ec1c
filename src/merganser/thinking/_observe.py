"""What a thought sees of an input: its features, once for all ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from jaxtyping import Float, Num
from torch import Tensor

from merganser.thinking._attention import Tokens

if TYPE_CHECKING:
    from merganser.thinking._lstm import LSTM
    from merganser.thinking._model import CTM


class Observed(NamedTuple):
    """An input, once the backbone has seen it: tokens to look at, or numbers that go in directly.

    Attributes:
        tokens: What attention looks at.
        direct: What goes in without attention.
        grid: Rows and columns in which tokens lie, if they are a map.
    """

    tokens: Tokens | None
    direct: Float[Tensor, "batch direct"] | None
    grid: tuple[int, int] | None = None

    @property
    def batch(self) -> int:
        """Rows of the batch."""
        seen = self.direct if self.tokens is None else self.tokens.keys
        assert seen is not None
        return len(seen)

    def rows(self, rows: Tensor) -> Observed:
        """These rows of the batch alone."""
        tokens = None if self.tokens is None else Tokens(*(each[rows] for each in self.tokens))
        return Observed(tokens, None if self.direct is None else self.direct[rows], self.grid)


def observe(model: CTM | LSTM, inputs: Num[Tensor, "batch ..."] | None, batch: int | None) -> Observed:
    """What thinking sees of inputs: the backbone, and what attention needs.

    Args:
        model: What thinks.
        inputs: What the backbone takes; None, which ``"questions"`` take for an answer's time.
        batch: Rows of the batch that goes on; None where a thought begins.

    Raises:
        ValueError: If inputs are None and nothing says how many rows there are, there are others, or there are no
            tokens to see.
    """
    config = model.config
    if inputs is None:
        if config.backbone != "questions" or batch is None:
            raise ValueError("Inputs may be None only with the backbone `questions`, and with a `state`.")
        like = next(model.parameters())
        return Observed(None, like.new_zeros(batch, config.width))
    observed = _seen(model, inputs)
    if batch is not None and observed.batch != batch:
        raise ValueError(
            f"Expected inputs of a batch of {batch}, as the state has, but found {observed.batch}. "
            "Select rows of the state with `state.rows(...)`, or begin anew."
        )
    return observed


def _seen(model: CTM | LSTM, inputs: Num[Tensor, "batch ..."]) -> Observed:
    features = model.features(inputs)
    if features.ndim > 2:
        tokens = features.flatten(2).transpose(1, 2)
        if model.attention is None:
            return Observed(None, tokens.flatten(1))
        grid = (features.shape[2], features.shape[3]) if features.ndim == 4 else None
        return Observed(model.attention.look(tokens), None, grid)
    if model.attention is not None and model.config.backbone != "questions":
        raise ValueError(
            f"Attention needs features (batch, channels, …), but found {tuple(features.shape)}. "
            "Give inputs at least one token, or use `heads=0`."
        )
    return Observed(None, features)
