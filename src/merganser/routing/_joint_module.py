"""Several causal language models of transformers as one module, whose logits are those of a product of experts."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class JointCache:
    """What several modules keep of what they have read.

    Args:
        caches: One for each.
    """

    def __init__(self, caches: Sequence[Any]) -> None:
        self.caches = tuple(caches)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Have every row several times."""
        for cache in self.caches:
            cache.batch_repeat_interleave(repeats)

    def batch_select_indices(self, indices: Int[Tensor, " rows"]) -> None:
        """Leave only these rows."""
        for cache in self.caches:
            cache.batch_select_indices(indices)


class JointModule(nn.Module):
    r"""All modules read the same tokens; $\sum_e a_e \log p_e$ are the logits.

    Args:
        modules: The modules, which take `position_ids`.
        scalars: How much each counts.
    """

    def __init__(self, modules: Sequence[nn.Module], scalars: Sequence[float]) -> None:
        super().__init__()
        self.experts, self.scalars = nn.ModuleList(modules), tuple(scalars)
        configs: list[Any] = [module.config for module in modules]
        self.config = min(configs, key=_context)
        self._is_stateful = any(getattr(module, "_is_stateful", False) for module in modules)

    def forward(
        self,
        input_ids: Int[Tensor, "rows tokens"],
        *,
        past_key_values: JointCache | None = None,
        position_ids: Int[Tensor, "rows tokens"] | None = None,
        logits_to_keep: int | Tensor = 0,
        **options: Any,
    ) -> SimpleNamespace:
        """Logits (rows, tokens, vocabulary) in float32, and what to go on from."""
        caches = (None,) * len(self.experts) if past_key_values is None else past_key_values.caches
        joint: Tensor | None = None
        kept: list[Any] = []
        for expert, cache, scalar in zip(self.experts, caches, self.scalars, strict=True):
            output = expert(
                input_ids,
                past_key_values=cache,
                position_ids=position_ids,
                logits_to_keep=logits_to_keep,
                **options,
            )
            likely = _scaled(output.logits, scalar)
            joint = likely if joint is None else joint + likely
            kept.append(getattr(output, "past_key_values", None))
        return SimpleNamespace(logits=joint, past_key_values=None if None in kept else JointCache(kept))


def _context(config: Any) -> float:
    """Most tokens that a model takes."""
    return getattr(config.get_text_config(), "max_position_embeddings", None) or float("inf")


def _scaled(
    logits: Float[Tensor, "rows tokens vocabulary"], scalar: float
) -> Float[Tensor, "rows tokens vocabulary"]:
    return scalar * torch.log_softmax(logits.float(), dim=-1)
