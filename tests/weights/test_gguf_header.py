"""Damaged and hostile GGUF files are refused when they are opened, quickly and with the fault named."""

import struct

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser import CheckpointError
from merganser.weights import open_checkpoint
from merganser.weights._gguf_header import MAX_KEPT, read_gguf_header

U8, U32, F32, STRING, ARRAY = 0, 4, 6, 8, 9


def text(value):
    value = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(value)) + value


def setting(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def array(kind, count, content=b""):
    return struct.pack("<IQ", kind, count) + content


def tensor(name="w", shape=(8,), kind=0, offset=0):
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


def written(path, settings=(), tensors=(tensor(),), *, version=3, counts=None, magic=b"GGUF", data=32):
    """A file of these settings and tensors; what it announces may be a lie."""
    head = magic + struct.pack("<IQQ", version, *(counts or (len(tensors), len(settings))))
    head += b"".join(settings) + b"".join(tensors)
    path.write_bytes(head + b"\0" * (-len(head) % 32) + b"\0" * data)
    return path


def test_the_well_formed_file_that_the_faults_are_made_from_opens(tmp_path):
    for version in (2, 3):
        path = written(
            tmp_path / "m.gguf", [setting("general.alignment", U32, b"\x20\0\0\0")], version=version
        )
        assert open_checkpoint(path).read("w").tolist() == [0.0] * 8


def test_dimensions_are_turned_round_and_scalars_have_none(tmp_path):
    path = written(tmp_path / "m.gguf", [], [tensor("a", (2, 3)), tensor("b", (), offset=32)], data=64)
    found = open_checkpoint(path)
    assert (found.spec("a").shape, found.spec("b").shape) == ((2, 3), ())
    assert found.read("b") == 0


def test_settings_of_every_kind_are_read_and_long_ones_passed_over(tmp_path):
    many = MAX_KEPT + 1
    values = [
        setting("text", STRING, text("ü")),
        setting("number", F32, struct.pack("<f", 0.5)),
        setting("numbers", ARRAY, array(U8, 3, b"\1\2\3")),
        setting("texts", ARRAY, array(STRING, 2, text("a") + text("b"))),
        setting("nested", ARRAY, array(ARRAY, 1, array(U8, 1, b"\7"))),
        setting("long numbers", ARRAY, array(U32, many, b"\0" * 4 * many)),
        setting("vocabulary", ARRAY, array(STRING, many, text("ab") * many)),
    ]
    header, _ = read_gguf_header(written(tmp_path / "m.gguf", values), gguf)
    assert header.settings == {
        "text": "ü", "number": 0.5, "numbers": (1, 2, 3), "texts": ("a", "b"), "nested": ((7,),),
        "long numbers": None, "vocabulary": None,
    }  # fmt: skip
    assert header.architecture == ""


HUGE = 2**64 - 1
FAULTS = {
    "another kind": ({"magic": b"GGML"}, "is no GGUF file: expected it to begin with b'GGUF'"),
    "version 1": ({"version": 1}, "has the version 1, but only little-endian files of the versions 2 and 3"),
    "big-endian": ({"version": 3 << 24}, "is big-endian"),
    "settings without end": ({"counts": (1, HUGE)}, "announces 18446744073709551615 entries"),
    "tensors without end": ({"counts": (HUGE, 0)}, "announces 18446744073709551615 entries"),
    "no tensors": ({"tensors": []}, "cannot be read as a model: it holds no tensors"),
    "text without end": ({"settings": [struct.pack("<Q", HUGE)]}, "no room|ends in the middle"),
    "text past the end": ({"settings": [setting("a", STRING, struct.pack("<Q", 2**40))]}, "ends in the middle of its"),
    "text that is none": ({"settings": [setting("a", STRING, text(b"\xff"))]}, "a text at byte .* that is not UTF-8"),
    "setting twice": ({"settings": [setting("a", U8, b"1"), setting("a", U8, b"1")]}, "has the setting 'a' twice"),
    "unknown type": ({"settings": [setting("a", 99, b"")]}, "a setting of the unknown type 99"),
    "endless numbers": ({"settings": [setting("a", ARRAY, array(U32, HUGE))]}, "ends in the middle"),
    "endless texts": ({"settings": [setting("a", ARRAY, array(STRING, HUGE))]}, "announces 18446744073709551615"),
    "endless nesting": ({"settings": [setting("a", ARRAY, array(ARRAY, 1) * 9)]}, "of the unknown type 9"),
    "odd alignment": ({"settings": [setting("general.alignment", U32, b"\3\0\0\0")]}, "the alignment 3: expected"),
    "no alignment": ({"settings": [setting("general.alignment", U32, b"\0\0\0\0")]}, "the alignment 0"),
    "alignment in words": ({"settings": [setting("general.alignment", STRING, text("32"))]}, "the alignment '32'"),
    "tensor twice": ({"tensors": [tensor(), tensor(offset=32)], "data": 64}, "has the tensor 'w' twice"),
    "too many dimensions": ({"tensors": [tensor(shape=(1,) * 9)]}, "'w' with 9 dimensions: expected at most 8"),
    "dimensions without end": ({"tensors": [text("w") + struct.pack("<I", 2**31)]}, "'w' with 2147483648 dimensions"),
    "shape overflows": ({"tensors": [tensor(shape=(2**33, 2**33))]}, "which no array can have"),
    "shape overflows behind a zero": ({"tensors": [tensor(shape=(0, 2**40, 2**40))]}, "which no array can have"),
    "unknown element type": ({"tensors": [tensor(kind=999)]}, "unknown element type 999; is gguf up to date"),
    "half a block": ({"tensors": [tensor(shape=(2, 8), kind=8)]}, "with rows of 8: expected a multiple of 32"),
    "off the grid": ({"tensors": [tensor(offset=4)]}, "'w' at 4, which is no multiple of 32"),
    "overlapping": ({"tensors": [tensor(), tensor("v")]}, "'v' overlapping the one before it|'w' overlapping"),
    "cut short": ({"data": 31}, "is cut short at tensor 'w': expected at least .* bytes, found"),
    "far beyond": ({"tensors": [tensor(offset=2**62)]}, "is cut short at tensor 'w'"),
    "undecodable": ({"tensors": [tensor(shape=(256,), kind=15)], "data": 292}, "of the type Q8_K, which gguf cannot"),
    "one part of several": ({"settings": [setting("split.count", 2, b"\3\0")]}, "one of 3 parts of a model. Join them"),
    "odd heads": (
        {
            "settings": [
                setting("general.architecture", STRING, text("llama")),
                setting("llama.block_count", U32, b"\1\0\0\0"),
                setting("llama.attention.head_count", U32, b"\3\0\0\0"),
            ],
            "tensors": [tensor("blk.0.attn_q.weight", (2, 4))],
        },
        r"rows of 'blk\.0\.attn_q\.weight', of shape \(2, 4\), do not divide into the two halves of 3 heads",
    ),
    "two of one name": (
        {
            "settings": [setting("general.architecture", STRING, text("llama"))],
            "tensors": [tensor("output_norm.weight"), tensor("model.norm.weight", offset=32)],
            "data": 64,
        },
        "two of its tensors would have one name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_refused_with_the_fault_named(tmp_path, fault):
    options, message = FAULTS[fault]
    with pytest.raises(CheckpointError, match=rf"(?s)m\.gguf.*{message}"):
        open_checkpoint(written(tmp_path / "m.gguf", **options))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_head_count(2)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    for name, shape in (("token_embd.weight", (4, 32)), ("blk.0.attn_q.weight", (8, 32))):
        coded = gguf.quants.quantize(np.ones(shape, np.float32), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(name, coded, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes().rstrip(b"\0")


def test_a_file_cut_anywhere_is_refused(tmp_path, sound):
    path = tmp_path / "m.gguf"
    for length in range(len(sound)):
        path.write_bytes(sound[:length])
        with pytest.raises(CheckpointError, match=r"m\.gguf"):
            open_checkpoint(path)


@given(st.data())
def test_a_damaged_file_is_refused_or_read(tmp_path_factory, sound, data):
    damaged = bytearray(sound + b"\0" * 64)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, 400))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "m.gguf"
    path.write_bytes(damaged)
    try:
        found = open_checkpoint(path)
        assert all(found.array(name).size == found.spec(name).numel for name in found)
    except CheckpointError as error:
        assert "m.gguf" in str(error)  # noqa: PT017
