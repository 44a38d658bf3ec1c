"""Damaged and hostile files are refused when they are opened, with the file and the tensor named."""

import json
import os
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from merganser._errors import CheckpointError
from merganser.weights import Checkpoint, open_checkpoint, save

F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def file_of(tmp_path, header, data=b"\0" * 8, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def with_field(field, value):
    return {"w": {**F32, field: value}}


def test_the_well_formed_file_that_the_faults_are_made_from_opens(tmp_path):
    assert list(open_checkpoint(file_of(tmp_path, {"w": F32}))) == ["w"]


FAULTS = {
    "header longer than the file": ({"w": F32}, {"length": 10**6}, "announces a header of 1000000 bytes"),
    "absurd header length": ({"w": F32}, {"length": 2**64 - 1}, "announces a header of 18446744073709551615"),
    "header shorter than it is": ({"w": F32}, {"length": 20}, "malformed safetensors header: expected JSON"),
    "no object": (b"[1, 2]", {}, r"begins with '\{'"),
    "leading space": (b' {"w": 1}', {}, r"begins with '\{'"),
    "empty header": (b"", {"data": b""}, r"begins with '\{'"),
    "not UTF-8": (b'{"\xff": 1}', {}, "expected UTF-8, found byte 0xff at 2"),
    "half JSON": (b'{"w": ', {}, "expected JSON"),
    "nested without end": (b'{"w": ' + b"[" * 100_000, {}, "nested too deeply"),
    "endless number": (b'{"w": ' + b"9" * 5000 + b"}", {}, "expected JSON"),
    "NaN": (b'{"w": NaN}', {}, "NaN is no JSON number"),
    "duplicate tensor": (b'{"w": {}, "w": {}}', {}, "key 'w' occurs twice"),
    "duplicate field": (b'{"w": {"dtype": "F32", "dtype": "F16"}}', {}, "key 'dtype' occurs twice"),
    "lone surrogate": (b'{"\\ud800": 1}', {}, "lone surrogate"),
    "metadata of numbers": ({"__metadata__": {"a": 1}}, {"data": b""}, "strings by string"),
    "metadata is a list": ({"__metadata__": []}, {"data": b""}, "strings by string"),
    "entry is a number": ({"w": 3}, {}, "tensor 'w' must have exactly the fields"),
    "field missing": ({"w": {"dtype": "F32", "shape": [2]}}, {}, "'w' must have exactly the fields"),
    "field too many": (with_field("stride", [1]), {}, "'w' must have exactly the fields"),
    "unknown dtype": (with_field("dtype", "F31"), {}, "'w' must have one of the element types .* 'F31'"),
    "dtype is a list": (with_field("dtype", []), {}, "'w' must have one of the element types"),
    "negative shape": (with_field("shape", [-2]), {}, r"'w' must have a shape .* \[-2\]"),
    "fractional shape": (with_field("shape", [2.0]), {}, r"'w' must have a shape .* \[2.0\]"),
    "shape of booleans": (with_field("shape", [True, 2]), {}, "'w' must have a shape"),
    "shape is a number": (with_field("shape", 2), {}, "'w' must have a shape"),
    "shape overflows": (with_field("shape", [2**33, 2**33]), {}, "'w' must have a shape"),
    "shape overflows behind a zero": (with_field("shape", [0, 2**62, 2**62]), {}, "'w' must have a shape"),
    "one huge dimension": (with_field("shape", [10**30]), {}, "'w' must have a shape"),
    "too many dimensions": (with_field("shape", [1] * 1000), {}, "'w' must have a shape"),
    "one offset": (with_field("data_offsets", [0]), {}, "'w' must have data_offsets"),
    "begin after end": (with_field("data_offsets", [8, 0]), {}, "'w' must have data_offsets"),
    "negative offset": (with_field("data_offsets", [-8, 0]), {}, "'w' must have data_offsets"),
    "size disagrees": (with_field("data_offsets", [0, 4]), {}, r"'w' .* must take 8 bytes, but has \[0, 4\]"),
    "offset outside": (with_field("data_offsets", [8, 16]), {}, "'w' leaves a hole before it"),
    "overlap": ({"w": F32, "v": F32}, {}, "'v' overlaps the tensor before it"),
    "hole": ({"w": F32, "v": {**F32, "data_offsets": [12, 20]}}, {"data": b"\0" * 20}, "'v' leaves a hole"),
    "truncated data": ({"w": F32}, {"data": b"\0" * 7}, "cut short at tensor 'w'"),
    "trailing bytes": ({"w": F32}, {"data": b"\0" * 9}, "1 bytes after its last tensor"),
    "data without tensors": ({}, {}, "8 bytes after its last tensor"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_malformed_file_is_refused_with_its_fault_named(tmp_path, fault):
    header, options, message = FAULTS[fault]
    path = file_of(tmp_path, header, **options)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 1200


def test_a_file_cut_at_any_byte_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(3), "b": torch.ones(2, dtype=torch.int8)}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            open_checkpoint(path)


def test_no_flipped_bit_in_a_header_crashes_the_parser(tmp_path):
    path = file_of(tmp_path, {"__metadata__": {"k": "v"}, "w": F32})
    whole = bytearray(path.read_bytes())
    opened = 0
    for bit in range(8 * (len(whole) - 8)):
        whole[bit // 8] ^= 1 << bit % 8
        path.write_bytes(whole)
        whole[bit // 8] ^= 1 << bit % 8
        try:
            opened += open_checkpoint(path).layout.size
        except CheckpointError:
            continue
    assert opened  # a letter of the tensor's name, say, may change unnoticed


def test_a_pipe_named_like_a_checkpoint_does_not_block(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    os.mkfifo(folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="not an ordinary file"):
        open_checkpoint(folder)


def test_a_file_that_changed_after_opening_is_not_read(tmp_path):
    path = file_of(tmp_path, {"w": F32})
    checkpoint = open_checkpoint(path)
    file_of(tmp_path, {"w": F32}, data=b"\1" * 8)
    os.utime(path, ns=(1, 1))
    for read in (checkpoint.read, checkpoint.array, lambda name: list(checkpoint.chunks(name))):
        with pytest.raises(CheckpointError, match="has changed since it was opened"):
            read("w")


def test_a_file_that_vanished_after_opening_is_named(tmp_path):
    path = file_of(tmp_path, {"w": F32})
    checkpoint = open_checkpoint(path)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be mapped into memory: No such file"):
        checkpoint.read("w")
    with pytest.raises(CheckpointError, match="cannot be read at tensor 'w': No such file"):
        list(checkpoint.chunks("w"))


def test_misaligned_tensors_are_copied_and_read_right(tmp_path):
    header = {
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
        "w": {"dtype": "F32", "shape": [2], "data_offsets": [3, 11]},
    }
    checkpoint = open_checkpoint(file_of(tmp_path, header, b"abc" + np.array([1, 2], "<f4").tobytes()))
    assert checkpoint.read("w").tolist() == checkpoint.array("w").tolist() == [1.0, 2.0]
    assert checkpoint.read("w").data_ptr() % 4 == 0


ALL_TORCH_TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.uint32, torch.uint64,
    torch.bool, torch.complex64,
]  # fmt: skip


def some_tensors():
    raw = torch.randint(0, 2, (48,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    tensors = {f"t.{i}": raw.view(dtype).clone() for i, dtype in enumerate(ALL_TORCH_TYPES)}
    return tensors | {"scalar": torch.tensor(3.5), "empty": torch.zeros(0, 4), "odd": raw[:3].clone()}


def same(first, second):
    assert first.dtype == second.dtype
    assert first.shape == second.shape
    assert first.reshape(-1).view(torch.uint8).equal(second.reshape(-1).view(torch.uint8))


def test_what_the_official_library_writes_is_read_here(tmp_path):
    tensors = some_tensors()
    save_file(tensors, tmp_path / "official.safetensors", metadata={"note": "ünïcode"})
    checkpoint = open_checkpoint(tmp_path / "official.safetensors")
    assert set(checkpoint) == set(tensors)
    assert checkpoint.metadata == {"note": "ünïcode"}
    for name, tensor in tensors.items():
        same(checkpoint.read(name), tensor)


def test_what_is_written_here_is_read_by_the_official_library(tmp_path):
    tensors = some_tensors()
    save(tensors, tmp_path / "ours.safetensors", metadata={"note": "ünïcode"})
    loaded = load_file(tmp_path / "ours.safetensors")
    assert set(loaded) == set(tensors)
    for name, tensor in tensors.items():
        same(loaded[name], tensor)


def test_both_write_the_same_content(tmp_path):
    tensors = some_tensors()
    save_file(tensors, tmp_path / "official.safetensors")
    ours = Checkpoint.from_tensors(tensors)
    assert open_checkpoint(tmp_path / "official.safetensors").digest == ours.digest
