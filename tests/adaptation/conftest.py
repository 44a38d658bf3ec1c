"""What these tests share: a small real model, a GPT-2 with layers stored (in, out), and experts of theirs."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # is read when transformers is imported

import pytest
import torch

from merganser.adaptation import ExpertVector, decompose
from merganser.weights import open_checkpoint

STORIES = Path(__file__).parents[1] / "data" / "stories260k"


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny tensors are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def stories():
    return open_checkpoint(STORIES)


@pytest.fixture(scope="session")
def factors(stories):
    return decompose(stories)


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory):
    """A GPT-2 of two blocks with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        n_embd=24, n_layer=2, n_head=3, n_positions=32, vocab_size=50, bos_token_id=0, eos_token_id=0
    )
    place = tmp_path_factory.mktemp("gpt2") / "model"
    GPT2LMHeadModel(config).save_pretrained(place)
    return place


@pytest.fixture(scope="session")
def gpt2(gpt2_folder):
    return open_checkpoint(gpt2_folder)


@pytest.fixture(scope="session")
def gpt2_factors(gpt2):
    return decompose(gpt2)


def expert_of(decomposition, seed=0, *, spread=1.0, rank=None):
    """An expert with random logits."""
    generator = torch.Generator().manual_seed(seed)
    logits = {
        name: spread * torch.randn(len(decomposition[name].sigma[:rank]), generator=generator)
        for name in decomposition
    }
    return ExpertVector.from_logits(logits, decomposition, facts={"seed": seed})
