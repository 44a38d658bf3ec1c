"""What a Continuous Thought Machine is made of: sizes and parts.

References:
    Darlow et al., *Continuous Thought Machines*, NeurIPS 2025, https://arxiv.org/abs/2505.05522
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from merganser._errors import ConfigError
from merganser.thinking._presets import PRESETS

Pairing = Literal["first-last", "random", "random-pairing"]
"""Which neurons' synchronisation is read; see [`CTMConfig`][]."""

Positional = Literal["none", "fourier", "multi-fourier", "rotational", "rotational-1d"]
"""What is added to features to say where they are; see [`CTMConfig`][]."""

RESNETS = tuple(f"resnet{depth}-{blocks}" for depth in (18, 34, 50, 101, 152) for blocks in range(1, 5))
"""ResNets, cut off after one to four groups of blocks."""

BACKBONES = ("none", "parity", "digits", "questions", "grid", "control", "shallow-wide", *RESNETS)
"""What inputs go through first; see [`CTMConfig`][]."""

MODEL_TYPE = "ctm"
"""What ``config.json`` calls these models."""

_DIRECT = (
    "none",
    "grid",
    "control",
)  # whose features are few and known, so that the synapse can take them as they are


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
        _check_types(self)
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
            raise ConfigError(f"There is no preset `{name}`.{_nearest(name, PRESETS)}")
        return cls.from_dict({**PRESETS[name], **changes})

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> CTMConfig:
        """A configuration from plain data, such as ``config.json`` holds.

        Raises:
            ConfigError: If a field is unknown, missing, or has a wrong value.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        given = {name: value for name, value in settings.items() if name != "model_type"}
        if settings.get("model_type", MODEL_TYPE) != MODEL_TYPE:
            found = settings["model_type"]
            raise ConfigError(
                f"Expected a configuration of model type `{MODEL_TYPE}`, but it says `{found}`. Is this another model?"
            )
        for name in given.keys() - fields.keys():
            raise ConfigError(f"A thought machine has no field `{name}`.{_nearest(name, fields)}")
        for name, field in fields.items():
            if field.default is dataclasses.MISSING and name not in given:
                raise ConfigError(f"The field `{name}` of a thought machine is missing. Add it.")
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, from which [`CTMConfig.from_dict`][] makes the same configuration."""
        return {"model_type": MODEL_TYPE, **dataclasses.asdict(self)}


def _check_types(config: CTMConfig) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        wanted = {"int": int, "bool": bool, "float": (int, float)}.get(str(field.type), str)
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise ConfigError(f"`{field.name}` must be of type {field.type}, but is {value!r}.")


def _check_ranges(config: CTMConfig) -> None:
    least = dict.fromkeys(("ticks", "neurons", "width", "memory", "output_neurons", "positions"), 1)
    least |= dict.fromkeys(("synapse_depth", "synapse_blocks", "channels"), 1)
    least |= dict.fromkeys(
        ("outputs", "heads", "hidden", "action_neurons", "self_pairs", "seed", "max_decay"), 0
    )
    for name, bound in least.items():
        if getattr(config, name) < bound:
            raise ConfigError(f"`{name}` must be at least {bound}, but is {getattr(config, name)}.")
    for name in ("dropout", "neuron_dropout"):
        if not 0 <= getattr(config, name) < 1:
            raise ConfigError(f"`{name}` must be in [0, 1), but is {getattr(config, name)}.")
    for name, known in (
        ("pairing", get_args(Pairing)),
        ("positional", get_args(Positional)),
        ("backbone", BACKBONES),
    ):
        value = getattr(config, name)
        if value not in known:
            raise ConfigError(f"`{name}` is `{value}`, which is unknown.{_nearest(value, known)}")


def _check_parts(config: CTMConfig) -> None:
    """Refuse parts that do not go together."""
    out, action = config.output_neurons, config.action_neurons
    if config.outputs and (config.outputs % config.positions or config.classes < 2):
        raise ConfigError(
            f"`positions` must cut {config.outputs} `outputs` into equal parts of at least two classes, "
            f"but is {config.positions}."
        )
    if config.heads and config.width % config.heads:
        raise ConfigError(
            f"`width` must be a multiple of `heads`, but {config.width} is none of {config.heads}."
        )
    if bool(config.heads) != bool(action):
        raise ConfigError(
            f"`action_neurons` must be positive with attention and 0 without, but is {action} (`heads={config.heads}`)."
        )
    if not config.heads and config.backbone not in _DIRECT:
        raise ConfigError(
            f"`heads` is 0, but the features of `{config.backbone}` are many and need attention. "
            f"Without it `backbone` is one of {', '.join(_DIRECT)}."
        )
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
    maps = config.backbone in (*RESNETS, "shallow-wide", "digits")
    if config.positional != "none" and config.backbone != "parity" and not maps:
        raise ConfigError(
            f"`positional` must be `none` for the backbone `{config.backbone}`, but is `{config.positional}`."
        )
    if config.positional != "none" and (config.positional == "rotational-1d") == maps:
        raise ConfigError(
            f"`positional` is `{config.positional}`, which is not for the backbone `{config.backbone}`: sequences "
            "have `rotational-1d`, pictures the others."
        )


def _nearest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean `{close[0]}`?" if close else f" There are: {', '.join(known)}."
