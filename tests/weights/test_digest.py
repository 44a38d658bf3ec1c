"""The digest names the content and nothing else, and is remembered only while that is safe."""

import json
import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from merganser.weights import Checkpoint, _digest, open_checkpoint, save

TENSORS = {"0.weight": torch.arange(6.0).reshape(2, 3), "0.bias": torch.zeros(2), "steps": torch.tensor(1)}


def digest(tensors):
    return Checkpoint.from_tensors(tensors).digest


@pytest.fixture
def old_file(tmp_path):
    """A file last written long ago, whose digest may be remembered."""
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path)
    os.utime(path, ns=(1, 1))
    return path


@pytest.fixture
def hashed(monkeypatch):
    """Sources that were hashed, in order."""
    calls = []
    compute = _digest._compute
    monkeypatch.setattr(_digest, "_compute", lambda source: calls.append(source) or compute(source))
    return calls


def test_the_digest_is_the_published_one():
    tensors = {"b": torch.tensor([1, 2], dtype=torch.uint8), "a": torch.tensor(1.0)}
    # h(["a","F32",[],"h(00 00 80 3f)"]\n["b","U8",[2],"h(01 02)"]\n), computed apart from this code.
    assert digest(tensors) == "7fc2cb5c891c7d52dba44b26941478b5fbd44bacaf679ad1fa8b18929d3ee173"


@pytest.mark.parametrize("shard_size", [1, 8, 24, None])
def test_sharding_does_not_change_the_digest(tmp_path, shard_size):
    assert save(TENSORS, tmp_path / "m", shard_size=shard_size).digest == digest(TENSORS)


@given(st.permutations(sorted(TENSORS)))
def test_order_does_not_change_the_digest(names):
    assert digest({name: TENSORS[name] for name in names}) == digest(TENSORS)


def test_configuration_and_metadata_do_not_change_the_digest(tmp_path):
    saved = save(TENSORS, tmp_path / "m", config={"a": 1}, metadata={"b": "c"})
    assert saved.digest == digest(TENSORS)


@given(st.integers(0, 6 * 32 - 1))
def test_every_single_bit_changes_the_digest(bit):
    flipped = TENSORS["0.weight"].clone()
    flipped.view(torch.uint8).reshape(-1)[bit // 8] ^= 1 << bit % 8
    assert digest(TENSORS | {"0.weight": flipped}) != digest(TENSORS)


@pytest.mark.parametrize(
    "other",
    [
        {"0.bias": torch.zeros(2, 1)},
        {"0.bias": torch.zeros(2, dtype=torch.int32)},
        {"0.bias2": torch.zeros(0)},
        {"0.weight": TENSORS["0.weight"].reshape(3, 2)},
    ],
)
def test_shapes_types_and_names_change_the_digest(other):
    assert digest(TENSORS | other) != digest(TENSORS)


def test_an_unchanged_file_is_hashed_once_in_a_process(old_file, hashed):
    assert open_checkpoint(old_file).digest == open_checkpoint(old_file).digest == digest(TENSORS)
    assert len(hashed) == 2  # the file once, the tensors in memory once


def test_another_process_finds_the_digest_on_disk(old_file, hashed, monkeypatch):
    first = open_checkpoint(old_file).digest
    monkeypatch.setattr(_digest, "_known", {})
    assert open_checkpoint(old_file).digest == first
    assert len(hashed) == 1


def test_a_changed_file_is_hashed_again(old_file):
    first = open_checkpoint(old_file).digest
    save_file(TENSORS | {"0.bias": torch.ones(2)}, old_file)
    os.utime(old_file, ns=(2, 2))
    assert open_checkpoint(old_file).digest != first


def test_a_file_written_just_now_is_not_remembered(tmp_path, digest_cache):
    # Rewritten within one tick of the file system's clock, it would look unchanged.
    saved = save(TENSORS, tmp_path / "m.safetensors")
    assert saved.digest
    assert not list(digest_cache.rglob("*.json"))
    assert not _digest._known


@pytest.mark.parametrize(
    "damage", ["", "[]", "{}", '{"files": [], "digest": "00"}', "wrong digest", "no text"]
)
def test_a_damaged_entry_is_ignored(old_file, digest_cache, monkeypatch, hashed, damage):
    first = open_checkpoint(old_file).digest
    monkeypatch.setattr(_digest, "_known", {})
    (entry,) = digest_cache.rglob("*.json")
    wrong = json.dumps(json.loads(entry.read_text()) | {"digest": {"no text": 3}.get(damage, "abc")})
    entry.write_text(wrong if damage in ("wrong digest", "no text") else damage)
    assert open_checkpoint(old_file).digest == first
    assert len(hashed) == 2


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(old_file, digest_cache, monkeypatch):
    (digest_cache / "digests").write_text("in the way")
    assert open_checkpoint(old_file).digest == digest(TENSORS)


def test_the_cache_stands_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("MERGANSER_CACHE", str(tmp_path / "own"))
    assert _digest.cache_directory() == tmp_path / "own"
    monkeypatch.delenv("MERGANSER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _digest.cache_directory() == tmp_path / "merganser"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _digest.cache_directory() == tmp_path / ".cache" / "merganser"
