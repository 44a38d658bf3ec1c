"""Any torch module as a live model: its parameters become views into one flat buffer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from merganser.weights import Checkpoint

if TYPE_CHECKING:
    from torch import nn


class TorchModel:
    """A torch module whose parameters are replaced in one copy.

    The module is taken over: its floating parameters and buffers become views into a flat float32 buffer, it is
    put into evaluation mode, and gradients are switched off.

    Args:
        module: The network; takes a float tensor (batch, …), returns logits (batch, outputs).
    """

    def __init__(self, module: nn.Module) -> None:
        import torch

        checkpoint = Checkpoint.from_module(module)
        layout = checkpoint.layout
        self._module, self.size = module.eval().requires_grad_(False), layout.size
        self._flat = torch.empty(layout.size, dtype=torch.float32)
        tensors = {**dict(module.named_parameters(remove_duplicate=False)), **dict(module.named_buffers())}
        for name, (begin, end) in layout.spans().items():
            view = self._flat[begin:end].view(tensors[name].shape)
            view.copy_(tensors[name].data)
            tensors[name].data = view
        for name, original in checkpoint.tied.items():
            tensors[name].data = tensors[original].data

    def write(self, parameters: Float32[np.ndarray, " positions"]) -> None:
        """Copy these parameters into the module."""
        import torch

        if parameters.shape != (self.size,):
            raise ValueError(
                f"Expected {self.size} parameters, but got an array of shape {parameters.shape}."
            )
        self._flat.copy_(torch.tensor(parameters))

    def __call__(self, inputs: Float32[np.ndarray, "batch ..."]) -> Float32[np.ndarray, "batch outputs"]:
        """Logits for a batch of inputs."""
        import torch

        with torch.inference_mode():
            return self._module(torch.tensor(inputs)).float().numpy()
