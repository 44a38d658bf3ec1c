"""Have mergekit match the vocabularies of three tiny models, and keep the rows it gives them.

Run with the Python of an environment that has mergekit 0.1.5:

    HF_HUB_OFFLINE=1 python scripts/vocabulary_goldens.py tests/merging/vocabulary/goldens/mergekit.json

The file holds the models too, so that the tests build the very same. Their numbers are multiples of 1/8 that tell
model, row, column and table, so a wrong row is seen at a glance and means come out short. mergekit's rows of a model
are those of a linear merge in which it has the weight 1 and the others have 0. It numbers appended tokens in no fixed
order: rows are kept by token.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from safetensors.numpy import load_file, save_file
from transformers import AutoTokenizer

WIDTH = 4
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"

MODELS = {
    "a": {"pieces": "abcdefgh", "merges": ["a b", "c d", "ab cd"], "added": ["<s>", "</s>"], "padding": 2},
    "b": {"pieces": "hgfedcij", "merges": ["i j", "h g"], "added": ["<s>", "<|im_start|>", "<|im_end|>"]},
    "c": {"pieces": "abij", "merges": ["i j", "a b", "b i"], "added": ["</s>", "<|im_end|>", "<tool>"]},
}
RULES: dict[str, Any] = {
    "<zero>": {"source": {"kind": "zero"}},
    "<like a>": {"source": {"kind": "model_token", "model": "a", "token": "ab"}},
    "<row 3>": {"source": {"kind": "model_token", "model": "b", "token_id": 3}},
    "<|im_end|>": {"source": "c", "force": True},
    "a": {"source": {"kind": "model_token", "model": "b", "token": "ij"}},
    "b": {"source": {"kind": "zero"}, "force": True},
}
CASES: dict[str, dict[str, Any]] = {
    "union": {"base_model": "a", "tokenizer": {"source": "union"}},
    "union without a base": {"tokenizer": {"source": "union"}},
    "base": {"base_model": "a", "tokenizer": {"source": "base"}},
    "another model's": {"base_model": "a", "tokenizer": {"source": "c"}},
    "padded": {"base_model": "b", "tokenizer": {"source": "union", "pad_to_multiple_of": 16}},
    "rules": {"base_model": "a", "tokenizer": {"source": "union", "tokens": RULES}},
}


def tokenizer_of(pieces: str, merges: list[str], added: list[str]) -> dict[str, Any]:
    """A tokenizer.json: characters, what merges make of them, and added tokens."""
    tokens = [*pieces, *(merge.replace(" ", "") for merge in merges)]
    return {
        "version": "1.0",
        "added_tokens": [{"id": len(tokens) + i, "content": token, **FLAGS} for i, token in enumerate(added)],
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in merges],
        },
    }


def config_of(rows: int) -> dict[str, Any]:
    """A config.json of one small block."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "num_hidden_layers": 1,
        "vocab_size": rows,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
    }


def table(model: int, rows: int, sign: int) -> np.ndarray:
    """An embedding or, with the other sign, a head."""
    return sign * (np.arange(rows * WIDTH, dtype=np.float32).reshape(rows, WIDTH) / 8 + 32 * model)


def write_model(folder: Path, model: int, rows: int, tokenizer: dict[str, Any]) -> None:
    """An ordinary folder with a model."""
    folder.mkdir()
    block = {f"self_attn.{p}_proj": WIDTH for p in "qkvo"} | {
        f"mlp.{p}_proj": WIDTH for p in ("gate", "up", "down")
    }
    tensors = {f"model.layers.0.{name}.weight": np.ones((WIDTH, WIDTH), np.float32) for name in block} | {
        f"model.{name}.weight": np.ones(WIDTH, np.float32)
        for name in ("layers.0.input_layernorm", "layers.0.post_attention_layernorm", "norm")
    }
    tensors |= {EMBEDDING: table(model, rows, 1), HEAD: table(model, rows, -1)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
    for name, data in (("config", config_of(rows)), ("tokenizer", tokenizer), ("tokenizer_config", settings)):
        (folder / f"{name}.json").write_text(json.dumps(data))


def rows_of(case: dict[str, Any], favoured: str, place: Path) -> dict[str, Any]:
    """What one model's tables become: rows by token, and those that no token has."""
    recipe = case | {
        "merge_method": "linear",
        "models": [{"model": name, "parameters": {"weight": float(name == favoured)}} for name in MODELS],
        "dtype": "float32",
    }
    text = yaml.safe_dump(recipe)
    for name in MODELS:
        for key in ("model", "source", "base_model"):
            text = text.replace(f"{key}: {name}\n", f"{key}: {place / name}\n")
    out = place / "out"
    run_merge(
        MergeConfiguration.model_validate(yaml.safe_load(text)),
        str(out),
        MergeOptions(write_model_card=False),
    )
    tensors = load_file(out / "model.safetensors")
    tokens = AutoTokenizer.from_pretrained(out).get_vocab()
    found: dict[str, Any] = {"size": len(tensors[EMBEDDING])}
    for name in (EMBEDDING, HEAD):
        found[name] = {token: tensors[name][i].tolist() for token, i in sorted(tokens.items())}
    found["padding"] = tensors[EMBEDDING][len(tokens) :].tolist()
    return found


def main() -> None:
    """Write the file that is named as the argument."""
    torch.set_num_threads(1)
    models, cases = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for i, (name, told) in enumerate(MODELS.items()):
            tokenizer = tokenizer_of(told["pieces"], told["merges"], told["added"])
            rows = len(tokenizer["model"]["vocab"]) + len(told["added"]) + told.get("padding", 0)
            write_model(place / name, i, rows, tokenizer)
            models[name] = {"config": config_of(rows), "tokenizer": tokenizer, "rows": rows}
        for title, case in CASES.items():
            cases[title] = {"config": case, "models": [rows_of(case, name, place) for name in MODELS]}
    made_by = {
        name: importlib.metadata.version(name) for name in ("mergekit", "transformers", "tokenizers", "torch")
    }
    text = json.dumps({"made_by": made_by, "models": models, "cases": cases}, separators=(",", ":"))
    Path(sys.argv[1]).write_text(text + "\n")


if __name__ == "__main__":
    main()
