"""A folder fills up over attempts, and has its name only when it is whole."""

import subprocess
import sys

import pytest

from merganser import OutputError
from merganser.weights import PartialFolder


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def begin(place, identity="a model", *, files=("one",), **options):
    """An attempt that stops after some files."""
    with PartialFolder(place, identity, **options) as partial:
        for name in files:
            (partial.folder / name).write_text(name)
        return partial.folder


def test_a_folder_has_its_name_when_it_is_published_and_not_before(tmp_path):
    place = tmp_path / "deep" / "er" / "out"
    with PartialFolder(place, "a model") as partial:
        (partial.folder / "one").write_text("1")
        assert not place.exists()
        partial.publish()
        assert place.exists()
    assert names_in(place) == ["one"]
    assert names_in(place.parent) == ["out"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_what_an_exception_leaves_is_found_by_the_next_attempt_at_the_same(tmp_path, error):
    def stop_half_way():
        with PartialFolder(tmp_path / "out", "a model") as partial:
            (partial.folder / "one").write_text("1")
            raise error

    with pytest.raises(error):
        stop_half_way()
    assert not (tmp_path / "out").exists()
    with PartialFolder(tmp_path / "out", "a model") as partial:
        assert (partial.folder / "one").read_text() == "1"
        (partial.folder / "two").write_text("2")
        partial.publish()
    assert names_in(tmp_path / "out") == ["one", "two"]
    assert names_in(tmp_path) == ["out"]


def test_an_attempt_at_something_else_starts_afresh(tmp_path):
    begin(tmp_path / "out", files=["one", "two"])
    with PartialFolder(tmp_path / "out", "another model") as partial:
        assert {"one", "two"}.isdisjoint(names_in(partial.folder))


def test_files_in_the_making_are_cleared_away_and_whole_ones_stay(tmp_path):
    folder = begin(tmp_path / "out", files=["one", ".two.0a1b.tmp"])
    (folder / "three.tmp").mkdir()
    (folder / "three.tmp" / "inside").touch()
    assert {"one"} == set(names_in(begin(tmp_path / "out", files=()))) - {".identity", ".lock"}


@pytest.mark.parametrize("damage", ["missing", "no text", "a folder"])
def test_a_folder_of_unknown_identity_starts_afresh(tmp_path, damage):
    folder = begin(tmp_path / "out")
    (folder / ".identity").unlink()
    if damage == "no text":
        (folder / ".identity").write_bytes(b"\xff")
    if damage == "a folder":
        (folder / ".identity").mkdir()
    with PartialFolder(tmp_path / "out", "a model") as partial:
        assert "one" not in names_in(partial.folder)
        partial.publish()
    assert names_in(tmp_path / "out") == []


def test_a_discarded_folder_leaves_nothing(tmp_path):
    with PartialFolder(tmp_path / "out", "a model") as partial:
        (partial.folder / "one").touch()
        partial.discard()
    assert names_in(tmp_path) == []


def test_an_existing_folder_is_refused_or_replaced(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    with pytest.raises(OutputError, match="out exists already"):
        begin(tmp_path / "out")
    assert names_in(tmp_path) == ["out"]
    with PartialFolder(tmp_path / "out", "a model", overwrite=True) as partial:
        (partial.folder / "new").touch()
        assert names_in(tmp_path / "out") == ["old"]
        partial.publish()
    assert names_in(tmp_path / "out") == ["new"]
    assert names_in(tmp_path) == ["out"]


def test_a_folder_made_by_another_process_meanwhile_stays(tmp_path):
    with PartialFolder(tmp_path / "out", "a model") as partial:
        (partial.folder / "one").touch()
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").touch()
        with pytest.raises(OutputError, match="exists already"):
            partial.publish()
    assert names_in(tmp_path / "out") == ["theirs"]
    assert "one" in names_in(partial.folder)


@pytest.mark.parametrize("name", ["x" * 240, "ü" * 125, "水" * 84], ids=["x", "ü", "水"])
def test_long_names_work_and_do_not_get_into_each_others_way(tmp_path, name):
    with PartialFolder(tmp_path / name, "a model") as partial:
        partial.publish()
    assert names_in(tmp_path) == [name]


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="below could not be written: Not a directory"):
        begin(tmp_path / "file" / "below")


HOLDER = """
import sys, time
from pathlib import Path
from merganser.weights import PartialFolder
with PartialFolder(Path(sys.argv[1]), "a model") as partial:
    (partial.folder / "one").touch()
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that is at `out`, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"in\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_is_kept_out_until_the_first_has_ended(tmp_path, holder):
    message = "out is being written by another process. Wait for it, or choose another path."
    for _ in range(2):
        with pytest.raises(OutputError, match=message):
            begin(tmp_path / "out", "another model")
    begin(tmp_path / "elsewhere")
    holder.kill()
    holder.wait()
    with PartialFolder(tmp_path / "out", "a model") as partial:
        assert "one" in names_in(partial.folder)


def test_a_second_attempt_in_the_same_process_is_kept_out_too(tmp_path):
    with (
        PartialFolder(tmp_path / "out", "a model") as first,
        pytest.raises(OutputError, match="is being written"),
    ):
        begin(tmp_path / "out", "another model")
    assert ".lock" in names_in(first.folder)
    begin(tmp_path / "out")


def test_an_attempt_that_cannot_even_begin_lets_go_of_the_lock(tmp_path):
    with pytest.raises(UnicodeEncodeError):
        begin(tmp_path / "out", "half a character: \ud800")
    begin(tmp_path / "out")
