"""Experts in a live module: added, chosen by name, mixed, different ones for each request, trained."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, final

from jaxtyping import Float

from merganser._errors import CheckpointError
from merganser.adaptation._decomposition import Decomposition
from merganser.adaptation._expert import ExpertVector, Fact
from merganser.adaptation._factors import matrix_digest
from merganser.adaptation._fold import check_decomposition
from merganser.adaptation._mix import mix
from merganser.models import LinearLayer, Names, linear_layers

if TYPE_CHECKING:
    from torch import Tensor, nn

    from merganser.adaptation._layer import AdaptedLayer


def attach(
    module: nn.Module, decomposition: Decomposition, *, names: Names | None = None, check: bool = True
) -> AdaptedModel:
    """Make a module adaptable. Nothing changes until an expert is set; names and weights stay what they are.

    Args:
        module: The module, on its device, in its type and with its weights: what changes there later is not
            followed. Layers may be of any kind that says it is linear: plain, GPT-2's, quantised.
        decomposition: Of its matrices, kept beside it in the element type of the layers.
        names: From a parameter's name in the module to that in the decomposition, where they differ: for a
            [`LanguageModel`][merganser.models.LanguageModel] its `name_on_disk`.
        check: Whether to make sure that the module holds the numbers that were decomposed. Switch it off for a
            quantised or rounded copy of the base.

    Raises:
        ValueError: If the module lacks a matrix that was decomposed, or is adapted already.
        CheckpointError: If it holds other numbers than those that were decomposed.
    """
    from merganser.adaptation._layer import AdaptedLayer, is_adapted

    found: dict[str, LinearLayer] = {}
    for layer in linear_layers(module):
        name = layer.name if names is None else names(layer.name)
        if name in decomposition.factors:
            found[name] = layer
            if is_adapted(layer.module):
                raise ValueError(
                    f"{layer.name!r} is adapted already. Call `detach` of that adapted model first."
                )
    for name in decomposition:
        _check_layer(name, found.get(name), decomposition, check=check)
    layers = {name: AdaptedLayer(found[name], decomposition[name]) for name in decomposition}
    return AdaptedModel(module, decomposition, layers)


@final
class AdaptedModel:
    """A module and its experts; made by [`attach`][].

    Attributes:
        module: The module, to be called as ever.
        decomposition: Of its adapted matrices.
    """

    def __init__(
        self, module: nn.Module, decomposition: Decomposition, layers: Mapping[str, AdaptedLayer]
    ) -> None:
        self.module, self.decomposition = module, decomposition
        self._layers = layers
        self._experts: dict[str, ExpertVector] = {}
        self._gains: dict[str, dict[str, Tensor]] = {}
        self._learning: ExpertVector | None = None

    @property
    def experts(self) -> Mapping[str, ExpertVector]:
        """The experts by name."""
        return MappingProxyType(self._experts)

    def add(self, name: str, expert: ExpertVector) -> None:
        """Keep an expert under a name; it is not set. One that had the name is replaced.

        Raises:
            CheckpointError: If it was made for another base.
            ValueError: If the decomposition lacks directions that it scales.
        """
        check_decomposition(expert, self.decomposition)
        self._experts[name] = expert
        self._gains[name] = self._placed(expert)

    def remove(self, name: str) -> None:
        """Forget an expert; what is active stays.

        Raises:
            ValueError: If there is no expert of this name.
        """
        self._known(name)
        del self._experts[name], self._gains[name]

    def set(self, name: str | None) -> None:
        """Have all requests answered by one expert; None for the base.

        Raises:
            ValueError: If there is no expert of this name.
        """
        self._activate({} if name is None else self._known(name))

    def mix(self, weights: Mapping[str, float], *, normalise: bool = False) -> None:
        """Have all requests answered by a mixture, as [`mix`][] makes it.

        For weights matrix by matrix, `add` what `mix` gives.

        Args:
            weights: Weight of each expert.
            normalise: Whether to divide by their sum.

        Raises:
            ValueError: If there is no expert of a name, or weights that are to be normalised add up to 0.
        """
        for name in weights:
            self._known(name)
        chosen = [self._experts[name] for name in weights]
        self._activate(self._placed(mix(chosen, list(weights.values()), normalise=normalise)))

    def rows(self, names: Sequence[str | None]) -> None:
        """Have each request of a batch answered by an expert of its own.

        Args:
            names: An expert for each row along the first axis of the inputs; None for the base.

        Raises:
            ValueError: If there is no expert of a name.
        """
        found = [{} if name is None else self._known(name) for name in names]
        matrices = {matrix for gains in found for matrix in gains}
        self._activate({matrix: _stacked([gains.get(matrix) for gains in found]) for matrix in matrices})

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """The base, exactly, while the block runs; then what was active before."""
        before = {name: layer.vector for name, layer in self._layers.items()}
        try:
            for layer in self._layers.values():
                layer.vector = None
            yield
        finally:
            for name, layer in self._layers.items():
                layer.vector = before[name]

    def learn(self, start: ExpertVector, *, factored: bool = False) -> dict[str, nn.Parameter]:
        """Set an expert whose vectors can be trained, and freeze everything else.

        Args:
            start: Where to begin; its parametrisation is what is trained.
            factored: Whether to leave the weights themselves out of the computation, which takes less time where
                matrices are not square, and equals the base up to rounding only.

        Returns:
            The parameters by matrix, float32: for an optimiser.

        Raises:
            CheckpointError: If `start` was made for another base.
            ValueError: If the decomposition lacks directions, or `factored` is asked of a truncated one.
        """
        import torch

        check_decomposition(start, self.decomposition)
        for name, vector in start.vectors.items():
            if factored and not (
                self._layers[name].is_whole and len(vector) == len(self._layers[name].sigma)
            ):
                raise ValueError(
                    f"{name!r} is computed from its leading directions only; `factored` needs all of them."
                )
        self.module.requires_grad_(False)
        self._activate({})
        found: dict[str, nn.Parameter] = {}
        for name, vector in start.vectors.items():
            layer = self._layers[name]
            found[name] = torch.nn.Parameter(vector.clone().to(layer.sigma.device))
            layer.vector, layer.parametrisation, layer.is_factored = (
                found[name],
                start.parametrisation,
                factored,
            )
        self._learning = start
        return found

    def learned(self, *, facts: Mapping[str, Fact] | None = None) -> ExpertVector:
        """What is being trained, as it is now; goes on being trained.

        Args:
            facts: What is known of the training.

        Raises:
            ValueError: If nothing is being trained, or numbers are not finite.
        """
        if self._learning is None:
            raise ValueError("Nothing is being trained: call `learn` first.")
        vectors: dict[str, Tensor] = {}
        for name in self._learning:
            vector = self._layers[name].vector
            assert vector is not None
            vectors[name] = vector
        if self._learning.parametrisation == "plain":
            return ExpertVector.from_gains(vectors, self._learning.base, facts=facts)
        return ExpertVector.from_logits(vectors, self.decomposition, facts=facts)

    def detach(self) -> None:
        """Leave the module as it was before."""
        for layer in self._layers.values():
            layer.release()

    def _known(self, name: str) -> dict[str, Tensor]:
        if name not in self._gains:
            close = difflib.get_close_matches(name, self._gains, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            there = ", ".join(sorted(self._gains)) or "none"
            raise ValueError(f"There is no expert {name!r}; added were: {there}.{hint}")
        return self._gains[name]

    def _placed(self, expert: ExpertVector) -> dict[str, Tensor]:
        """Gains of an expert where the layers are; matrices that it leaves alone are left out."""
        gains = {name: expert.gains(name) for name in expert}
        return {n: gain.to(self._layers[n].sigma.device) for n, gain in gains.items() if gain.any()}

    def _activate(self, gains: Mapping[str, Float[Tensor, "..."]]) -> None:
        self._learning = None
        for name, layer in self._layers.items():
            layer.vector, layer.parametrisation, layer.is_factored = gains.get(name), "plain", False


def _stacked(gains: Sequence[Float[Tensor, " directions"] | None]) -> Float[Tensor, "rows directions"]:
    """Gains of several experts, a row each, filled up with zeros."""
    there = [gain for gain in gains if gain is not None]
    stacked = there[0].new_zeros(len(gains), max(map(len, there)))
    for row, gain in zip(stacked, gains, strict=True):
        if gain is not None:
            row[: len(gain)] = gain
    return stacked


def _check_layer(name: str, layer: LinearLayer | None, decomposition: Decomposition, *, check: bool) -> None:
    if layer is None or layer.is_convolution:
        raise ValueError(
            f"Expected a linear layer for each matrix of {decomposition.source}, but the module has none whose weight "
            f"is {name!r}. Say what its parameters are called in the file (`names`), or decompose what it has."
        )
    if not check:
        return
    found, expected = matrix_digest(layer.weight), decomposition[name].digest
    if found != expected:
        raise CheckpointError(
            f"The module holds other numbers than {decomposition.source}: expected {name!r} with digest {expected}, "
            f"found {found}. Load it from there; for a quantised or rounded copy, switch `check` off."
        )
