"""What a Continuous Thought Machine is made of: sizes and parts.

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
    nearest,
    read_fields,
)
from merganser.thinking._presets import PRESETS

Pairing = Literal["first-last", "random", "random-pairing"]
"""Which neurons' synchronisation is read; see [`CTMConfig`][]."""

MODEL_TYPE = "ctm"
"""What ``config.json`` calls these models."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CTMConfig:
    """Sizes and parts of a Continuous Thought Machine; a value that is checked when it is made.

    Args:
        outputs: O, numbers that the head gives at every tick; 0 for no head.
        positions: Into how many independent answers these are cut: a route of 100 steps of 5 kinds has 500 outputs
            in 100 positions. Divides `outputs` into at least two classes each.
        ticks: T, how long a thought is unless a call says otherwise.
        neurons: D.
        width: Of keys, values and what attention sees; a multiple of `heads`.
        heads: Of attention. 0 is no attention: features go straight into the synapse, and no action
            synchronisation exists.
        memory: M, pre-activations that a neuron remembers.
        hidden: Hidden units of a neuron's own network; 0 for a linear map alone.
        neuron_norm: Whether a neuron's inputs are normalised over its memory (the paper never does).
        synapse_depth: Widths of the U-Net between neurons, as the official code counts; 1 is a single layer.
            The paper's own count of both directions is twice this.
        synapse_blocks: Layers of a synapse of depth 1, one after the other; the paper's agents have 2.
        pairing: ``"first-last"``: all pairs of the first neurons (output) or the last (action).
            ``"random"``: pairs of two drawn lists, those of the product's upper triangle. ``"random-pairing"``:
            drawn pairs.
        output_neurons: Length of these lists for the output synchronisation; of pairs with ``"random-pairing"``.
        action_neurons: The same for what attention asks with; 0 without attention.
        self_pairs: Of ``"random-pairing"``, how many pair a neuron with itself.
        seed: Of the pairs that are drawn.
        max_decay: Largest decay per tick, as an exponent.
        sliding: Whether synchronisation sees the last `memory` ticks only, with learnt activations before the first
            input, and pairs the *last* neurons, as the paper's agents do; needs ``heads=0`` and ``"first-last"``.
        backbone: ``"none"``, ``"parity"`` (signs), ``"digits"`` (pictures of one digit), ``"questions"`` (digits,
            then indices and operators), ``"grid"`` (MiniGrid's 7×7 symbols), ``"control"`` (vectors),
            ``"shallow-wide"``, or a ResNet cut off, such as ``"resnet34-2"``.
        channels: Of the pictures, or numbers in an input, where the backbone does not know.
        positional: ``"none"``, ``"fourier"``, ``"multi-fourier"``, ``"rotational"`` or ``"rotational-1d"``.
        dropout: Share of inputs of attention's mixture and of the synapse that training drops, in [0, 1).
        neuron_dropout: The same for neurons' own inputs.

    Raises:
        ConfigError: If a value is out of range or parts do not go together; the field is named.
    """

    outputs: int
    ticks: int
    neurons: int
    width: int
    memory: int
    positions: int = 1
    heads: int = 8
    hidden: int = 16
    neuron_norm: bool = False
    synapse_depth: int = 1
    synapse_blocks: int = 1
    pairing: Pairing = "random-pairing"
    output_neurons: int = 32
    action_neurons: int = 32
    self_pairs: int = 0
    seed: int = 0
    max_decay: float = 15.0
    sliding: bool = False
    backbone: str = "none"
    channels: int = 3
    positional: Positional = "none"
    dropout: float = 0.0
    neuron_dropout: float = 0.0

    def __post_init__(self) -> None:
        check_types(self)
        _check_ranges(self)
        _check_parts(self)

    @property
    def classes(self) -> int:
        """K, classes at each position."""
        return self.outputs // self.positions

    @classmethod
    def preset(cls, name: str, **changes: Any) -> CTMConfig:
        """The model of one of the paper's experiments.

        Args:
            name: One of [`PRESETS`][].
            **changes: Fields that shall be others.

        Raises:
            ConfigError: If there is no such preset or field, or a value is wrong.

        Examples:
            >>> CTMConfig.preset("parity-64", ticks=50).neurons
            1024
        """
        if name not in PRESETS:
            raise ConfigError(f"There is no preset `{name}`.{nearest(name, PRESETS)}")
        return cls.from_dict({**PRESETS[name], **changes})

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> CTMConfig:
        """A configuration from plain data, such as ``config.json`` holds.

        Raises:
            ConfigError: If a field is unknown, missing, or has a wrong value.
        """
        return cls(**read_fields(cls, settings, MODEL_TYPE, "thought machine"))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, from which [`CTMConfig.from_dict`][] makes the same configuration."""
        return {"model_type": MODEL_TYPE, **dataclasses.asdict(self)}


def _check_ranges(config: CTMConfig) -> None:
    check_least(
        config, 1, ("ticks", "neurons", "memory", "output_neurons", "synapse_depth", "synapse_blocks")
    )
    check_least(config, 0, ("hidden", "action_neurons", "self_pairs", "seed", "max_decay"))
    check_shares(config, ("dropout", "neuron_dropout"))
    check_choice(config, "pairing", get_args(Pairing))


def _check_parts(config: CTMConfig) -> None:
    """Refuse parts that do not go together."""
    check_sight(config)
    out, action = config.output_neurons, config.action_neurons
    if bool(config.heads) != bool(action):
        raise ConfigError(
            f"`action_neurons` must be positive with attention and 0 without, but is {action} (`heads={config.heads}`)."
        )
    check_direct(config)
    if config.pairing == "first-last" and out + action > config.neurons:
        raise ConfigError(
            f"`neurons` must be at least `output_neurons` + `action_neurons` = {out + action} when the first and last "
            f"are paired, but is {config.neurons}."
        )
    if config.pairing == "random-pairing" and config.self_pairs >= min(out, action or out):
        raise ConfigError(
            f"`self_pairs` must be less than all pairs, {min(out, action or out)}, but is {config.self_pairs}."
        )
    if config.sliding and (config.heads or config.pairing != "first-last"):
        raise ConfigError(
            '`sliding` needs `heads=0` and `pairing="first-last"`. Change these, or leave it out.'
        )
    if config.synapse_blocks > 1 and config.synapse_depth > 1:
        raise ConfigError(
            f"`synapse_blocks` is for synapses of depth 1, but `synapse_depth` is {config.synapse_depth}."
        )
