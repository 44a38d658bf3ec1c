"""Models side by side: what they differ in, how they are related, and what to do with every two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

from merganser._errors import CheckpointError
from merganser.comparison._barrier import barrier
from merganser.comparison._differences import differences_between
from merganser.comparison._geometry import Geometry, geometry, names_of
from merganser.comparison._parentage import Parentage, parentage
from merganser.comparison._spectra import LayerSpectra, Spectrum, spectra, spectra_by_layer
from merganser.comparison._thresholds import THRESHOLDS
from merganser.comparison._verdict import Evidence, TaskVectors, Verdict, judge
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
            "barrier": known.barrier and known.barrier.to_json(),
            "unmeasured": known.unmeasured,
            "cka": known.cka,
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
    """

    models: tuple[str, ...]
    base: str | None
    pairs: tuple[Pair, ...]
    groups: tuple[Group, ...]

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
            "thresholds": {name: {**row._asdict(), "calibrated": False} for name, row in THRESHOLDS.items()},
        }


def compare(
    models: Sequence[Model],
    base: Model | None = None,
    *,
    with_spectra: bool = False,
    chosen: Chosen | None = None,
    cka: Mapping[tuple[int, int], str] | None = None,
    execution: Execution | None = None,
    dtype: str | None = None,
) -> Comparison:
    """Compare models, and recommend what to do with every two of them.

    Args:
        models: Two or more, each as `merge` takes it.
        base: The model they were tuned from, if it is known.
        with_spectra: Whether to decompose task vectors too, matrix by matrix, which takes much longer.
        chosen: Samples of a task on which to measure the barrier between every two models that fit.
        cka: How alike two models' representations are on data, in words, by their places; the smaller first.
        execution: How to read and compute; by default with one worker for each processor.
        dtype: Element type to score language models in; by default theirs.

    Raises:
        ValueError: If there are fewer than two models, one of them is the base, or spectra are asked for without one.
        CheckpointError: If a model cannot be read, or is damaged.
        ConfigError: If a library that a model needs is not installed.

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
        _group([opened[i] for i in each], base_opened, execution, with_spectra=with_spectra)
        for each in members
    ]
    pairs = []
    for (i, j), found in differences.items():
        known = Evidence(found, cka=(cka or {}).get((i, j)))
        place = next((n for n, each in enumerate(members) if i in each and j in each), None)
        if place is not None:
            known = _measured(known, groups[place], members[place].index(i), members[place].index(j))
        if place is not None and chosen is not None:
            device = "cpu" if execution is None else execution.device
            known = _with_barrier(known, opened[i], opened[j], chosen, dtype=dtype, device=device)
        pairs.append(Pair(names[i], names[j], known))
    label = None if base_opened is None else base_opened.source
    return Comparison(names, label, tuple(pairs), tuple(groups))


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
    models: Sequence[Checkpoint], base: Checkpoint | None, execution: Execution | None, *, with_spectra: bool
) -> Group:
    """Measure models that fit each other, and their base if it fits too."""
    if base is not None and (why := differences_between(base, models[0]).misfit):
        raise CheckpointError(
            f"Expected a base that {models[0].source} was tuned from, but it does not fit. {why}"
        )
    found = geometry(models, base, execution=execution)
    decomposed = (
        spectra(models, base, found, execution=execution) if base is not None and with_spectra else {}
    )
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


def _with_barrier(
    known: Evidence, first: Checkpoint, second: Checkpoint, chosen: Chosen, *, dtype: str | None, device: str
) -> Evidence:
    """What is known, with the barrier; or with the reason why these two have none."""
    try:
        return replace(known, barrier=barrier(first, second, chosen, dtype=dtype, device=device))
    except (CheckpointError, ValueError) as error:
        return replace(known, unmeasured=str(error))


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
