r"""How models lie to each other in weight space: one streamed pass, no data.

With a base $\theta_0$ the vectors compared are the task vectors $v_i = \theta_i - \theta_0$, without one the models
themselves, $v_i = \theta_i$. In every layer, in every component, and everywhere:

| figure | formula | without a base |
| --- | --- | --- |
| norm | $\lVert v_i\rVert$, and beside the base $\lVert v_i\rVert / \lVert\theta_0\rVert$ | the first only |
| cosine | $\langle v_i, v_j\rangle / \lVert v_i\rVert\,\lVert v_j\rVert$ | the same |
| distance | $\lVert\theta_i - \theta_j\rVert$ | the same |
| opposite signs | of the entries where neither is zero, the share with $v_i v_j < 0$ | – |
| the same, by weight | $\sum_{v_i v_j < 0} \lvert v_i v_j\rvert \,/\, \sum \lvert v_i v_j\rvert$ | – |
| overlap | of the largest 1 % and 10 % of all entries: in both, over in either (Jaccard) | – |

What is among the largest is decided once for the whole model; a layer's overlap is that of its entries among them. It
needs a second pass, since the thresholds are read off a histogram (`_largest`). Opposite signs by weight are
$\tfrac12 (1 - \langle v_i, v_j\rangle / \sum \lvert v_i v_j\rvert)$: half where two task vectors are
orthogonal, none where they agree everywhere.

References:
    Ilharco et al., *Editing Models with Task Arithmetic*, ICLR 2023, https://arxiv.org/abs/2212.04089 (cosines).
    Yadav et al., *TIES-Merging*, NeurIPS 2023, https://arxiv.org/abs/2306.01708 (signs, largest entries).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, reduce
from operator import add
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from merganser._errors import CheckpointError
from merganser.comparison._components import COMPONENTS, Component, component_of
from merganser.comparison._largest import SHARES, Histogram, overlaps, threshold
from merganser.comparison._moments import Moments, cosines_of, distances_of, moments
from merganser.comparison._tick import Tick, Watch
from merganser.merging import default_workers
from merganser.weights import Aligned, Buffers, Checkpoint, Execution, misfit, single_threaded


@dataclass(frozen=True, eq=False)
class Part:
    """The figures of some tensors together. Where a vector is zero, its cosines and shares are NaN.

    Args:
        entries: Number of entries of each model.
        base: Norm of the base; None without one.
        norms: Norm of each task vector, or of each model.
        cosines: Between every two of them, in [-1, 1].
        distances: Between every two models.
        opposite: Share of entries of opposite sign, in [0, 1]; None without a base.
        opposite_by_weight: The same, weighted by the magnitude of the product; None without a base.
        overlap: Overlap of the largest entries, in [0, 1], by their share; empty if it was not asked for.
    """

    entries: int
    base: float | None
    norms: Float[np.ndarray, " models"]
    cosines: Float[np.ndarray, "models models"]
    distances: Float[np.ndarray, "models models"]
    opposite: Float[np.ndarray, "models models"] | None = None
    opposite_by_weight: Float[np.ndarray, "models models"] | None = None
    overlap: Mapping[float, Float[np.ndarray, "models models"]] = field(default_factory=dict)

    @property
    def relative(self) -> Float[np.ndarray, " models"] | None:
        """Norms over the base's; None without a base, or where it is zero."""
        return self.norms / self.base if self.base else None

    def to_json(self) -> dict[str, Any]:
        """As plain data; None where a number is undefined."""
        return {f.name: plain(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True, eq=False)
class Geometry:
    """Figures of several models of one architecture.

    Args:
        models: What the models are called, in the order of rows and columns.
        base: What the base is called; None without one.
        tensors: Sums of every tensor, in flat order; the pivot is the base, or else the first model.
        shapes: Its shape.
        places: Layer and component of every tensor.
        largest: Per tensor and share, entries that are among the largest of both models.
        left_out: Tensors that are not in all of the models in one shape, and why.
    """

    models: tuple[str, ...]
    base: str | None
    tensors: Mapping[str, Moments]
    shapes: Mapping[str, tuple[int, ...]]
    places: Mapping[str, tuple[str, Component]]
    largest: Mapping[str, Int[np.ndarray, "shares models models"]]
    left_out: Mapping[str, str]

    @cached_property
    def total(self) -> Part:
        """Everywhere."""
        return self._part(self.tensors)

    @cached_property
    def layers(self) -> Mapping[str, Part]:
        """By layer, in flat order."""
        return self._by(layer for layer, _ in self.places.values())

    @cached_property
    def components(self) -> Mapping[Component, Part]:
        """By component: attention, MLP and others, over all layers."""
        found = self._by(component for _, component in self.places.values())
        return {component: found[component] for component in COMPONENTS if component in found}

    @cached_property
    def cells(self) -> Mapping[tuple[str, Component], Part]:
        """By layer and component."""
        return self._by(self.places.values())

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        layers: dict[str, Any] = {name: {"all": part.to_json()} for name, part in self.layers.items()}
        for (layer, component), part in self.cells.items():
            layers[layer][component] = part.to_json()
        return {
            "models": list(self.models),
            "base": self.base,
            "total": self.total.to_json(),
            "components": {name: part.to_json() for name, part in self.components.items()},
            "layers": layers,
            "left_out": dict(self.left_out),
        }

    def _by(self, keys: Iterable[Any]) -> dict[Any, Part]:
        groups: dict[Any, list[str]] = defaultdict(list)
        for name, key in zip(self.places, keys, strict=True):
            groups[key].append(name)
        return {key: self._part(names) for key, names in groups.items()}

    def _part(self, names: Iterable[str]) -> Part:
        names = list(names)
        found = reduce(add, (self.tensors[name] for name in names))
        deltas = found.differences[1:, 1:]
        if self.base is None:
            gram = found.weights[1:, 1:]
            return Part(found.entries, None, _norms(gram), cosines_of(gram), distances_of(deltas))
        counts = [self.largest[name] for name in names if name in self.largest]
        overlap = sum(counts[1:], start=counts[0]) if counts else ()
        return Part(
            found.entries,
            float(np.sqrt(found.products[0, 0])),
            _norms(deltas),
            cosines_of(deltas),
            distances_of(deltas),
            _ratio(found.both - found.signs, 2 * found.both),
            _ratio(found.magnitudes - deltas, 2 * found.magnitudes),
            {share: _jaccard(large) for share, large in zip(SHARES, overlap, strict=False)},
        )


def geometry(
    models: Sequence[Checkpoint],
    base: Checkpoint | None = None,
    *,
    overlap: bool = True,
    execution: Execution | None = None,
    watch: Watch | None = None,
) -> Geometry:
    """Measure how models lie to each other, or their task vectors if there is a base.

    Memory does not grow with the models: they are read in blocks, once, and with `overlap` once more. How they are
    read changes no bit of the result.

    Args:
        models: Two or more models of one architecture.
        base: The model they were tuned from, if it is known.
        overlap: Whether to find the overlap of the largest entries too, which needs a base.
        execution: How; by default with one worker for each processor.
        watch: Told about bytes that were read.

    Raises:
        ValueError: If there are fewer than two models, or no tensor is in all of them in one shape.
        CheckpointError: If a model cannot be read, or holds NaN or infinity.

    Examples:
        >>> import torch
        >>> base, one, other = (
        ...     Checkpoint.from_tensors({"w": torch.tensor(row)}) for row in ([2.0, 0.0], [2.0, 3.0], [6.0, 3.0])
        ... )
        >>> found = geometry([one, other], base).total
        >>> found.relative.tolist(), found.cosines[0].round(3).tolist()
        ([1.5, 2.5], [1.0, 0.6])
    """
    if len(models) < 2:
        raise ValueError(f"Expected two or more models to compare, but found {len(models)}.")
    rows = (models[0] if base is None else base, *models)
    fitting, left_out = _shared_tensors(rows)
    if not fitting:
        why = next(iter(left_out.values()), "They hold no floating tensors.")
        raise ValueError(f"Expected models that share tensors, but these have none in common. {why}")
    execution = execution or Execution(default_workers())
    aligned = {name: Aligned(tuple((row, name) for row in rows)) for name in fitting}
    buffers = Buffers()
    histogram = Histogram(len(models)) if overlap and base is not None else None

    def measure(name: str) -> tuple[Moments, Histogram | None]:
        counted = None if histogram is None else Histogram(len(models))
        has_tasks, also = base is not None, counted and counted.add
        return moments(aligned[name], execution, buffers, compares_signs=has_tasks, also=also), counted

    tensors: dict[str, Moments] = {}
    sizes = {name: sum(row.spec(name).nbytes for row in rows) for name in fitting}
    read = _reading(watch, sizes, passes=1 if histogram is None else 2)
    with single_threaded():
        for name, (sums, counted) in zip(fitting, execution.map(measure, fitting), strict=True):
            tensors[name] = _finite(name, rows, sums)
            read(name)
            if histogram is not None and counted is not None:
                histogram.counts += counted.counts
        largest = {} if histogram is None else _largest(histogram, aligned, execution, buffers, read)
    places: dict[str, tuple[str, Component]] = {
        name: (layer.name or "model", component_of(name, layer))
        for layer in rows[0].layers
        for name in layer.tensors
        if name in aligned
    }
    ordered = {name: tensors[name] for name in places}
    shapes = {name: aligned[name].shape for name in places}
    label = None if base is None else base.source
    return Geometry(names_of(models), label, ordered, shapes, places, largest, left_out)


def names_of(models: Sequence[Checkpoint]) -> tuple[str, ...]:
    """A name for each model; where several have the same, numbers tell them apart."""
    sources = [model.source for model in models]
    return tuple(
        f"{source} #{sources[: i + 1].count(source)}" if sources.count(source) > 1 else source
        for i, source in enumerate(sources)
    )


def _shared_tensors(rows: Sequence[Checkpoint]) -> tuple[list[str], dict[str, str]]:
    """Floating tensors that all have in one shape, and why the others are left out."""
    fitting: list[str] = []
    left_out: dict[str, str] = {}
    for name in dict.fromkeys(name for row in rows for name in row.layout.names):
        first = next(row for row in rows if name in row)
        why = next((why for row in rows if row is not first and (why := misfit(name, first, row))), None)
        if why is None:
            fitting.append(name)
        else:
            left_out[name] = why
    return fitting, left_out


def _largest(
    histogram: Histogram,
    aligned: Mapping[str, Aligned],
    execution: Execution,
    buffers: Buffers,
    read: Callable[[str], None],
) -> dict[str, Int[np.ndarray, "shares models models"]]:
    """Counts of the entries that are among the largest of both models, tensor by tensor."""
    edges = np.array([[threshold(row, share) for row in histogram.counts] for share in SHARES])
    counts: dict[str, Int[np.ndarray, "shares models models"]] = {}
    found = execution.map(lambda each: overlaps(each, edges, execution, buffers), aligned.values())
    for name, shared in zip(aligned, found, strict=True):
        counts[name] = shared
        read(name)
    return counts


def _reading(watch: Watch | None, sizes: Mapping[str, int], *, passes: int) -> Callable[[str], None]:
    """Called with every tensor that was read, it tells how many bytes that makes."""
    done, total = 0, passes * sum(sizes.values())

    def read(name: str) -> None:
        nonlocal done
        done += sizes[name]
        if watch is not None:
            watch(Tick("reading weights", done, total, "bytes"))

    return read


def _finite(name: str, rows: Sequence[Checkpoint], found: Moments) -> Moments:
    """The sums, if they are numbers."""
    bad = ~np.isfinite(np.diag(found.products))
    if not bad.any():
        return found
    # where the pivot is no number, nothing is: it comes first
    row = rows[int(bad.argmax())]
    raise CheckpointError(
        f"Expected finite numbers, but tensor {name!r} of {row.source} holds NaN or infinity. The file is damaged, or "
        "its training diverged: leave this model out."
    )


def _norms(gram: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " n"]:
    return np.sqrt(np.diag(gram))


def _jaccard(counts: Int[np.ndarray, "n n"]) -> Float[np.ndarray, "n n"]:
    sizes = np.diag(counts)
    return _ratio(counts, sizes[:, None] + sizes[None, :] - counts)


def _ratio(part: np.ndarray, whole: np.ndarray) -> Float[np.ndarray, "n n"]:
    """Part of a whole, at least 0; NaN where there is no whole."""
    known = whole > 0
    return np.where(known, np.maximum(part, 0) / np.where(known, whole, 1), np.nan)


def plain(value: Any) -> Any:
    """Numbers as JSON can hold them: None where one is undefined."""
    if isinstance(value, Mapping):
        return {f"{share:g}": plain(each) for share, each in value.items()}
    if isinstance(value, np.ndarray):
        return [plain(each) for each in value.tolist()]
    if isinstance(value, list):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
