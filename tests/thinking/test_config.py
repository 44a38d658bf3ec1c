"""Configurations: presets, plain data, and what does not go together."""

import json
import subprocess
import sys

import pytest
import torch

from merganser import ConfigError
from merganser.thinking import CTM, PRESETS, CTMConfig

DEFAULTS = {
    "outputs": 6,
    "positions": 2,
    "ticks": 4,
    "neurons": 12,
    "width": 8,
    "memory": 3,
    "heads": 2,
    "hidden": 2,
    "output_neurons": 4,
    "action_neurons": 3,
}


def SMALL(**changes):
    return CTMConfig(**{**DEFAULTS, **changes})


def size_of(name, **changes):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in CTM(CTMConfig.preset(name, **changes)).parameters())


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("parity-64", 5_719_714),
        ("maze-39", 31_998_330),
        ("maze-15-ablation", 8_967_160),
        ("qamnist-1", 2_501_388),
        ("qamnist-10", 3_413_772),
    ],
)
def test_presets_have_the_papers_numbers_of_parameters(name, parameters):
    assert size_of(name) == parameters


def test_the_small_maze_of_the_official_readme_has_its_parameters():
    assert size_of("maze-15-ablation", output_neurons=128, action_neurons=128) == 8_511_992


@pytest.mark.parametrize(("memory", "millions"), [(1, 4.91), (5, 5.04), (10, 5.21), (25, 5.72), (50, 6.56)])
def test_parity_models_have_the_papers_sizes(memory, millions):
    assert round(size_of("parity-64", memory=memory) / 1e6, 2) == millions


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_plain_data_and_back(name):
    config = CTMConfig.preset(name, ticks=3)
    assert CTMConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.ticks == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ticks": 0}, "`ticks` must be at least 1, but is 0"),
        ({"neurons": 4.0}, "`neurons` must be of type int, but is 4.0"),
        ({"sliding": 1}, "`sliding` must be of type bool"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\), but is 1.0"),
        ({"pairing": "randm"}, "`pairing` is `randm`, which is unknown. Did you mean `random`"),
        ({"backbone": "resnet18-5"}, "`backbone` is `resnet18-5`"),
        ({"positions": 4}, "`positions` must cut 6 `outputs` into equal parts"),
        ({"positions": 6}, "at least two classes"),
        ({"heads": 3}, "`width` must be a multiple of `heads`, but 8 is none of 3"),
        ({"heads": 0}, "`action_neurons` must be positive with attention and 0 without"),
        (
            {"heads": 0, "action_neurons": 0, "backbone": "digits"},
            "`heads` is 0, but the features of `digits`",
        ),
        ({"pairing": "first-last", "neurons": 6}, "`neurons` must be at least .* = 7"),
        ({"self_pairs": 3}, "`self_pairs` must be less than all pairs, 3"),
        ({"sliding": True}, "`sliding` needs `heads=0`"),
        ({"synapse_blocks": 2, "synapse_depth": 2}, "`synapse_blocks` is for synapses of depth 1"),
        ({"positional": "fourier"}, "`positional` must be `none` for the backbone `none`"),
        ({"positional": "fourier", "backbone": "parity"}, "sequences have `rotational-1d`"),
    ],
)
def test_what_does_not_go_together_names_the_field(changes, message):
    with pytest.raises(ConfigError, match=message):
        SMALL(**changes)


def test_unknown_presets_and_fields_suggest_the_right_one():
    with pytest.raises(ConfigError, match="Did you mean `parity-64`"):
        CTMConfig.preset("parity64")
    with pytest.raises(ConfigError, match=r"no field `tick`\. Did you mean `ticks`"):
        CTMConfig.preset("parity-64", tick=3)
    with pytest.raises(ConfigError, match="`neurons` of a thought machine is missing"):
        CTMConfig.from_dict({k: v for k, v in DEFAULTS.items() if k != "neurons"})
    with pytest.raises(ConfigError, match="it says `llama`"):
        CTMConfig.from_dict({**DEFAULTS, "model_type": "llama"})


def test_configurations_need_no_torch():
    code = "import sys; from merganser.thinking import CTMConfig, PRESETS; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
