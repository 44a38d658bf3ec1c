"""A checkpoint gives back what it was given, from memory as from disk, and lets nobody change it."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from merganser.weights import Checkpoint, open_checkpoint, save


def mixed():
    return {
        "head.weight": torch.arange(6.0).reshape(2, 3),
        "layers.0.weight": torch.arange(12.0).reshape(4, 3).to(torch.bfloat16),
        "layers.0.steps": torch.tensor(7),
        "embed.position_ids": torch.arange(5),
        "embed.weight": torch.ones(5, 2, dtype=torch.float16),
        "scale": torch.tensor(0.5),
    }


@pytest.fixture(params=["memory", "file"])
def checkpoint(request, tmp_path):
    held = Checkpoint.from_tensors(mixed())
    return held if request.param == "memory" else save(held, tmp_path / "m.safetensors")


def test_floating_tensors_come_first_and_buffers_last(checkpoint):
    floating = ["embed.weight", "scale", "layers.0.weight", "head.weight"]
    assert list(checkpoint) == [*floating, "embed.position_ids", "layers.0.steps"]
    assert checkpoint.buffers == ("embed.position_ids", "layers.0.steps")
    assert len(checkpoint) == 6
    assert "scale" in checkpoint
    assert "scales" not in checkpoint
    assert checkpoint.layout.names == tuple(floating)


def test_layers_hold_the_buffers_too(checkpoint):
    assert {layer.name: layer.tensors for layer in checkpoint.layers}["embeddings"] == (
        "embed.weight",
        "embed.position_ids",
    )
    assert sorted(name for layer in checkpoint.layers for name in layer.tensors) == sorted(checkpoint)


@pytest.mark.parametrize("name", mixed())
def test_tensors_read_back_bit_for_bit(checkpoint, name):
    expected = mixed()[name]
    assert checkpoint.read(name).dtype == expected.dtype
    assert checkpoint.read(name).equal(expected)
    np.testing.assert_array_equal(checkpoint.array(name), expected.float().numpy())


@pytest.mark.parametrize("rows", [slice(1, 3), slice(2, None), slice(0, 4, 2), slice(9, 12), slice(-1, None)])
def test_rows_are_those_of_the_whole_tensor(checkpoint, rows):
    expected = mixed()["layers.0.weight"][rows]
    assert checkpoint.read("layers.0.weight", rows).equal(expected)
    np.testing.assert_array_equal(checkpoint.array("layers.0.weight", rows=rows), expected.float().numpy())


def test_elements_count_row_major(checkpoint):
    assert checkpoint.elements("layers.0.weight", 2, 5).tolist() == [2.0, 3.0, 4.0]
    assert checkpoint.elements("scale").tolist() == [0.5]


def test_chunks_are_the_bytes_in_order(checkpoint, monkeypatch):
    for module in ("_source", "_mapped"):
        monkeypatch.setattr(f"merganser.weights.{module}.CHUNK_BYTES", 5)
    pieces = [bytes(chunk) for chunk in checkpoint.chunks("head.weight")]
    assert [len(piece) for piece in pieces] == [5, 5, 5, 5, 4]
    assert b"".join(pieces) == mixed()["head.weight"].numpy().tobytes()


def test_arrays_refuse_to_be_written_into(checkpoint):
    for name in checkpoint:
        with pytest.raises(ValueError, match="read-only"):
            checkpoint.array(name)[...] = 1


def test_writing_into_a_tensor_reaches_neither_file_nor_digest_nor_copy(tmp_path):
    checkpoint = save(mixed(), tmp_path / "m.safetensors")
    before = (tmp_path / "m.safetensors").read_bytes()
    checkpoint.read("scale").fill_(9)
    assert (tmp_path / "m.safetensors").read_bytes() == before
    assert checkpoint.digest == Checkpoint.from_tensors(mixed()).digest
    assert save(checkpoint, tmp_path / "copy.safetensors").read("scale") == 0.5


def test_reading_maps_the_file_and_copies_nothing(tmp_path):
    checkpoint = save(mixed(), tmp_path / "m.safetensors")
    assert checkpoint.read("scale").data_ptr() == checkpoint.read("scale").data_ptr()


def test_attributes_and_mappings_cannot_be_changed():
    config = {"hidden": [1]}
    checkpoint = Checkpoint.from_tensors(mixed(), config=config)
    config["hidden"].append(2)
    assert checkpoint.config == {"hidden": [1]}
    with pytest.raises(TypeError, match="does not support item assignment"):
        checkpoint.config["hidden"] = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        checkpoint.path = None


def test_an_unknown_name_suggests_the_right_one(checkpoint):
    for ask in (checkpoint.spec, checkpoint.read, checkpoint.array, checkpoint.elements, checkpoint.chunks):
        with pytest.raises(ValueError, match=r"no tensor 'head\.wieght'\. Did you mean 'head\.weight'\?"):
            ask("head.wieght")
    with pytest.raises(ValueError, match=r"has no tensor 'zzz'\.$"):
        checkpoint.spec("zzz")


@pytest.mark.parametrize(
    ("name", "rows", "error", "message"),
    [
        ("scale", slice(0, 1), ValueError, "'scale' is a scalar and has no rows"),
        ("head.weight", 1, TypeError, "must be a slice, but is 1"),
        ("head.weight", slice(None, None, -1), ValueError, "positive step, but has -1"),
    ],
)
def test_impossible_rows_are_refused(checkpoint, name, rows, error, message):
    for read in (checkpoint.read, checkpoint.array):
        with pytest.raises(error, match=message):
            read(name, rows)


def test_a_torch_without_the_type_says_so(monkeypatch):
    checkpoint = Checkpoint.from_tensors({"scales": torch.ones(2).to(torch.float8_e8m0fnu)})
    monkeypatch.delattr(torch, "float8_e8m0fnu")
    with pytest.raises(TypeError, match=r"lacks F8_E8M0, the type of 'scales'\. Upgrade torch"):
        checkpoint.read("scales")
    assert checkpoint.array("scales").tolist() == [1.0, 1.0]


def test_the_repr_tells_source_size_and_types(checkpoint):
    assert repr(checkpoint) == (
        f"<Checkpoint {checkpoint.source}: 29 parameters in 4 tensors, 2 buffers, 1 blocks, BF16/F16/F32/I64>"
    )


class TestFromTensors:
    def test_a_later_change_of_the_original_does_not_show(self):
        array, tensor = np.zeros(2), torch.zeros(2)
        held = Checkpoint.from_tensors({"a": array, "t": tensor})
        array += 1
        tensor += 1
        assert held.array("a").tolist() == held.array("t").tolist() == [0.0, 0.0]

    def test_without_copy_the_memory_is_shared(self):
        tensor = torch.zeros(2)
        assert Checkpoint.from_tensors({"t": tensor}, copy=False).read("t").data_ptr() == tensor.data_ptr()

    def test_views_are_stored_in_row_major_order(self):
        matrix = torch.arange(6.0).reshape(2, 3)
        held = Checkpoint.from_tensors(
            {"t": matrix.T, "part": matrix[:, 1:], "n": matrix.numpy().T, "wide": torch.ones(1).expand(3)}
        )
        assert held.read("t").equal(matrix.T)
        assert held.read("part").equal(matrix[:, 1:])
        assert held.read("n").equal(matrix.T)
        assert held.read("wide").tolist() == [1, 1, 1]

    def test_big_endian_arrays_keep_their_values(self):
        assert Checkpoint.from_tensors({"a": np.array([1.5, 2], ">f4")}).read("a").tolist() == [1.5, 2]

    def test_read_only_arrays_do_not_make_torch_warn(self):
        array = np.ones(2)
        array.flags.writeable = False
        assert Checkpoint.from_tensors({"a": array}, copy=False).read("a").tolist() == [1, 1]

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            ({"a": [1, 2]}, "'a' must be a torch tensor or a numpy array, but is list"),
            ({"a": np.ones(1, np.complex128)}, "'a' has element type complex128, which a checkpoint cannot"),
            ({"a": np.array(["x"])}, "'a' has element type str"),
            ({3: np.ones(1)}, "names must be strings, but 3 is int"),
            ({"a": torch.ones(1, device="meta")}, "'a' has no plain data to store: it is on device meta"),
            ({"a": torch.eye(2).to_sparse()}, "'a' has no plain data"),
        ],
    )
    def test_what_cannot_be_stored_is_named(self, tensors, message):
        with pytest.raises(TypeError, match=message):
            Checkpoint.from_tensors(tensors)


class TiedModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.lm_head = nn.Linear(2, 5, bias=False)
        self.embed = nn.Embedding(5, 2)
        self.lm_head.weight = self.embed.weight
        self.norm = nn.BatchNorm1d(2)


class TestFromModule:
    def test_tied_tensors_appear_once_under_the_first_name(self):
        held = Checkpoint.from_module(TiedModel(), config={"vocab": 5})
        assert next(iter(held)) == "embed.weight"
        assert "lm_head.weight" not in held
        assert held.tied == {"lm_head.weight": "embed.weight"}
        assert (held.source, held.config) == ("TiedModel", {"vocab": 5})
        with pytest.raises(ValueError, match=r"is tied: read 'embed\.weight' instead"):
            held.read("lm_head.weight")

    def test_ties_survive_saving(self, tmp_path):
        held = Checkpoint.from_module(TiedModel())
        assert save(held, tmp_path / "m").tied == held.tied
        assert open_checkpoint(tmp_path / "m").digest == held.digest

    def test_equal_values_are_not_tied(self):
        linear = nn.Linear(2, 2)
        nn.init.zeros_(linear.bias)
        held = Checkpoint.from_module(nn.Sequential(linear, nn.BatchNorm1d(2)))
        assert held.tied == {}
        assert held.buffers == ("1.num_batches_tracked",)

    def test_training_on_does_not_change_the_checkpoint(self):
        module = nn.Linear(2, 2)
        held = Checkpoint.from_module(module)
        before = held.read("weight").clone()
        nn.init.ones_(module.weight)
        assert held.read("weight").equal(before)

    def test_modules_without_data_are_refused(self):
        with pytest.raises(TypeError, match="on device meta"):
            Checkpoint.from_module(nn.Linear(2, 2, device="meta"))
