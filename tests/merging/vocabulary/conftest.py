"""What tests of vocabularies share: tokenizers trained on the spot, and tiny models that have them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from merganser.weights import open_checkpoint

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
TEXTS = {
    "ducks": ["a duck dives deep", "the duck eats fish", "ducks and drakes dive for fish"] * 3,
    "ships": ["a ship sails west", "the ship's crew eats fish", "ships of the western fleet"] * 3,
}


def _byte_level(text, size, special):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return tokenizer, trainers.BpeTrainer(
        vocab_size=256 + size, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )


def _unigram(text, size, special):
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=size, special_tokens=["<unk>", *special], unk_token="<unk>", show_progress=False
    )


def _word_piece(text, size, special):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer, trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=["[UNK]", *special], show_progress=False
    )


def _word_level(text, size, special):
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer, trainers.WordLevelTrainer(
        vocab_size=size, special_tokens=["[UNK]", *special], show_progress=False
    )


KINDS = {"BPE": _byte_level, "Unigram": _unigram, "WordPiece": _word_piece, "WordLevel": _word_level}


@pytest.fixture(params=list(KINDS))
def kind(request):
    """Every kind of tokenizer model."""
    return request.param


@pytest.fixture
def trained():
    """Train a tokenizer of a kind on one of the texts; gives its JSON."""

    def train(kind, text, special=("<s>", "</s>"), size=60):
        tokenizer, trainer = KINDS[kind](text, size, list(special))
        tokenizer.train_from_iterator(TEXTS[text], trainer)
        if "<s>" in special:
            start = ("<s>", tokenizer.token_to_id("<s>"))
            tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[start])
        return json.loads(tokenizer.to_str())

    return train


def vocabulary_of(tokenizer):
    """Tokens and numbers as the library has them."""
    return Tokenizer.from_str(json.dumps(tokenizer)).get_vocab()


def numbers(index, rows, width=4, sign=1):
    """A table whose numbers tell model, row and column."""
    values = np.arange(rows * width, dtype=np.float32).reshape(rows, width) / 8 + 1024 * index
    return sign * values


@pytest.fixture
def model(tmp_path):
    """Write a tiny model with a tokenizer into a folder, and open it."""
    made = []

    def make(tokenizer, rows=None, *, tensors=None, config=None, settings=None, **files):
        index = len(made)
        folder = tmp_path / f"model{index}"
        folder.mkdir()
        rows = max(vocabulary_of(tokenizer).values()) + 1 if rows is None else rows
        if tensors is None:
            block = {"model.layers.0.mlp.up_proj.weight": np.full((4, 4), index, np.float32)}
            tensors = block | {EMBEDDING: numbers(index, rows), HEAD: numbers(index, rows, sign=-1)}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"} | (config or {})
        settings = {"tokenizer_class": "PreTrainedTokenizerFast"} | (settings or {})
        contents = {"config": {"vocab_size": rows} | config, "tokenizer": tokenizer}
        for name, content in (contents | {"tokenizer_config": settings} | files).items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        made.append(folder)
        return open_checkpoint(folder)

    return make
