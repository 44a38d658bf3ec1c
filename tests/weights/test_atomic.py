"""Old or nothing: whatever fails, and however the process ends."""

import os

import pytest

from merganser._errors import OutputError
from merganser.weights import (
    _atomic,
    atomic_directory,
    atomic_write_bytes,
    atomic_write_text,
)


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path):
    target = tmp_path / "deep" / "er" / "a.txt"
    atomic_write_text(target, "ü")
    atomic_write_bytes(target, b"two")
    assert target.read_bytes() == b"two"
    assert names_in(target.parent) == ["a.txt"]
    assert target.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_file_that_may_not_be_replaced_stays(tmp_path):
    atomic_write_text(tmp_path / "a", "old", overwrite=False)
    with pytest.raises(OutputError, match="exists already"):
        atomic_write_text(tmp_path / "a", "new", overwrite=False)
    assert (tmp_path / "a").read_text() == "old"


def test_a_file_made_by_another_process_meanwhile_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(_atomic, "refuse_existing", lambda path, overwrite: path.write_text("theirs"))
    with pytest.raises(OutputError, match="could not be written: File exists"):
        atomic_write_text(tmp_path / "a", "ours", overwrite=False)
    assert (tmp_path / "a").read_text() == "theirs"
    assert names_in(tmp_path) == ["a"]


def test_a_file_system_without_hard_links_works_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    atomic_write_text(tmp_path / "a", "whole", overwrite=False)
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["x" * 250, "ü" * 120, "folder"])
def test_long_names_work_and_folders_in_the_way_are_named(tmp_path, name):
    (tmp_path / "folder").mkdir()
    if name != "folder":
        atomic_write_text(tmp_path / name, "whole")
        return
    with pytest.raises(OutputError, match="folder could not be written: Is a directory"):
        atomic_write_text(tmp_path / name, "text")
    assert names_in(tmp_path) == ["folder"]


def test_a_file_in_the_making_goes_when_nobody_holds_it_any_more(tmp_path):
    file = _atomic.PendingFile(tmp_path / "a", overwrite=False)
    file.write(b"half")
    assert len(names_in(tmp_path)) == 1
    with pytest.warns(ResourceWarning, match="unclosed file"):  # as when Ctrl-C comes at a bad moment
        del file
    assert names_in(tmp_path) == []


def test_a_file_in_the_making_outlives_processes_that_are_forked_off(tmp_path, in_a_child):
    program = """
        import os, sys
        from pathlib import Path
        from merganser.weights._atomic import PendingFile
        file = PendingFile(Path(sys.argv[1]), overwrite=False)
        file.write_at(0, b"whole")
        if not os.fork():
            sys.exit()
        os.wait()
        file.commit()
    """
    in_a_child(program, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_an_unknown_free_space_is_said_to_be_unknown(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError

    monkeypatch.setattr("shutil.disk_usage", refuse)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="It takes 4 bytes; an unknown number are free"):
        atomic_write_text(tmp_path / "file" / "below", "text")


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    with atomic_directory(tmp_path / "deep" / "out") as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("1")
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep" / "out" / "sub" / "a").read_text() == "1"
    assert names_in(tmp_path / "deep") == ["out"]


def fail_after_writing(folder, error):
    (folder / "a").touch()
    raise error


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_folder_that_fails_half_way_vanishes(tmp_path, error):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(error), atomic_directory(tmp_path / "out", overwrite=True) as folder:
        fail_after_writing(folder, error)
    assert names_in(tmp_path) == ["out"]
    assert names_in(tmp_path / "out") == ["old"]


def test_an_existing_folder_is_refused_or_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(OutputError, match="exists already"), atomic_directory(tmp_path / "out"):
        pytest.fail("the block must not run")
    with atomic_directory(tmp_path / "out", overwrite=True) as folder:
        (folder / "new").touch()
    assert names_in(tmp_path / "out") == ["new"]
    assert names_in(tmp_path) == ["out"]


def test_a_link_is_replaced_and_its_target_kept(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "kept").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_directory(tmp_path / "link", overwrite=True):
        pass
    assert not (tmp_path / "link").is_symlink()
    assert names_in(tmp_path) == ["link", "real"]
    assert names_in(tmp_path / "real") == ["kept"]


def test_a_folder_made_by_another_process_meanwhile_stays(tmp_path):
    with (
        pytest.raises(OutputError, match="exists already"),
        atomic_directory(tmp_path / "out"),
    ):
        atomic_write_text(tmp_path / "out" / "theirs", "")
    assert names_in(tmp_path) == ["out"]
    assert names_in(tmp_path / "out") == ["theirs"]


def test_the_old_folder_comes_back_if_the_new_one_cannot_be_renamed(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    rename = _atomic.Path.rename

    def fail_for_new(self, target):
        if self.suffix == ".tmp":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(_atomic.Path, "rename", fail_for_new)
    with (
        pytest.raises(OutputError, match="Input/output error"),
        atomic_directory(tmp_path / "out", overwrite=True),
    ):
        pass
    assert names_in(tmp_path) == ["out"]
    assert names_in(tmp_path / "out") == ["old"]


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from merganser.weights import Checkpoint, open_checkpoint, save

target = Path(sys.argv[1])
models = [Checkpoint.from_tensors({f"{i}.w": torch.full((200_000,), k) for i in range(4)}) for k in (1, 2.)]
digests = [model.digest for model in models]
save(models[1], target, shard_size=900_000)
for attempt in range(12):
    child = os.fork()
    while not child:  # in the child: overwrite for ever, one model after the other
        for model in models:
            save(model, target, shard_size=900_000, overwrite=True)
    time.sleep(random.Random(attempt).uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if target.exists():
        print("whole" if open_checkpoint(target).digest in digests else "half")
    else:
        print("nothing")
        save(models[1], target, shard_size=900_000)
"""


@pytest.mark.parametrize("target", ["out", "out.safetensors"])
def test_a_process_killed_at_any_instant_leaves_old_or_nothing(tmp_path, target, in_a_child):
    states = in_a_child(KILLED, tmp_path / target).split()
    assert len(states) == 12
    assert set(states) <= {"whole", "nothing"}
    assert "whole" in states
    if target.endswith(".safetensors"):
        assert "nothing" not in states  # a file is replaced by one rename
