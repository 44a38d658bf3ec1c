"""What tests of feature routers share: small real models of several families."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # is read when transformers is imported

import pytest

ROOT = Path(__file__).parents[3]
STORIES = ROOT / "tests" / "data" / "stories260k"


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors are slower on several threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def gpt2(seed):
    """A GPT-2 of three blocks."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=60, n_positions=32, n_embd=16, n_layer=3, n_head=2, bos_token_id=0, eos_token_id=0
        )
    ).eval()


def llama(seed):
    """A Llama of three blocks."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=60, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2
        )
    ).eval()


def vit(seed):
    """The vision transformer of the benchmarks."""
    import torch

    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from _vit import Vit
    finally:
        sys.path.pop(0)
    torch.manual_seed(seed)
    return Vit(classes=7).eval()


FAMILIES = {"gpt2": gpt2, "llama": llama, "vit": vit}


def inputs_of(family):
    """Something that a model of the family takes."""
    import torch

    torch.manual_seed(5)
    return torch.randn(3, 28, 28) if family == "vit" else torch.randint(0, 60, (3, 11))


def logits_of(module, inputs):
    """What it says to that."""
    import torch

    with torch.inference_mode():
        output = module(inputs)
    return getattr(output, "logits", output)


@pytest.fixture(params=FAMILIES)
def family(request):
    """Each of the families."""
    return request.param


@pytest.fixture(scope="session")
def stories():
    """The folder of a Llama of 260,032 parameters that tells stories."""
    return STORIES


@pytest.fixture(scope="session")
def two_stories(tmp_path_factory):
    """Folders of two models whose MLPs differ from that one's, and nothing else."""
    import torch
    from safetensors.torch import load_file, save_file

    places = []
    for number in range(2):
        place = tmp_path_factory.mktemp("stories") / f"model{number}"
        shutil.copytree(STORIES, place)
        generator = torch.Generator().manual_seed(number)
        tensors = load_file(STORIES / "model.safetensors")
        noisy = {
            n: t + 0.03 * torch.randn(t.shape, generator=generator) if ".mlp." in n else t
            for n, t in tensors.items()
        }
        save_file(noisy, place / "model.safetensors", metadata={"format": "pt"})
        places.append(place)
    return places
