"""Whatever goes wrong: one clear message, nothing half-written under the name, nothing lost that is whole."""

import importlib.util
import json
import os
import pickle
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

import merganser
from merganser import CheckpointError, OutputError, merge, save, verify
from merganser.weights import PartialFolder

COUNT = 12
"""Tensors of a model, each a shard of its own where there are shards."""

NAMES = [f"model.layers.{i}.w" for i in range(COUNT)]
CONFIG = {"torch_dtype": "float32"}


def headers():
    """What the tests of the safetensors parser have of malformed headers."""
    file = Path(__file__).parents[1] / "weights" / "test_safetensors.py"
    spec = importlib.util.spec_from_file_location("malformed_headers", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MALFORMED = headers()


def state(seed, length=500, count=COUNT):
    generator = torch.Generator().manual_seed(seed)
    return {f"model.layers.{i}.w": torch.randn(length, generator=generator) for i in range(count)}


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def two(tmp_path):
    """Folders of two models that merge, in four shards each."""
    for i, name in enumerate(("first", "second")):
        save(state(i), tmp_path / name, shard_size=6000, config=CONFIG)
    return [tmp_path / "first", tmp_path / "second"]


@pytest.fixture
def refused(tmp_path, command):
    """Makes sure that a merge fails with a message, in Python and on the command line, and leaves nothing behind."""

    def refused(models, message, *words, error=CheckpointError, code=1, **options):
        before = names_in(tmp_path)
        for out in (tmp_path / "out", tmp_path / "out.safetensors"):
            with pytest.raises(error, match=message) as caught:
                merge([str(model) for model in models], out=out, **options)
        done = command("merge", *models, *words, "--out", tmp_path / "out", code=code)
        assert (done.stdout, done.stderr) == ("", f"error: {caught.value}\n")
        assert names_in(tmp_path) == before
        return str(caught.value)

    return refused


def cut(file, length):
    file.write_bytes(file.read_bytes()[:length])


class TestDamagedModels:
    @pytest.mark.parametrize(("which", "keep"), [("first", 0), ("second", 7), ("first", 100), ("second", -1)])
    def test_a_truncated_shard(self, tmp_path, two, refused, which, keep):
        shard = tmp_path / which / "model-00003-of-00004.safetensors"
        cut(shard, keep)
        assert str(shard) in refused(two, r"no safetensors file|no whole safetensors file|cut short")

    def test_a_truncated_file(self, tmp_path, two, refused):
        saved = save(state(2), tmp_path / "third.safetensors")
        cut(saved.path, saved.path.stat().st_size // 2)
        refused([*two, saved.path], r"third\.safetensors is cut short at tensor")

    def test_a_missing_shard(self, two, refused):
        (two[1] / "model-00002-of-00004.safetensors").unlink()
        refused(two, "names the shard 'model-00002-of-00004.safetensors', which is missing")

    def test_a_shard_alone_of_several(self, two, refused):
        for file in two[1].iterdir():
            if "00002" not in file.name:
                file.unlink()
        refused(two, r"model-00002-of-00004\.safetensors alone, which is one of several")

    def test_a_tensor_that_is_in_the_index_only(self, two, refused):
        shard = two[1] / "model-00002-of-00004.safetensors"
        kept = {
            name: t.clone()
            for name, t in merganser.open(shard).tensors.specs.items()
            for t in [torch.ones(500)]
        }
        kept.popitem()
        save(kept, shard, overwrite=True)
        refused(two, r"index\.json says that tensor 'model\.layers\.\d+\.w' is in .* but it is not there")

    @pytest.mark.parametrize(
        "text", ["{", "[]", '{"weight_map": 3}', '{"weight_map": {"a": "../b.safetensors"}}']
    )
    def test_a_malformed_index(self, two, refused, text):
        index = two[0] / "model.safetensors.index.json"
        index.write_text(text)
        assert str(index) in refused(two, "is malformed|must have a `weight_map`|names the shard")

    @pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000], ids=repr)
    def test_a_malformed_configuration(self, two, refused, content):
        (two[0] / "config.json").write_bytes(content)
        assert str(two[0] / "config.json") in refused(two, "is not valid JSON|must hold a JSON object")

    @pytest.mark.parametrize("fault", MALFORMED.FAULTS)
    def test_a_malformed_header(self, tmp_path, command, fault):
        header, options, message = MALFORMED.FAULTS[fault]
        sound = save({"w": torch.ones(2)}, tmp_path / "sound.safetensors").path
        file = MALFORMED.file_of(tmp_path, header, **options)
        with pytest.raises(CheckpointError, match=message) as caught:
            merge([sound, file], out=tmp_path / "out")
        assert str(file) in str(caught.value)
        done = command("merge", sound, file, "--out", tmp_path / "out", code=1)
        assert done.stderr == f"error: {caught.value}\n"
        assert names_in(tmp_path) == ["model.safetensors", "sound.safetensors"]

    def test_nothing_there_and_things_that_are_no_models(self, tmp_path, two, refused):
        (tmp_path / "letters").mkdir()
        (tmp_path / "letters" / "love.txt").touch()
        (tmp_path / "notes.txt").touch()
        os.mkfifo(tmp_path / "pipe.safetensors")
        refused([*two, tmp_path / "nowhere"], "There is no checkpoint at .*nowhere")
        refused([*two, tmp_path / "letters"], r"no checkpoint of a known form.*love\.txt")
        refused([*two, tmp_path / "notes.txt"], r"no checkpoint of a known form\. Its name ends in '\.txt'")
        refused([*two, tmp_path / "pipe.safetensors"], "pipe")


class Hostile:
    """A pickle that would leave a trace if it were executed."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return exec, (f"open({str(self.trace)!r}, 'w').write('executed')",)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_hostile_pickle_is_refused_and_not_executed(tmp_path, refused, form):
    content, path = {"w": torch.ones(2), "b": Hostile(tmp_path / "trace")}, tmp_path / "bad.bin"
    if form == "pickle":
        path.write_bytes(pickle.dumps(content["b"], protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    sound = save({"w": torch.ones(2)}, tmp_path / "sound.safetensors").path
    assert str(path) in refused([sound, path], r"bad\.bin is refused")
    assert not (tmp_path / "trace").exists()


class TestModelsThatDoNotFit:
    @pytest.fixture
    def with_third(self, tmp_path, two, refused):
        def with_third(change, message, **config):
            third = {**state(2), **change}
            tensors = {name: tensor for name, tensor in third.items() if tensor is not None}
            save(tensors, tmp_path / "third", config={**CONFIG, **config})
            return refused([*two, tmp_path / "third"], message)

        return with_third

    def test_a_missing_tensor(self, tmp_path, with_third):
        name = "model.layers.3.bias"
        for folder in ("first", "second"):
            save({**state(0), name: torch.ones(4)}, tmp_path / folder, overwrite=True)
        said = with_third({}, f"Tensor '{name}' is in .*first, but not in .*third")
        assert "one architecture and its names" in said

    def test_a_tensor_too_many(self, tmp_path, with_third):
        said = with_third({"extra.w": torch.ones(3)}, r"Tensor 'extra\.w' is in .*third, but not in .*first")
        assert "one architecture and its names" in said

    def test_a_block_less(self, with_third):
        with_third({NAMES[-1]: None}, "They have 12 and 11 blocks")

    def test_names_with_a_prefix(self, with_third):
        renamed = {**dict.fromkeys(NAMES), **{f"base.{name}": torch.ones(500) for name in NAMES}}
        with_third(renamed, r"There it may be called 'model\.layers\.0\.w'")

    def test_another_shape(self, with_third):
        with_third(
            {NAMES[5]: torch.ones(5, 100)}, r"has shape \(500,\) in .*first, but \(5, 100\) in .*third"
        )

    def test_another_vocabulary(self, tmp_path, refused):
        for name, rows in {"first": 11, "second": 13}.items():
            tokens = {f"{n}.weight": torch.ones(rows, 4) for n in ("model.embed_tokens", "lm_head")}
            save({**tokens, "model.norm.weight": torch.ones(4)}, tmp_path / name)
        refused([tmp_path / "first", tmp_path / "second"], r"The vocabularies differ: 11 against 13 rows\.")

    def test_buffers_that_differ(self, tmp_path, refused):
        models = [
            save({"w": torch.ones(2), "ids": torch.arange(3) + i}, tmp_path / f"{i}").path for i in range(2)
        ]
        refused(models, "Tensor 'ids' holds I64, which cannot be merged, and differs between .*0 and .*1")

    def test_integers_in_the_place_of_numbers(self, with_third):
        with_third(
            {NAMES[0]: torch.ones(500, dtype=torch.int8)}, "is F32 in .*first, but I8, which is not floating"
        )

    def test_a_quantised_model(self, with_third):
        with_third({}, "third is quantised", quantization_config={"bits": 4})


class TestNumbersThatAreNone:
    @pytest.mark.parametrize(
        ("which", "value"), [(0, float("nan")), (1, float("nan")), (0, float("inf")), (1, float("-inf"))]
    )
    def test_they_are_named_with_tensor_model_and_place(self, tmp_path, two, refused, which, value):
        broken = state(which)
        broken[NAMES[7]][123] = value
        save(broken, two[which], overwrite=True, config=CONFIG)
        kind = "NaN" if value != value else "infinite"
        said = refused(two, f"Tensor '{NAMES[7]}' of .* holds a number that is {kind}, at element 123")
        assert str(two[which]) in said

    @pytest.mark.parametrize(
        "method", ["slerp", "ties", "dare_linear", "model_stock", "breadcrumbs", "passthrough"]
    )
    def test_in_every_kind_of_method_and_in_the_base_too(self, tmp_path, two, method):
        broken = state(9)
        broken[NAMES[2]][0] = float("nan")
        save(broken, tmp_path / "broken", config=CONFIG)
        base = None if method in ("slerp", "passthrough") else tmp_path / "broken"
        models = {"slerp": [two[0], tmp_path / "broken"], "passthrough": [tmp_path / "broken"]}.get(
            method, two
        )
        for workers in (1, 3):
            with pytest.raises(
                CheckpointError, match=f"Tensor '{NAMES[2]}' of .*broken holds a number that is NaN"
            ):
                merge(models, method, base=base, workers=workers, shard_size=2000, out=tmp_path / "out")
        assert names_in(tmp_path) == ["broken", "first", "second"]

    def test_a_weight_of_zero_does_not_hide_them(self, tmp_path, two):
        broken = state(9)
        broken[NAMES[0]][3] = float("nan")
        with pytest.raises(CheckpointError, match="model 2 holds a number that is NaN, at element 3"):
            merge([two[0], broken], weight=[1, 0])

    def test_a_result_too_large_for_its_type_is_no_result(self, two, refused):
        words = ("--dtype", "float16", "--weight", "1e6", "--no-normalize")
        options = {"dtype": "float16", "weight": 1e6, "normalize": False}
        refused(two, "merged numbers do not fit float16", *words, error=ValueError, code=2, **options)


def test_weights_that_sum_to_zero_are_misuse(two, refused):
    refused(
        two,
        r"weights \[1.0, -1.0\] .* sum to zero",
        "--weight=1,-1",
        error=ValueError,
        code=2,
        weight=[1, -1],
    )


@pytest.mark.parametrize("device", ["cuda:99", "banana"])
def test_a_device_that_is_not_there_is_misuse(two, refused, device):
    message = f"torch cannot compute on the device '{device}' here"
    refused(two, message, "--device", device, error=ValueError, code=2, device=device)


class TestModelsThatChange:
    """Between opening and merging."""

    @pytest.mark.parametrize("out", [None, "out", "out.safetensors"])
    @pytest.mark.parametrize("change", ["cut", "replaced", "removed"])
    def test_they_are_found_out(self, tmp_path, two, change, out):
        opened = [merganser.open(folder) for folder in two]
        shard = two[1] / "model-00003-of-00004.safetensors"
        if change == "cut":
            cut(shard, 3000)
        elif change == "replaced":
            content = shard.read_bytes()
            shard.unlink()
            shard.write_bytes(content)
        else:
            shard.unlink()
        message = "cannot be mapped into memory: No such file" if change == "removed" else "has changed since"
        with pytest.raises(CheckpointError, match=message) as caught:
            merge(opened, out=None if out is None else tmp_path / out)
        assert str(shard) in str(caught.value)
        assert names_in(tmp_path) == ["first", "second"]


class TestPlacesThatCannotBeWritten:
    @pytest.mark.parametrize("out", ["/proc/out", "/proc/out.safetensors"])
    def test_a_folder_that_takes_nothing(self, two, command, out):
        if not Path("/proc").is_dir():
            pytest.skip("needs a folder that nobody can write into")
        with pytest.raises(OutputError, match=f"{out} could not be written"):
            merge(two, out=out)
        assert command("merge", *two, "--out", out, code=1).stderr.startswith(
            f"error: {out} could not be written"
        )

    @pytest.mark.parametrize("out", ["out", "out.safetensors"])
    def test_a_file_in_the_way(self, tmp_path, two, command, out):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match=r"could not be written: (Not a directory|File exists)"):
            merge(two, out=tmp_path / "file" / out)
        done = command("merge", *two, "--out", tmp_path / "file" / out, code=1)
        assert done.stderr.startswith(f"error: {tmp_path / 'file' / out} could not be written")

    def test_a_companion_that_cannot_be_read(self, tmp_path, two, command):
        if not Path("/proc/self/mem").exists():
            pytest.skip("needs a file that cannot be read")
        (two[0] / "tokenizer.json").symlink_to("/proc/self/mem")
        done = command("merge", *two, "--out", tmp_path / "out", code=1)
        assert done.stderr == f"error: {two[0] / 'tokenizer.json'} cannot be read: Input/output error.\n"
        assert names_in(tmp_path) == ["first", "second"]


@pytest.fixture
def uneven(tmp_path):
    """Two models with three small tensors and a large one, which is written last."""
    for i, name in enumerate(("first", "second")):
        large = torch.full((40_000,), float(i))
        save({**state(i, count=3), "model.layers.9.w": large}, tmp_path / name, config=CONFIG)
    return [tmp_path / "first", tmp_path / "second"]


def marks(folder):
    """What a file that is written again would not keep, of every shard that has its name."""
    shards = folder.glob("model*.safetensors")
    return {shard.name: (shard.stat().st_ino, shard.stat().st_mtime_ns) for shard in shards}


def contents(folder):
    """Every file but those that tell whose turn it is, which a kill right after publishing may leave.

    The card calls the model by its folder's name.
    """
    files = (f for f in folder.iterdir() if f.name not in (".identity", ".lock"))
    return {f.name: f.read_bytes().replace(f"# {folder.name}\n".encode(), b"# a model\n") for f in files}


SHARDS = ("--shard-size", "2k")
TOO_SMALL = 50_000


class TestDisksThatAreFull:
    def test_nothing_has_the_name_and_the_next_attempt_goes_on_after_the_finished_shards(
        self, tmp_path, uneven, command
    ):
        out = tmp_path / "out"
        done = command("merge", *uneven, "--out", out, *SHARDS, code=1, largest=TOO_SMALL)
        said = f"error: {tmp_path}/.out.partial/model-00004-of-00004.safetensors could not be written: File too large."
        assert done.stderr.startswith(said)
        assert "It takes 160,1" in done.stderr
        assert names_in(tmp_path) == [".out.partial", "first", "second"]
        finished = marks(tmp_path / ".out.partial")
        assert len(finished) == 3
        command("merge", *uneven, "--out", out, *SHARDS, code=1, largest=TOO_SMALL)
        command("merge", *uneven, "--out", out, *SHARDS, "--workers", 1)
        assert names_in(tmp_path) == ["first", "out", "second"]
        assert finished.items() <= marks(out).items()
        command("merge", *uneven, "--out", tmp_path / "undisturbed", *SHARDS)
        assert contents(out) == contents(tmp_path / "undisturbed")

    def test_a_single_file_leaves_nothing(self, tmp_path, uneven, command):
        out = tmp_path / "out.safetensors"
        done = command("merge", *uneven, "--out", out, code=1, largest=TOO_SMALL)
        assert done.stderr.startswith(f"error: {out} could not be written: File too large.")
        assert names_in(tmp_path) == ["first", "second"]

    @pytest.mark.parametrize("target", ["out", "out.safetensors"])
    def test_what_was_to_be_replaced_stays(self, tmp_path, uneven, command, target):
        out = tmp_path / target
        before = save({"old": torch.ones(3)}, out).digest
        command("merge", *uneven, "--out", out, "--overwrite", code=1, largest=TOO_SMALL)
        assert merganser.open(out).digest == before

    def test_a_disk_that_is_really_full(self, tmp_path, uneven):
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting a file system needs root")
        try:
            with pytest.raises(
                OutputError, match=r"No space left on device\. It takes 160,1\d\d bytes; [0-9,]+ are free"
            ):
                merge(uneven, out=disk / "out", shard_size=2000)
            finished = marks(disk / ".out.partial")
            assert len(finished) == 3
            assert names_in(disk) == [".out.partial"]
            subprocess.run([*mount[:4], "remount,size=1m", str(disk)], check=True)
            merged = merge(uneven, out=disk / "out", shard_size=2000)
            assert finished.items() <= marks(disk / "out").items()
            assert merged.digest == merge(uneven).digest
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


class TestAttemptsAtSomethingElse:
    @pytest.fixture
    def interrupted(self, tmp_path, uneven, command):
        """What an attempt with these words finished before it failed."""

        def interrupted(*words):
            command("merge", *uneven, "--out", tmp_path / "out", *SHARDS, *words, code=1, largest=TOO_SMALL)
            return marks(tmp_path / ".out.partial")

        return interrupted

    @pytest.mark.parametrize(
        "words",
        [
            ("--weight", "1,2"),
            ("--dtype", "float64"),
            ("--seed", "1"),
            ("--shard-size", "4k"),
        ],
        ids=" ".join,
    )
    def test_other_parameters_start_afresh(self, tmp_path, uneven, command, interrupted, words):
        before = interrupted()
        after = interrupted(*words)
        assert before
        assert not before.items() & after.items()
        command("merge", *uneven, "--out", tmp_path / "out", *SHARDS, *words)
        command("merge", *uneven, "--out", tmp_path / "undisturbed", *SHARDS, *words)
        assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")

    def test_models_in_another_order_start_afresh(self, tmp_path, uneven, command, interrupted):
        before = interrupted()
        command("merge", *reversed(uneven), "--out", tmp_path / "out", *SHARDS)
        assert not before.items() & marks(tmp_path / "out").items()

    def test_how_it_is_computed_is_nothing_else(self, interrupted):
        before = interrupted()
        assert before == interrupted("--workers", "1", "--quiet") == interrupted("--json")

    @pytest.mark.parametrize("subtle", [False, True])
    def test_a_model_that_changed_starts_afresh(self, tmp_path, uneven, command, interrupted, subtle):
        before = interrupted()
        file = uneven[1] / "model.safetensors"
        raw = bytearray(file.read_bytes())
        raw[-100_001 if subtle else -1] ^= 1  # a fingerprint does not look there
        file.write_bytes(raw)
        command("merge", *uneven, "--out", tmp_path / "out", *SHARDS)
        assert not before.items() & marks(tmp_path / "out").items()
        assert verify(tmp_path / "out").is_same

    def test_models_in_memory_always_start_afresh(self, tmp_path):
        first, second = state(0), state(1)

        def stop(step):
            raise KeyboardInterrupt

        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                merge([first, second], out=tmp_path / "out", shard_size=2000, workers=1, progress=stop)
            before = marks(tmp_path / ".out.partial")
            first[NAMES[0]][300] += 1
        merged = merge([first, second], out=tmp_path / "out", shard_size=2000)
        assert not before.items() & marks(tmp_path / "out").items()
        assert merged.digest == merge([first, second]).digest

    def test_a_model_found_damaged_costs_what_there_is(self, tmp_path, uneven, command, interrupted):
        interrupted()
        broken = {**state(1, count=3), "model.layers.9.w": torch.full((40_000,), float("nan"))}
        save(broken, uneven[1], overwrite=True, config=CONFIG)
        command("merge", *uneven, "--out", tmp_path / "out", *SHARDS, code=1)
        assert names_in(tmp_path) == ["first", "second"]


@pytest.fixture
def long(tmp_path):
    """Two models whose merge takes many shards, each at the cost of a sync."""
    for i, name in enumerate(("first", "second")):
        save(state(i, count=70), tmp_path / name, config=CONFIG)
        (tmp_path / name / "tokenizer.json").write_text("{}" * 10_000)
    return ["merge", tmp_path / "first", tmp_path / "second", "--out", tmp_path / "out", *SHARDS]


def wait_for_shards(folder, count, pid):
    """Wait until so many shards are finished, or the process is."""
    while len(marks(folder)) < count and not (folder.parent / "out" / "recipe.json").exists():
        os.kill(pid, 0)
        time.sleep(0.001)


def test_a_second_merge_to_one_place_is_refused_and_the_first_finishes(tmp_path, long, command):
    first = command.start(*long)
    wait_for_shards(tmp_path / ".out.partial", 3, first)
    os.kill(first, signal.SIGSTOP)
    try:
        for words in ((), ("--weight", "1,2"), ("--overwrite",)):
            done = command(*long, *words, code=1)
            assert done.stderr == (
                f"error: {tmp_path / 'out'} is being written by another process. Wait for it, or choose another path.\n"
            )
    finally:
        os.kill(first, signal.SIGCONT)
    assert command.wait(first).code == 0
    assert verify(tmp_path / "out").is_same


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(tmp_path, long, command):
    pid, partial = command.start(*long), tmp_path / ".out.partial"
    wait_for_shards(partial, 3, pid)
    os.kill(pid, signal.SIGINT)
    done = command.wait(pid)
    assert done.code == 130
    assert done.stderr == "stopped: the same command goes on where this one was\n"
    assert not (tmp_path / "out").exists()
    assert [name for name in names_in(partial) if name.endswith(".tmp")] == []
    finished = marks(partial)
    assert len(finished) >= 3
    command(*long)
    assert finished.items() <= marks(tmp_path / "out").items()
    assert verify(tmp_path / "out").is_same


def test_ctrl_c_in_a_single_file_leaves_nothing(tmp_path, command):
    for name in ("base", "first", "second"):
        save({f"{i}.w": torch.full((1_000_000,), float(i)) for i in range(4)}, tmp_path / name)
    models = [tmp_path / "first", tmp_path / "second", "--base", tmp_path / "base", "--method", "dare_ties"]
    for _ in range(9):
        pid = command.start("merge", *models, "--out", tmp_path / "out.safetensors", "--workers", 1)
        while (
            not list(tmp_path.glob(".out.safetensors.*.tmp")) and not (tmp_path / "out.safetensors").exists()
        ):
            time.sleep(0.001)
        time.sleep(0.02)
        os.kill(pid, signal.SIGINT)
        done = command.wait(pid)
        if done.code != 0:
            break
        (tmp_path / "out.safetensors").unlink()  # it was done before the signal came
    assert (done.code, done.stderr) == (130, "stopped\n")
    assert names_in(tmp_path) == ["base", "first", "second"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_killed_at_any_instant_it_goes_on_and_ends_as_if_undisturbed(tmp_path, long, command, overwrite):
    command(*long[:4], tmp_path / "undisturbed", *SHARDS)
    partial, out, chance = tmp_path / ".out.partial", tmp_path / "out", random.Random(overwrite)
    old = save({"old": torch.ones(3)}, out).digest if overwrite else None
    words = [*long, "--overwrite"] if overwrite else long
    finished, kills = {}, 0
    while kills < 10 and not (out / "recipe.json").exists():
        pid = command.start(*words)
        if chance.random() < 0.7:
            wait_for_shards(partial, len(finished) + chance.randint(1, 7), pid)
            time.sleep(chance.uniform(0, 0.004))
        else:
            time.sleep(chance.uniform(0, 0.06))
        os.kill(pid, signal.SIGKILL)
        if command.wait(pid).code == 0 or (out / "recipe.json").exists():
            break  # a fast machine was done
        assert (merganser.open(out).digest if overwrite else out.exists()) == (old or False)
        assert finished.items() <= marks(partial).items()
        finished, kills = marks(partial), kills + 1
        with pytest.raises(CheckpointError):
            merganser.open(partial)
    else:
        command(*words)
    assert kills > 2
    assert finished.items() <= marks(out).items()
    assert contents(out) == contents(tmp_path / "undisturbed")
    assert names_in(tmp_path) == ["first", "out", "second", "undisturbed"]


@pytest.mark.parametrize("shards", [0, 1, 5])
def test_what_is_half_written_does_not_open_as_a_model(tmp_path, shards):
    class Enough(Exception):
        pass

    partial = tmp_path / ".out.partial"

    def stop(step):
        if len(marks(partial)) >= shards:
            raise Enough

    save(state(0), tmp_path / "first")
    with pytest.raises(Enough):
        merge([tmp_path / "first"], out=tmp_path / "out", shard_size=2000, workers=1, progress=stop)
    assert len(marks(partial)) == shards
    with pytest.raises(CheckpointError):
        merganser.open(partial)


def test_a_place_is_free_again_once_the_one_who_wrote_there_is_killed(tmp_path, long, command):
    pid = command.start(*long)
    wait_for_shards(tmp_path / ".out.partial", 1, pid)
    os.kill(pid, signal.SIGKILL)
    command.wait(pid)
    with PartialFolder(tmp_path / "out", "something else") as partial:
        assert not marks(partial.folder)
    assert json.loads((tmp_path / "first" / "config.json").read_text()) == CONFIG
