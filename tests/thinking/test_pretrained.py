"""A thought machine is a checkpoint: saved, opened, merged, compared."""

import json

import pytest
import torch
from huggingface_hub import HfApi

import merganser
from merganser import CheckpointError, ConfigError, OutputError
from merganser.thinking import CTM

from .cases import build, inputs_for
from .test_config import SMALL


def machine(seed=0, **changes):
    return build(SMALL(**changes), seed).eval()


def says(model):
    with torch.no_grad():
        return model(inputs_for(model.config, 3)).predictions


def test_what_was_saved_opens_and_says_the_same(tmp_path):
    model = machine(backbone="digits", pairing="random-pairing", dropout=0.3)
    model.save_pretrained(tmp_path / "model")
    again = CTM.from_pretrained(tmp_path / "model")
    assert again.config == model.config
    assert not again.training
    assert torch.equal(says(again), says(model))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_model_keeps_its_element_type(tmp_path, dtype):
    model = machine().to(dtype)
    model.save_pretrained(tmp_path / "model")
    again = CTM.from_pretrained(tmp_path / "model")
    assert torch.equal(again.start_history, model.start_history)
    assert again.start_history.dtype == dtype


def test_pairs_are_the_files_not_the_seeds(tmp_path):
    model = machine(pairing="random")
    model.save_pretrained(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "seed": 9}))
    assert torch.equal(says(CTM.from_pretrained(tmp_path / "model")), says(model))


def test_a_checkpoint_shows_tensors_and_layers(tmp_path):
    machine(synapse_depth=3).save_pretrained(tmp_path / "model")
    checkpoint = merganser.open(tmp_path / "model")
    layers = [layer.name for layer in checkpoint.layers]
    assert {"synapse.down.0", "synapse.up.1", "neurons.layers.0", "attention.query", "head"} <= set(layers)
    assert checkpoint.spec("neurons.layers.0.weight").shape == (12, 4, 3)
    assert checkpoint.config["model_type"] == "ctm"


def test_a_merge_of_two_is_a_thought_machine(tmp_path):
    one, two = machine(0, backbone="digits"), machine(1, backbone="digits")
    two(inputs_for(two.config, 2))
    for name, model in (("one", one), ("two", two)):
        model.save_pretrained(tmp_path / name)
    merganser.merge([tmp_path / "one", tmp_path / "two"], "linear", out=tmp_path / "merged")
    merged = CTM.from_pretrained(tmp_path / "merged")
    half = CTM(one.config)
    mean = {
        k: (v + two.state_dict()[k]) / 2 if v.is_floating_point() else v for k, v in one.state_dict().items()
    }
    half.load_state_dict(mean)
    torch.testing.assert_close(says(merged), says(half.eval()))


def test_models_with_other_pairs_are_not_merged():
    one, two = (CTM(SMALL(pairing="random", seed=seed)).checkpoint() for seed in (1, 2))
    with pytest.raises(
        CheckpointError, match=r"'\w+\.(left|right)' holds I64, which cannot be merged, and differs"
    ):
        merganser.merge([one, two], "linear")


def test_a_model_is_compared_without_a_file():
    found = merganser.compare([machine(0).checkpoint(), machine(1).checkpoint()])
    assert len(found.pairs) == 1


class Answering(CTM):
    """Answers pictures of 8×8 pixels as other networks do."""

    def forward(self, inputs):
        return super().forward(inputs.view(-1, 1, 8, 8) / 16).answer()


def test_models_are_evolved(tmp_path, small_npz):
    config = SMALL(outputs=10, positions=1, ticks=2, backbone="digits", channels=1)
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        models.append(Answering(config))
    outcome = merganser.evolve(
        models,
        str(small_npz),
        search={"population": 3},
        budget=12,
        run=tmp_path / "run",
        out=tmp_path / "best",
    )
    assert outcome.finished
    assert not outcome.failures
    tensors = merganser.open(tmp_path / "best")
    assert torch.equal(tensors.read("output.left"), models[0].output.left)


def test_what_does_not_fit_is_named(tmp_path):
    model = machine()
    model.save_pretrained(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "memory": 4}))
    with pytest.raises(CheckpointError, match=r"`.*` should be \(.*4.*\), but is"):
        CTM.from_pretrained(tmp_path / "model")
    config.write_text(json.dumps({**settings, "memroy": 3}))
    with pytest.raises(ConfigError, match="Did you mean `memory`"):
        CTM.from_pretrained(tmp_path / "model")
    config.write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(CheckpointError, match="is no thought machine"):
        CTM.from_pretrained(tmp_path / "model")


def test_an_existing_folder_is_kept(tmp_path):
    machine().save_pretrained(tmp_path / "model")
    with pytest.raises(OutputError, match="exists"):
        machine(1).save_pretrained(tmp_path / "model")
    machine(1).save_pretrained(tmp_path / "model", overwrite=True)
    assert torch.equal(says(CTM.from_pretrained(tmp_path / "model")), says(machine(1)))


def test_an_upload_that_the_hub_refuses_says_so(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(HfApi, "create_repo", _refused)
    with pytest.raises(OutputError, match="could not be uploaded to the hub: no such token"):
        machine().push_to_hub("org/name")


def _refused(*_, **__):
    raise ConnectionError("no such token")
