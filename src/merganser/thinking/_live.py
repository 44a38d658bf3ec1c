"""A thought machine or baseline whose parameters are replaced child after child: what searches score."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32

from merganser.models import TorchModel
from merganser.thinking._pretrained import open_thinker
from merganser.weights import Checkpoint


class LiveThinker(TorchModel):
    """A thought machine in one flat buffer, written anew for each child.

    Args:
        checkpoint: One of the models that it will become.

    Raises:
        CheckpointError: If that is no thought machine, or damaged.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._model = open_thinker(checkpoint)
        super().__init__(self._model)

    def __call__(self, inputs: Float32[np.ndarray, "batch ..."]) -> Float32[np.ndarray, "batch outputs"]:
        """The answer to each input, as logits."""
        with torch.inference_mode():
            return self._model(torch.tensor(inputs)).answer().float().numpy()
