"""Rows of features of a model's layers, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from jaxtyping import Float

from merganser.comparison._reduction import reduced
from merganser.comparison._relations import as_numpy
from merganser.comparison._view import View
from merganser.models import Batch, Call, SpokenModel, evaluating, outputs_of

if TYPE_CHECKING:
    from torch import Tensor, nn

Features: TypeAlias = dict[str, Float[np.ndarray, "rows d"]]
"""For each layer the same rows."""

_TEXTS = 8
"""Texts that a model reads together."""


def features(
    model: SpokenModel | nn.Module,
    data: Iterable[str] | Iterable[Batch],
    view: View | None = None,
    *,
    seen: Callable[[int], None] | None = None,
) -> Iterator[Features]:
    """Features of a model's layers on data.

    A module runs in evaluation mode; afterwards it is as it was.

    Args:
        model: A language model in memory, or any torch module.
        data: For a language model texts; for a module batches as `collect` takes them. What a layer puts out must
            have the axes (batch, d) or (batch, positions, d); an `attention_mask` says which positions count.
        view: How it is looked at; by default all blocks of a language model, the mean over tokens.
        seen: Told after each call how many texts or samples the model has read.

    Yields:
        For each layer the same `view.rows` rows. The last batch may be shorter; it is left out if it is not the only
        one and has fewer than 8 rows, or than twice the neighbours.

    Raises:
        ValueError: If a module's layers are not named, a layer is not there, does not run exactly once a call, or puts
            out something else; or there are no data.
    """
    view = View() if view is None else view
    ready: Features = {}
    count = 0
    for part in _outputs(model, data, view, seen):
        ready = {k: np.concatenate([ready[k], rows]) if ready else rows for k, rows in part.items()}
        while ready and _rows(ready) >= view.rows:
            yield {layer: rows[: view.rows] for layer, rows in ready.items()}
            ready = {layer: rows[view.rows :] for layer, rows in ready.items()}
            count += 1
    if not ready and not count:
        raise ValueError("There are no data to compare models on. An iterator can be used only once.")
    if ready and (_rows(ready) >= view.fewest or not count):
        yield ready


def text_batches_of(model: SpokenModel, texts: Iterable[str], view: View) -> Iterator[dict[str, Tensor]]:
    """Texts as a language model reads them, one row each, cut at the view's length and padded at the end."""
    import torch

    tokens = [list(ids[: view.most_tokens]) for ids in model.tokens.prompts(list(texts))]
    for begin in range(0, len(tokens), _TEXTS):
        part = tokens[begin : begin + _TEXTS]
        longest = max(map(len, part))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in part])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in part])
        yield {"input_ids": ids, "attention_mask": mask}


def layers_of(module: nn.Module) -> tuple[str, ...]:
    """Names of the blocks of a language model of transformers.

    Raises:
        ValueError: If it does not say where they are.
    """
    from torch import nn

    config: Any = getattr(module, "config", None)
    if config is not None:
        count = getattr(config.get_text_config(), "num_hidden_layers", None)
        for name, part in module.named_modules():
            if isinstance(part, nn.ModuleList) and len(part) == count:
                return tuple(f"{name}.{i}" for i in range(len(part)))
    known = [name for name, _ in module.named_modules() if name][:4]
    raise ValueError(
        f"{type(module).__name__} does not say which of its parts are blocks. Name them: `View(layers=…)`, of "
        f"{', '.join(known)}, …"
    )


def _outputs(
    model: SpokenModel | nn.Module,
    data: Iterable[str] | Iterable[Batch],
    view: View,
    seen: Callable[[int], None] | None,
) -> Iterator[Features]:
    """Rows of one call after the other."""
    if isinstance(model, SpokenModel):
        module = model.module
        body = getattr(module, "base_model", module)  # without the head, whose logits nobody asks for
        batches: Iterable[Batch] = text_batches_of(model, cast("Iterable[str]", data), view)
        options: dict[str, Any] = {"use_cache": False}
    else:
        module, body, batches, options = model, model, cast("Iterable[Batch]", data), {}
    layers = layers_of(module) if view.layers is None else view.layers
    samples = 0
    for batch in batches:
        call = Call.of(batch, module)
        call = Call(call.args, {**call.kwargs, **options}, call.labels)
        yield _called(module, body, call, layers, view, samples)
        samples += call.samples
        if seen is not None:
            seen(samples)


def _called(
    module: nn.Module, body: nn.Module, call: Call, layers: Sequence[str], view: View, first: int
) -> Features:
    import torch

    with torch.no_grad(), evaluating(module), outputs_of(module, layers) as seen:
        call(body)
    for layer, outputs in seen.items():
        if len(outputs) != 1:
            raise ValueError(
                f"Expected {layer!r} to run once a call, but it ran {len(outputs)} times. Choose another layer."
            )
    return {layer: as_numpy(reduced(output, call.mask, view, first)) for layer, [output] in seen.items()}


def _rows(features: Features) -> int:
    return len(next(iter(features.values())))
