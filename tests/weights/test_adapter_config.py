"""An adapter's configuration is understood whole, or refused with the reason."""

import json

import pytest

from merganser import CheckpointError
from merganser.weights._adapter_config import LoraSettings, read_lora_settings


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "IA3"}, "type 'IA3'; only LORA can be applied. Merge it with PEFT"),
        ({"peft_type": None}, "type None"),
        (
            {"layer_replication": [[0, 1]]},
            "copies layers of the base .`layer_replication`., which is not",
        ),
        ({"trainable_token_indices": [3]}, "trains single tokens"),
        ({"target_parameters": ["experts.up"]}, "`target_parameters`"),
        (
            {"init_lora_weights": "pissa_niter_4"},
            "initialisation .'pissa_niter_4'. has changed. Convert it",
        ),
        ({"lora_alpha": None}, "`lora_alpha` must be a finite number, but is None"),
        ({"lora_alpha": True}, "but is True"),
        ({"lora_alpha": float("inf")}, "but is inf"),
        ({"use_rslora": "yes"}, "`use_rslora` must be true or false, but is 'yes'"),
        ({"alpha_pattern": [1]}, r"`alpha_pattern` must be an object, but is \[1\]"),
        ({"alpha_pattern": {"(": 1}}, r"'\(' in `alpha_pattern` is no regular expression"),
    ],
)
def test_what_cannot_be_applied_is_refused(tmp_path, config, message):
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 3} | config))
    with pytest.raises(CheckpointError, match=rf"adapter_config\.json.*{message}"):
        read_lora_settings(path)


def test_keys_that_change_nothing_are_not_asked_about(tmp_path):
    path = tmp_path / "adapter_config.json"
    rest = {
        "r": 8,
        "target_modules": "all-linear",
        "layer_replication": None,
        "init_lora_weights": True,
        "new": 1,
    }
    path.write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 3, "fan_in_fan_out": None} | rest))
    settings, stamp = read_lora_settings(path)
    assert settings == LoraSettings(3.0)
    assert stamp.path == path
