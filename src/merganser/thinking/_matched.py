"""Baselines that have as many parameters as a thought machine."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import Any

import torch

from merganser._errors import ConfigError
from merganser.thinking._baseline_config import BASELINES, BaselineConfig, ThinkerConfig
from merganser.thinking._checks import nearest
from merganser.thinking._config import CTMConfig
from merganser.thinking._pretrained import new_thinker

_WIDEST = 1 << 20


def parameter_count(config: ThinkerConfig) -> int:
    """How many numbers a model would train; none is drawn for it.

    Args:
        config: What it is made of.

    Examples:
        >>> parameter_count(CTMConfig.preset("parity-64"))
        5719714
    """
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in new_thinker(config).parameters())


def matched(config: CTMConfig, kind: str, **changes: Any) -> BaselineConfig:
    """A baseline with the same eyes, ticks and dropout, as wide as gives the nearest number of parameters.

    Args:
        config: Of the thought machine.
        kind: ``"lstm"`` or ``"feed-forward"``.
        **changes: Fields of the baseline that shall be others, such as `layers` or `tokens`. A feed-forward net takes
            parity's features side by side, since it answers at each; others by their mean.

    Raises:
        ConfigError: If there is no such kind, a field is wrong, or even one neuron has too many parameters.

    Examples:
        The paper's LSTM beside its model of parity has 765 hidden units:

        >>> matched(CTMConfig.preset("parity-64"), "lstm").neurons
        765
    """
    if kind not in BASELINES:
        raise ConfigError(f"There is no baseline `{kind}`.{nearest(kind, BASELINES)}")
    same = ("outputs", "width", "positions", "backbone", "channels", "positional", "dropout")
    fields: dict[str, Any] = {name: getattr(config, name) for name in same}
    if kind == "lstm":
        fields |= {"ticks": config.ticks, "heads": config.heads}
    elif config.backbone == "parity":
        fields["tokens"] = config.positions
    narrow = BaselineConfig.from_dict({"kind": kind, **fields, "neurons": 1, **changes})
    return _as_large_as(parameter_count(config), narrow)


def _as_large_as(wanted: int, narrow: BaselineConfig) -> BaselineConfig:
    def count(neurons: int) -> int:
        return parameter_count(replace(narrow, neurons=neurons))

    if (least := count(1)) > wanted:
        raise ConfigError(
            f"A thought machine of {wanted:,} parameters is smaller than any such baseline ({least:,} at least). "
            "Give it more neurons, or the baseline fewer layers."
        )
    above = bisect_left(range(_WIDEST), wanted, lo=1, key=count)
    best = min((above - 1, above), key=lambda neurons: abs(count(neurons) - wanted)) if above > 1 else 1
    return replace(narrow, neurons=best)
