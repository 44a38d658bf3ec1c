"""Models of the official code say here what they say there; see data/README.md for where the goldens come from."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from merganser import CheckpointError, save
from merganser.thinking import CTM, from_official

from .data.export import CASES, fill, inputs_of

DATA = Path(__file__).parent / "data"


def golden(name):
    return json.loads((DATA / f"{name}.json").read_text())


def state_of(golden):
    floats = {key: torch.tensor(fill(key, tuple(shape))).float() for key, shape in golden["floats"].items()}
    return {**floats, **{key: torch.tensor(value) for key, value in golden["integers"].items()}}


def model_of(name):
    found = golden(name)
    return from_official(state_of(found), found["arguments"]), found["says"]


def close(found, wanted):
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("questions", "control", "grid")])
def test_an_official_model_says_what_it_said_there(name):
    model, says = model_of(name)
    with torch.no_grad():
        thought = model(torch.tensor(inputs_of(name)).float())
    close(thought.predictions, says["predictions"])
    close(thought.certainties, says["certainties"])
    close(thought.latent, says["synchronisation"])


@pytest.mark.parametrize("name", ["control", "grid"])
def test_an_official_agent_goes_on_from_its_state(name):
    model, says = model_of(name)
    inputs = torch.tensor(inputs_of(name))
    inputs = inputs if name == "grid" else inputs.float()
    with torch.no_grad():
        first = model(inputs)
        second = model(inputs.flip(0), state=first.state)
    close(first.latent, says["first"])
    close(second.latent, says["second"])
    with pytest.raises(ValueError, match="has no head"):
        _ = first.predictions


def test_digits_and_questions_are_one_sequence_with_a_state():
    model, says = model_of("questions")
    digits = torch.tensor(inputs_of("questions")).float()
    items = [digits[:, 0], digits[:, 1], torch.tensor([1, 0]), torch.tensor([-1, -2]), None]
    state, predictions, certainties = None, [], []
    with torch.no_grad():
        for inputs in items:
            thought = model(inputs, ticks=3 if inputs is None else 2, state=state)
            state = thought.state
            predictions.append(thought.predictions)
            certainties.append(thought.certainties)
    close(torch.cat(predictions, dim=-1), says["predictions"])
    close(torch.cat(certainties, dim=-1), says["certainties"])
    close(thought.latent, says["synchronisation"])


def test_a_folder_with_the_official_arguments_opens(tmp_path):
    found = golden("parity")
    save(state_of(found), tmp_path / "model", config=found["arguments"])
    model = CTM.from_pretrained(tmp_path / "model")
    assert model.config.positions == 3
    assert not model.training


def test_a_file_of_the_training_scripts_opens(tmp_path):
    found = golden("maze")
    arguments = {k: v for k, v in found["arguments"].items() if k != "prediction_reshaper"}
    states = {"numpy_rng_state": np.random.RandomState(0).get_state(), "losses": [np.float32(1.0)]}
    file = {"model_state_dict": state_of(found), "args": argparse.Namespace(**arguments, maze_route_length=2)}
    torch.save({**file, **states}, tmp_path / "checkpoint.pt")
    model = CTM.from_pretrained(tmp_path / "checkpoint.pt")
    with torch.no_grad():
        thought = model(torch.tensor(inputs_of("maze")).float())
    close(thought.certainties, found["says"]["certainties"])


def test_a_file_that_asks_for_more_than_data_is_refused(tmp_path):
    torch.save({"model_state_dict": {}, "args": Path("/")}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckpointError, match="cannot be read as a file of the official code"):
        CTM.from_pretrained(tmp_path / "checkpoint.pt")


def test_missing_tensors_and_arguments_are_named():
    found = golden("parity")
    state = state_of(found)
    del state["kv_proj.1.bias"]
    with pytest.raises(CheckpointError, match=r"lacks `attention.norm.bias` \(1 missing, 0 unknown\)"):
        from_official(state, found["arguments"])
    with pytest.raises(CheckpointError, match="has 'iterations', but these"):
        from_official(state_of(found), {})
