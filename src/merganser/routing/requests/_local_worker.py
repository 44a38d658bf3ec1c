"""Runs in the process of `LocalModels`: keeps models under a memory cap, and lets them answer."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from merganser.merging import MergePlan
from merganser.models import GenerationRequest, LanguageModel, load, open_child

_models: OrderedDict[str, LanguageModel] = OrderedDict()
_bytes: dict[str, int] = {}


def call(what: str, asked: dict[str, Any]) -> Any:
    """One message: `load`, which gives the bytes of its weights, or `answer`, which gives text and tokens."""
    return _load(**asked) if what == "load" else _answer(**asked)


def _load(model: str, memory: int | None, device: str, dtype: str | None) -> int:
    if model in _models:
        _models.move_to_end(model)
        return _bytes[model]
    child = open_child(model)
    specs = [t.spec for t in child.targets] if isinstance(child, MergePlan) else map(child.spec, child)
    size = sum(spec.nbytes for spec in specs)
    if memory is not None:
        if size > memory:
            raise MemoryError(f"{model} has {size:,} bytes of weights, the cap is {memory:,}")
        while sum(_bytes.values()) + size > memory:
            oldest, _ = _models.popitem(last=False)
            del _bytes[oldest]
    _models[model], _bytes[model] = load(child, dtype=dtype, device=device), size
    return size


def _answer(model: str, prompt: str, max_tokens: int, stop: list[str], seconds: float) -> tuple[str, int]:
    request = GenerationRequest(prompt, tuple(stop), max_tokens)
    [response] = _models[model].generate([request], seconds=seconds)
    return response.text, response.tokens
