"""Names that stand for another tensor: one memory under two names, or a head that only the configuration knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from merganser.weights._order import flat_order

_WITH_HEAD = re.compile(r".*(ForCausalLM|LMHeadModel|ForConditionalGeneration)")
_TEXT_PART = re.compile(r".*(language_model|text_model|decoder_model)")
_TEXT_CONFIGS = ("text_config", "llm_config", "language_config")


def text_config(config: Mapping[str, Any], key: str) -> Any:
    """A setting of the text model: at the top of the configuration, or in its part for text; None if unset."""
    parts = (config.get(name) for name in _TEXT_CONFIGS)
    candidates = [config, *(part for part in parts if isinstance(part, Mapping))]
    return next((found[key] for found in candidates if found.get(key) is not None), None)


def implied_head(embedding: str, config: Mapping[str, Any]) -> str | None:
    """Name of the head that a file leaves out because it is the token embedding; None if it leaves none out.

    A configuration that does not say whether the two are tied belongs to a family where they are: otherwise a
    language model would be without a head.

    Examples:
        >>> implied_head("model.embed_tokens.weight", {"tie_word_embeddings": True})
        'lm_head.weight'
    """
    tie = text_config(config, "tie_word_embeddings")
    classes = config.get("architectures")
    has_head = isinstance(classes, list) and any(_WITH_HEAD.fullmatch(str(name)) for name in classes)
    if not (tie or (tie is None and has_head)):
        return None
    part = _TEXT_PART.match(embedding.rpartition(".")[0])
    return f"{part[0]}.lm_head.weight" if part and embedding.startswith(f"{part[0]}.") else "lm_head.weight"


def tied_names(state: Mapping[str, Any]) -> dict[str, str]:
    """Names of tensors that share their memory whole with one that comes earlier in flat order, and its name."""
    first: dict[object, str] = {}
    tied: dict[str, str] = {}
    for name in flat_order(state):
        tensor = state[name]
        if not hasattr(tensor, "data_ptr") or tensor.device.type == "meta" or tensor.numel() == 0:
            continue
        if str(tensor.layout) != "torch.strided":  # sparse ones have no place in memory to compare
            continue
        memory = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if first.setdefault(memory, name) != name:
            tied[name] = first[memory]
    return tied
