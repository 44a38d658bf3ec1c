"""Which way round a matrix is stored: (out, in), as nearly everywhere, or (in, out), as GPT-2's `Conv1D` layers are.

The numbers do not tell, and neither do names alone: other models have linear layers of the same names. So it is the
configuration that says what kind of model it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jaxtyping import Float

from merganser.weights import Checkpoint

if TYPE_CHECKING:
    from torch import Tensor

_KINDS = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
"""Values of `model_type` of the architectures whose blocks are made of such layers."""

_CONV1D = re.compile(r"(^|\.)(c_attn|q_attn|c_fc|c_proj)\.weight$")


def is_inputs_first(checkpoint: Checkpoint, name: str) -> bool:
    """Whether a tensor is a matrix that is stored (in, out).

    Args:
        checkpoint: Where it is; without a configuration the answer is no.
        name: Its name.

    Examples:
        >>> import numpy as np
        >>> tensors = {name: np.ones((2, 6), "float32") for name in ("h.0.attn.c_attn.weight", "wte.weight")}
        >>> model = Checkpoint.from_tensors(tensors, config={"model_type": "gpt2"})
        >>> [is_inputs_first(model, name) for name in model]
        [False, True]
    """
    if checkpoint.config.get("model_type") not in _KINDS or _CONV1D.search(name) is None:
        return False
    return len(checkpoint.spec(name).shape) == 2


def exchanged(
    matrices: Float[Tensor, "models elements"], shape: tuple[int, ...]
) -> Float[Tensor, "models elements"]:
    """Matrices of one shape, a flat one a row, with their two axes exchanged.

    Examples:
        >>> import torch
        >>> exchanged(torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]]), (2, 3))
        tensor([[1., 4., 2., 5., 3., 6.]])
    """
    return matrices.unflatten(1, shape).mT.flatten(1)
