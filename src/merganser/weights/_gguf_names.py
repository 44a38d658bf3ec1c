r"""How llama.cpp's conversion changed a model, family by family, and how that is undone.

| architecture in the file | class in transformers | q and k permuted | norms stored + 1 |
| --- | --- | --- | --- |
| ``llama`` (also Mistral, SmolLM2, …) | `LlamaForCausalLM` | yes | no |
| ``qwen2``, ``qwen3`` | `Qwen2ForCausalLM`, `Qwen3ForCausalLM` | no | no |
| ``gemma``, ``gemma2``, ``gemma3`` | `Gemma…ForCausalLM` | no | yes |

**Names.** Hugging Face's names of such models go through the library's own map, as in the conversion, and the
result is inverted. A tensor that none of them leads to keeps its name. Of architectures that are not in the table,
and of mixtures of experts, whose experts the conversion stacks, *all* names stay as in the file, and nothing is undone.

**Permutation.** Llama's rotary code turns pairs that lie half a head apart in transformers and side by side in
llama.cpp. So row $h d + 2 j + s$ of the file is row $h d + s d / 2 + j$ of the model, for head $h$ of $d$ rows,
$j < d / 2$ and $s \in \{0, 1\}$; biases likewise.

**Norms.** Gemma scales with $1 + w$ and llama.cpp with what it finds, so the file has $1 + w$. Taking the 1 away
again restores $w$ to the spacing of the type near 1: $6 \cdot 10^{-8}$ in F32.

References:
    https://github.com/ggml-org/llama.cpp, ``conversion/llama.py``, ``conversion/gemma.py``
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from merganser.weights._gguf_header import GgufHeader, GgufTensor


@dataclass(frozen=True, slots=True)
class Family:
    """One row of the table.

    Args:
        architecture: The class in transformers.
        model_type: Its name in ``config.json``.
        permuted: Whether rows of q and k are permuted.
        shifted: Whether norms are stored with 1 added.
    """

    architecture: str
    model_type: str
    permuted: bool = False
    shifted: bool = False


FAMILIES: Mapping[str, Family] = {
    "llama": Family("LlamaForCausalLM", "llama", permuted=True),
    "qwen2": Family("Qwen2ForCausalLM", "qwen2"),
    "qwen3": Family("Qwen3ForCausalLM", "qwen3"),
    "gemma": Family("GemmaForCausalLM", "gemma", shifted=True),
    "gemma2": Family("Gemma2ForCausalLM", "gemma2", shifted=True),
    "gemma3": Family("Gemma3ForCausalLM", "gemma3_text", shifted=True),
}
"""Architectures whose conversion can be undone, by their name in the file."""

_OUTSIDE = ("model.embed_tokens", "model.norm", "lm_head")
_INSIDE = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "self_attn.q_norm",
    "self_attn.k_norm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)


@dataclass(frozen=True, slots=True)
class Translated:
    """A tensor of the file as the tensor of a model.

    Args:
        name: Its name in the model.
        tensor: What the file has.
        heads: Heads whose rows are permuted; 0 for none.
        shift: What was added to every element.
    """

    name: str
    tensor: GgufTensor
    heads: int = 0
    shift: float = 0.0


def family_of(header: GgufHeader) -> Family | None:
    """The family a file belongs to; None if its names stay as they are."""
    experts = header.settings.get(f"{header.architecture}.expert_count")
    return None if experts else FAMILIES.get(header.architecture)


def translate(header: GgufHeader, library: ModuleType) -> tuple[Translated, ...]:
    """Every tensor of a file, under its name in the model."""
    family = family_of(header)
    if family is None:
        return tuple(Translated(tensor.name, tensor) for tensor in header.tensors)
    names = _names(header, library)
    return tuple(_translated(header, family, names, tensor) for tensor in header.tensors)


def rows_in_file(rows: npt.NDArray[np.int64], rows_per_head: int) -> npt.NDArray[np.int64]:
    """Where a file with permuted rows has these rows of the model.

    Examples:
        >>> rows_in_file(np.arange(8), rows_per_head=4)
        array([0, 2, 1, 3, 4, 6, 5, 7])
    """
    head, within = np.divmod(rows, rows_per_head)
    second_half, pair = np.divmod(within, rows_per_head // 2)
    return head * rows_per_head + 2 * pair + second_half


def _translated(
    header: GgufHeader, family: Family, names: Mapping[str, str], tensor: GgufTensor
) -> Translated:
    stem, dot, leaf = tensor.name.rpartition(".")
    name = f"{names[stem]}{dot}{leaf}" if stem in names else tensor.name
    if family.permuted and stem in names:
        return Translated(name, tensor, heads=_permuted_heads(header, names[stem], tensor))
    if family.shifted and name.endswith("norm.weight"):
        return Translated(name, tensor, shift=1.0)
    return Translated(name, tensor)


def _permuted_heads(header: GgufHeader, module: str, tensor: GgufTensor) -> int:
    heads = header.settings.get(f"{header.architecture}.attention.head_count")
    if module.endswith("k_proj"):
        heads = header.settings.get(f"{header.architecture}.attention.head_count_kv", heads)
    elif not module.endswith("q_proj"):
        return 0
    if isinstance(heads, tuple):  # some models have other numbers in each block
        block = int(module.split(".")[2])
        heads = heads[block] if block < len(heads) else None
    if type(heads) is not int or heads < 1 or not tensor.shape or tensor.shape[0] % (2 * heads):
        raise ValueError(
            f"the rows of {tensor.name!r}, of shape {tensor.shape}, do not divide into the two halves of {heads} heads"
        )
    return heads


def _names(header: GgufHeader, library: ModuleType) -> dict[str, str]:
    """Names of modules in the model, by their name in the file."""
    architectures = {name: number for number, name in library.MODEL_ARCH_NAMES.items()}
    blocks = header.settings.get(f"{header.architecture}.block_count")
    blocks = blocks if type(blocks) is int and blocks <= len(header.tensors) else 0
    known = library.get_tensor_name_map(architectures[header.architecture], blocks)
    found = {known.get_name(module): module for module in _modules(blocks)}
    return {name: module for name, module in found.items() if name is not None}


def _modules(blocks: int) -> Iterator[str]:
    yield from _OUTSIDE
    for block in range(blocks):
        yield from (f"model.layers.{block}.{module}" for module in _INSIDE)
