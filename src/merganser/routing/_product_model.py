"""Language models of one tokenizer that answer together, as a product of experts."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from merganser.models import SpokenModel, evaluating
from merganser.routing._outputs import LogitBatch, ProductOfExperts
from merganser.routing.layers import TokenWindows

if TYPE_CHECKING:
    from torch import nn

_PROBE = "The 3 dogs said: “naïve façade”, and\n\tran(x) = 42 away."
_NEEDED = ("position_ids", "logits_to_keep")


class ProductModel(SpokenModel):
    """Several language models whose next-token probabilities are multiplied; a `SpokenModel`.

    It generates and scores as one model does. It costs what all of them cost; nothing of them is copied.

    Args:
        models: The models; of one tokenizer.
        product: How much each counts.

    Attributes:
        product: How much each counts.

    Raises:
        ValueError: If there are not as many models as scalars, they read texts as different tokens, or one is of a
            family that cannot be told positions.
    """

    module: nn.Module

    def __init__(self, models: Sequence[SpokenModel], product: ProductOfExperts) -> None:
        from merganser.routing._joint_module import JointModule

        _check(models)
        if len(models) != len(product.scalars):
            raise ValueError(f"Expected {len(product.scalars)} models, one a scalar, found {len(models)}.")
        self._models, self.product = tuple(models), product
        self.module = JointModule([model.module for model in models], product.scalars).eval()

    @classmethod
    def fit(cls, models: Sequence[SpokenModel], data: TokenWindows, *, batch: int = 4) -> ProductModel:
        """The product that predicts texts best.

        Args:
            models: The models; of one tokenizer.
            data: What is to be predicted; all models read it once for each pass of Newton's method.
            batch: Windows that are read together; their logits, in float64, are in memory at a time.

        Raises:
            ValueError: As above.
            NonFiniteOutputError: If logits are NaN or infinite.
        """
        _check(models)
        return cls(models, ProductOfExperts.fit(_Logits(models, data, batch)))

    @property
    def tokens(self) -> Any:
        """The tokenizer of the first model."""
        return self._models[0].tokens

    @property
    def size(self) -> int:
        """Number of parameters of all models."""
        return sum(model.size for model in self._models)


class _Logits:
    """Logits of all models for the tokens of all windows, batch by batch, computed anew each time.

    Args:
        models: The models.
        data: The windows.
        batch: Windows of a batch.
    """

    def __init__(self, models: Sequence[SpokenModel], data: TokenWindows, batch: int) -> None:
        self._models, self._data, self._batch = models, data, batch

    def __iter__(self) -> Iterator[LogitBatch]:
        import torch

        for begin in range(0, len(self._data), self._batch):
            rows = range(begin, min(begin + self._batch, len(self._data)))
            found = []
            for model in self._models:
                given = self._data.batch(rows, next(model.module.parameters()).device)
                with torch.inference_mode(), evaluating(model.module):
                    logits = model.module(**given, use_cache=False).logits[:, :-1]
                seen = given["attention_mask"][:, 1:].bool()
                found.append(logits[seen].float().cpu())
            labels = self._data.batch(rows)
            right = labels["input_ids"][:, 1:][labels["attention_mask"][:, 1:].bool()]
            yield torch.stack(found).numpy(), right.numpy()


def _check(models: Sequence[SpokenModel]) -> None:
    first = models[0].tokens.prompts([_PROBE])
    for model in models:
        if model.tokens.prompts([_PROBE]) != first:
            raise ValueError(
                "The models read texts as different tokens, so their probabilities cannot be multiplied. Use models "
                "of one tokenizer."
            )
        takes = inspect.signature(type(model.module).forward).parameters
        if missing := [name for name in _NEEDED if name not in takes]:
            raise ValueError(
                f"{type(model.module).__name__} does not take `{missing[0]}`, which a product of experts needs."
            )
