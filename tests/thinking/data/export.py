"""Writes the goldens of this folder from the official code: `python export.py PATH-TO-ITS-CHECKOUT`.

Weights are not stored: they follow from their names, by `fill`, here and in the test that reads the goldens.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np
import torch

BASE = {
    "iterations": 5,
    "d_model": 12,
    "d_input": 8,
    "heads": 2,
    "n_synch_out": 4,
    "n_synch_action": 3,
    "synapse_depth": 1,
    "memory_length": 3,
    "deep_nlms": True,
    "memory_hidden_dims": 2,
    "do_layernorm_nlm": False,
    "out_dims": 6,
    "prediction_reshaper": [-1],
    "dropout": 0.0,
    "neuron_select_type": "random-pairing",
    "n_random_pairing_self": 0,
}
ONLY_PLAIN = ("heads", "n_synch_action", "n_random_pairing_self", "out_dims")
CASES = {
    "parity": {"backbone_type": "parity_backbone", "positional_embedding_type": "custom-rotational-1d"}
    | {"neuron_select_type": "random", "prediction_reshaper": [3, 2]},
    "maze": {"backbone_type": "resnet18-1", "positional_embedding_type": "none"}
    | {"neuron_select_type": "first-last", "synapse_depth": 3, "prediction_reshaper": [2, 3]},
    "bottleneck": {"backbone_type": "resnet50-1", "positional_embedding_type": "learnable-fourier"}
    | {"deep_nlms": False, "n_random_pairing_self": 2},
    "two-groups": {"backbone_type": "resnet18-2", "positional_embedding_type": "custom-rotational"}
    | {"d_model": 19, "synapse_depth": 4},
    "wide": {"backbone_type": "shallow-wide", "positional_embedding_type": "multi-learnable-fourier"}
    | {"do_layernorm_nlm": True},
    "raw": {"backbone_type": "none", "positional_embedding_type": "none"},
    "sort": {"heads": 0, "synapse_depth": 3, "backbone_type": "none", "positional_embedding_type": "none"}
    | {"n_synch_action": 0},
    "questions": {"neuron_select_type": "random", "iterations_per_digit": 2}
    | {"iterations_per_question_part": 2, "iterations_for_answering": 3},
    "control": {"neuron_select_type": "first-last", "backbone_type": "classic-control-backbone"},
    "grid": {"neuron_select_type": "first-last", "backbone_type": "navigation-backbone"},
}


def fill(name, shape):
    """Weights for a name: normal numbers seeded by it, of a spread that suits what it is."""
    n = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if "running_var" in name or name.endswith((".T", "mixture")):
        return 1 + 0.3 * np.abs(n)
    if "decay_params" in name:
        return np.abs(n)
    if len(shape) < 2:
        return 0.2 * n + name.endswith("weight")
    return n / np.sqrt(np.prod(shape[1:])) if "w1" not in name else 0.4 * n


def inputs_of(name):
    """What a golden's model sees."""
    n = np.random.RandomState(zlib.crc32(name.encode()))
    if name == "parity":
        return n.choice([-1.0, 1.0], (2, 3))
    if name in ("maze", "bottleneck", "two-groups", "wide"):
        return n.standard_normal((2, 4 if name == "maze" else 3, 10, 10))
    if name == "raw":
        return n.standard_normal((2, 5, 4))
    if name == "questions":
        return n.standard_normal((2, 2, 1, 8, 8))
    if name == "grid":
        return n.randint(0, 3, (2, 7, 7, 3))
    return n.standard_normal((2, 5))


def official(name):
    """The official module of a golden, and how it is called."""
    from models.ctm import ContinuousThoughtMachine
    from models.ctm_qamnist import ContinuousThoughtMachineQAMNIST
    from models.ctm_rl import ContinuousThoughtMachineRL
    from models.ctm_sort import ContinuousThoughtMachineSORT

    arguments = {**BASE, **CASES[name]}
    np.random.seed(0)
    if name in ("control", "grid"):
        arguments = {k: v for k, v in arguments.items() if k not in ONLY_PLAIN}
        return ContinuousThoughtMachineRL(**arguments), arguments
    kinds = {"questions": ContinuousThoughtMachineQAMNIST, "sort": ContinuousThoughtMachineSORT}
    return kinds.get(name, ContinuousThoughtMachine)(**arguments), arguments


def run(name, model):
    """Calls the official module; gives what it says."""
    inputs = torch.tensor(inputs_of(name))
    inputs = inputs if name == "grid" else inputs.float()
    if name in ("control", "grid"):
        starts = (model.start_trace, model.start_activated_trace)
        state = tuple(start.unsqueeze(0).expand(2, -1, -1) for start in starts)
        first, state = model(inputs, state)
        second, _ = model(inputs.flip(0), state)
        return {"first": first, "second": second}
    if name == "questions":
        asked = torch.tensor([[1, 1, -1, -1], [0, 0, -2, -2]])
        predictions, certainties, synchronisation = model(inputs.repeat_interleave(2, 1), asked)
    else:
        predictions, certainties, synchronisation = model(inputs)
    return {
        "predictions": predictions,
        "certainties": certainties[:, 1],
        "synchronisation": synchronisation,
    }


def main(checkout):
    sys.path.insert(0, checkout)
    for name in CASES:
        model, arguments = official(name)
        model.eval()
        with torch.no_grad():
            run(name, model)  # lazy layers get their shapes
            integers = {}
            for key, tensor in model.state_dict().items():
                if tensor.is_floating_point():
                    tensor.copy_(torch.tensor(fill(key, tuple(tensor.shape))))
                elif "indices" in key:
                    integers[key] = tensor.tolist()
            says = {key: value.tolist() for key, value in run(name, model).items()}
        floats = {k: list(t.shape) for k, t in model.state_dict().items() if t.is_floating_point()}
        golden = {"arguments": arguments, "floats": floats, "integers": integers, "says": says}
        Path(__file__).with_name(f"{name}.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
