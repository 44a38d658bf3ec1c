"""Tensors that older libraries stored although they follow from the configuration: newer ones compute them anew."""

from __future__ import annotations

import re

from merganser.weights._spec import TensorSpec

_DERIVED = re.compile(
    r"(.*\.)?(rotary_emb\.inv_freq|rotary_pos_emb\.inv_freq|position_ids|(attn|attention)\.masked_bias)"
)
_MASK = re.compile(r"(.*\.)?(attn|attention)\.bias")


def is_derived(spec: TensorSpec) -> bool:
    """Whether a tensor is no parameter but follows from the configuration, by its name and shape.

    Frequencies of rotary embeddings, numbers of positions, causal masks: old files have them, new ones do not, and
    libraries that load either ignore them.

    Examples:
        >>> is_derived(TensorSpec("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", (64,)))
        True
        >>> is_derived(TensorSpec("h.0.attn.bias", "U8", (1, 1, 9, 9)))
        True
        >>> is_derived(TensorSpec("h.0.attn.bias", "F32", (9,)))
        False
    """
    return bool(_DERIVED.fullmatch(spec.name)) or (len(spec.shape) == 4 and bool(_MASK.fullmatch(spec.name)))
