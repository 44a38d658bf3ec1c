r"""A merged adapter as tensors that are computed when they are read, and its ``adapter_config.json``.

| the base's weight | $L$ (rows, r) and $R$ (r, columns) become |
| --- | --- |
| stored as (out, in, …) | ``lora_B`` $= L$, ``lora_A`` $= R$, shaped as the adapters' own |
| stored as (in, out) | ``lora_A`` $= L^\top$, ``lora_B`` $= R^\top$ |
| an embedding | ``lora_embedding_A`` $= L^\top$, ``lora_embedding_B`` $= R^\top$ |

Names are those that the adapters have. The scaling is 1: ``lora_alpha`` is ``r``, and where tensors differ in rank
``rank_pattern`` and ``alpha_pattern`` say so, module by module.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, final

from merganser.merging._cores import CoreLayer, MergedCores
from merganser.weights import DTYPES, Bytes, Checkpoint, FileStamp, TensorSpec

if TYPE_CHECKING:
    import torch

PREFIX = "base_model.model."
"""What PEFT puts before the names of the base's modules."""

_CHUNK = 4 << 20


class _Factor(NamedTuple):
    """A tensor of the adapter: which factor of which layer."""

    layer: str
    is_a: bool


@final
class AdapterTensors:
    """The factors of all layers, by their names in an adapter.

    Args:
        cores: The merged changes.
        dtype: Element type of the factors; None for the widest of the adapters' own, layer by layer.
    """

    def __init__(self, cores: MergedCores, dtype: str | None) -> None:
        self._cores, self._is_fan_in_fan_out = cores, is_fan_in_fan_out(cores)
        self._factors: dict[str, _Factor] = {}
        specs: dict[str, TensorSpec] = {}
        for name, layer in cores.layers.items():
            for is_a, key, shape in _factors(layer, cores.rank_of(name)):
                specs[key] = TensorSpec(key, dtype or _dtype(layer), shape)
                self._factors[key] = _Factor(name, is_a)
        self.specs: Mapping[str, TensorSpec] = specs

    @property
    def stamps(self) -> tuple[FileStamp, ...]:
        """None: they are computed."""
        return ()

    def view(self, name: str) -> Bytes:
        """A factor, rounded once.

        Raises:
            CheckpointError: If an adapter is damaged.
            ValueError: If the merged factor does not fit its type.
        """
        import torch

        spec, (layer, is_a) = self.specs[name], self._factors[name]
        update, flipped = self._cores.factors(layer), self._is_flipped(self._cores.layers[layer])
        factor = (
            (update.left.T if flipped else update.right)
            if is_a
            else (update.right.T if flipped else update.left)
        )
        stored: torch.Tensor = factor.to(getattr(torch, DTYPES[spec.dtype].library)).contiguous()
        if not stored.isfinite().all():
            raise ValueError(
                f"Tensor {name!r} of the merged adapter does not fit {DTYPES[spec.dtype].library}. Choose a wider "
                "`dtype`."
            )
        return stored.reshape(-1).view(torch.uint8).numpy()

    def _is_flipped(self, layer: CoreLayer) -> bool:
        """Whether the rows of a layer's tensor are those of A, transposed; of square ones all lie alike."""
        placement, shape = layer.present[0].placement, layer.spec.shape
        is_square = len(shape) == 2 and shape[0] == shape[1] and not placement.change.embedding
        return self._is_fan_in_fan_out if is_square else placement.transposed

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The same bytes in order."""
        whole = self.view(name).data
        for begin in range(0, len(whole), _CHUNK):
            yield whole[begin : begin + _CHUNK]


def is_fan_in_fan_out(cores: MergedCores) -> bool:
    """Whether layers are stored as (in, out); embeddings aside, which always are."""
    placed = (layer.present[0].placement for layer in cores.layers.values())
    return any(each.transposed and not each.change.embedding for each in placed)


def module_of(layer: CoreLayer) -> str:
    """Path of a layer's module, as the adapters have it."""
    return layer.present[0].placement.change.module


def _factors(layer: CoreLayer, rank: int) -> Iterator[tuple[bool, str, tuple[int, ...]]]:
    """For A and B: whether it is A, its name in an adapter, its shape."""
    product = layer.present[0]
    a, b = (product.adapter.spec(key).shape for key in product.keys)
    is_embedding = product.placement.change.embedding
    for letter, shape in (("A", (rank, *a[1:])), ("B", (b[0], rank, *b[2:]))):
        part = f"lora_embedding_{letter}" if is_embedding else f"lora_{letter}.weight"
        yield letter == "A", f"{PREFIX}{module_of(layer)}.{part}", shape


def _dtype(layer: CoreLayer) -> str:
    specs = [product.adapter.spec(key) for product in layer.present for key in product.keys]
    return max(specs, key=lambda spec: spec.itemsize).dtype


def adapter_config(
    cores: MergedCores, base: Checkpoint, adapters: Collection[Checkpoint], saved: Mapping[str, str]
) -> dict[str, Any]:
    """The configuration of a merged adapter.

    Args:
        cores: The merged changes.
        base: The base.
        adapters: What is merged; the first that names a base, a task and so on decides about these.
        saved: Paths of the modules of tensors that the result holds whole, by the tensors' names.
    """
    ranks = {module_of(layer): cores.rank_of(name) for name, layer in cores.layers.items()}
    most = Counter(ranks.values()).most_common(1)[0][0] if ranks else 1
    others = {f"^{module}": rank for module, rank in ranks.items() if rank != most}
    whole = {module for name, module in saved.items() if not name.endswith(".bias")}
    has_biases = any(module not in whole for module in saved.values())
    return {
        "peft_type": "LORA",
        "task_type": _first("task_type", adapters),
        "base_model_name_or_path": _first("base_model_name_or_path", adapters) or base.source,
        "revision": _first("revision", adapters),
        "inference_mode": True,
        "r": most,
        "lora_alpha": most,
        "lora_dropout": 0.0,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": _targets(cores, base),
        "modules_to_save": sorted(whole) or None,
        "bias": "all" if has_biases else "none",
        "fan_in_fan_out": is_fan_in_fan_out(cores),
        "use_rslora": False,
        "use_dora": False,
        "init_lora_weights": True,
    }


def _first(key: str, adapters: Collection[Checkpoint]) -> Any:
    return next((value for each in adapters if (value := each.config.get(key)) is not None), None)


def _targets(cores: MergedCores, base: Checkpoint) -> list[str]:
    """The changed modules: by the last part of their names where that means no other, else by the whole name."""
    ending = {
        name: name.removesuffix(".weight").rpartition(".")[2] for name in base if name.endswith(".weight")
    }
    elsewhere = {ending[name] for name in ending if name not in cores.layers}
    return sorted(
        {
            module_of(layer) if (last := ending.get(name)) is None or last in elsewhere else last
            for name, layer in cores.layers.items()
        }
    )
