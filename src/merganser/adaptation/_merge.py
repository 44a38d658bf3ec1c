"""Experts merged as models are, by any method of the house: their scales are a checkpoint, that of the base is ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from merganser.adaptation._expert import ExpertVector, identity
from merganser.adaptation._mix import mix
from merganser.adaptation._scales import scale_checkpoints
from merganser.merging import METHODS, merge


def merge_experts(experts: Sequence[ExpertVector], method: str, **parameters: Any) -> ExpertVector:
    """One expert out of several, by a method of `merganser.merging.METHODS`.

    Where one of them does not adapt a matrix or a direction, its scale there is 1.

    Args:
        experts: Experts of one base.
        method: The method's name.
        parameters: The method's parameters, and `seed`.

    Returns:
        An expert of the plain parametrisation.

    Raises:
        ValueError: If the experts are of different bases, or the method is unknown or does not take them.

    Examples:
        >>> import torch
        >>> one, two = (ExpertVector.from_gains({"w": torch.tensor([g, 0.5])}, {"w": "digest"}) for g in (0.0, 1.0))
        >>> merge_experts([one, two], "linear").gains("w")
        tensor([0.5000, 0.5000])
    """
    like = mix(experts, [0.0] * len(experts))  # checks that they are of one base
    rule = METHODS.get(method)
    base = identity(like).as_checkpoint() if rule is not None and rule.rule.base == "required" else None
    merged = merge(scale_checkpoints(experts), method, base=base, **parameters)
    return ExpertVector.from_checkpoint(merged, like)
