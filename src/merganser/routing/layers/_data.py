"""What routers are trained and measured on: rows, each with tokens or a label to be predicted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int

from merganser._errors import TaskError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

_LEAST = 2
"""Tokens from which on there is one to predict."""


class Loss(NamedTuple):
    """Cross-entropy of rows.

    Attributes:
        total: Sum over what was predicted, in nats; a scalar tensor.
        predictions: How many they were.
    """

    total: Tensor
    predictions: int


class RouterData(Protocol):
    """Rows that routers are trained on."""

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    @property
    def digest(self) -> str:
        """A name for their content."""
        ...

    def loss(self, module: nn.Module, rows: Sequence[int]) -> Loss:
        """Cross-entropy of a module on rows; gradients flow."""
        ...


class TokenWindows:
    """Texts as windows of tokens, each of which is predicted from those before it in its window.

    Args:
        texts: The texts, such as [`read_texts`][] gives.
        tokens: The model's tokenizer, `SpokenModel.tokens`.
        most_tokens: Most tokens of a window; longer texts become several.

    Raises:
        TaskError: If no text has two tokens.
    """

    def __init__(self, texts: Iterable[str], tokens: Any, *, most_tokens: int = 256) -> None:
        found: list[tuple[int, ...]] = []
        for text in texts:
            ids = tuple(tokens.prompt(text))
            found += [ids[begin : begin + most_tokens] for begin in range(0, len(ids), most_tokens)]
        self.windows = [window for window in found if len(window) >= _LEAST]
        if not self.windows:
            raise TaskError("Expected texts of two tokens or more to train on, found none.")

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def digest(self) -> str:
        """A name for the tokens of all windows."""
        return hashlib.sha256(repr(self.windows).encode()).hexdigest()

    def loss(self, module: nn.Module, rows: Sequence[int]) -> Loss:
        """Cross-entropy of the tokens after the first of each window."""
        import torch
        from torch.nn import functional

        batch = self.batch(rows, next(module.parameters()).device)
        logits = module(**batch, use_cache=False).logits[:, :-1].float()
        targets = batch["input_ids"][:, 1:].masked_fill(batch["attention_mask"][:, 1:] == 0, -100)
        total = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")
        return Loss(total, int(torch.count_nonzero(targets != -100)))

    def batch(self, rows: Sequence[int], device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """Windows as `input_ids` and `attention_mask`, padded at the end."""
        import torch

        windows = [self.windows[row] for row in rows]
        longest = max(map(len, windows))
        ids = torch.tensor([[*window, *[0] * (longest - len(window))] for window in windows], device=device)
        lengths = torch.tensor([len(window) for window in windows], device=device)
        return {
            "input_ids": ids,
            "attention_mask": (torch.arange(longest, device=device) < lengths[:, None]).long(),
        }


class LabelledRows:
    """Inputs with a class each.

    Args:
        inputs: One row for each, as the module takes them.
        labels: Their classes.

    Raises:
        ValueError: If there are not as many labels as inputs.
    """

    def __init__(self, inputs: Float[np.ndarray, "rows ..."], labels: Int[np.ndarray, " rows"]) -> None:
        import torch

        if len(inputs) != len(labels):
            raise ValueError(f"Expected a label for each of {len(inputs)} inputs, found {len(labels)}.")
        self.inputs = torch.as_tensor(np.asarray(inputs))
        self.labels = torch.as_tensor(np.asarray(labels, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def digest(self) -> str:
        """A name for inputs and labels."""
        found = hashlib.sha256(self.inputs.numpy().tobytes())
        found.update(self.labels.numpy().tobytes())
        return found.hexdigest()

    def loss(self, module: nn.Module, rows: Sequence[int]) -> Loss:
        """Cross-entropy of the classes."""
        import torch
        from torch.nn import functional

        place = next(module.parameters()).device
        chosen = torch.as_tensor(np.asarray(rows))
        logits = module(self.inputs[chosen].to(place)).float()
        total = functional.cross_entropy(logits, self.labels[chosen].to(place), reduction="sum")
        return Loss(total, len(rows))
