"""Whole files: with mergekit's formulas, what we make of a YAML is what mergekit 0.1.5 made of it."""

from pathlib import Path

import pytest
import torch

import merganser
from merganser.interop.mergekit import merge_mergekit

GOLDENS = Path(__file__).parent / "goldens"
CASES = sorted(path.stem for path in GOLDENS.glob("*.yaml"))
OURS_ALONE = {"empty_list_falls_through": "an empty gradient is an error here"}


def written(case, folder):
    """A golden configuration, with the places of its models filled in."""
    text = (GOLDENS / f"{case}.yaml").read_text()
    for model in (GOLDENS / "models").iterdir():
        text = text.replace(f"{{{model.name}}}", str(model))
    path = folder / "merge.yaml"
    path.write_text(text)
    return path


def test_there_are_many():
    assert len(CASES) >= 60


@pytest.mark.parametrize("case", [case for case in CASES if case not in OURS_ALONE])
def test_the_result_is_mergekits_own(case, tmp_path):
    merged = merge_mergekit(written(case, tmp_path), tmp_path / "out", formulas="mergekit")
    expected = merganser.open(GOLDENS / f"{case}.safetensors")
    assert set(merged) == set(expected)
    for name in expected:
        found, wanted = merged.read(name), expected.read(name)
        assert found.dtype == wanted.dtype
        scale = wanted.abs().max().clamp_min(1e-9).item()
        torch.testing.assert_close(
            found, wanted, rtol=0, atol=2e-6 * scale, msg=lambda m, n=name: f"{n}: {m}"
        )
