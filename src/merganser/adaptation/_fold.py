"""An expert in a base's plain weights: a checkpoint whose rows are computed when they are read."""

from __future__ import annotations

from functools import partial

from merganser.adaptation._decomposition import Decomposition
from merganser.adaptation._expert import ExpertVector, check_base
from merganser.adaptation._factors import factorise, matrix_digest
from merganser.weights import Checkpoint, LowRank, UpdatedSource


def fold(base: Checkpoint, expert: ExpertVector, decomposition: Decomposition | None = None) -> Checkpoint:
    r"""The base with $U\,\mathrm{diag}(\sigma \circ (e - 1))\,V^\top$ added to the matrices that an expert adapts.

    Matrices whose gains are all 0 stay as they are, bit for bit; bytes of the others are rounded once to their stored
    type. Signs of singular vectors cancel, so a decomposition made anew gives the same but for rounding.

    Args:
        base: The base; its adapted matrices are read once, to compare their digests.
        expert: The expert.
        decomposition: Of the base; without one, each matrix is decomposed when reading it begins.

    Raises:
        CheckpointError: If the expert was made for another base.
        ValueError: If the decomposition lacks a matrix or directions of it.
    """
    found = {name: matrix_digest(base.read(name)) for name in expert if name in base}
    check_base(expert, found, base.source)
    if decomposition is not None:
        check_decomposition(expert, decomposition)
    changed = [name for name in expert if expert.gains(name).any()]
    updates = {name: partial(_update, base, expert, decomposition, name) for name in changed}
    return Checkpoint(
        UpdatedSource(base, updates),
        source=f"{base.source} with an expert",
        home=base.home,
        config=base.config,
        metadata=base.metadata,
        tied=base.tied,
    )


def check_decomposition(expert: ExpertVector, decomposition: Decomposition) -> None:
    """Make sure that a decomposition has all directions of the matrices that an expert was made for.

    Raises:
        CheckpointError: If it is of another base.
        ValueError: If it has fewer directions.
    """
    check_base(expert, decomposition.digests, decomposition.source)
    for name, vector in expert.vectors.items():
        if len(vector) > (there := len(decomposition[name].sigma)):
            raise ValueError(
                f"The expert scales {len(vector)} directions of {name!r}, but the decomposition has {there}. "
                "Use the decomposition without `leading`, or with more."
            )


def _update(
    base: Checkpoint, expert: ExpertVector, decomposition: Decomposition | None, name: str
) -> LowRank:
    factors = factorise(base.read(name)) if decomposition is None else decomposition[name]
    gains = expert.gains(name)
    factors = factors.leading(len(gains))
    return LowRank(factors.left.T * (factors.sigma * gains), factors.right, 1.0)
