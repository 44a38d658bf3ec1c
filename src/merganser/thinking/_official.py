"""The official code's models: their names for tensors, their shapes, their arguments.

| theirs | ours |
| --- | --- |
| `trace_processor.0.0.w1` (memory, out, neurons) | `neurons.layers.0.weight` (neurons, out, memory) |
| `out_neuron_indices_left`, `…_right`: lists | `output.left`, `output.right`: all pairs |
| `decay_params_out`, `start_trace`, `synapses.…`, … | `output.decay`, `start_history`, `synapse.…`, … |

Sizes are read off the tensors, as far as they show there; arguments say the rest.

References:
    https://github.com/SakanaAI/continuous-thought-machines (Apache-2.0), read at commit aecfb63
"""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from merganser._errors import CheckpointError
from merganser.thinking._config import CTMConfig
from merganser.thinking._official_names import our_name
from merganser.thinking._synchronisation import all_pairs, pairs_of

_BACKBONES = {  # by a tensor that no other has
    "backbone.embedding.weight": "parity",
    "backbone.object_embedding.weight": "grid",
    "backbone.input_projector.1.weight": "control",
    "operator_backbone.embedding.weight": "questions",
}
_POSITIONAL = {
    "learnable-fourier": "fourier",
    "multi-learnable-fourier": "multi-fourier",
    "custom-rotational": "rotational",
    "custom-rotational-1d": "rotational-1d",
}
_CHANNELS = (  # where each backbone shows how many numbers an input has
    "initial_rgb.weight",
    "backbone.layers.0.weight",
    "backbone_digit.layers.0.weight",
    "backbone.input_projector.1.weight",
    "kv_proj.0.weight",
)
_SLIDING_DECAY = 4.0
_AGENT = "recurrent_model."
_IN_PROJECTION = "attention.in_proj_"


def is_official(arguments: Mapping[str, Any]) -> bool:
    """Whether these are arguments of the official code's models."""
    return {"d_model", "memory_length", "iterations"} <= arguments.keys()


def read_official(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and arguments of a file that the official training scripts wrote.

    The file is a pickle, of which only tensors, plain containers, arguments and numpy arrays are loaded.

    Args:
        path: Such as ``checkpoint.pt``.

    Raises:
        CheckpointError: If it cannot be read, asks for more than that, or is no such file.
    """
    kinds = [type(np.dtype(kind)) for kind in ("uint32", "int64", "float32", "float64")]
    array: Any = np.zeros(1).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    functions = [
        (function, f"numpy.{core}.multiarray.{name}")
        for function, name in ((array, "_reconstruct"), (scalar, "scalar"))
        for core in ("core", "_core")
    ]
    try:
        with torch.serialization.safe_globals([argparse.Namespace, np.ndarray, np.dtype, *kinds, *functions]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} cannot be read as a file of the official code: {error}") from error
    if not isinstance(loaded, Mapping) or not {"model_state_dict", "args"} <= loaded.keys():
        raise CheckpointError(
            f"{path} must hold `model_state_dict` and `args`, as the official training scripts write them. "
            "Give a state dict's arguments to `from_official` yourself."
        )
    tensors, arguments = loaded["model_state_dict"], vars(loaded["args"])
    ofagent = {name.removeprefix(_AGENT): tensors[name] for name in tensors if name.startswith(_AGENT)}
    return ofagent or dict(tensors), arguments


def official_config(tensors: Mapping[str, Tensor], arguments: Mapping[str, Any]) -> CTMConfig:
    """The configuration of an official model.

    Args:
        tensors: Its state dict.
        arguments: Of its constructor, or of the training script.

    Raises:
        CheckpointError: If tensors or arguments are missing.
        ConfigError: If they do not go together.
    """
    get = arguments.get
    try:
        neurons, memory = tensors["start_trace"].shape
        head = tensors.get("output_projector.0.bias")
        first = tensors["trace_processor.0.0.w1"].shape[1]
        backbone = _backbone(tensors, get("backbone_type", "none"))
        sliding, attends = "start_activated_trace" in tensors, "q_proj.weight" in tensors
        deep = "trace_processor.0.2.w1" in tensors
        unet = sum(name.startswith("synapses.skip_lns.") and name.endswith("weight") for name in tensors)
        return CTMConfig(
            outputs=0 if head is None else len(head),
            positions=_positions(arguments, 0 if head is None else len(head)),
            ticks=int(arguments["iterations"]),
            neurons=neurons,
            width=int(arguments["d_input"]),
            memory=memory,
            heads=int(arguments["heads"]) if attends else 0,
            hidden=first // 2 if deep else 0,
            neuron_norm="trace_processor.0.0.layernorm.weight" in tensors,
            synapse_depth=unet + 1,
            synapse_blocks=2 if "synapses.4.weight" in tensors else 1,
            pairing=get("neuron_select_type", "random-pairing"),
            output_neurons=int(arguments["n_synch_out"]),
            action_neurons=int(arguments["n_synch_action"]) if attends else 0,
            self_pairs=_self_pairs(arguments),
            max_decay=_SLIDING_DECAY if sliding else 15.0,
            sliding=sliding,
            backbone=backbone,
            channels=_channels(tensors, backbone),
            positional=_POSITIONAL.get(get("positional_embedding_type", "none"), "none"),  # pyright: ignore[reportArgumentType]
            dropout=float(get("dropout") or 0),
            neuron_dropout=float(
                get("dropout") or 0 if get("dropout_nlm") is None else arguments["dropout_nlm"]
            ),
        )
    except KeyError as error:
        raise CheckpointError(
            f"An official thought machine has {error}, but these tensors and arguments do not. Are they whole?"
        ) from error


def our_tensors(tensors: Mapping[str, Tensor], config: CTMConfig) -> dict[str, Tensor]:
    """An official state dict under our names and in our shapes.

    Args:
        tensors: The state dict.
        config: The model's.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if "neuron_indices" in name or name.endswith(("num_batches_tracked", "diagonal_mask_out")):
            continue
        if name.startswith(_IN_PROJECTION):
            part = name.removeprefix(_IN_PROJECTION)
            sizes = [config.width, 2 * config.width]
            ours[f"attention.query.{part}"], ours[f"attention.keys_values.{part}"] = tensor.split(sizes)
        else:
            ours[our_name(name)] = _neurons_first(name, tensor)
    for theirs, which in (("out", "output"), ("action", "action")):
        if which == "action" and not config.heads:
            continue
        pairs = pairs_of(config, which)
        if config.pairing != "first-last":
            drawn = (tensors[f"{theirs}_neuron_indices_{side}"] for side in ("left", "right"))
            pairs = all_pairs(*drawn) if config.pairing == "random" else tuple(drawn)
        ours[f"{which}.left"], ours[f"{which}.right"] = pairs
    return ours


def _neurons_first(name: str, tensor: Tensor) -> Tensor:
    if re.fullmatch(r"trace_processor\..*\.w1", name):
        return tensor.permute(2, 1, 0).contiguous()
    return tensor.squeeze(0) if re.fullmatch(r"trace_processor\..*\.b1", name) else tensor


def _positions(arguments: Mapping[str, Any], outputs: int) -> int:
    """How many answers predictions are cut into: said by a shape, or by what the training scripts call it."""
    for name in ("parity_sequence_length", "maze_route_length"):
        if name in arguments and outputs:
            return int(arguments[name])
    *before, classes = [int(n) for n in arguments.get("prediction_reshaper", [-1])]
    if not before or not outputs:
        return 1
    return outputs // classes if classes > 0 else int(np.prod(before))


def _self_pairs(arguments: Mapping[str, Any]) -> int:
    if arguments.get("neuron_select_type", "random-pairing") != "random-pairing":
        return 0
    return int(arguments.get("n_random_pairing_self", 0))


def _backbone(tensors: Mapping[str, Tensor], kind: str) -> str:
    shown = (ours for name, ours in _BACKBONES.items() if name in tensors)
    return next(shown, kind)


def _channels(tensors: Mapping[str, Tensor], backbone: str) -> int:
    """Numbers in an input, where the backbone does not know; raw inputs go into the synapse beside the activations."""
    if backbone in ("parity", "grid"):
        return 3
    for name in _CHANNELS:
        if name in tensors:
            return tensors[name].shape[1]
    unet = "synapses.first_projection.0.weight"
    first = tensors[unet if unet in tensors else "synapses.1.weight"]
    return first.shape[1] - len(tensors["start_trace"])
