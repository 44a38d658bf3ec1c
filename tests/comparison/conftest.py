"""What tests of models share: no network, a small real model and others near it, and texts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # is read when transformers is imported

import pytest

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


@pytest.fixture(scope="session")
def stories():
    """The folder of a Llama of 260,032 parameters that tells stories."""
    return STORIES


@pytest.fixture(scope="session")
def noisy(tmp_path_factory):
    """Folders of the same model with noise of two strengths in its weights."""
    import torch
    from safetensors.torch import load_file, save_file

    places = []
    for spread in (0.02, 0.1):
        place = tmp_path_factory.mktemp("noisy") / "model"
        shutil.copytree(STORIES, place)
        generator = torch.Generator().manual_seed(0)
        tensors = load_file(STORIES / "model.safetensors")
        changed = {n: t + spread * torch.randn(t.shape, generator=generator) for n, t in tensors.items()}
        save_file(changed, place / "model.safetensors", metadata={"format": "pt"})
        places.append(place)
    return places


@pytest.fixture(scope="session")
def texts():
    """Forty short texts of different lengths."""
    who = ("Tom", "Lily", "A small dog", "The old man", "My friend Sue")
    does = ("found a red ball", "was very sad", "ran to the big tree", "saw a bird")
    after = (".", " and then went home to eat with mom.")
    return [f"{w} {d}{a}" for a in after for d in does for w in who]
