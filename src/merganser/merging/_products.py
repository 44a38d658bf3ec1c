"""Products of seeds, summed block by block over the flat parameters: the one pass that a Gram matrix needs.

A block's sum is kept in lanes: element i is added to lane i modulo 64, in the order of the elements, and the lanes are
added in halves at the end. So the sum is the same to the last bit whether numpy computes it, from numbers, or the loops
of `_kernels`, from what is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from merganser.merging._fused import add_products, is_worth_it, takes
from merganser.weights import Checkpoint

LANES = 64

BlockSums = Callable[[int, int, int], Float[np.ndarray, "blocks products"]]
"""Sums over the blocks of positions [begin, end), where `begin` begins one; the third argument is their length."""


def summed(
    products: Float[np.ndarray, "products positions"], block: int
) -> Float[np.ndarray, "blocks products"]:
    """Sums of products over blocks of positions, the last of which may be shorter."""
    count, positions = products.shape
    if block % LANES:
        return np.add.reduceat(products, np.arange(0, positions, block), axis=1).T
    blocks = -(-positions // block)
    padded = np.pad(products, ((0, 0), (0, blocks * block - positions)))
    lanes = padded.reshape(count, blocks, block // LANES, LANES).sum(axis=2)
    return _joined(lanes).T


def stored_sums(seeds: Sequence[Checkpoint], block: int) -> BlockSums | None:
    """What sums products of seeds from their stored numbers; None where that is not possible, or not worth it."""
    layout = seeds[0].layout
    if block % LANES or not is_worth_it(layout.size):
        return None
    dtypes = {name: {seed.spec(name).dtype for seed in seeds} for name in layout.names}
    if not all(len(each) == 1 and takes(next(iter(each))) for each in dtypes.values()):
        return None
    rows = {name: [seed.bits(name) for seed in seeds] for name in layout.names}
    if any(row is None for each in rows.values() for row in each):
        return None

    def sums(begin: int, end: int, block: int) -> Float[np.ndarray, "blocks products"]:
        pairs = len(seeds) * (len(seeds) + 1) // 2
        lanes = np.zeros((-(-(end - begin) // block), pairs, LANES))
        for piece in layout.locate(begin, end):
            parts = [row[piece.begin : piece.end] for row in rows[piece.name] if row is not None]
            add_products(next(iter(dtypes[piece.name])), parts, piece.position - begin, block, lanes)
        return _joined(lanes)

    return sums


def _joined(lanes: Float[np.ndarray, "*sums lanes"]) -> Float[np.ndarray, "*sums"]:
    """Add up lanes, in halves."""
    while lanes.shape[-1] > 1:
        half = lanes.shape[-1] // 2
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]
