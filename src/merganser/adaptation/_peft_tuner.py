r"""What PEFT asks of a method: its configuration, its layer, and the model that puts layers in.

A layer keeps the base's own and adds $U(\sigma(e-1) \circ V^\top x)$ to its output; what is trained and saved is one
vector a matrix, ``svf_z``. $U$, $\sigma$ and $V$ are buffers that are made when the layer is put in, shared by its
adapters and never saved. Merging keeps a copy of the weight, so that unmerging gives it back bit for bit.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig, PeftType
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn

from merganser._errors import CheckpointError
from merganser.adaptation._directions import along_directions
from merganser.adaptation._factors import factorise, matrix_digest
from merganser.adaptation._parametrise import PARAMETRISATIONS, Parametrisation, gains_of
from merganser.weights import single_threaded

_START = {"sigmoid": 0.1, "plain": 0.0}  # constant logits are the base, whatever their value


@dataclass
class SvfConfig(PeftConfig):
    """What is adapted, and how.

    Args:
        target_modules: Names of the modules, as in PEFT's other methods: last parts of their names, or one regular
            expression.
        exclude_modules: Those that are left out all the same.
        layers_to_transform: Numbers of the blocks; None for all.
        layers_pattern: Name of the list of blocks, where it is not a usual one.
        parametrisation: ``"sigmoid"`` (logits, nuclear norm kept) or ``"plain"`` (scale less 1).
        rank: How many leading directions of each matrix; None for all.
        modules_to_save: Modules that are trained and saved whole.
        digests: Digest of each adapted matrix; noted when an adapter is made, compared when it is loaded.

    Raises:
        ValueError: If the parametrisation is unknown or `rank` not positive.
    """

    target_modules: list[str] | set[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    parametrisation: Parametrisation = "sigmoid"
    rank: int | None = None
    modules_to_save: list[str] | None = None
    digests: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType["SVF"]
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)
        if self.parametrisation not in PARAMETRISATIONS:
            raise ValueError(
                f"Expected a parametrisation among {', '.join(PARAMETRISATIONS)}, found {self.parametrisation!r}."
            )
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"`rank` must be at least 1 or None, but is {self.rank}.")


class SvfLinear(nn.Module, BaseTunerLayer):
    """A linear layer with adapters.

    Args:
        base_layer: The layer: `Linear`, or GPT-2's `Conv1D`.
        adapter_name: The first adapter.
        config: Its configuration.
    """

    adapter_layer_names = ("svf_z",)
    svf_inward: Tensor
    svf_outward: Tensor
    svf_sigma: Tensor

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: SvfConfig) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.svf_z = nn.ParameterDict()
        self._kinds: dict[str, Parametrisation] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self._unmerged: Tensor | None = None
        weight = self.get_base_layer().weight
        assert isinstance(weight, Tensor)
        with single_threaded():
            factors = factorise(weight.detach().cpu())
        is_inputs_first = not isinstance(self.get_base_layer(), nn.Linear)
        sides = (factors.left, factors.right) if is_inputs_first else (factors.right, factors.left)
        for name, side in zip(("svf_inward", "svf_outward"), sides, strict=True):
            self.register_buffer(name, side.to(weight.device, weight.dtype), persistent=False)
        self.register_buffer("svf_sigma", factors.sigma.to(weight.device), persistent=False)
        self._is_inputs_first, self.digest = is_inputs_first, factors.digest
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config)

    def update_layer(self, adapter_name: str, config: SvfConfig) -> None:
        """Add an adapter that changes nothing yet."""
        start = torch.full_like(self.svf_sigma[: config.rank], _START[config.parametrisation])
        self.svf_z[adapter_name] = nn.Parameter(start)
        self._kinds[adapter_name] = config.parametrisation
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def get_delta_weight(self, adapter: str) -> Tensor:
        """What an adapter adds to the weight, float32, as the weight is stored."""
        z = self.svf_z[adapter].float()
        outward, inward = self.svf_outward[: len(z)].float(), self.svf_inward[: len(z)].float()
        change = (outward.T * self._coefficients(adapter)) @ inward
        return change.T if self._is_inputs_first else change

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add adapters to the weight itself.

        Args:
            safe_merge: Whether to refuse a result that is not finite.
            adapter_names: Which; by default the active ones.

        Raises:
            ValueError: If the result is not finite and `safe_merge` is set.
        """
        weight = self.get_base_layer().weight
        assert isinstance(weight, Tensor)
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.svf_z:
                continue
            merged = (weight.detach().float() + self.get_delta_weight(name).detach()).to(weight.dtype)
            if safe_merge and not merged.isfinite().all():
                raise ValueError(f"Adapter {name!r} makes weights that are not finite. It is not merged.")
            if self._unmerged is None:
                self._unmerged = weight.detach().clone()
            weight.data.copy_(merged)
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Give the weight back as it was."""
        if self._unmerged is None:
            warnings.warn("No adapter is merged: there is nothing to unmerge.", stacklevel=2)
            return
        weight = self.get_base_layer().weight
        assert isinstance(weight, Tensor)
        weight.data.copy_(self._unmerged)
        self._unmerged = None
        self.merged_adapters.clear()

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The layer's output, and what the active adapters add to it."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        out = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return out
        for name in self.active_adapters:
            if name in self.svf_z:
                k = len(self.svf_z[name])
                inputs = x.to(self.svf_inward.dtype)
                sides = self.svf_inward[:k], self.svf_outward[:k]
                out = out + along_directions(inputs, self._coefficients(name), *sides).to(out.dtype)
        return out

    def _coefficients(self, adapter: str) -> Tensor:
        z = self.svf_z[adapter].float()
        sigma = self.svf_sigma[: len(z)].float()
        return sigma * gains_of(z, sigma, self._kinds[adapter])


class SvfModel(BaseTuner):
    """A model with such layers in place of those that are adapted; made by PEFT."""

    prefix: str = "svf_"
    tuner_layer_cls = SvfLinear
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012 - as PEFT declares it

    def _create_and_replace(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        peft_config: SvfConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **_: Any,
    ) -> None:
        _check_kind(target, current_key)
        _check_digest(target, current_key, peft_config)
        if isinstance(target, SvfLinear):
            target.update_layer(adapter_name, peft_config)
            return
        layer = SvfLinear(target, adapter_name, peft_config)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)


def _check_kind(target: nn.Module, key: str) -> None:
    base = target.get_base_layer() if isinstance(target, BaseTunerLayer) else target
    weight = getattr(base, "weight", None)
    is_known = isinstance(base, nn.Linear) or type(base).__name__ == "Conv1D"
    if not is_known or not isinstance(weight, Tensor) or not weight.is_floating_point():
        raise ValueError(
            f"Expected a linear layer with floating weights for SVF, but {key!r} is a {type(base).__name__}. Choose "
            "other `target_modules`; quantised models are adapted by `attach`."
        )


def _check_digest(target: nn.Module, key: str, config: SvfConfig) -> None:
    if isinstance(target, SvfLinear):
        found = target.digest
    else:
        assert isinstance(target.weight, Tensor)
        found = matrix_digest(target.weight)
    expected = config.digests.setdefault(key, found)
    if expected != found:
        raise CheckpointError(
            f"The adapter was made for another base: expected {key!r} with digest {expected}, found {found}. Load the "
            "base that it was trained on, in the element type that it had."
        )
