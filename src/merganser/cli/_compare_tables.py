"""What `merganser compare` prints: tables of figures, verdicts, and what to beware of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TypeAlias

from rich.markup import escape
from rich.table import Table

from merganser.cli._output import plain_table, say_far, tables, with_interval, words
from merganser.comparison import Comparison, Estimate, Geometry, Group, Pair
from merganser.merging import FAR
from merganser.weights import short_names

Names: TypeAlias = Mapping[str, str]
"""What models are called here."""


def show(found: Comparison) -> None:
    """A comparison as people read it."""
    names = short_names([*found.models, *([] if found.base is None else [found.base])])
    for pair in found.pairs:
        tables.print(f"[bold]{_both(pair, names)}[/]", *map(escape, pair.known.differences.words), sep="\n  ")
    for group in found.groups:
        _show_group(group, names)
    tables.print()
    tables.print(_pairs(found, names))
    for pair in found.pairs:
        _show_verdict(pair, names)
    if found.similarity is not None:
        show_caveats(found.similarity.caveats())
    for model, why in found.unseen.items():
        words.print(f"{names[model]} could not be run on the data: {why}", soft_wrap=True, markup=False)
    words.print(
        "What these verdicts turn on, and what that rests on, `--json` lists under `thresholds`.",
        soft_wrap=True,
    )


def show_caveats(caveats: Sequence[str]) -> None:
    """What to beware of when reading CKA."""
    tables.print()
    tables.print("[bold]What to know about CKA[/]", *map(escape, caveats), sep="\n  ", soft_wrap=True)


def _show_group(group: Group, names: Names) -> None:
    """What the weights of models that fit each other show."""
    if group.geometry.base is not None:
        tables.print()
        tables.print(_task_vectors(group.geometry, names))
    if group.spectra:
        tables.print()
        tables.print(_spectra(group, names))
    for name, length in _lengths(group.geometry):
        if length > FAR:
            say_far(name, length)
    for place in group.parentage.bases:
        name = escape(names[group.parentage.models[place]])
        words.print(
            f"{name} looks like the base of its relatives, or like the middle of a chain.", soft_wrap=True
        )
    if group.geometry.left_out:
        words.print(f"{len(group.geometry.left_out)} tensors do not fit, and are left out.", soft_wrap=True)


def _lengths(found: Geometry) -> list[tuple[str, float]]:
    relative = found.total.relative
    return [] if relative is None else list(zip(found.models, relative.tolist(), strict=True))


def _task_vectors(found: Geometry, names: Names) -> Table:
    """Lengths of task vectors beside the base, by component."""
    table = plain_table("length / base", "all", *found.components, right=("all", *found.components))
    parts = [found.total, *found.components.values()]
    for i, model in enumerate(found.models):
        cells = ("–" if part.relative is None else f"{part.relative[i]:.3g}" for part in parts)
        table.add_row(escape(names[model]), *cells)
    return table


def _spectra(group: Group, names: Names) -> Table:
    """Of every layer and every two models: ranks, and what they share."""
    figures = ("stable ranks", "cosine", "shared outputs", "shared inputs")
    table = plain_table("layer", "pair", *figures, right=figures)
    models = [names[model] for model in group.geometry.models]
    for layer, found in group.spectra_by_layer.items():
        for i, j in combinations(range(len(models)), 2):
            ranks = f"{found.stable_rank[i]:.3g} and {found.stable_rank[j]:.3g}"
            shared = (f"{each[i, j]:.3f}" for each in (found.cosine, found.outputs, found.inputs))
            table.add_row(escape(layer), escape(f"{models[i]} and {models[j]}"), ranks, *shared)
    return table


def _pairs(found: Comparison, names: Names) -> Table:
    """The figures of every two models."""
    figures = ["cosine", "distance"]
    figures += ["task cosine", "opposite", "overlap 1 %", "10 %"] if found.base is not None else []
    figures += ["CKA (95 %)"] if found.similarity is not None else []
    figures += ["barrier (95 %)"] if any(pair.known.barrier for pair in found.pairs) else []
    table = plain_table("pair", "weights", *figures, right=figures)
    for pair in found.pairs:
        known, vectors = pair.known, pair.known.task_vectors
        kin = known.kin
        cells = [_number(kin and kin.cosine), _number(kin and kin.distance)]
        if found.base is not None:
            shares = [vectors and vectors.opposite, *(vectors.overlap.values() if vectors else (None, None))]
            cells += [_number(vectors and vectors.cosine), *map(_share, shares)]
        if found.similarity is not None:
            cells.append(estimate(known.cka and known.cka.cka))
        if "barrier (95 %)" in figures:
            cells.append(with_interval(known.barrier and known.barrier.height))
        table.add_row(_both(pair, names), kin.kinship if kin else "do not fit", *cells)
    return table


def _show_verdict(pair: Pair, names: Names) -> None:
    found = pair.verdict
    lines: Sequence[str] = [f"[bold]{_both(pair, names)}: {found.words}[/] ({found.confidence})"]
    tables.print()
    tables.print(*lines, *map(escape, found.evidence), sep="\n  ", soft_wrap=True)


def _both(pair: Pair, names: Names) -> str:
    return f"{escape(names[pair.first])} and {escape(names[pair.second])}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def estimate(found: Estimate | None) -> str:
    """A similarity with its interval.

    Examples:
        >>> estimate(Estimate(0.91, 0.9, 0.92)), estimate(Estimate(0.5, float("nan"), float("nan")))
        ('0.910 (0.900 to 0.920)', '0.500')
    """
    if found is None:
        return "–"
    return f"{found.value:.3f}" + ("" if math.isnan(found.low) else f" ({found.low:.3f} to {found.high:.3f})")


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
