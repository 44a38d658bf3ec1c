r"""A configuration for transformers, from the settings of a GGUF file.

Only what the file says: where a needed value is missing, or differs from block to block, there is no
configuration at all rather than one that is right in part. Numbers that the file holds in single precision are
given as their shortest decimal form, as people wrote them.

Llama 3's rotary frequencies are divided by factors that the conversion computes from four numbers and stores as
the tensor ``rope_freqs.weight``; no model in transformers has such a tensor. For a frequency that turns $n$ times
within the original context of 8192 tokens the factor is

$$f(n) = \begin{cases} 1 & n > 4 \\ F & n < 1 \\ 1 / ((1 - t) / F + t),\ t = (n - 1) / 3 & \text{else}\end{cases}$$

so $F$ is the largest of them, and if the formula then gives all others, the configuration says so in
``rope_scaling`` and the tensor is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from merganser.weights._gguf_header import GgufHeader
from merganser.weights._gguf_names import Family

ROPE_FACTORS = "rope_freqs.weight"

_NEEDED = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
_OPTIONAL = {
    "num_key_value_heads": "attention.head_count_kv",
    "max_position_embeddings": "context_length",
    "rope_theta": "rope.freq_base",
    "head_dim": "attention.key_length",
}
_GEMMA = {
    "sliding_window": "attention.sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
_TOKENS = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"}
_LARGEST_GEMMA = {
    "gemma2": 46,
    "gemma3": 62,
}  # blocks of the sizes whose scores are scaled in a way of their own
_LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}


def config_of(
    header: GgufHeader, family: Family, shapes: Mapping[str, tuple[int, ...]], rope: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The configuration of a model; empty if the file does not say enough.

    Args:
        header: What the file says.
        family: Its family.
        shapes: Shapes of the tensors, by their names in the model.
        rope: The scaling that the file's rotary factors stand for, if it has such.
    """
    own = f"{header.architecture}."
    keys = _NEEDED | _OPTIONAL | (_GEMMA if family.shifted else {})
    found = {key: _plain(header.settings.get(own + name)) for key, name in keys.items()}
    found |= {key: _plain(header.settings.get(f"tokenizer.ggml.{name}")) for key, name in _TOKENS.items()}
    config = {key: value for key, value in found.items() if value is not None}
    table = shapes.get("model.embed_tokens.weight")
    if table is None or not all(key in config for key in _NEEDED):
        return {}
    config |= {
        "architectures": [family.architecture],
        "model_type": family.model_type,
        "vocab_size": table[0],
        "tie_word_embeddings": "lm_head.weight" not in shapes,
    }
    if family.model_type == "llama":
        config["attention_bias"] = any(name.endswith("q_proj.bias") for name in shapes)
    if header.architecture in _LARGEST_GEMMA:
        config["query_pre_attn_scalar"] = _score_scale(config, _LARGEST_GEMMA[header.architecture])
    scaling = rope or _scaling(header)
    return config | ({"rope_scaling": dict(scaling)} if scaling else {})


def llama3_scaling(header: GgufHeader, factors: npt.NDArray[np.float32]) -> dict[str, Any] | None:
    """The `rope_scaling` that these factors stand for; None if they follow another rule."""
    base = header.settings.get(f"{header.architecture}.rope.freq_base", 10000.0)
    factor = float(factors.max(initial=0.0))
    if not isinstance(base, float) or not (math.isfinite(factor) and base > 1 and factor > 1):
        return None
    expected = _llama3_factors(base, factor, len(factors))
    if not np.allclose(factors, expected, rtol=1e-4, atol=0):
        return None
    return {"rope_type": "llama3", "factor": _plain(factor), **_LLAMA3}


def _llama3_factors(base: float, factor: float, count: int) -> npt.NDArray[np.float64]:
    low, high = _LLAMA3["low_freq_factor"], _LLAMA3["high_freq_factor"]
    frequencies = base ** -(np.arange(count) / count)
    turns = _LLAMA3["original_max_position_embeddings"] * frequencies / (2 * math.pi)
    smooth = (turns - low) / (high - low)
    return np.select([turns > high, turns < low], [1.0, factor], 1 / ((1 - smooth) / factor + smooth))


def _scaling(header: GgufHeader) -> dict[str, Any] | None:
    own = f"{header.architecture}.rope.scaling."
    kind, factor = header.settings.get(f"{own}type"), _plain(header.settings.get(f"{own}factor"))
    if kind not in ("linear", "yarn") or factor is None:
        return None
    original = _plain(header.settings.get(f"{own}original_context_length"))
    context = {} if original is None else {"original_max_position_embeddings": original}
    return {"rope_type": kind, "factor": factor} | (context if kind == "yarn" else {})


def _score_scale(config: Mapping[str, Any], largest: int) -> int:
    """What scores are divided by the root of, which the file leaves to the reader: llama.cpp's own rule."""
    per_head = config["hidden_size"] // config["num_attention_heads"]
    return per_head if config["num_hidden_layers"] == largest else config.get("head_dim", per_head)


def _plain(value: object) -> int | float | None:
    """A single number, the shortest that is the same in single precision; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(str(np.float32(value))) if isinstance(value, float) else value
