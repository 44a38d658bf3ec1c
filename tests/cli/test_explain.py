"""`merganser explain`: what became of the task vectors, in words, as data and as a picture."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
import torch

import merganser


@pytest.fixture
def merged(tmp_path):
    """A merge of two models whose task vectors agree, differ, or are small."""
    base = {f"layers.{i}.weight": torch.ones(4, 4) for i in range(3)}
    one = {name: tensor + 0.25 for name, tensor in base.items()}
    other = {name: tensor + torch.tensor([0.5, -0.125, 0.5, -0.125]) for name, tensor in base.items()}
    for name, tensors in (("base", base), ("one", one), ("other", other)):
        merganser.save(tensors, tmp_path / name)
    models = [tmp_path / "one", tmp_path / "other"]
    merganser.merge(models, "ties", base=tmp_path / "base", density=1.0, out=tmp_path / "out")
    return tmp_path


def test_shares_are_told(merged, command):
    facts = json.loads(command("explain", merged / "out", "--json").stdout)
    one, other = facts["total"].values()
    assert one["l1"] == {"survived": 1.0, "conflict": 0.0, "dropped": 0.0}
    assert other["l1"] == {"survived": 0.8, "conflict": 0.2, "dropped": 0.0}
    assert list(facts["layers"]) == ["layers.0", "layers.1", "layers.2"]
    said = command("explain", merged / "out").stdout
    assert "other" in said
    assert "20.0%" in said


def test_a_picture_is_drawn(merged, command):
    for ending in ("svg", "png", "html"):
        command("explain", merged / "out", "--picture", merged / f"fates.{ending}")
    drawn = "".join(ElementTree.parse(merged / "fates.svg").getroot().itertext())
    assert all(word in drawn for word in ("survived", "in conflict", "layers.2", "one", "other"))
    assert (merged / "fates.png").read_bytes().startswith(b"\x89PNG")
    assert (
        "must end in" in command("explain", merged / "out", "--picture", merged / "fates.gif", code=2).stderr
    )


def test_a_base_that_is_no_ancestor_is_noticed(merged, command):
    merganser.save({f"layers.{i}.weight": torch.randn(4, 4) for i in range(3)}, merged / "strange")
    models = [merged / "strange", merged / "one"]
    merging = ("merge", *models, "--method", "ties", "--base", merged / "base", "--out", merged / "odd")
    for done in (command(*merging), command("explain", merged / "odd")):
        said = " ".join(done.stderr.split())
        assert "strange: its difference from the base is" in said
        assert "one: its difference" not in said


def test_a_merge_without_a_base_has_no_task_vectors(merged, command):
    merganser.merge([merged / "one", merged / "other"], out=merged / "mean")
    assert "Expected a merge with a base" in command("explain", merged / "mean", code=2).stderr
