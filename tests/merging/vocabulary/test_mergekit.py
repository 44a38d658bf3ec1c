"""Rows beside those of mergekit 0.1.5, for what it gets right; made by scripts/vocabulary_goldens.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from merganser.merging.vocabulary import (
    ModelRow,
    RowOf,
    TokenRule,
    VocabularyRules,
    ZeroRow,
    plan_vocabulary,
)

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
GOLDEN = json.loads((Path(__file__).parent / "goldens" / "mergekit.json").read_text())
NAMES = list(GOLDEN["models"])


def rules_of(tokenizer):
    """The `tokenizer:` of a mergekit file, models by position."""
    source = tokenizer["source"]
    rules = []
    for token, told in tokenizer.get("tokens", {}).items():
        stated = told["source"]
        if isinstance(stated, str):
            row = ModelRow(NAMES.index(stated))
        elif stated["kind"] == "zero":
            row = ZeroRow()
        else:
            row = RowOf(NAMES.index(stated["model"]), stated.get("token"), stated.get("token_id"))
        rules.append(TokenRule(token, row, told.get("force", False)))
    source = NAMES.index(source) if source in NAMES else source
    return VocabularyRules(source, tokenizer.get("pad_to_multiple_of"), tuple(rules))


@pytest.fixture
def models(model):
    opened = []
    for i, told in enumerate(GOLDEN["models"].values()):
        table = np.arange(told["rows"] * 4, dtype=np.float32).reshape(-1, 4) / 8 + 32 * i
        tensors = {EMBEDDING: table, HEAD: -table, "model.norm.weight": np.ones(4, np.float32)}
        opened.append(model(told["tokenizer"], told["rows"], tensors=tensors, config=told["config"]))
    return opened


@pytest.mark.parametrize("case", GOLDEN["cases"])
def test_every_row_is_mergekits(case, models):
    golden = GOLDEN["cases"][case]
    base = golden["config"].get("base_model")
    rules = rules_of(golden["config"]["tokenizer"])
    vocabulary = plan_vocabulary(models, rules, base=None if base is None else NAMES.index(base))
    for i, expected in enumerate(golden["models"]):
        aligned = vocabulary.aligned(i)
        assert vocabulary.size == expected["size"] == len(aligned.read(EMBEDDING))
        for name in (EMBEDDING, HEAD):
            table = aligned.array(name)
            found = {token: table[row].tolist() for token, row in vocabulary.tokens.items()}
            assert found == expected[name], (NAMES[i], name)  # means of few short numbers are exact
        padding = aligned.array(EMBEDDING)[len(vocabulary.tokens) :]
        np.testing.assert_allclose(padding, np.reshape(expected["padding"], padding.shape), rtol=1e-6)
