"""What tests of language models share: no network, quiet libraries, and a small real model."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # is read when transformers is imported

import pytest

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


@pytest.fixture(scope="module")
def one_thread():
    """Tiny tensors are slower on several threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def stories():
    """The folder of a Llama of 260,032 parameters that tells stories."""
    return STORIES


@pytest.fixture(scope="session")
def two_stories(tmp_path_factory):
    """Folders of two models near that one, with its tokenizer."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    places = []
    for number, spread in enumerate((0.01, 0.02)):
        place = tmp_path_factory.mktemp("stories") / f"model{number}"
        shutil.copytree(STORIES, place)
        generator = torch.Generator().manual_seed(number)
        tensors = load_file(STORIES / "model.safetensors")
        noisy = {n: t + spread * torch.randn(t.shape, generator=generator) for n, t in tensors.items()}
        save_file(noisy, place / "model.safetensors", metadata={"format": "pt"})
        places.append(place)
    return places
