"""Models that Evolutionary Model Merge released, as paths: Mistral's blocks, each stored once, and two tensors more.

| in the file | says |
| --- | --- |
| `model_type` is ``evomistral``, `num_hops` | how many hops there are; `num_hidden_layers` counts the stored blocks |
| `model.input_layers`, integers, one a hop | which stored block the hop runs |
| `model.input_scales`, numbers, one a hop | $s_t$ |

The server that was released with them multiplies what is handed over, `handed`; the paper says the whole hidden state,
`state`. For the same file these are two models.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, final

from merganser._errors import CheckpointError
from merganser.merging._layer_path import Hop, LayerPath, Scaling
from merganser.merging._path_plan import path_stack
from merganser.weights import Bytes, Checkpoint, FileStamp, TensorSource, TensorSpec

_LAYERS, _SCALES = "model.input_layers", "model.input_scales"
_HOPS = 64
"""What `num_hops` means by its absence."""


def read_evomistral(checkpoint: Checkpoint, *, scaling: Scaling = "handed") -> tuple[Checkpoint, LayerPath]:
    """Read a released model as a Mistral that holds its blocks, and the path through them.

    That Mistral is of use to paths only: its blocks lie in whatever order they were stored in. A recipe cannot say
    where it is; give it as an argument when a path through it is built again.

    Args:
        checkpoint: The model, as `open_checkpoint` gives it.
        scaling: What its scales multiply.

    Raises:
        CheckpointError: If it is no such model, or its two tensors do not fit its configuration and blocks.
        ValueError: If a scale cannot be, with this meaning.
    """
    kind = checkpoint.config.get("model_type")
    if kind != "evomistral" or _LAYERS not in checkpoint or _SCALES not in checkpoint:
        raise CheckpointError(
            f"Expected a model of type 'evomistral' with the tensors `{_LAYERS}` and `{_SCALES}`, but "
            f"{checkpoint.source} is {kind!r}. A path through an ordinary model is a `LayerPath`."
        )
    config = {key: value for key, value in checkpoint.config.items() if key not in ("auto_map", "num_hops")}
    config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"]}
    blocks = dataclasses.replace(
        checkpoint, tensors=_Without(checkpoint.tensors, (_LAYERS, _SCALES)), path=None, config=config
    )
    layers, scales = (checkpoint.read(name).tolist() for name in (_LAYERS, _SCALES))
    hops, stored = checkpoint.config.get("num_hops", _HOPS), len(path_stack(blocks).blocks)
    if len(layers) != hops or len(scales) != hops:
        raise CheckpointError(
            f"Expected {hops} hops, as the configuration of {checkpoint.source} says, but `{_LAYERS}` has "
            f"{len(layers)} entries and `{_SCALES}` {len(scales)}."
        )
    for t, layer in enumerate(layers):
        if not isinstance(layer, int) or not 0 <= layer < stored:
            raise CheckpointError(
                f"Expected numbers of {stored} stored blocks in `{_LAYERS}` of {checkpoint.source}, but hop {t} has "
                f"{layer}."
            )
    path = tuple(Hop(0, layer, float(scale)) for layer, scale in zip(layers, scales, strict=True))
    return blocks, LayerPath((blocks.digest,), path, scaling)


@final
class _Without:
    """A source but for some of its tensors.

    It has no stamps: a digest that is remembered by the state of the files is that of the whole.
    """

    stamps: tuple[FileStamp, ...] = ()

    def __init__(self, whole: TensorSource, names: Collection[str]) -> None:
        self._whole = whole
        kept: dict[str, Any] = {name: spec for name, spec in whole.specs.items() if name not in names}
        self.specs: Mapping[str, TensorSpec] = MappingProxyType(kept)

    def view(self, name: str) -> Bytes:
        """All bytes of a tensor."""
        return self._whole.view(name)

    def chunks(self, name: str) -> Iterator[memoryview]:
        """The same bytes in order."""
        return self._whole.chunks(name)
