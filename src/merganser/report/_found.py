"""What a comparison or a series left in its folder, as values; read from JSON, never from a live object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from merganser._errors import RunError
from merganser.evaluation import Interval
from merganser.weights import short_names

VERSION = 1
KINDS = ("comparison", "series")
_UNKNOWN = float("nan")


class Point(NamedTuple):
    """A score on the line between two models.

    Attributes:
        t: Where, from 0, the first model, to 1, the second.
        score: Mean score there.
    """

    t: float
    score: Interval


@dataclass(frozen=True)
class PairFound:
    """Two models and what to do with them.

    Attributes:
        names: What they are called here.
        action: The recommendation.
        words: Action and methods, as one says them.
        confidence: How sure it is.
        evidence: What it rests on.
        kinship: How their weights are related; None if they do not fit each other.
        cosine: Median cosine of their matrices; None if unknown.
        task_cosine: Of their differences from the base.
        cka: Mean over layers at the same depth.
        line: Scores between them; empty if they were not measured.
        height: What is lost between them.
        gain: What their average scores beyond the better one.
    """

    names: tuple[str, str]
    action: str
    words: str
    confidence: str
    evidence: tuple[str, ...]
    kinship: str | None
    cosine: float | None
    task_cosine: float | None
    cka: Interval | None
    line: tuple[Point, ...]
    height: Interval | None
    gain: Interval | None

    @property
    def label(self) -> str:
        """Both names."""
        return " and ".join(self.names)


@dataclass(frozen=True)
class MapFound:
    """CKA of all layers of all models.

    Attributes:
        sites: Model and layer of each row and column.
        values: CKA, row by row; NaN where there is none.
        low: Lower ends of the intervals.
        high: Upper ends.
        caveats: What to beware of.
    """

    sites: tuple[tuple[str, str], ...]
    values: Sequence[Sequence[float]]
    low: Sequence[Sequence[float]]
    high: Sequence[Sequence[float]]
    caveats: tuple[str, ...]


@dataclass(frozen=True)
class ComparisonFound:
    """A comparison.

    Attributes:
        models: What the models are called here.
        base: What the base is called; None without one.
        pairs: Every two of them.
        lengths: Of every model, by component, the length of its difference from the base beside the base.
        similarity: CKA of all layers; None if it was not measured.
        ranks: By layer, of every model that was decomposed, how many directions its task vector uses.
        thresholds: By name, the number and its source.
    """

    models: tuple[str, ...]
    base: str | None
    pairs: tuple[PairFound, ...]
    lengths: Mapping[str, Mapping[str, float]]
    similarity: MapFound | None
    ranks: Mapping[str, Mapping[str, float]]
    thresholds: Mapping[str, tuple[float, str]]


class StepFound(NamedTuple):
    """One step of a series.

    Attributes:
        step: Training steps.
        cka: Mean over layers at the same depth.
        first: Score of one model.
        second: Score of the other.
        merged: Score of their average.
        gain: What it scores beyond the better one.
        lengths: Of both, beside the base.
        cosine: Of their differences from the base, or of the models without one.
        may_be_best: Whether it may be the best step.
    """

    step: int
    cka: Interval | None
    first: Interval | None
    second: Interval | None
    merged: Interval | None
    gain: Interval | None
    lengths: tuple[float, float] | None
    cosine: float | None
    may_be_best: bool


@dataclass(frozen=True)
class SeriesFound:
    """Two models trained apart, step by step.

    Attributes:
        base: What both began as; None if it was not given.
        task: What scores; None without.
        steps: The steps.
        best: The critical point; None without scores.
        falls: Whether training past it is shown to cost something.
        words: When to stop, in sentences.
        caveats: What to beware of when reading CKA.
    """

    base: str | None
    task: str | None
    steps: tuple[StepFound, ...]
    best: int | None
    falls: bool
    words: tuple[str, ...]
    caveats: tuple[str, ...]


def read_found(folder: str | Path) -> ComparisonFound | SeriesFound:
    """Read what `compare --out` or `series --out` wrote.

    Raises:
        RunError: If the folder holds neither, another version, or something damaged.
    """
    path = next((path for kind in KINDS if (path := Path(folder) / f"{kind}.json").is_file()), None)
    if path is None:
        raise RunError(
            f"Expected comparison.json or series.json in {folder}, but found neither. Write one: `merganser compare … "
            "--out DIR`."
        )
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if (data["kind"], data["version"]) != (path.stem, VERSION):
            raise RunError(
                f"Expected a {path.stem} of version {VERSION} in {path}, found {data['kind']}, version "
                f"{data['version']}. Write it again."
            )
        return _comparison(data) if path.stem == "comparison" else _series(data)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error!r}. Write it again.") from error


def _comparison(data: Mapping[str, Any]) -> ComparisonFound:
    sources = [*data["models"], *([] if data["base"] is None else [data["base"]])]
    names = short_names(sources)
    lengths: dict[str, dict[str, float]] = {}
    for group in data["geometry"]:
        parts = {"all": group["total"], **group["components"]}
        for i, model in enumerate(group["models"]):
            found = {name: _relative(part, i) for name, part in parts.items()}
            if found["all"] is not None:
                lengths[names[model]] = {name: value for name, value in found.items() if value is not None}
    ranks: dict[str, dict[str, float]] = {}
    groups = [group["models"] for group in data["geometry"]]
    for models, layers in zip(groups, data["spectra"], strict=False):
        for layer, found in layers.items():
            row = zip((names[model] for model in models), found["stable_rank"], strict=True)
            ranks.setdefault(layer, {}).update({name: value for name, value in row if value is not None})
    return ComparisonFound(
        tuple(names[model] for model in data["models"]),
        None if data["base"] is None else names[data["base"]],
        tuple(_pair(each, names) for each in data["pairs"]),
        lengths,
        None if data["similarity"] is None else _map(data["similarity"], names),
        ranks,
        {name: (row["value"], row["source"]) for name, row in data["thresholds"].items()},
    )


def _pair(data: Mapping[str, Any], names: Mapping[str, str]) -> PairFound:
    first, second = (names[model] for model in data["models"])
    verdict, kin, line = data["verdict"], data["kin"] or {}, data["barrier"] or {}
    return PairFound(
        (first, second),
        verdict["action"],
        verdict["words"],
        verdict["confidence"],
        tuple(verdict["evidence"]),
        kin.get("kinship"),
        kin.get("cosine"),
        (data["task_vectors"] or {}).get("cosine"),
        _interval(data["cka"] and data["cka"]["cka"]),
        tuple(Point(each["t"], _sure(each)) for each in line.get("points", ())),
        _interval(line.get("height")),
        _interval(line.get("gain")),
    )


def _map(data: Mapping[str, Any], names: Mapping[str, str]) -> MapFound:
    values, low, high = (
        [[_UNKNOWN if value is None else value for value in row] for row in data[name]]
        for name in ("values", "low", "high")
    )
    sites = tuple((names.get(model, model), layer) for model, layer in data["sites"])
    return MapFound(sites, values, low, high, tuple(data["caveats"]))


def _series(data: Mapping[str, Any]) -> SeriesFound:
    kept = set(data["may_be_best"])
    last = data["steps"][-1]["cka"]
    return SeriesFound(
        data["base"],
        data["task"],
        tuple(_step(each, kept) for each in data["steps"]),
        data["best"],
        data["falls"],
        tuple(data["words"]),
        () if last is None else tuple(last["caveats"]),
    )


def _step(data: Mapping[str, Any], kept: set[int]) -> StepFound:
    line = data["line"] or {"points": []}
    scores = {each["t"]: _sure(each) for each in line["points"]}
    lengths = data["lengths"]
    return StepFound(
        data["step"],
        _interval(data["cka"] and data["cka"]["cka"]),
        scores.get(0.0),
        scores.get(1.0),
        scores.get(0.5),
        _interval(data["gain"]),
        None if lengths is None else (lengths[0], lengths[1]),
        data["cosine"],
        data["step"] in kept,
    )


def _relative(part: Mapping[str, Any], i: int) -> float | None:
    return part["norms"][i] / part["base"] if part["base"] else None


def _interval(data: Mapping[str, Any] | None) -> Interval | None:
    return None if data is None or data["value"] is None else _sure(data)


def _sure(data: Mapping[str, Any]) -> Interval:
    """An interval; where its ends are not known, they are NaN."""
    return Interval(*(_UNKNOWN if data[k] is None else data[k] for k in ("value", "low", "high")))
