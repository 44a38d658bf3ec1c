r"""Statistics of a module on data, to merge by: Gram matrices of its layers' inputs, or Fisher information.

| kind | what | how |
| --- | --- | --- |
| `gram` | $G = \frac1n \sum_i x_i x_i^\top$ over all inputs $x_i$ of a linear layer | forward only |
| `fisher` | $F = \frac1n \sum_i (\nabla_\theta \log p_\theta(y_i \mid x_i))^2$ | backward, each sample |

For Fisher information labels $y_i$ are drawn from the model itself, as its definition asks; with the data's own labels
it is the *empirical* one, which is cheap to confuse with it. A language model's sample is a text: $\log p$ is the sum
over its positions, each label drawn given the text before it.

References:
    Kunstner et al., *Limitations of the Empirical Fisher Approximation*, NeurIPS 2019,
    https://arxiv.org/abs/1905.12558
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int

from merganser.merging import Statistics
from merganser.models._batch import Batch, Call
from merganser.models._grams import GramSums, tied_checkpoint
from merganser.models._hooks import LinearLayer, evaluating, requiring_gradients, watching
from merganser.models._names import Names, named_layers, named_parameters
from merganser.weights import Checkpoint, fingerprint

if TYPE_CHECKING:
    from torch import Tensor, nn

_IGNORED = -100
"""The label of what is not to be predicted, as torch and transformers have it."""


@dataclass
class _Counts:
    samples: int = 0
    tokens: int = 0

    def add(self, call: Call) -> None:
        self.samples += call.samples
        self.tokens += call.tokens


def collect(
    module: nn.Module,
    batches: Iterable[Batch],
    *,
    checkpoint: Checkpoint | None = None,
    kind: Literal["gram", "fisher"] = "gram",
    names: Names | None = None,
    labels: Literal["model", "empirical"] = "model",
    seed: int = 0,
) -> Statistics:
    """Measure a module on data.

    The module runs in evaluation mode; afterwards it is as it was.

    Args:
        module: The model.
        batches: Inputs: tensors, tuples of arguments, or dicts of keyword arguments. Positions that an
            `attention_mask` (batch, positions) leaves out do not count.
        checkpoint: The file that the module was loaded from; by default the module itself, with its own names.
        kind: Gram matrices of inputs, or Fisher information.
        names: What parameters are called in the file, by their names in the module; by default the same.
        labels: For Fisher information: drawn from the model, or those of the data: `labels` of a dict, the last of a
            tuple.
        seed: Key of the labels that are drawn.

    Returns:
        The statistics, in memory; `save_statistics` writes them.

    Raises:
        ValueError: If there are no data, a parameter is not in the checkpoint, labels are missing, or what is measured
            is NaN or infinite.
        TypeError: If a batch is none.

    Examples:
        >>> import torch
        >>> layer = torch.nn.Linear(2, 3)
        >>> found = collect(layer, [torch.tensor([[1.0, 2.0], [3.0, 0.0]])])
        >>> found.tensors.read("weight"), found.samples
        (tensor([[5., 1.],
                [1., 2.]]), 2)
    """
    held = Checkpoint.from_module(module, copy=False) if checkpoint is None else checkpoint
    look, counts = fingerprint(held), _Counts()
    inputs_first: frozenset[str] = frozenset()
    with evaluating(module):
        if kind == "gram":
            layers = named_layers(module, held, names)
            tensors = tied_checkpoint(_grams(module, layers, batches, counts))
            inputs_first = frozenset(name for name, layer in layers.items() if layer.inputs_first)
        else:
            parameters = named_parameters(module, held, names)
            tensors = Checkpoint.from_tensors(_fisher(module, parameters, batches, counts, labels, seed))
    return Statistics(kind, look, tensors, counts.samples, counts.tokens, inputs_first)


def _grams(
    module: nn.Module, layers: Mapping[str, LinearLayer], batches: Iterable[Batch], counts: _Counts
) -> dict[str, Float[Tensor, "inputs inputs"]]:
    import torch

    if not layers:
        raise ValueError(
            f"{type(module).__name__} has no linear layer of its own, so there is nothing to measure."
        )
    sums = GramSums()
    with torch.no_grad(), watching(layers, sums.add):
        for batch in batches:
            call = Call.of(batch, module)
            sums.mask = call.mask
            call(module)
            sums.forget_inputs()
            counts.add(call)
    _refuse_nothing(counts)
    return sums.means()


def _fisher(
    module: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    batches: Iterable[Batch],
    counts: _Counts,
    labels: Literal["model", "empirical"],
    seed: int,
) -> dict[str, Tensor]:
    import torch

    sums = {name: _zeros(parameter) for name, parameter in parameters.items()}
    with torch.enable_grad(), requiring_gradients(parameters):
        for batch in batches:
            call = Call.of(batch, module, last_is_label=labels == "empirical")
            for i, sample in enumerate(call.one_by_one(), start=counts.samples):
                logits = _logits(sample(module))
                wanted = _drawn(logits, sample.mask, seed, i) if labels == "model" else _given(sample, logits)
                gradients = torch.autograd.grad(
                    _log_probability(logits, wanted), list(parameters.values()), allow_unused=True
                )
                for name, gradient in zip(sums, gradients, strict=True):
                    if gradient is not None:
                        sums[name] += gradient.to(sums[name]).square()
            counts.add(call)
    _refuse_nothing(counts)
    for name, total in sums.items():
        if not torch.isfinite(total).all():
            raise ValueError(f"The gradient of {name!r} is NaN or infinite on these data. Use a sound model.")
    return {name: (total / counts.samples).cpu() for name, total in sums.items()}


def _zeros(parameter: Tensor) -> Tensor:
    """Room for a sum, in float32, or float64 where the parameter is."""
    import torch

    return torch.zeros_like(parameter, dtype=torch.promote_types(parameter.dtype, torch.float32))


def _logits(output: Any) -> Float[Tensor, "one ..."]:
    """What a module says of the labels: its output, the first of several, or what transformers call so."""
    found = getattr(output, "logits", output)
    return found[0] if isinstance(found, tuple) else found


def _drawn(
    logits: Float[Tensor, "one ... classes"], mask: Tensor | None, seed: int, sample: int
) -> Int[Tensor, "one ..."]:
    """Labels that the model gives itself, keyed by seed and sample; none where the mask leaves a position out."""
    import torch

    key = int(np.random.SeedSequence([seed, sample]).generate_state(1, np.uint64)[0] >> 1)
    probable = logits.detach().double().softmax(dim=-1).flatten(0, -2).cpu()
    drawn = torch.multinomial(probable, 1, generator=torch.Generator().manual_seed(key))
    drawn = drawn.view(logits.shape[:-1]).to(logits.device)
    return drawn.masked_fill(~mask, _IGNORED) if mask is not None and mask.shape == drawn.shape else drawn


def _given(sample: Call, logits: Float[Tensor, "one ... classes"]) -> Int[Tensor, "one ..."]:
    """The data's own labels; of a text, at each position the token after it.

    Raises:
        ValueError: If there are none.
    """
    import torch

    if sample.labels is None:
        raise ValueError(
            "Empirical Fisher information needs labels: `labels` of a dict, the last of a tuple."
        )
    if logits.ndim < 3:
        return sample.labels
    end = torch.full_like(sample.labels[:, :1], _IGNORED)
    return torch.cat([sample.labels[:, 1:], end], dim=1)


def _log_probability(
    logits: Float[Tensor, "one ... classes"], labels: Int[Tensor, "one ..."]
) -> Float[Tensor, ""]:
    from torch.nn import functional

    return -functional.cross_entropy(
        logits.flatten(0, -2), labels.flatten(), ignore_index=_IGNORED, reduction="sum"
    )


def _refuse_nothing(counts: _Counts) -> None:
    if not counts.samples:
        raise ValueError("There are no data: the batches are empty. An iterator can be used only once.")
