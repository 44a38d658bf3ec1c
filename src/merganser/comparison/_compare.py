"""Models side by side: what they differ in, how they are related, and what to do with every two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

from merganser._errors import CheckpointError
from merganser.comparison._barrier import POINTS, barrier
from merganser.comparison._data import Data, view_for
from merganser.comparison._differences import differences_between
from merganser.comparison._geometry import Geometry, geometry, names_of
from merganser.comparison._parentage import Parentage, parentage
from merganser.comparison._representations import represent, representations
from merganser.comparison._save import save_found
from merganser.comparison._similarity import Similarity
from merganser.comparison._spectra import LayerSpectra, Spectrum, spectra, spectra_by_layer
from merganser.comparison._thresholds import THRESHOLDS
from merganser.comparison._tick import Watch, part
from merganser.comparison._verdict import Evidence, TaskVectors, Verdict, judge
from merganser.comparison._view import View
from merganser.evaluation import Chosen
from merganser.merging import Model, open_models
from merganser.weights import Checkpoint, Execution


@dataclass(frozen=True)
class Pair:
    """Two of the models.

    Args:
        first: Name of one.
        second: Name of the other.
        known: What is known of them.
    """

    first: str
    second: str
    known: Evidence

    @cached_property
    def verdict(self) -> Verdict:
        """What to do with them."""
        return judge(self.known)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        known = self.known
        return {
            "models": [self.first, self.second],
            "differences": known.differences.to_json(),
            "kin": known.kin and known.kin._asdict(),
            "task_vectors": known.task_vectors and known.task_vectors.to_json(),
            "barrier": known.barrier and known.barrier.to_json(),
            "unmeasured": known.unmeasured,
            "cka": known.cka and known.cka.to_json(),
            "verdict": self.verdict.to_json(),
        }


@dataclass(frozen=True)
class Group:
    """Models whose blocks fit each other, measured together.

    Args:
        geometry: How they lie to each other.
        parentage: How they are related.
        spectra: Singular values of their task vectors, by tensor; empty if they were not asked for.
    """

    geometry: Geometry
    parentage: Parentage
    spectra: Mapping[str, Spectrum] = field(default_factory=dict)

    @property
    def spectra_by_layer(self) -> Mapping[str, LayerSpectra]:
        """Means over the matrices of every layer."""
        return spectra_by_layer(self.spectra, self.geometry)


@dataclass(frozen=True)
class Comparison:
    """Everything that was found.

    Args:
        models: Names of the models.
        base: Name of the base, if one was given.
        pairs: Every two of them.
        groups: Models that fit each other; those that fit no other are in none.
        similarity: CKA of all layers of all models and the base; None if it was not measured.
        unseen: Models that could not be run on the data, and why.
    """

    models: tuple[str, ...]
    base: str | None
    pairs: tuple[Pair, ...]
    groups: tuple[Group, ...]
    similarity: Similarity | None = None
    unseen: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "models": list(self.models),
            "base": self.base,
            "pairs": [pair.to_json() for pair in self.pairs],
            "geometry": [group.geometry.to_json() for group in self.groups],
            "parentage": [group.parentage.to_json() for group in self.groups],
            "spectra": [
                {layer: each.to_json() for layer, each in group.spectra_by_layer.items()}
                for group in self.groups
                if group.spectra
            ],
            "similarity": self.similarity and self.similarity.to_json(),
            "unseen": dict(self.unseen),
            "thresholds": {name: row._asdict() for name, row in THRESHOLDS.items()},
        }

    def save(self, folder: str | Path) -> Path:
        """Write everything to `comparison.json` in a folder, atomically.

        Raises:
            OutputError: If it cannot be written.
        """
        return save_found(folder, "comparison", self.to_json())


def compare(
    models: Sequence[Model],
    base: Model | None = None,
    *,
    with_spectra: bool = False,
    chosen: Chosen | None = None,
    data: Data | None = None,
    view: View | None = None,
    cache: str | Path | None = None,
    execution: Execution | None = None,
    dtype: str | None = None,
    watch: Watch | None = None,
) -> Comparison:
    """Compare models, and recommend what to do with every two of them.

    Args:
        models: Two or more, each as `merge` takes it.
        base: The model they were tuned from, if it is known.
        with_spectra: Whether to decompose task vectors too, matrix by matrix, which takes much longer.
        chosen: Samples of a task on which to measure the barrier between every two models that fit.
        data: Texts, or arrays for perceptrons, on which to compare representations; the base is run too.
        view: How they are looked at; by default as [`view_for`][] chooses.
        cache: A folder that keeps what language models leave behind on the data, so that none is run twice.
        execution: How to read and compute; by default with one worker for each processor.
        dtype: Element type to run language models in; by default theirs.
        watch: Told how far each part of the work is.

    Raises:
        ValueError: If there are fewer than two models, one of them is the base, or spectra are asked for without one.
        CheckpointError: If a model cannot be read, or is damaged.
        ConfigError: If a library that a model needs is not installed.
        OutputError: If the cache cannot be written.

    Examples:
        >>> import torch
        >>> draws = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> found = compare([{"w": draws[0]}, {"w": draws[0] + 0.1 * draws[1]}, {"w": draws[2]}])
        >>> [pair.verdict.action for pair in found.pairs]
        ['merge', 'align first', 'align first']
    """
    opened, base_opened, _ = open_models(models, base, None)
    if len(opened) < 2:
        raise ValueError(f"Expected two or more models to compare, but found {len(opened)}.")
    if with_spectra and base_opened is None:
        raise ValueError("Spectra are those of task vectors: name the base that the models were tuned from.")
    names = names_of(opened)
    differences = {
        (i, j): differences_between(opened[i], opened[j]) for i, j in combinations(range(len(opened)), 2)
    }
    members = _groups(len(opened), {pair for pair, found in differences.items() if found.misfit is None})
    groups = [
        _group([opened[i] for i in each], base_opened, execution, with_spectra=with_spectra, watch=watch)
        for each in members
    ]
    label = None if base_opened is None else base_opened.source
    device = "cpu" if execution is None else execution.device
    sums, unseen = None, {}
    if data is not None:
        named = dict(zip(names, opened, strict=True))
        if base_opened is not None and label is not None:
            named = {label: base_opened, **named}
        view = view or view_for(data)
        sums, unseen = represent(named, data, view, cache=cache, device=device, dtype=dtype, watch=watch)
    line = _Line(chosen, dtype, device, watch, sum(math.comb(len(each), 2) for each in members))
    pairs = []
    for (i, j), found in differences.items():
        known = Evidence(found)
        if sums is not None and not {names[i], names[j]} & unseen.keys():
            known = replace(known, cka=representations(sums, names[i], names[j]))
        place = next((n for n, each in enumerate(members) if i in each and j in each), None)
        if place is not None:
            known = _measured(known, groups[place], members[place].index(i), members[place].index(j))
            known = line.measured(known, opened[i], opened[j])
        pairs.append(Pair(names[i], names[j], known))
    similarity = None if sums is None else sums.similarity()
    return Comparison(names, label, tuple(pairs), tuple(groups), similarity, unseen)


def _groups(count: int, fitting: set[tuple[int, int]]) -> list[list[int]]:
    """Models that fit each other, two or more in each group."""
    groups: list[list[int]] = []
    for i in range(count):
        home = next((group for group in groups if (group[0], i) in fitting), None)
        if home is None:
            groups.append([i])
        else:
            home.append(i)
    return [group for group in groups if len(group) > 1]


def _group(
    models: Sequence[Checkpoint],
    base: Checkpoint | None,
    execution: Execution | None,
    *,
    with_spectra: bool,
    watch: Watch | None,
) -> Group:
    """Measure models that fit each other, and their base if it fits too."""
    if base is not None and (why := differences_between(base, models[0]).misfit):
        raise CheckpointError(
            f"Expected a base that {models[0].source} was tuned from, but it does not fit. {why}"
        )
    found = geometry(models, base, execution=execution, watch=watch)
    decomposed: Mapping[str, Spectrum] = {}
    if base is not None and with_spectra:
        decomposed = spectra(models, base, found, execution=execution, watch=watch)
    return Group(found, parentage(found), decomposed)


def _measured(known: Evidence, group: Group, i: int, j: int) -> Evidence:
    """What is known of two models, with what their group has shown."""
    family, shift = group.parentage, 0 if group.geometry.base is None else 1
    kin = family.between(i + shift, j + shift)
    if group.geometry.base is None:
        relatives = (b for b in family.bases if b not in (i, j) and family.between(b, i).kinship == "related")
        return replace(known, kin=kin, likely_base=next((family.models[b] for b in relatives), None))
    return replace(
        known,
        kin=kin,
        from_base=(family.between(0, i + 1), family.between(0, j + 1)),
        task_vectors=_task_vectors(group.geometry, i, j),
    )


@dataclass
class _Line:
    """Measures the barriers of pairs, one after the other.

    Args:
        chosen: The samples; None to measure nothing.
        dtype: As `barrier` takes it.
        device: As there.
        watch: Told about the samples of all pairs.
        pairs: How many pairs there will be.
    """

    chosen: Chosen | None
    dtype: str | None
    device: str
    watch: Watch | None
    pairs: int
    _done: int = 0

    def measured(self, known: Evidence, first: Checkpoint, second: Checkpoint) -> Evidence:
        """What is known, with the barrier; or with the reason why these two have none."""
        if self.chosen is None:
            return known
        each = len(POINTS) * len(self.chosen)
        told = part(self.watch, self._done * each, self.pairs * each)
        self._done += 1
        try:
            found = barrier(first, second, self.chosen, dtype=self.dtype, device=self.device, watch=told)
        except (CheckpointError, ValueError) as error:
            return replace(known, unmeasured=str(error))
        return replace(known, barrier=found)


def _task_vectors(found: Geometry, i: int, j: int) -> TaskVectors:
    total = found.total
    relative = (math.inf, math.inf) if total.relative is None else (total.relative[i], total.relative[j])
    return TaskVectors(
        _known(total.cosines[i, j]),
        None if total.opposite_by_weight is None else _known(total.opposite_by_weight[i, j]),
        {share: float(overlap[i, j]) for share, overlap in total.overlap.items()},
        (float(relative[0]), float(relative[1])),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
