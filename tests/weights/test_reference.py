"""A reference is a path where one exists, and otherwise exactly one thing."""

import pytest

from merganser import CheckpointError
from merganser.weights import HubId, Reference, open_checkpoint, parse_reference


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with a few names in it, some of them confusing."""
    for name in (
        "base",
        "lora",
        "c++/base",
        "c++/lora",
        "a+b",
        "m@v1",
        "org/name",
        "base+org/lora",
        "base+lora+x",
    ):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "text", ["base", "c++", "a+b", "m@v1", "org/name", "c++/base", "./base", "base+lora+x"]
)
def test_what_exists_is_a_path_whatever_its_name(here, text):
    assert parse_reference(text) == Reference(here / text)


@pytest.mark.parametrize(
    ("text", "model", "adapters"),
    [
        ("base+lora", "base", ["lora"]),
        ("base+c++/lora", "base", ["c++/lora"]),
        ("c++/base+c++/lora", "c++/base", ["c++/lora"]),
        ("a+b+lora", "a+b", ["lora"]),
        ("lora+a+b", "lora", ["a+b"]),
        ("base+lora+lora", "base", ["lora", "lora"]),
        ("base+lora+x+lora", "base+lora+x", ["lora"]),
        ("m@v1+lora", "m@v1", ["lora"]),
    ],
)
def test_a_plus_joins_what_exists(here, text, model, adapters):
    # `lora+a+b` could be two adapters, but there is no `a` and no `b`.
    assert parse_reference(text) == Reference(here / model, tuple(here / name for name in adapters))


@pytest.mark.parametrize(
    ("text", "model", "adapters"),
    [
        ("some/model", HubId("some/model"), []),
        ("some/model@v1.0", HubId("some/model", "v1.0"), []),
        ("some/model@refs/pr/3", HubId("some/model", "refs/pr/3"), []),
        ("some/model@a+b", HubId("some/model", "a+b"), []),
        ("gpt2@main", HubId("gpt2", "main"), []),
        ("a/b+c/d@e+f/g", HubId("a/b"), [HubId("c/d", "e"), HubId("f/g")]),
    ],
)
def test_what_looks_like_a_hub_id_is_one_if_it_is_no_path(here, text, model, adapters):
    reference = parse_reference(text)
    assert reference == Reference(model, tuple(adapters))
    assert str(reference) == text


def test_sides_of_a_plus_may_be_of_different_kinds(here):
    assert parse_reference("some/model+lora") == Reference(HubId("some/model"), (here / "lora",))
    assert parse_reference("base+some/lora@v2") == Reference(here / "base", (HubId("some/lora", "v2"),))


@pytest.mark.parametrize("text", ["base+lora", "c++/base+some/lora@v2", "a+b", "some/model@v1+lora+c++/lora"])
def test_the_canonical_form_means_the_same_from_elsewhere(here, monkeypatch, text):
    reference = parse_reference(text)
    monkeypatch.chdir("/")
    assert parse_reference(str(reference)) == reference


@pytest.mark.parametrize(
    "text",
    [
        "absent", "base+absent", "absent+lora", "base+", "+lora", "+", "", "some/model.safetensors", "x.gguf@main",
        "some/model@", "some/model@a b", "some/model@../../x", "some/../model", "so--me/model", "/absent/x", "a/b/c",
        "some/model@v1:x", "-some/model", "some/model.", "x" * 300, "some/" + "x" * 97, "nul\0",
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_what_was_looked_for(here, text):
    with pytest.raises(CheckpointError, match=r"(?s)There is no checkpoint at .*: no such file or folder"):
        parse_reference(text)


def test_the_message_says_which_side_is_missing_and_how_a_hub_id_looks(here):
    with pytest.raises(CheckpointError, match=r"as base\+adapter it lacks 'absent'\."):
        parse_reference("base+absent")
    with pytest.raises(CheckpointError, match=r"form org/name\[@revision\] \('gpt2@main' if it has no org\)"):
        parse_reference("gpt2")
    with pytest.raises(
        CheckpointError, match=r"no such file or folder, .* Expected a file \*\.safetensors; or"
    ):
        open_checkpoint("gpt2")


def test_many_pluses_take_no_time(here):
    with pytest.raises(CheckpointError, match="it lacks 'absent'"):
        parse_reference("+".join(["a/b"] * 60) + "+absent")


def test_a_path_object_is_never_anything_else(here):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*some/model: no such file"):
        open_checkpoint(here / "some/model")
