"""What a tensor does in a model: attends, computes in between, embeds, answers, or scales."""

from __future__ import annotations

import re
from typing import Literal, get_args

from merganser.weights import Layer

Component = Literal["embeddings", "attention", "mlp", "norms", "head", "other"]
COMPONENTS: tuple[Component, ...] = get_args(Component)
"""All of them, in the order in which they are shown."""

_NORM = re.compile(r"(.*_)?(layer|rms|group|batch)?norm\d*(_.*)?|ln(_.*)?|.*_ln", re.IGNORECASE)
_ATTENTION = re.compile(r".*(attn|attention).*|[qkvo]_proj|w[qkvo]", re.IGNORECASE)
_MLP = re.compile(
    r".*(mlp|ffn|feed_forward|densereludense|experts?|moe)|fc\d*|intermediate|output|w[123]|(gate|up|down)_proj",
    re.IGNORECASE,
)


def component_of(name: str, layer: Layer) -> Component:
    """The component that a tensor belongs to, as far as names tell.

    Args:
        name: The tensor.
        layer: The layer that it is in.

    Examples:
        >>> from merganser.weights import group_layers
        >>> names = ["wte.weight", "h.0.ln_1.weight", "h.0.attn.c_proj.weight", "h.0.mlp.c_proj.weight", "h.0.gain"]
        >>> [component_of(name, layer) for layer in group_layers(names) for name in layer.tensors]
        ['embeddings', 'other', 'attention', 'norms', 'mlp']
    """
    modules = name.split(".")[:-1]
    if layer.kind == "norm" or any(map(_NORM.fullmatch, modules)):
        return "norms"
    if layer.kind in ("embeddings", "head"):
        return "embeddings" if layer.kind == "embeddings" else "head"
    inside = name.removeprefix(f"{layer.name}.").split(".")[:-1]
    if any(map(_ATTENTION.fullmatch, inside)):
        return "attention"
    return "mlp" if any(map(_MLP.fullmatch, inside)) else "other"
