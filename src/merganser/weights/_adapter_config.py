r"""What a PEFT adapter's ``adapter_config.json`` says about how its factors count.

| key | meaning here |
| --- | --- |
| ``lora_alpha``, ``alpha_pattern`` | $\alpha$, for all modules or for those whose path a pattern fits |
| ``use_rslora`` | the scaling is $\alpha / \sqrt r$ instead of $\alpha / r$ |
| ``fan_in_fan_out`` | which way round square factors lie; for others their shapes say it |
| ``r``, ``rank_pattern``, ``bias``, ``modules_to_save``, ``target_modules`` | not asked: the tensors say it |

Whatever else would change the result is refused, since a model that is nearly right is worse than none.

References:
    Hu et al., *LoRA: Low-Rank Adaptation of Large Language Models*, 2021, https://arxiv.org/abs/2106.09685
    Kalajdzievski, *A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA*, 2023,
    https://arxiv.org/abs/2312.03732
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from merganser._errors import CheckpointError
from merganser.weights._json import read_config
from merganser.weights._mapped import open_regular, stamp_of
from merganser.weights._source import FileStamp

CONFIG_NAME = "adapter_config.json"

_MERGE = "Merge it with PEFT (`merge_and_unload`), save the model and open that instead."
_REFUSED = {
    "layer_replication": "copies layers of the base",
    "target_parameters": "adapts parameters that are no layers' weights",
    "trainable_token_indices": "trains single tokens",
    "alora_invocation_tokens": "acts only after certain tokens",
    "arrow_config": "chooses between adapters for each token",
    "use_qalora": "adapts groups of a quantised base",
    "use_bdlora": "has block-diagonal factors",
}
_CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")


@dataclass(frozen=True, slots=True)
class LoraSettings:
    r"""How an adapter's factors are scaled and which way round they lie.

    Args:
        alpha: $\alpha$ of modules that no pattern fits.
        alpha_patterns: Regular expressions for the end of a module's path, and their $\alpha$; the first counts.
        rank_stabilised: Whether to divide by $\sqrt r$ instead of $r$.
        fan_in_fan_out: Whether square weights are stored as (in, out).

    Examples:
        >>> LoraSettings(16.0, (("layers.0.*", 8.0),)).scaling("model.layers.1.mlp", rank=8)
        2.0
    """

    alpha: float
    alpha_patterns: tuple[tuple[str, float], ...] = ()
    rank_stabilised: bool = False
    fan_in_fan_out: bool = False

    def scaling(self, module: str, rank: int) -> float:
        r"""$\alpha / r$, or $\alpha / \sqrt r$."""
        fitting = (a for pattern, a in self.alpha_patterns if re.match(rf"(.*\.)?({pattern})$", module))
        return next(fitting, self.alpha) / (math.sqrt(rank) if self.rank_stabilised else rank)


def read_lora_settings(path: Path) -> tuple[LoraSettings, FileStamp]:
    """Read ``adapter_config.json``.

    Returns:
        The settings, and the state of the file they were read from.

    Raises:
        CheckpointError: If it cannot be read, describes another kind of adapter, or asks for something that
            cannot be added to the base as it is.
    """
    try:
        with open_regular(path) as file:
            stamp = stamp_of(path, file)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}.") from error
    config = read_config(path)
    _refuse(path, config)
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise CheckpointError(f"{path}: `alpha_pattern` must be an object, but is {patterns!r}.")
    settings = LoraSettings(
        _number(path, "lora_alpha", config.get("lora_alpha")),
        tuple(
            (_pattern(path, key), _number(path, "alpha_pattern", alpha)) for key, alpha in patterns.items()
        ),
        _flag(path, config, "use_rslora"),
        _flag(path, config, "fan_in_fan_out"),
    )
    return settings, stamp


def _refuse(path: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(
            f"{path} describes an adapter of type {kind!r}; only LORA can be applied. {_MERGE}"
        )
    for key, what in _REFUSED.items():
        if config.get(key):
            raise CheckpointError(f"{path}: the adapter {what} (`{key}`), which is not supported. {_MERGE}")
    start = str(config.get("init_lora_weights")).lower()
    if start.startswith(_CHANGES_BASE):
        raise CheckpointError(
            f"{path}: the adapter belongs to a base that its initialisation ({start!r}) has changed. Convert it when "
            "it is saved (`path_initial_model_for_weight_conversion` of PEFT's `save_pretrained`)."
        )


def _number(path: Path, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CheckpointError(f"{path}: `{key}` must be a finite number, but is {value!r}.")
    return float(value)


def _flag(path: Path, config: Mapping[str, Any], key: str) -> bool:
    value = config.get(key) or False
    if not isinstance(value, bool):
        raise CheckpointError(f"{path}: `{key}` must be true or false, but is {value!r}.")
    return value


def _pattern(path: Path, pattern: str) -> str:
    try:
        re.compile(rf"(.*\.)?({pattern})$")
    except (re.error, RecursionError, OverflowError) as error:
        raise CheckpointError(
            f"{path}: {pattern!r} in `alpha_pattern` is no regular expression: {error}."
        ) from error
    return pattern
