"""Any number of models on the same data, each run once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, Union

from merganser._errors import ConfigError
from merganser.comparison._imprint import Imprint, digest_of
from merganser.comparison._relations import Relations
from merganser.comparison._sums import SimilaritySums
from merganser.comparison._view import View
from merganser.models import Batch, SpokenModel, load, open_child
from merganser.weights import Checkpoint

if TYPE_CHECKING:
    from torch import nn

Compared: TypeAlias = Union[str, Path, Checkpoint, SpokenModel, "nn.Module", Imprint]
"""A reference or checkpoint of a language model, a model in memory, or what one left behind."""


def compare_features(
    models: Mapping[str, Compared],
    data: Sequence[str] | Sequence[Batch],
    view: View | None = None,
    *,
    cache: str | Path | None = None,
    device: str = "cpu",
) -> SimilaritySums:
    """Compare all layers of all models on the same data.

    Each model is run once. Those given as references or checkpoints are brought to life one after the other, so one
    is in memory at a time; those in memory stay there. What is kept of a model is 4 rows² bytes for each layer, batch
    and measure.

    Args:
        models: The models by the names they are to have.
        data: Texts for language models, batches for modules, in a fixed order: a list, no loader that shuffles.
        view: How they are looked at; by default all blocks, the mean over tokens.
        cache: A folder in which what references and checkpoints leave behind is kept, so that a base need not be run
            again when it is compared with other models on the same data.
        device: Where models are brought to life, as torch names it.

    Returns:
        Sums, of which [`SimilaritySums.similarity`][] says what was found. Those of several shards of data, each of
        whole batches, can be added.

    Raises:
        ValueError: If there is no model, an imprint is of other data or another view, rows are tokens and the models
            read texts as different ones, or as [`features`][].
        TypeError: If the data are no list.
        CheckpointError: If a model cannot be read.
        ConfigError: If transformers is not installed.
        OutputError: If the cache cannot be written.
    """
    view = View() if view is None else view
    if not models:
        raise ValueError("Expected at least one model to compare, found none.")
    if not isinstance(data, Sequence) or isinstance(data, str):
        raise TypeError(
            f"Data must be a list of texts or batches, but is {type(data).__name__}. Every model must see them "
            "in one order, which iterators and loaders do not promise."
        )
    digest = digest_of(data)
    found: dict[str, Imprint] = {}
    for name, model in models.items():
        imprint = imprint_of(model, data, view, cache=cache, device=device).named(name)
        _check(imprint, name, digest, view, next(iter(found.items()), None))
        found[name] = imprint
    batches = [Relations.joined(parts) for parts in zip(*(i.batches for i in found.values()), strict=True)]
    sums = SimilaritySums.of(batches[0])
    for batch in batches[1:]:
        sums += batch
    return sums


def imprint_of(
    model: Compared,
    data: Sequence[str] | Sequence[Batch],
    view: View,
    *,
    cache: str | Path | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    seen: Callable[[int], None] | None = None,
) -> Imprint:
    """What a model leaves behind on data: run now, or found in the cache.

    Args:
        model: As [`compare_features`][] takes it.
        data: As there.
        view: As there.
        cache: As there.
        device: As there.
        dtype: Element type to bring it to life in; by default the one on disk.
        seen: As in [`features`][].

    Raises:
        ValueError: As there.
        CheckpointError: As there.
        ConfigError: As there.
        OutputError: As there.
    """
    if isinstance(model, Imprint):
        return model
    if not isinstance(model, str | Path | Checkpoint):
        return Imprint.of(model, data, view, seen=seen)
    child = model if isinstance(model, Checkpoint) else open_child(model)
    if cache is None or not isinstance(child, Checkpoint):
        return Imprint.of(load(child, dtype=dtype, device=device), data, view, seen=seen)
    facts = [str(child.digest), digest_of(data), asdict(view), *([] if dtype is None else [dtype])]
    path = Path(cache) / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}.npz"
    if path.exists():
        try:
            return Imprint.open(path)
        except ConfigError:
            pass  # it is made anew
    made = Imprint.of(load(child, dtype=dtype, device=device), data, view, seen=seen)
    made.save(path)
    return made


def _check(imprint: Imprint, name: str, digest: str, view: View, first: tuple[str, Imprint] | None) -> None:
    """Make sure that an imprint can be compared with the others."""
    if imprint.data != digest:
        raise ValueError(
            f"The imprint of {name!r} is of other data, or of the same in another order. Take it anew."
        )
    if imprint.view != view:
        raise ValueError(f"The imprint of {name!r} was taken with {imprint.view}, but {view} is asked for.")
    if first is not None and view.needs_same_tokens and imprint.tokens != first[1].tokens:
        raise ValueError(
            f"{first[0]!r} and {name!r} read the texts as different tokens, so reduce={view.reduce!r} would compare "
            "unlike rows. Use `mean` or `last`."
        )
