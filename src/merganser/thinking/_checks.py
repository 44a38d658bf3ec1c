"""What configurations of all kinds of models are checked for, and how they are read from plain data."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, Protocol, get_args, runtime_checkable

from merganser._errors import ConfigError

Positional = Literal["none", "fourier", "multi-fourier", "rotational", "rotational-1d"]
"""What is added to features to say where they are; see [`CTMConfig`][]."""

RESNETS = tuple(f"resnet{depth}-{blocks}" for depth in (18, 34, 50, 101, 152) for blocks in range(1, 5))
"""ResNets, cut off after one to four groups of blocks."""

BACKBONES = ("none", "parity", "digits", "questions", "grid", "control", "shallow-wide", *RESNETS)
"""What inputs go through first; see [`CTMConfig`][]."""

MAPS = (*RESNETS, "shallow-wide", "digits")
"""Backbones whose features are a map of a picture."""


@runtime_checkable
class Sight(Protocol):
    """The fields that say what a model sees and answers; all configurations have them."""

    @property
    def outputs(self) -> int: ...
    @property
    def positions(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def backbone(self) -> str: ...
    @property
    def channels(self) -> int: ...
    @property
    def positional(self) -> str: ...


def read_fields(kind: type[Any], settings: Mapping[str, Any], model_type: str, what: str) -> dict[str, Any]:
    """Fields of a configuration from plain data, such as ``config.json`` holds.

    Args:
        kind: The dataclass.
        settings: Plain data.
        model_type: What ``config.json`` calls these models.
        what: How messages call them.

    Raises:
        ConfigError: If a field is unknown or missing, or this is another model's configuration.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    given = {name: value for name, value in settings.items() if name != "model_type"}
    if (found := settings.get("model_type", model_type)) != model_type:
        raise ConfigError(
            f"Expected a configuration of model type `{model_type}`, but it says `{found}`. Is this another model?"
        )
    for name in given.keys() - fields.keys():
        raise ConfigError(f"A {what} has no field `{name}`.{nearest(name, fields)}")
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in given:
            raise ConfigError(f"The field `{name}` of a {what} is missing. Add it.")
    return given


def check_types(config: Any) -> None:
    """Refuse values that are not of their fields' types.

    Args:
        config: A dataclass whose fields are integers, truth values, numbers or words.

    Raises:
        ConfigError: If one is of another type.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        wanted = {"int": int, "bool": bool, "float": (int, float)}.get(str(field.type), str)
        if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
            raise ConfigError(f"`{field.name}` must be of type {field.type}, but is {value!r}.")


def check_least(config: Any, bound: int, names: Iterable[str]) -> None:
    """Refuse numbers below a bound.

    Raises:
        ConfigError: If one is.
    """
    for name in names:
        if getattr(config, name) < bound:
            raise ConfigError(f"`{name}` must be at least {bound}, but is {getattr(config, name)}.")


def check_shares(config: Any, names: Iterable[str]) -> None:
    """Refuse shares outside [0, 1).

    Raises:
        ConfigError: If one is.
    """
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise ConfigError(f"`{name}` must be in [0, 1), but is {getattr(config, name)}.")


def check_choice(config: Any, name: str, known: Collection[str]) -> None:
    """Refuse a word that is none of those that are known.

    Raises:
        ConfigError: If it is none.
    """
    value = getattr(config, name)
    if value not in known:
        raise ConfigError(f"`{name}` is `{value}`, which is unknown.{nearest(value, known)}")


def check_sight(config: Sight) -> None:
    """Refuse sizes and parts that do not go together in what a model sees and answers.

    Raises:
        ConfigError: If some do not; the field is named.
    """
    check_least(config, 1, ("width", "positions", "channels"))
    check_least(config, 0, ("outputs", "heads"))
    check_choice(config, "positional", get_args(Positional))
    check_choice(config, "backbone", BACKBONES)
    if config.outputs and (config.outputs % config.positions or config.outputs < 2 * config.positions):
        raise ConfigError(
            f"`positions` must cut {config.outputs} `outputs` into equal parts of at least two classes, "
            f"but is {config.positions}."
        )
    if config.heads and config.width % config.heads:
        raise ConfigError(
            f"`width` must be a multiple of `heads`, but {config.width} is none of {config.heads}."
        )
    if config.positional != "none" and config.backbone not in (*MAPS, "parity"):
        raise ConfigError(
            f"`positional` must be `none` for the backbone `{config.backbone}`, but is `{config.positional}`."
        )
    if config.positional != "none" and (config.positional == "rotational-1d") == (config.backbone in MAPS):
        raise ConfigError(
            f"`positional` is `{config.positional}`, which is not for the backbone `{config.backbone}`: sequences "
            "have `rotational-1d`, pictures the others."
        )


def check_direct(config: Sight) -> None:
    """Refuse a backbone whose features need attention where there is none.

    Raises:
        ConfigError: If it does.
    """
    direct = ("none", "grid", "control")  # features are few and known, and can be taken as they are
    if not config.heads and config.backbone not in direct:
        raise ConfigError(
            f"`heads` is 0, but the features of `{config.backbone}` are many and need attention. "
            f"Without it `backbone` is one of {', '.join(direct)}."
        )


def nearest(name: str, known: Collection[str]) -> str:
    """What a misspelt name may have meant, or else all names there are."""
    close = difflib.get_close_matches(str(name), list(known), n=1)
    return f" Did you mean `{close[0]}`?" if close else f" There are: {', '.join(known)}."
