"""What a thought machine is compared with: an LSTM or a feed-forward net behind the same eyes.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from merganser._errors import ConfigError
from merganser.thinking._checks import (
    Positional,
    check_choice,
    check_direct,
    check_least,
    check_shares,
    check_sight,
    check_types,
    read_fields,
)
from merganser.thinking._config import CTMConfig

BaselineKind = Literal["lstm", "feed-forward"]
"""What a baseline is; see [`BaselineConfig`][]."""

BASELINES: tuple[str, ...] = get_args(BaselineKind)
"""Every kind of baseline by name."""

BASELINE_TYPE = "ctm-baseline"
"""What ``config.json`` calls these models."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BaselineConfig:
    """Sizes and parts of a baseline; a value that is checked when it is made.

    Args:
        kind: ``"lstm"``: at every tick it asks, looks and goes on, as a thought machine does, but with LSTM cells in
            place of synapse, neurons and synchronisation. ``"feed-forward"``: a perceptron over all it sees, once.
        outputs: Numbers that the head gives at every tick; 0 for no head.
        neurons: Of a cell's hidden state, or of a perceptron's layer.
        width: Of keys, values and what attention sees; a multiple of `heads`. Also of backbones that need one.
        ticks: How long a thought is unless a call says otherwise; 1 for feed-forward nets.
        layers: Cells one above the other, or hidden layers of the perceptron.
        positions: Into how many independent answers the outputs are cut.
        heads: Of attention; 0 for none, which feed-forward nets have.
        tokens: Of feed-forward nets, how many features are laid side by side, all that there are; 0 for their mean.
        backbone: As in [`CTMConfig`][].
        channels: Of the pictures, or numbers in an input, where the backbone does not know.
        positional: As in [`CTMConfig`][].
        dropout: Share of attention's mixture and of what goes from layer to layer that training drops, in [0, 1).

    Raises:
        ConfigError: If a value is out of range or parts do not go together; the field is named.
    """

    kind: BaselineKind
    outputs: int
    neurons: int
    width: int
    ticks: int = 1
    layers: int = 1
    positions: int = 1
    heads: int = 0
    tokens: int = 0
    backbone: str = "none"
    channels: int = 3
    positional: Positional = "none"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        check_choice(self, "kind", BASELINES)
        check_least(self, 1, ("neurons", "ticks", "layers"))
        check_least(self, 0, ("tokens",))
        check_shares(self, ("dropout",))
        check_sight(self)
        if self.kind == "feed-forward":
            _check_feed_forward(self)
        else:
            _check_lstm(self)

    @property
    def classes(self) -> int:
        """Classes at each position."""
        return self.outputs // self.positions

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> BaselineConfig:
        """A configuration from plain data, such as ``config.json`` holds.

        Raises:
            ConfigError: If a field is unknown, missing, or has a wrong value.
        """
        return cls(**read_fields(cls, settings, BASELINE_TYPE, "baseline"))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, from which [`BaselineConfig.from_dict`][] makes the same configuration."""
        return {"model_type": BASELINE_TYPE, **dataclasses.asdict(self)}


ThinkerConfig = CTMConfig | BaselineConfig
"""What models that answer tick by tick are made of."""


def _check_feed_forward(config: BaselineConfig) -> None:
    for name, only in (("ticks", 1), ("heads", 0)):
        if (found := getattr(config, name)) != only:
            raise ConfigError(f"`{name}` of a feed-forward net must be {only}, but is {found}.")


def _check_lstm(config: BaselineConfig) -> None:
    if config.tokens:
        raise ConfigError(f"`tokens` is for feed-forward nets, but is {config.tokens}. Leave it out.")
    check_direct(config)
