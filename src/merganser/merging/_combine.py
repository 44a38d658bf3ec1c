r"""From a recipe to weights, in one pass over the seeds.

Each position is accumulated once from the seeds and rounded once: no rounding error builds up over
generations, however deep the ancestry. Sums run in float32 for half-precision and single-precision seeds
and in float64 for double-precision ones.

| form | for | here |
| --- | --- | --- |
| one flat vector | small models, written into a live network child after child | [`combine_flat`][] |
| a plan of the streaming executor | everything | [`plan_combination`][] |
| flat values with a donor's names | genomes that are vectors | [`checkpoint_of`][] |
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
from jaxtyping import Float, Int

from merganser.merging._combination import Combination
from merganser.merging._plan import MergePlan, Target
from merganser.merging.methods import MergeMethod, Mixture, Part, Rule
from merganser.weights import DTYPES, Aligned, Checkpoint, check_aligned

if TYPE_CHECKING:
    import torch


def combine_flat(
    combination: Combination,
    seeds: Float[np.ndarray, "seeds positions"],
    begin: int = 0,
    end: int | None = None,
) -> Float[np.ndarray, " positions"]:
    """Positions [begin, end) of a descendant, in the seeds' dtype.

    Args:
        combination: What to build.
        seeds: The seeds on exactly these positions.
        begin: First position.
        end: One past the last position; by default P.

    Examples:
        >>> half = Combination(("a", "b"), [0, 1, 3], [[1.0, 0.0], [0.5, 0.5]])
        >>> combine_flat(half, np.array([[2.0, 2.0, 2.0], [4.0, 4.0, 4.0]]))
        array([2., 3., 3.])
    """
    end = combination.size if end is None else end
    if seeds.shape != (len(combination.seeds), end - begin):
        raise ValueError(
            f"Positions [{begin}, {end}) of {len(combination.seeds)} seeds need an array of shape "
            f"{(len(combination.seeds), end - begin)}, but it has {seeds.shape}."
        )
    breaks, coefficients = _within(combination, begin, end)
    lengths, coefficients = np.diff(breaks), coefficients.astype(seeds.dtype)
    child = np.repeat(coefficients[:, 0], lengths) * seeds[0]
    for k in range(1, len(seeds)):
        child += np.repeat(coefficients[:, k], lengths) * seeds[k]
    return child


def _within(
    combination: Combination, begin: int, end: int
) -> tuple[Int[np.ndarray, " breaks"], Float[np.ndarray, "segments seeds"]]:
    """The breaks of positions [begin, end), both of them among these, and the coefficients between."""
    first = int(np.searchsorted(combination.breaks, begin, side="right")) - 1
    last = int(np.searchsorted(combination.breaks, end, side="left"))
    breaks = np.clip(combination.breaks[first : last + 1], begin, end)
    return breaks, combination.coefficients[first:last]


def plan_combination(combination: Combination, seeds: Sequence[Checkpoint]) -> MergePlan:
    """A combination as a plan of the streaming executor.

    A seed that has no share in a tensor is not read for it: it can neither damage the tensor nor turn a −0 into 0.

    Raises:
        ValueError: If a seed that the recipe names is missing, or they do not align.
    """
    checkpoints = _in_order(combination, seeds)
    layout = check_aligned(checkpoints)
    if layout.size != combination.size:
        raise ValueError(
            f"The recipe counts {combination.size} parameters, but the seeds have {layout.size}. "
            "Was it made for others?"
        )
    donor = checkpoints[0]
    spans = layout.spans()
    sharing = {name: _sharing(combination, *span) for name, span in spans.items()}
    method = _Combine(combination, {name: begin for name, (begin, _) in spans.items()}, sharing)
    merged = [
        Target(donor.spec(n), Aligned(tuple((checkpoints[k], n) for k in sharing[n])), method)
        for n in layout.names
    ]
    copied = [Target(donor.spec(n), Aligned(((donor, n),)), None) for n in donor.buffers]
    return MergePlan("combination", checkpoints, donor, (*merged, *copied), donor.config)


def _sharing(combination: Combination, begin: int, end: int) -> tuple[int, ...]:
    """Which seeds contribute to positions [begin, end); the first where none does."""
    _, coefficients = _within(combination, begin, end)
    return tuple(np.flatnonzero(coefficients.any(axis=0)).tolist()) or (0,)


@final
@dataclass(frozen=True, eq=False)
class _Combine(MergeMethod):
    """A combination in the place of a merge method.

    Args:
        combination: What is to be built.
        starts: Where each tensor begins in the flat order.
        sharing: Which seeds each tensor is made of: its sources.
    """

    rule: ClassVar[Rule] = Rule(
        "a linear combination of seeds, segment by segment", "", base="refused", space="weights"
    )
    combination: Combination
    starts: Mapping[str, int]
    sharing: Mapping[str, tuple[int, ...]]

    def treatment(self, tensor: str, numel: int) -> Hashable:
        """The segments that a tensor has a part of: most children of a search differ in few of them."""
        segments = self._segments(tensor, 0, numel)
        return segments.breaks.tobytes(), segments.coefficients.tobytes()

    def mixture(self, tensor: str, begin: int, end: int, *, stats: Any, has_base: bool) -> Mixture:  # noqa: ARG002
        """The segments themselves."""
        return self._segments(tensor, begin, end)

    def combine(self, part: Part, stats: Any) -> torch.Tensor:  # noqa: ARG002
        """Add up the segments that this part touches."""
        mixture = self._segments(part.tensor, part.begin, part.begin + part.values.shape[1])
        breaks, child = mixture.breaks, part.values[0]
        for segment, first, last in zip(mixture.coefficients, breaks[:-1], breaks[1:], strict=True):
            for values, coefficient in zip(part.values, segment, strict=True):
                values[first:last] *= coefficient  # as combine_flat rounds: product by product, sum by sum
            for values in part.values[1:]:
                child[first:last] += values[first:last]
        return child

    def _segments(self, tensor: str, begin: int, end: int) -> Mixture:
        start = self.starts[tensor]
        breaks, coefficients = _within(self.combination, start + begin, start + end)
        return Mixture(breaks - (start + begin), coefficients[:, self.sharing[tensor]])


def checkpoint_of(flat: Float[np.ndarray, " positions"], donor: Checkpoint) -> Checkpoint:
    """Flat parameters as a checkpoint; names, shapes, dtypes, buffers and configuration are the donor's.

    Raises:
        ValueError: If there are more or fewer parameters than the donor has.
    """
    tensors: dict[str, Any] = {name: donor.read(name) for name in donor.buffers}
    for name, values in donor.layout.unflatten(flat).items():
        tensors[name] = stored_as(values, donor, name)
    return Checkpoint.from_tensors(tensors, config=donor.config)


def stored_as(values: Float[np.ndarray, "*shape"], donor: Checkpoint, name: str) -> Any:
    """Values in the element type in which the donor stores this tensor, rounded once."""
    wanted = DTYPES[donor.spec(name).dtype].library
    if values.dtype.name == wanted:
        return values
    import torch

    return torch.tensor(values).to(getattr(torch, wanted))


def _in_order(combination: Combination, seeds: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    by_digest = {c.digest: c for c in seeds}
    missing = [d for d in combination.seeds if d not in by_digest]
    if missing:
        raise ValueError(
            f"The recipe needs the seed with digest {missing[0]}, but the given ones have "
            f"{', '.join(sorted(by_digest)) or 'none'}. A recipe is only valid for the very files it was made from."
        )
    return tuple(by_digest[d] for d in combination.seeds)
