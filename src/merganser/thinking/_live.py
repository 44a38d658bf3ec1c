"""A thought machine whose parameters are replaced child after child: what searches score."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32

from merganser.models import TorchModel
from merganser.thinking._pretrained import load_ctm
from merganser.weights import Checkpoint


class LiveThinker(TorchModel):
    """A thought machine in one flat buffer, written anew for each child.

    Args:
        checkpoint: One of the models that it will become.

    Raises:
        CheckpointError: If that is no thought machine, or damaged.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model = load_ctm(checkpoint)
        super().__init__(self._model)

    def __call__(self, inputs: Float32[np.ndarray, "batch ..."]) -> Float32[np.ndarray, "batch outputs"]:
        """Logits at the surest tick of each input."""
        with torch.inference_mode():
            return self._model(torch.tensor(inputs)).answer().float().numpy()
