"""Every form of checkpoint opens, and what is none says which forms there are."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from merganser._errors import CheckpointError
from merganser.weights import Checkpoint, open_checkpoint, save

TENSORS = {"0.weight": torch.ones(2, 2), "0.bias": torch.zeros(2), "1.weight": torch.ones(3)}


@pytest.fixture
def sharded(tmp_path):
    save(TENSORS, tmp_path / "sharded", shard_size=12, config={"hidden": 2})
    return tmp_path / "sharded"


def edit_index(folder, **changes):
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    path.write_text(json.dumps(index | changes))


def weight_map(folder):
    return json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]


def test_a_file_a_folder_and_shards_hold_the_same_model(tmp_path, sharded):
    save_file(TENSORS, tmp_path / "one.safetensors")
    (tmp_path / "folder").mkdir()
    save_file(TENSORS, tmp_path / "folder" / "any_name.safetensors")
    save(TENSORS, tmp_path / "saved")
    paths = [tmp_path / "one.safetensors", tmp_path / "folder", tmp_path / "saved", sharded]
    assert {open_checkpoint(path).digest for path in paths} == {Checkpoint.from_tensors(TENSORS).digest}
    assert len(list(sharded.glob("*.safetensors"))) == 3
    for name, tensor in TENSORS.items():
        assert open_checkpoint(sharded).read(name).equal(tensor)


def test_source_and_path_say_where_it_came_from(sharded):
    checkpoint = open_checkpoint(str(sharded))
    assert (checkpoint.path, checkpoint.source) == (sharded, str(sharded))


def test_a_relative_path_stays_valid_after_a_change_of_directory(sharded, monkeypatch):
    monkeypatch.chdir(sharded.parent)
    checkpoint = open_checkpoint("sharded")
    monkeypatch.chdir("/")
    assert checkpoint.read("0.bias").tolist() == [0, 0]


def test_the_folders_configuration_is_read(tmp_path, sharded):
    assert open_checkpoint(sharded).config == {"hidden": 2}
    (sharded / "config.json").write_text('{"bound": Infinity}')
    assert open_checkpoint(sharded).config == {"bound": float("inf")}
    (sharded / "config.json").unlink()
    assert open_checkpoint(sharded).config == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "must hold a JSON object, but holds a list"),
        ("[" * 99999, "JSON"),
    ],
)
def test_a_broken_configuration_is_named(sharded, text, message):
    (sharded / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=rf"config\.json .*{message}"):
        open_checkpoint(sharded)


def test_an_overlong_configuration_is_not_parsed(sharded, monkeypatch):
    monkeypatch.setattr("merganser.weights._json.MAX_BYTES", 400)
    (sharded / "config.json").write_text(" " * 500)
    with pytest.raises(CheckpointError, match="too large: expected at most 400 bytes"):
        open_checkpoint(sharded)


def test_a_configuration_that_is_a_folder_is_named(sharded):
    (sharded / "config.json").unlink()
    (sharded / "config.json").mkdir()
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read: it is not an ordinary file"):
        open_checkpoint(sharded)


def test_nothing_at_the_path_tells_what_is_accepted(tmp_path):
    with pytest.raises(CheckpointError, match=r"no such file or folder\. Expected a file \*\.safet"):
        open_checkpoint(tmp_path / "absent")


def test_a_folder_without_tensors_lists_what_it_holds(tmp_path):
    with pytest.raises(CheckpointError, match="a folder that holds: nothing"):
        open_checkpoint(tmp_path)
    (tmp_path / "weights.txt").touch()
    with pytest.raises(CheckpointError, match=r"holds: weights\.txt\. Expected a file"):
        open_checkpoint(tmp_path)


def test_several_files_without_an_index_are_not_guessed_at(tmp_path):
    for name in "ab":
        save_file(TENSORS, tmp_path / f"{name}.safetensors")
    with pytest.raises(CheckpointError, match=r"a\.safetensors, b\.safetensors\. Expected"):
        open_checkpoint(tmp_path)


def test_a_file_of_another_kind_is_no_checkpoint(tmp_path):
    (tmp_path / "model.onnx").touch()
    with pytest.raises(CheckpointError, match=r"name ends in '\.onnx'"):
        open_checkpoint(tmp_path / "model.onnx")


def test_a_path_the_system_refuses_is_a_checkpoint_error(tmp_path):
    with pytest.raises(CheckpointError, match="cannot be opened: File name too long"):
        open_checkpoint(tmp_path / ("x" * 300))


def test_a_missing_shard_is_named(sharded):
    (sharded / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"'model-00002-of-00003\.safetensors', which is missing"):
        open_checkpoint(sharded)


def test_a_truncated_shard_is_named(sharded):
    shard = sharded / "model-00002-of-00003.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model-00002-of-00003\.safetensors is cut short"):
        open_checkpoint(sharded)


@pytest.mark.parametrize(
    "name",
    ["../secret.safetensors", "/etc/passwd", "..", ".", "", "sub/m.safetensors", "..\\m.safetensors", "C:m"],
)
def test_an_index_cannot_lead_out_of_its_folder(sharded, name):
    Path(sharded.parent / "secret.safetensors").touch()
    edit_index(sharded, weight_map={"0.weight": name})
    with pytest.raises(CheckpointError, match="expected the name of a file beside the index"):
        open_checkpoint(sharded)


@pytest.mark.parametrize("wrong", [None, [], {"0.weight": 3}])
def test_a_weight_map_of_another_shape_is_refused(sharded, wrong):
    edit_index(sharded, weight_map=wrong)
    with pytest.raises(CheckpointError, match="must have a `weight_map`"):
        open_checkpoint(sharded)


def test_an_index_that_is_no_json_is_refused(sharded):
    (sharded / "model.safetensors.index.json").write_text("no")
    with pytest.raises(CheckpointError, match=r"index\.json is malformed: expected a JSON object"):
        open_checkpoint(sharded)


def test_a_tensor_must_be_in_the_shard_it_is_said_to_be_in(sharded):
    entries = weight_map(sharded)
    edit_index(sharded, weight_map=entries | {"2.weight": entries["0.weight"]})
    with pytest.raises(CheckpointError, match=r"says that tensor '2\.weight' is in .* but it is not there"):
        open_checkpoint(sharded)


def test_a_tensor_in_two_shards_is_refused(sharded):
    entries = weight_map(sharded)
    save_file({"0.bias": torch.ones(2), "1.weight": torch.ones(3)}, sharded / entries["0.bias"])
    with pytest.raises(CheckpointError, match=r"'1\.weight' is in shard .* says it is in"):
        open_checkpoint(sharded)


def test_a_tensor_the_index_leaves_out_is_refused(sharded):
    entries = weight_map(sharded)
    save_file({"0.bias": torch.ones(2), "surprise": torch.ones(3)}, sharded / entries["0.bias"])
    with pytest.raises(CheckpointError, match=r"'surprise' is in shard .* does not list it"):
        open_checkpoint(sharded)


def test_links_are_followed_as_download_caches_need(sharded, tmp_path):
    (tmp_path / "blob").write_bytes((sharded / "model-00001-of-00003.safetensors").read_bytes())
    (sharded / "model-00001-of-00003.safetensors").unlink()
    (sharded / "model-00001-of-00003.safetensors").symlink_to(tmp_path / "blob")
    assert open_checkpoint(sharded).read("0.weight").equal(TENSORS["0.weight"])
