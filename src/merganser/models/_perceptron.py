r"""Multilayer perceptrons, read off a checkpoint: $h_{l+1} = \mathrm{relu}(h_l W_l + b_l)$, no activation at the end.

Every floating tensor must belong to the chain: matrices in flat order, each with an optional bias after it.
Both layouts are read: (in, out), as in JAX and in the paper's code, and (out, in), as in `torch.nn.Linear`.
Square matrices are taken as the others of the network are; if all are square, as in `torch.nn.Linear`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float32

from merganser.weights import Checkpoint


@dataclass(frozen=True, slots=True)
class _Layer:
    """Where a layer lies in the flat parameters."""

    weight: slice
    shape: tuple[int, int]
    transposed: bool
    bias: slice | None


class Perceptron:
    """A perceptron over flat parameters. Begin with [`Perceptron.of`][].

    Args:
        layers: Where each layer lies.
        size: Number of parameters P.
    """

    def __init__(self, layers: tuple[_Layer, ...], size: int) -> None:
        self._layers, self.size = layers, size
        self._weights: list[tuple[np.ndarray, np.ndarray | None]] = []
        self._zeros = np.zeros(max(max(layer.shape) for layer in layers), dtype=np.float32)

    @classmethod
    def of(cls, checkpoint: Checkpoint, features: int) -> Perceptron:
        """The perceptron a checkpoint holds.

        Args:
            checkpoint: Its tensors; nothing but their shapes is read.
            features: Number of inputs.

        Raises:
            ValueError: If the tensors do not form a chain of layers that begins with `features` inputs.
        """
        layout, spans = checkpoint.layout, checkpoint.layout.spans()
        if not layout.names:
            raise ValueError(f"{checkpoint.source} holds no floating tensors, so there is no network in it.")
        layers: list[_Layer] = []
        width, pending = features, list(layout.names)
        while pending:
            name = pending.pop(0)
            shape = checkpoint.spec(name).shape
            if len(shape) != 2 or width not in shape:
                raise ValueError(_broken_chain(checkpoint, name, shape, width))
            transposed = shape[1] == width
            width = shape[0] if transposed else shape[1]
            bias = None
            if pending and checkpoint.spec(pending[0]).shape == (width,):
                bias = slice(*spans[pending.pop(0)])
            layers.append(_Layer(slice(*spans[name]), (shape[0], shape[1]), transposed, bias))
        return cls(_with_one_layout(layers), layout.size)

    @property
    def layers(self) -> tuple[_Layer, ...]:
        """Where each layer lies, and how its weight is laid out."""
        return self._layers

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        last = self._layers[-1]
        return last.shape[0] if last.transposed else last.shape[1]

    def write(self, parameters: Float32[np.ndarray, " positions"]) -> None:
        """Become the network with these parameters; nothing is copied."""
        if parameters.shape != (self.size,):
            raise ValueError(
                f"Expected {self.size} parameters, but got an array of shape {parameters.shape}."
            )
        flat = np.asarray(parameters, dtype=np.float32)
        self._weights = []
        for layer in self._layers:
            matrix = flat[layer.weight].reshape(layer.shape)
            bias = None if layer.bias is None else flat[layer.bias]
            self._weights.append((matrix.T if layer.transposed else matrix, bias))

    def __call__(self, inputs: Float32[np.ndarray, "batch ..."]) -> Float32[np.ndarray, "batch outputs"]:
        """Logits for a batch of inputs, each flattened."""
        if not self._weights:
            raise RuntimeError("This network has no parameters yet. Call `write` first.")
        hidden = inputs.reshape(len(inputs), -1)
        last = len(self._weights) - 1
        for i, (matrix, bias) in enumerate(self._weights):
            hidden = hidden @ matrix
            if bias is not None:
                hidden += bias
            if i < last:
                # against a row of zeros numpy takes its vector loop, against a scalar one five times slower
                np.maximum(hidden, self._zeros[: hidden.shape[1]], out=hidden)
        return hidden


def perceptron_tensors(
    flat: Float32[np.ndarray, " positions"], widths: tuple[int, ...]
) -> dict[str, Float32[np.ndarray, "*shape"]]:
    """Named tensors of a perceptron from flat parameters, in the paper's order and layout.

    Args:
        flat: W₁ (in, out), b₁, W₂, b₂, …
        widths: Inputs, hidden units, …, outputs.

    Examples:
        >>> [(n, t.shape) for n, t in perceptron_tensors(np.zeros(11, np.float32), (2, 2, 1)).items()][:2]
        [('layers.0.weight', (2, 2)), ('layers.0.bias', (2,))]
    """
    tensors: dict[str, np.ndarray] = {}
    position = 0
    for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
        for name, shape in (("weight", (fan_in, fan_out)), ("bias", (fan_out,))):
            size = math.prod(shape)
            tensors[f"layers.{i}.{name}"] = flat[position : position + size].reshape(shape)
            position += size
    return tensors


def perceptron_size(widths: tuple[int, ...]) -> int:
    """Number of parameters of a perceptron with these widths.

    Examples:
        >>> perceptron_size((64, 256, 10))
        19210
    """
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(widths))


def _with_one_layout(layers: list[_Layer]) -> tuple[_Layer, ...]:
    """The layers, square ones as the others are: a square matrix does not show its layout."""
    rectangles = {layer.transposed for layer in layers if layer.shape[0] != layer.shape[1]}
    if rectangles != {False}:
        return tuple(layers)
    return tuple(replace(layer, transposed=False) for layer in layers)


def _broken_chain(checkpoint: Checkpoint, name: str, shape: tuple[int, ...], width: int) -> str:
    return (
        f"Expected a matrix that takes {width} values as the next layer, but `{name}` of {checkpoint.source} has "
        f"shape {shape}. Only chains of plain layers are read off a checkpoint by themselves; for another network "
        "pass a torch module (Python), or `network: module:function` (file)."
    )
