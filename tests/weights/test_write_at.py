"""Bytes of a file in any order and from any thread: the file is whole in the end, or not there."""

import errno
import os
import random
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser import OutputError
from merganser.weights import ShardWriter, TensorSpec, open_checkpoint, save

SPECS = [TensorSpec("a", "F32", (50,)), TensorSpec("none", "F32", (0, 3)), TensorSpec("b", "U8", (70,))]
CONTENT = {"a": bytes(range(200)), "none": b"", "b": bytes(range(70))}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def pieces(cuts):
    """Every tensor cut at these places, in the order of the file."""
    for name, content in CONTENT.items():
        edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
        yield from ((name, a, content[a:b]) for a, b in pairwise(edges))


@given(cuts=st.lists(st.integers(1, 199), max_size=12), order=st.randoms(), reserve=st.booleans())
def test_pieces_in_any_order_make_the_file_that_a_stream_makes(tmp_path_factory, cuts, order, reserve):
    folder, scattered = tmp_path_factory.mktemp("m"), list(pieces(cuts))
    order.shuffle(scattered)
    with ShardWriter(folder / "scattered.safetensors", SPECS, metadata={"k": "v"}, reserve=reserve) as writer:
        for name, offset, chunk in scattered:
            writer.write_at(name, offset, chunk)
        assert not (folder / "scattered.safetensors").exists()
    with ShardWriter(folder / "streamed.safetensors", SPECS, metadata={"k": "v"}) as writer:
        for name, chunk in CONTENT.items():
            writer.write(name, chunk)
    scattered, streamed = (
        (folder / f"{name}.safetensors").read_bytes() for name in ("scattered", "streamed")
    )
    assert scattered == streamed


def test_many_threads_write_at_once(tmp_path):
    specs = [TensorSpec(f"{i}", "F32", (1000,)) for i in range(20)]
    expected = {spec.name: np.random.default_rng(i).random(1000, np.float32) for i, spec in enumerate(specs)}
    work = [(name, begin) for name in expected for begin in range(0, 1000, 50)]
    random.Random(0).shuffle(work)
    with (
        ShardWriter(tmp_path / "m.safetensors", specs, reserve=True) as writer,
        ThreadPoolExecutor(8) as pool,
    ):
        for name, begin in work:
            pool.submit(writer.write_at, name, 4 * begin, expected[name][begin : begin + 50])
    written = open_checkpoint(tmp_path / "m.safetensors")
    assert all((written.array(name) == values).all() for name, values in expected.items())


def test_reserving_claims_the_whole_file_at_once(tmp_path):
    writer = ShardWriter(tmp_path / "m.safetensors", [TensorSpec("w", "F32", (100_000,))], reserve=True)
    [file] = tmp_path.iterdir()
    assert file.stat().st_size >= 400_000
    assert file.stat().st_blocks * 512 >= 400_000
    writer.abort()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("why", [errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_cannot_reserve_is_written_all_the_same(tmp_path, monkeypatch, why):
    def refuse(*_):
        raise OSError(why, os.strerror(why))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with ShardWriter(tmp_path / "m.safetensors", [TensorSpec("a", "U8", (2,))], reserve=True) as writer:
        writer.write_at("a", 0, b"12")
    assert open_checkpoint(tmp_path / "m.safetensors").read("a").tolist() == [49, 50]


@pytest.mark.parametrize(
    ("name", "offset", "chunk", "message"),
    [
        ("a", 0, b"x" * 201, r"Bytes \[0, 201\) of 'a' do not belong into .*m\.safetensors\."),
        ("a", 199, b"xx", r"Bytes \[199, 201\) of 'a'"),
        ("a", 201, b"", r"Bytes \[201, 201\) of 'a'"),
        ("a", -1, b"x", r"Bytes \[-1, 0\) of 'a'"),
        ("c", 0, b"x", "of 'c' do not belong"),
    ],
)
def test_bytes_that_do_not_belong_are_refused(tmp_path, name, offset, chunk, message):
    with (
        pytest.raises(ValueError, match=message),
        ShardWriter(tmp_path / "m.safetensors", SPECS) as writer,
    ):
        writer.write_at(name, offset, chunk)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("lacking", [1, 269])
def test_missing_bytes_are_an_error(tmp_path, lacking):
    def leave_out_some():
        with ShardWriter(tmp_path / "m.safetensors", SPECS) as writer:
            whole = [*((name, i, bytes([b])) for name, c in CONTENT.items() for i, b in enumerate(c))]
            for name, offset, chunk in whole[lacking:]:
                writer.write_at(name, offset, chunk)

    with pytest.raises(ValueError, match=f"{lacking} bytes are missing, so .*m.safetensors was not written"):
        leave_out_some()
    assert names_in(tmp_path) == []


def test_a_closed_writer_takes_no_more_bytes(tmp_path):
    with ShardWriter(tmp_path / "m.safetensors", [TensorSpec("a", "U8", (1,))]) as writer:
        writer.write_at("a", 0, b"1")
    with pytest.raises(ValueError, match="which is closed"):
        writer.write_at("a", 0, b"1")


def test_a_writer_that_verifies_wants_bytes_in_order(tmp_path):
    with (
        pytest.raises(ValueError, match="needs the bytes in order"),
        ShardWriter(tmp_path / "m.safetensors", SPECS, verify=True) as writer,
    ):
        writer.write_at("a", 0, b"1")


def test_wide_elements_are_taken_as_their_bytes(tmp_path):
    with ShardWriter(tmp_path / "m.safetensors", [TensorSpec("a", "F32", (4,))]) as writer:
        writer.write_at("a", 8, np.array([3, 4], "<f4"))
        writer.write_at("a", 0, memoryview(np.array([1, 2], "<f4")))
    assert open_checkpoint(tmp_path / "m.safetensors").read("a").tolist() == [1, 2, 3, 4]


LIMITED = """
import resource, sys, threading
from concurrent.futures import ThreadPoolExecutor
from merganser.weights import ShardWriter, TensorSpec

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
outcomes = []
try:
    with ShardWriter(sys.argv[1], [TensorSpec("w", "U8", (1_000_000,))], reserve=RESERVE) as writer:
        together = threading.Barrier(8)

        def write(i):
            together.wait()
            try:
                for offset in range(i * 1000, 1_000_000, 8000):
                    writer.write_at("w", offset, bytes(1000))
            except Exception as error:
                outcomes.append(type(error).__name__)
                raise

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(8)))
except Exception as error:
    print(type(error).__name__, error)
print(sorted(set(outcomes)))
"""


@pytest.mark.parametrize("reserve", [True, False])
def test_a_disk_that_takes_no_more_is_an_output_error_in_every_thread(tmp_path, in_a_child, reserve):
    said = in_a_child(LIMITED.replace("RESERVE", str(reserve)), tmp_path / "m.safetensors").splitlines()
    assert said[0].startswith(
        f"OutputError {tmp_path / 'm.safetensors'} could not be written: File too large"
    )
    assert said[1] == ("[]" if reserve else "['OutputError']")
    assert names_in(tmp_path) == []


def test_an_existing_file_is_kept_until_the_new_one_is_whole(tmp_path):
    save({"old": torch.ones(1)}, tmp_path / "m.safetensors")
    with pytest.raises(OutputError, match="exists already"):
        ShardWriter(tmp_path / "m.safetensors", SPECS, reserve=True)
    with ShardWriter(tmp_path / "m.safetensors", SPECS, reserve=True, overwrite=True) as writer:
        for name, offset, chunk in pieces([50]):
            writer.write_at(name, offset, chunk)
        assert list(open_checkpoint(tmp_path / "m.safetensors")) == ["old"]
    assert set(open_checkpoint(tmp_path / "m.safetensors")) == {"a", "none", "b"}
    assert names_in(tmp_path) == ["m.safetensors"]
