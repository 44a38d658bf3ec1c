"""Who is used where, and how undecided routers are: read off a routed net while it runs, as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from merganser._errors import TaskError
from merganser.models import evaluating, outputs_of
from merganser.routing.layers._assemble import RoutedNet
from merganser.routing.layers._data import LabelledRows, TokenWindows


@dataclass(frozen=True, slots=True, eq=False)
class Usage:
    """What routers did on data.

    Attributes:
        experts: Names of the models.
        depths: For each block the depths whose MLPs it uses, its own first.
        shares: Mean share by block, depth (in the order of `depths`) and model; those of a block add up to 1.
        entropy: Mean entropy of the shares by block, in nats, from 0 (one expert has all) to
            log(depths · models).
        tokens: Tokens, or other positions, that were seen.
    """

    experts: tuple[str, ...]
    depths: tuple[tuple[int, ...], ...]
    shares: Float[np.ndarray, "blocks depths models"]
    entropy: Float[np.ndarray, " blocks"]
    tokens: int

    @property
    def by_expert(self) -> Float[np.ndarray, "blocks models"]:
        """Mean share by block and model, whatever the depth."""
        return self.shares.sum(axis=1)

    @property
    def by_distance(self) -> Float[np.ndarray, "blocks depths"]:
        """Mean share by block and depth, whatever the model."""
        return self.shares.sum(axis=2)


def usage_of(net: RoutedNet, data: TokenWindows | LabelledRows, *, batch: int = 8) -> Usage:
    """Run a net on all rows and look at its gates.

    Args:
        net: The net.
        data: What it is run on; padding does not count.
        batch: Rows of a call.

    Raises:
        TaskError: If there are no rows.
    """
    import torch

    if len(data) == 0:
        raise TaskError("Expected rows to look at the use of experts on, found none.")
    gates = [f"{place}.gate" for place in net.mlps]
    sums: Any = 0.0
    entropy, tokens = np.zeros(len(gates)), 0
    with torch.inference_mode(), evaluating(net.module):
        for begin in range(0, len(data), batch):
            rows = range(begin, min(begin + batch, len(data)))
            with outputs_of(net.module, gates) as seen:
                mask = _call(net, data, rows)
            found = [_rows(seen[gate][0], mask) for gate in gates]
            sums = sums + np.stack([shares.sum(axis=0) for shares in found])
            entropy += [_entropies(shares).sum() for shares in found]
            tokens += len(found[0])
    depths = net.routing.depths(len(gates))
    shares = (sums / tokens).reshape(len(gates), len(depths[0]), len(net.experts))
    return Usage(net.experts, depths, shares, entropy / tokens, tokens)


def _call(net: RoutedNet, data: TokenWindows | LabelledRows, rows: Sequence[int]) -> Any:
    """Run the net on rows; gives which positions count, or None for all."""
    place = next(net.module.parameters()).device
    if isinstance(data, LabelledRows):
        net.module(data.inputs[list(rows)].to(place))
        return None
    batch = data.batch(rows, place)
    net.module(**batch, use_cache=False)
    return batch["attention_mask"].bool()


def _rows(shares: Any, mask: Any) -> Float[np.ndarray, "tokens experts"]:
    flat = shares.reshape(-1, shares.shape[-1])
    return (flat if mask is None else flat[mask.flatten()]).double().cpu().numpy()


def _entropies(shares: Float[np.ndarray, "tokens experts"]) -> Float[np.ndarray, " tokens"]:
    return -(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1)
