"""What is saved is what is read, and nothing but whole output ever has the target's name."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from merganser._errors import CheckpointError, OutputError
from merganser.weights import DTYPES, Checkpoint, ShardWriter, TensorSpec, open_checkpoint, save
from merganser.weights._safetensors import SafetensorsFile

TENSORS = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.zeros(2), "steps": torch.tensor(1)}
TWO = [TensorSpec("a", "F32", (2,)), TensorSpec("none", "F32", (0,)), TensorSpec("b", "U8", (3,))]


def listing(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def a_tensor(draw):
    row = DTYPES[draw(st.sampled_from(sorted(DTYPES)))]
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    size = int(np.prod(shape, dtype=int)) * row.itemsize
    raw = torch.frombuffer(
        bytearray(draw(st.binary(min_size=size, max_size=size)) or b"\0"), dtype=torch.uint8
    )
    raw = raw[:size] % 2 if row.name == "BOOL" else raw[:size]
    return raw.view(getattr(torch, row.library)).reshape(shape)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shard_size=st.sampled_from([1, 40, None]))
def test_any_tensors_survive_the_round_trip_bit_for_bit(tmp_path_factory, data, shard_size):
    names = data.draw(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5, unique=True))
    tensors = {name: a_tensor(data.draw) for name in names if name != "__metadata__"}
    saved = save(tensors, tmp_path_factory.mktemp("trip") / "m", shard_size=shard_size)
    assert set(saved) == set(tensors)
    assert saved.digest == Checkpoint.from_tensors(tensors).digest
    for name, tensor in tensors.items():
        assert (saved.read(name).dtype, saved.read(name).shape) == (tensor.dtype, tensor.shape)


def test_a_folder_holds_one_file_and_the_configuration(tmp_path):
    saved = save(TENSORS, tmp_path / "m", config={"b": 1, "a": [2]}, metadata={"note": "x"})
    assert listing(tmp_path) == ["m", "m/config.json", "m/model.safetensors"]
    assert saved.config == {"a": [2], "b": 1}
    assert saved.metadata == {"format": "pt", "note": "x"}


def test_shards_have_the_names_and_the_index_that_other_tools_expect(tmp_path):
    save(TENSORS, tmp_path / "m", shard_size=32)
    files = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    assert listing(tmp_path / "m") == [*files, "model.safetensors.index.json"]
    index = json.loads((tmp_path / "m" / "model.safetensors.index.json").read_text())
    assert index["metadata"] == {"total_size": 40}
    assert index["weight_map"] == {"steps": files[0], "0.weight": files[0], "0.bias": files[1]}


def test_every_tensor_is_aligned(tmp_path):
    tensors = {"a": torch.ones(3, dtype=torch.int8), "b": torch.ones(3), "c": torch.ones(1).double()}
    saved = save(tensors, tmp_path / "m.safetensors")
    mapped = saved.read("c").data_ptr()
    assert [saved.read(name).data_ptr() - mapped for name in "cba"] == [0, 8, 20]
    assert mapped % 8 == 0


def test_a_checkpoint_keeps_its_configuration_and_metadata(tmp_path):
    first = save(TENSORS, tmp_path / "a", config={"x": 1}, metadata={"note": "y"})
    second = save(first, tmp_path / "b")
    assert (second.config, second.metadata) == (first.config, first.metadata)


def test_an_existing_target_is_left_alone(tmp_path):
    for target in (tmp_path / "m.safetensors", tmp_path / "m"):
        save(TENSORS, target)
        with pytest.raises(OutputError, match=r"exists already\. Choose another path, or allow"):
            save({"other": torch.ones(1)}, target)
        assert set(open_checkpoint(target)) == set(TENSORS)
    assert listing(tmp_path) == ["m", "m.safetensors", "m/model.safetensors"]


def test_overwriting_replaces_all_of_it(tmp_path):
    for target in (tmp_path / "m.safetensors", tmp_path / "m"):
        save(TENSORS, target, shard_size=8)
        assert list(save({"other": torch.ones(1)}, target, overwrite=True)) == ["other"]
    assert listing(tmp_path) == ["m", "m.safetensors", "m/model.safetensors"]


def test_a_checkpoint_can_be_saved_over_itself(tmp_path):
    first = save(TENSORS, tmp_path / "m")
    kept, digest = first.read("0.weight"), first.digest
    assert save(first, tmp_path / "m", overwrite=True).digest == digest
    assert kept.equal(TENSORS["0.weight"])


def test_a_folder_of_other_things_is_never_overwritten(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "love.txt").touch()
    (tmp_path / "plain").touch()
    for name in ("letters", "plain"):
        with pytest.raises(OutputError, match="is no folder with a checkpoint, so it is not overwritten"):
            save(TENSORS, tmp_path / name, overwrite=True)
    assert listing(tmp_path) == ["letters", "letters/love.txt", "plain"]


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("m.safetensors", {"config": {}}, r"A single file holds no configuration\. Save to a folder"),
        ("m", {"shard_size": 0}, "positive number of bytes or None, but is 0"),
        ("m", {"metadata": {"a": 1}}, "Metadata must hold strings by string"),
        ("m", {"metadata": {"a": "\ud800"}}, "half a character"),
    ],
)
def test_misuse_leaves_nothing_behind(tmp_path, target, options, message):
    with pytest.raises(ValueError, match=message):
        save(TENSORS, tmp_path / target, **options)
    assert listing(tmp_path) == []


def test_a_reserved_name_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'__metadata__' occurs twice or is reserved"):
        save({"__metadata__": torch.ones(1)}, tmp_path / "m")


def test_a_configuration_that_is_no_json_leaves_nothing_behind(tmp_path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        save(TENSORS, tmp_path / "m", config={"a": object()})
    assert listing(tmp_path) == []


def test_a_source_that_fails_half_way_leaves_the_old(tmp_path):
    source = save(TENSORS, tmp_path / "source.safetensors")
    old = save({"old": torch.ones(1)}, tmp_path / "m")
    (tmp_path / "source.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"source\.safetensors cannot be read at tensor"):
        save(source, tmp_path / "m", overwrite=True)
    assert open_checkpoint(tmp_path / "m").digest == old.digest
    assert listing(tmp_path) == ["m", "m/model.safetensors"]


class TestShardWriter:
    def test_chunks_of_any_size_join_to_the_tensor(self, tmp_path):
        with ShardWriter(tmp_path / "m.safetensors", TWO, metadata={"k": "v"}, verify=True) as writer:
            for piece in (b"\0", b"\0\x80", b"", b"\x3f", np.array([2], "<f4")):
                writer.write("a", piece)
            assert not (tmp_path / "m.safetensors").exists()
            writer.write("none", b"")
            writer.write("b", np.array([[1, 2, 3]], np.uint8))
        checkpoint = open_checkpoint(tmp_path / "m.safetensors")
        assert checkpoint.read("a").tolist() == [1.0, 2.0]
        assert checkpoint.read("b").tolist() == [1, 2, 3]
        assert checkpoint.metadata == {"k": "v"}

    @pytest.mark.parametrize(
        ("name", "chunk", "message"),
        [
            ("b", b"1", "Expected at most 8 bytes of 'a' .* found 1 bytes of 'b'"),
            ("a", b"123456789", "Expected at most 8 bytes of 'a' .* found 9"),
            ("none", b"1", "found 1 bytes of 'none'"),
            ("c", b"1", "'c' is not among the specs"),
        ],
    )
    def test_bytes_out_of_turn_are_refused(self, tmp_path, name, chunk, message):
        with (
            pytest.raises(ValueError, match=message),
            ShardWriter(tmp_path / "m.safetensors", TWO) as writer,
        ):
            writer.write(name, chunk)
        assert listing(tmp_path) == []

    def test_missing_bytes_are_an_error(self, tmp_path):
        with (
            pytest.raises(ValueError, match="'a' lacks 7 of 8 bytes"),
            ShardWriter(tmp_path / "m.safetensors", TWO) as writer,
        ):
            writer.write("a", b"1")
        assert listing(tmp_path) == []

    def test_more_bytes_than_all_are_an_error(self, tmp_path):
        writer = ShardWriter(tmp_path / "m.safetensors", [TensorSpec("a", "U8", (1,))])
        writer.write("a", b"1")
        with pytest.raises(ValueError, match="Expected no more bytes"):
            writer.write("a", b"1")
        writer.close()
        writer.close()
        with pytest.raises(ValueError, match="is closed"):
            writer.write("a", b"1")
        assert listing(tmp_path) == ["m.safetensors"]

    def test_two_tensors_of_one_name_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="'a' occurs twice"):
            ShardWriter(tmp_path / "m.safetensors", [TWO[0], TWO[0]])
        assert listing(tmp_path) == []


@pytest.mark.parametrize("target", ["m", "m.safetensors"])
def test_a_disk_that_returns_other_bytes_is_found_out(tmp_path, monkeypatch, target):
    old = save({"old": torch.ones(1)}, tmp_path / target)
    monkeypatch.setattr(SafetensorsFile, "chunks", lambda self, name: iter([b"rotten"]))
    with pytest.raises(OutputError, match="reads back differently"):
        save(TENSORS, tmp_path / target, overwrite=True)
    monkeypatch.undo()
    assert open_checkpoint(tmp_path / target).digest == old.digest


def test_a_file_that_cannot_be_read_back_is_found_out(tmp_path, monkeypatch):
    def damage(path):
        path.write_bytes(path.read_bytes()[:-1])

    monkeypatch.setattr("merganser.weights._write._forget_pages", damage)
    with pytest.raises(OutputError, match=r"could not be read back after writing: .* cut short"):
        save(TENSORS, tmp_path / "m")
    assert listing(tmp_path) == []


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of one MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system needs root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("options", [{}, {"shard_size": 400_000}])
@pytest.mark.parametrize("target", ["m", "m.safetensors"])
def test_a_full_disk_keeps_the_old_and_says_what_is_needed(tiny_disk, target, options):
    old = save({"old": torch.ones(50_000)}, tiny_disk / target, **options)
    large = {f"{i}.weight": torch.ones(100_000) for i in range(5)}
    with pytest.raises(
        OutputError, match=r"No space left on device\. It takes 2,000,000 bytes; [0-9,]+ are free"
    ):
        save(large, tiny_disk / target, overwrite=True, **options)
    assert open_checkpoint(tiny_disk / target).digest == old.digest
    assert len(list(tiny_disk.iterdir())) == 1


def test_a_limit_on_file_size_is_an_output_error(tmp_path, in_a_child):
    result = in_a_child(f"""
        import resource, torch
        from merganser._errors import OutputError
        from merganser.weights import save
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            save({{"w": torch.ones(100_000)}}, {str(tmp_path / "m")!r})
        except OutputError as error:
            print(error)
    """)
    assert f"{tmp_path / 'm'} could not be written: File too large. It takes 400,000 bytes" in result
    assert listing(tmp_path) == []


def test_a_folder_that_may_not_be_written_is_an_output_error():
    if not Path("/proc").is_dir():
        pytest.skip("needs a folder that nobody can write into")
    with pytest.raises(OutputError, match="/proc/m could not be written"):
        save(TENSORS, "/proc/m")
