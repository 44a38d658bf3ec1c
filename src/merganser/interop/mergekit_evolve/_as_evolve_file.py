"""A file for mergekit-evolve as one of our evolve files: plain data, to be read as such.

| there | here |
| --- | --- |
| `merge_method`, `base_model` | `genome: {method, base}` |
| weight and density for each model | `genes` |
| groups of `layer_granularity` layers | the same: embeddings with the first, final norm and head with the last |
| `filters` | groups by parts of names |
| `allow_negative_weights` | bounds [-1, 1] of weights in the place of [0, 1] |
| `normalize`, or the method's own default | `parameters: {normalize: …}` |
| `slerp` of two models | the method `slerp`, with the gene `t` |
| tasks by lm-eval name, `limit`, `num_fewshot`, templates | the same |
| 100 evaluations | the same |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merganser._errors import ConfigError
from merganser.interop.mergekit_evolve._config import EvolvedMerge, MergekitEvolveConfig
from merganser.weights import Layer

_EVALUATIONS = 100
_HAVE_DENSITY = frozenset({"ties", "dare_ties"})


def as_evolve_file(config: MergekitEvolveConfig, layers: Sequence[Layer]) -> dict[str, Any]:
    """The same search as an evolve file.

    Args:
        config: The file for mergekit-evolve.
        layers: Those of one of its models, in order.

    Raises:
        ConfigError: If it asks for something that evolve files cannot say.
    """
    genome = config.genome
    if genome.smooth:
        raise ConfigError(
            "`genome.smooth` interpolates values over the layers, which evolve files cannot. Leave it out, or choose a "
            "larger `layer_granularity`."
        )
    asked = {
        "num_fewshot": config.num_fewshot,
        "chat_template": config.apply_chat_template,
        "fewshot_as_multiturn": config.fewshot_as_multiturn and config.apply_chat_template,
        "limit": config.limit,
    }
    tasks = [
        {"task": f"lm-eval:{task.name}", "weight": task.weight, "lm_eval": {**asked, "metric": task.metric}}
        for task in config.tasks
    ]
    return {
        "models": list(genome.models),
        "tasks": tasks,
        "genome": _genome(genome, layers),
        "search": {"method": "cma-es"},
        "budget": {"evaluations": _EVALUATIONS},
    }


def _genome(genome: EvolvedMerge, layers: Sequence[Layer]) -> dict[str, Any]:
    weight = (-1.0, 1.0) if genome.allow_negative_weights else (0.0, 1.0)
    common = {"kind": "recipe", "method": genome.method, "groups": _groups(genome, layers)}
    if genome.method == "slerp":
        if len(genome.models) != 2:
            raise ConfigError(
                f"SLERP interpolates between two models, but `genome.models` names {len(genome.models)}. "
                "mergekit-evolve chooses two for each group; here name the two, or take `linear`."
            )
        return {**common, "genes": {"t": (0.0, 1.0)}}
    density = {"density": (0.0, 1.0)} if genome.method in _HAVE_DENSITY else {}
    base = None if genome.method == "linear" else genome.base
    parameters = {"normalize": genome.is_normalized}
    return {**common, "base": base, "genes": {"weight": weight, **density}, "parameters": parameters}


def _groups(genome: EvolvedMerge, layers: Sequence[Layer]) -> str | dict[str, list[str]]:
    step = genome.layer_granularity
    if step and genome.filters:
        raise ConfigError(
            "Groups are either layers or filters, but `genome` has both `layer_granularity` and `filters`. Leave "
            "one out."
        )
    if genome.filters:
        return {part: [part] for part in genome.filters}
    if not step:
        return "whole"
    blocks = [layer for layer in layers if layer.kind == "block"]
    if not blocks or len(blocks) % step:
        raise ConfigError(
            f"`layer_granularity` must divide the number of layers, but the models have {len(blocks)} and it is {step}."
        )
    groups = {
        f"layers {begin} to {begin + step - 1}": [f"{block.name}." for block in blocks[begin : begin + step]]
        for begin in range(0, len(blocks), step)
    }
    first, last = next(iter(groups.values())), list(groups.values())[-1]
    first += [name for layer in layers if layer.kind == "embeddings" for name in layer.tensors]
    last += [name for layer in layers if layer.kind in ("norm", "head", "module") for name in layer.tensors]
    return groups
