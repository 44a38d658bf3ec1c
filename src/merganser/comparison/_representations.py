r"""How alike two models' representations are, layer beside layer.

Layers at the same depth are compared: layer $i$ of $m$ with layer $\mathrm{round}(i\,(n - 1) / (m - 1))$ of $n$,
which is $i$ where $m = n$. The figure of the pair is the mean over depths. All layers see the same data, so their
errors do not average out: the interval is the mean of theirs, as wide as if they erred together. What chance gives is
bounded in the same way: the deviation of a mean over permutations is at most the mean of the deviations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from merganser._errors import CheckpointError
from merganser.comparison._compare_features import compare_features, imprint_of
from merganser.comparison._data import Data
from merganser.comparison._geometry import plain
from merganser.comparison._imprint import Imprint
from merganser.comparison._similarity import Estimate, Similarity
from merganser.comparison._sums import SimilaritySums
from merganser.comparison._tick import Tick, Watch, part
from merganser.comparison._view import View
from merganser.models import perceptron_module
from merganser.weights import Checkpoint


class Depth(NamedTuple):
    """Two layers at the same depth.

    Attributes:
        first: Layer of one model.
        second: Layer of the other.
        cka: How alike they are.
    """

    first: str
    second: str
    cka: Estimate


@dataclass(frozen=True, slots=True)
class Representations:
    """How alike two models' representations are on data.

    Attributes:
        depths: CKA of the layers at the same depth.
        chance: At most which share of permutations of one side's rows give a mean CKA as large, in (0, 1].
        cknna: Mean CKNNA over depths; None if neighbours were not asked for.
        mutual_knn: Mean share of nearest neighbours in common; None likewise.
        neighbours_by_chance: Share that chance gives.
        caveats: What to beware of.
    """

    depths: tuple[Depth, ...]
    chance: float
    cknna: Estimate | None
    mutual_knn: Estimate | None
    neighbours_by_chance: float | None
    caveats: tuple[str, ...]

    @property
    def cka(self) -> Estimate:
        """Mean over depths."""
        return _mean([depth.cka for depth in self.depths])

    @property
    def lowest(self) -> Depth:
        """Where they are least alike."""
        known = [depth for depth in self.depths if not np.isnan(depth.cka.value)]
        return min(known or self.depths, key=lambda depth: depth.cka.value)

    @property
    def words(self) -> str:
        """What was found, in a sentence without its full stop."""
        found = f"CKA {said(self.cka)} at the same depth, mean over {len(self.depths)} layers"
        if len(self.depths) > 1:
            found += f"; lowest at {self.lowest.first}: {said(self.lowest.cka)}"
        if self.mutual_knn is not None:
            found += (
                f"; {self.mutual_knn.value:.0%} of nearest neighbours in common, by chance "
                f"{self.neighbours_by_chance:.0%}"
            )
        return f"{found}. Permuted rows give such a CKA in at most {self.chance:.2g} of cases"

    def to_json(self) -> dict[str, Any]:
        """As plain data; None where a number is undefined."""
        return {
            "cka": plain_estimate(self.cka),
            "depths": [{**each._asdict(), "cka": plain_estimate(each.cka)} for each in self.depths],
            "chance": plain(self.chance),
            "cknna": self.cknna and plain_estimate(self.cknna),
            "mutual_knn": self.mutual_knn and plain_estimate(self.mutual_knn),
            "neighbours_by_chance": self.neighbours_by_chance,
            "caveats": list(self.caveats),
        }


def represent(
    models: Mapping[str, Checkpoint],
    data: Data,
    view: View,
    *,
    cache: str | Path | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    watch: Watch | None = None,
) -> tuple[SimilaritySums | None, dict[str, str]]:
    """Run models on data, one after the other.

    Args:
        models: Checkpoints by name.
        data: Texts, or arrays.
        view: How they are looked at.
        cache: As in [`compare_features`][].
        device: Where to compute.
        dtype: Element type to compute in; by default that of the model.
        watch: Told about texts that were read.

    Returns:
        Sums of those that could be run, None if fewer than two could; and why the others could not.

    Raises:
        ValueError: If rows are tokens and models read texts as different ones.
        ConfigError: If a library is missing.
    """
    imprints: dict[str, Imprint] = {}
    unseen: dict[str, str] = {}
    features: Any = _batches(data, view) if isinstance(data, np.ndarray) else data
    for number, (name, model) in enumerate(models.items()):
        told = part(watch, number * len(data), len(models) * len(data))
        notice = _noticed(told, name, len(data))
        try:
            if features is not data:
                imprints[name] = _of_perceptron(model, features, view, notice)
                continue
            imprints[name] = imprint_of(
                model, features, view, cache=cache, device=device, dtype=dtype, seen=notice
            )
        except (CheckpointError, ValueError) as error:
            unseen[name] = str(error)
    return (compare_features(imprints, features, view) if len(imprints) > 1 else None), unseen


def representations(sums: SimilaritySums, first: str, second: str) -> Representations:
    """How alike two of the models are.

    Args:
        sums: What was measured.
        first: Name of one.
        second: Name of the other.

    Raises:
        ValueError: If there is no such model.
    """
    cka = sums.similarity().of(first, second)
    depths = same_depth(cka, first, second)
    found = tuple(Depth(a, b, cka.between((first, a), (second, b))) for a, b in depths)
    near = {
        measure: _mean([each.between((first, a), (second, b)) for a, b in depths])
        for measure in ("cknna", "mutual_knn")
        if measure in sums.products
        for each in [sums.similarity(measure)]
    }
    share = None
    if sums.neighbours is not None:
        share = min(1.0, sums.neighbours / (sums.rows / sums.batches - 1))
    return Representations(
        found,
        _chance(cka, first, second, depths),
        near.get("cknna"),
        near.get("mutual_knn"),
        share,
        cka.caveats(),
    )


def same_depth(found: Similarity, first: str, second: str) -> list[tuple[str, str]]:
    """Layers at the same depth, for every layer of the first."""
    rows, columns = ([site.layer for site in found.sites if site.model == name] for name in (first, second))
    scale = (len(columns) - 1) / max(len(rows) - 1, 1)
    return [(layer, columns[round(i * scale)]) for i, layer in enumerate(rows)]


def said(found: Estimate) -> str:
    """An estimate for people.

    Examples:
        >>> said(Estimate(0.91234, 0.9, 0.92)), said(Estimate(0.5, float("nan"), float("nan")))
        ('0.912 (0.900 to 0.920)', '0.500 (no interval)')
    """
    if np.isnan(found.low):
        return f"{found.value:.3f} (no interval)"
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def plain_estimate(found: Estimate) -> dict[str, float | None]:
    """As plain data; None where a number is undefined."""
    return {name: plain(value) for name, value in found._asdict().items()}


def _mean(found: list[Estimate]) -> Estimate:
    known = [each for each in found if not np.isnan(each.value)]
    if not known:
        return Estimate(*[float("nan")] * 3)
    return Estimate(*(float(np.mean(column)) for column in zip(*known, strict=True)))


def _chance(cka: Similarity, first: str, second: str, depths: list[tuple[str, str]]) -> float:
    """Cantelli's inequality, as in `Similarity.chance_of`, for the mean over depths."""
    assert cka.chance is not None
    places = [(cka.index((first, a)), cka.index((second, b))) for a, b in depths]
    known = [at for at in places if cka.chance[at] > 0]
    if not known:
        return 1.0
    value, spread = (float(np.mean([each[at] for at in known])) for each in (cka.values, cka.chance))
    return 1 / (1 + (max(value, 0.0) / spread) ** 2)


def _noticed(told: Watch | None, name: str, count: int) -> Any:
    if told is None:
        return None
    return lambda done: told(Tick(f"running {name.rsplit('/', 1)[-1]}", done, count, "texts"))


def _batches(inputs: Any, view: View) -> list[Any]:
    import torch

    return list(torch.from_numpy(np.ascontiguousarray(inputs)).split(view.rows))


def _of_perceptron(model: Checkpoint, batches: list[Any], view: View, seen: Any) -> Imprint:
    """A perceptron is looked at where its layers end, before what bends."""
    module, names = perceptron_module(model, batches[0][0].numel())
    layers = view.layers or tuple(name.removesuffix(".weight") for name in names if name.endswith(".weight"))
    return replace(Imprint.of(module, batches, replace(view, layers=layers), seen=seen), view=view)
