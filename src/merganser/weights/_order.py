"""Flat order: the one order of a model's tensors, a function of their names alone.

Positions in the flattened parameters mean the same in every checkpoint of one architecture, whatever
file, shard or library it came from, because each name has a sort key of its own:

| part of the key | order |
| --- | --- |
| stage | embeddings; body; final norm; head |
| stream, in the body | encoders (vision and audio too); unnamed; decoders and language models |
| place, in a stream | modules without a number; numbered blocks; the stream's own norm |
| path | component by component, numbers by value: ``layers.2`` before ``layers.10`` |
| parameter, in a module | ``weight``; others; ``bias`` |

Since a key looks at one name only, the order of a subset is the order of the whole, restricted to it.
Names inside a numbered block are never embeddings, norms or heads: only what stands outside is judged.
A recipe stores [`ORDER_VERSION`][]: changing any rule here means raising it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, Literal

ORDER_VERSION = 1
"""Version of the rules; stored with everything that speaks of flat positions."""

Kind = Literal["embeddings", "module", "block", "norm", "head"]

_STAGES: dict[Kind, int] = {"embeddings": 0, "module": 1, "block": 1, "norm": 1, "head": 3}
_PLACES: dict[Kind, int] = {"embeddings": 0, "module": 0, "block": 1, "norm": 2, "head": 0}
_FINAL_NORM = 2  # the stage of a norm that belongs to no stream

# `embed_out` (GPT-NeoX) and `unembed` are heads although they contain "embed", so heads are asked first.
_HEAD = re.compile(
    r"(lm_|qa_|.*_)?heads?(_.*)?|(.*_)?output(s|_layer|_proj|_projection)?|out|out_proj|proj_out|fc|fc_out|"
    r"embed_out|unembed(ding)?|(.*_)?classifier|score|logits|cls|predictions?|pooler|qa_outputs"
)
_EMBEDDING = re.compile(r".*embed.*|(.*_)?emb|wte|wpe|shared|stem|cls_token|conv_proj")
_NORM = re.compile(r"(?!pre_|ln_pre).*norm.*|(?!ln_pre)ln(_.*)?|.*_ln")
_TOKENS = re.compile(r"wte|shared|(?!.*type)(?=.*emb).*(word|tok).*")
_ENCODER = re.compile(r".*(encoder|vision|visual|audio).*")
_DECODER = re.compile(r".*(decoder|language_model|text_model).*")
_CHUNKS = re.compile(r"[0-9]+|[^0-9]+")

_remembered = lru_cache(maxsize=4096)  # a mixture of experts has 50,000 names, made of few parts


@dataclass(frozen=True, slots=True)
class Layer:
    """Tensors that belong together: one numbered block, or what stands before or after the blocks.

    Args:
        name: Path of the block or module (``""`` for the model itself, as in torch), ``"embeddings"``
            or ``"head"``.
        kind: ``"embeddings"``, ``"module"`` (no number), ``"block"``, ``"norm"`` or ``"head"``.
        tensors: Names of its tensors, in flat order.
    """

    name: str
    kind: Kind
    tensors: tuple[str, ...]


def flat_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sort tensor names into flat order; whatever order they come in, the result is the same.

    Examples:
        >>> flat_order(["output.bias", "output.weight", "hidden.bias", "hidden.weight"])
        ('hidden.weight', 'hidden.bias', 'output.weight', 'output.bias')
        >>> flat_order(["lm_head.weight", "model.norm.weight", "model.layers.10.mlp.weight",
        ...             "model.layers.9.mlp.weight", "model.embed_tokens.weight"])  # doctest: +ELLIPSIS
        ('model.embed_tokens.weight', 'model.layers.9.mlp.weight', ..., 'lm_head.weight')
    """
    return tuple(sorted(set(names), key=_key))


def group_layers(names: Iterable[str]) -> tuple[Layer, ...]:
    """Group names into layers, both in flat order; each name is in exactly one layer.

    Examples:
        >>> [layer.name for layer in group_layers(["h.0.attn.weight", "h.1.attn.weight", "wte.weight"])]
        ['embeddings', 'h.0', 'h.1']
    """
    groups = groupby(flat_order(names), key=_layer_of)
    return tuple(Layer(name, kind, tuple(members)) for (kind, name), members in groups)


def embeds_tokens(name: str) -> bool:
    """Whether a name is that of a token embedding, as libraries call it.

    Examples:
        >>> [embeds_tokens(name) for name in ("model.embed_tokens.weight", "wte.weight", "wpe.weight")]
        [True, True, False]
    """
    outside, number = _split(name)
    return _kind(outside, number is not None) == "embeddings" and _embedding_place(outside) == 0


def _layer_of(name: str) -> tuple[Kind, str]:
    outside, number = _split(name)
    kind = _kind(outside, number is not None)
    if kind in ("embeddings", "head"):
        return kind, kind
    if kind == "block":
        return kind, ".".join([*outside, str(number)])
    return kind, name.rpartition(".")[0]


def _key(name: str) -> tuple[Any, ...]:
    outside, number = _split(name)
    kind, stream = (
        _kind(outside, number is not None),
        _stream(outside if number is not None else outside[:-1]),
    )
    stage = _FINAL_NORM if kind == "norm" and stream == 1 else _STAGES[kind]
    place = _embedding_place(outside) if kind == "embeddings" else _PLACES[kind]
    *path, leaf = name.split(".")
    modules = tuple(_natural(component) for component in path)
    in_body = stage == _STAGES["block"]
    return (stage, stream if in_body else 0, place, modules, _leaf_rank(leaf), _natural(leaf), name)


def _split(name: str) -> tuple[tuple[str, ...], str | None]:
    """Components before the first number that stands for a module, and that number if there is one."""
    components = tuple(name.split("."))
    for i, component in enumerate(components[:-1]):
        if component.isascii() and component.isdigit():
            return components[:i], component
    return components, None


@_remembered
def _kind(outside: tuple[str, ...], numbered: bool) -> Kind:
    # Of a numbered path only the container of the numbers counts: `embedder.layers.0` is a block.
    judged = outside[-1:] if numbered else outside
    if any(map(_HEAD.fullmatch, judged)):
        return "head"
    if any(map(_EMBEDDING.fullmatch, judged)):
        return "embeddings"
    if numbered:
        return "block"
    return "norm" if any(_NORM.fullmatch(component.lower()) for component in judged) else "module"


@_remembered
def _stream(outside: tuple[str, ...]) -> int:
    for component in outside:
        if _DECODER.fullmatch(component):
            return 2
        if _ENCODER.fullmatch(component):
            return 0
    return 1


def _embedding_place(outside: tuple[str, ...]) -> int:
    if any(_NORM.fullmatch(component.lower()) for component in outside):
        return 2
    return 0 if any(map(_TOKENS.fullmatch, outside)) else 1


def _leaf_rank(leaf: str) -> int:
    if leaf.startswith(("weight", "gamma")):
        return 0
    return 2 if leaf.startswith(("bias", "beta")) else 1


@_remembered
def _natural(component: str) -> tuple[tuple[int, int, str, int], ...]:
    # Digits compare by length, then text, which is by value without int(): a name may hold more
    # digits than int() accepts. Leading zeros come last, so that `0` and `00` stay apart.
    return tuple(_chunk(text) for text in _CHUNKS.findall(component))


def _chunk(text: str) -> tuple[int, int, str, int]:
    if text[0] not in "0123456789":
        return 1, 0, text, 0
    digits = text.lstrip("0")
    return 0, len(digits), digits, len(text)
