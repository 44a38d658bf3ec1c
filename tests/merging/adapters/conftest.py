"""A small base with the names of a Llama, and adapters on it, as files."""

from __future__ import annotations

import json

import pytest
import torch

from merganser.weights import save

EMBED = "model.embed_tokens"
Q, UP, DOWN = (f"model.layers.0.{part}" for part in ("self_attn.q_proj", "mlp.up_proj", "mlp.down_proj"))
SHAPES = {
    f"{EMBED}.weight": (60, 24),
    f"{Q}.weight": (24, 24),
    f"{Q}.bias": (24,),
    f"{UP}.weight": (40, 24),
    f"{DOWN}.weight": (24, 40),
    "model.conv.weight": (20, 3, 3, 2),
    "model.norm.weight": (24,),
    "lm_head.weight": (60, 24),
}


def random(seed, shape, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(shape, generator=generator, dtype=torch.float64)


def factors(module, rank, seed, *, shape=None, dtype=torch.float64):
    """Both factors of a module, named as PEFT names them."""
    rows, *columns = shape or SHAPES[f"{module}.weight"]
    tail = [1] * (len(columns) - 1)
    if module == EMBED:
        names, shapes = ("lora_embedding_A", "lora_embedding_B"), ((rank, rows), (*columns, rank))
    else:
        names, shapes = ("lora_A.weight", "lora_B.weight"), ((rank, *columns), (rows, rank, *tail))
    return {
        f"{module}.{name}": random(2 * seed + i, each, 0.2).to(dtype)
        for i, (name, each) in enumerate(zip(names, shapes, strict=True))
    }


@pytest.fixture
def base(tmp_path):
    """The base's folder."""
    tensors = {name: random(i, shape, 0.1) for i, (name, shape) in enumerate(SHAPES.items())}
    save(tensors, tmp_path / "base", config={"model_type": "llama", "torch_dtype": "float64"})
    return str(tmp_path / "base")


@pytest.fixture
def write(tmp_path):
    """Writes an adapter of these tensors, and gives its folder."""

    def write(name, tensors, **config):
        folder = tmp_path / name
        folder.mkdir()
        named = {f"base_model.model.{key}": tensor for key, tensor in tensors.items()}
        save(named, folder / "adapter_model.safetensors")
        said = {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "base_model_name_or_path": "org/base"}
        (folder / "adapter_config.json").write_text(json.dumps(said | config))
        return str(folder)

    return write


@pytest.fixture
def adapters(write):
    """Three adapters that differ in ranks, scaling and in what they change."""
    return [
        write("a", {**factors(Q, 3, 1), **factors(UP, 4, 2), **factors("model.conv", 2, 3)}),
        write("b", {**factors(Q, 2, 4), **factors(DOWN, 3, 5)}, use_rslora=True),
        write("c", {**factors(Q, 5, 6), **factors(UP, 1, 7), **factors(EMBED, 2, 8)}, lora_alpha=16),
    ]
