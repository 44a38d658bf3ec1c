"""Which row a token gets, and what is said about it."""

import numpy as np
import pytest

from merganser import CheckpointError, ConfigError
from merganser.merging.vocabulary import (
    ModelRow,
    RowOf,
    TokenRule,
    VocabularyRules,
    ZeroRow,
    plan_vocabulary,
)
from merganser.weights import Checkpoint

EMBEDDING = "model.embed_tokens.weight"


def words(*tokens, unk="[UNK]"):
    """A tokenizer of whole words, numbered in this order."""
    vocab = {token: i for i, token in enumerate((unk, *tokens))}
    return {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": unk},
    }


def table_of(vocabulary, i):
    """The rows of a model's embedding by token."""
    table = vocabulary.aligned(i).array(EMBEDDING)
    return {token: table[row].tolist() for token, row in vocabulary.tokens.items()}


@pytest.fixture
def three(model):
    """Three models that share some words; the first has two rows that no token has."""
    return [
        model(words("duck", "fish"), 5),
        model(words("fish", "ship", "sail")),
        model(words("ship", "crew", "duck")),
    ]


def rows_of(model, *tokens):
    vocab = {"duck": [1, None, 3], "fish": [2, 1, None], "ship": [None, 2, 1], "sail": [None, 3, None]}
    index = int(model.home.name[-1])
    return [model.array(EMBEDDING)[vocab[token][index]].tolist() for token in tokens]


def test_a_missing_token_gets_the_bases_row_the_only_owners_or_the_mean(three):
    a, b, c = three
    vocabulary = plan_vocabulary(three, VocabularyRules(), base=0)
    assert list(vocabulary.tokens) == ["[UNK]", "duck", "fish", "ship", "sail", "crew"]
    found = [table_of(vocabulary, i) for i in range(3)]
    assert [found[1]["duck"], found[2]["fish"]] == rows_of(a, "duck", "fish")
    assert [found[0]["sail"], found[2]["sail"]] == rows_of(b, "sail") * 2
    assert found[0]["ship"] == np.mean([rows_of(b, "ship")[0], rows_of(c, "ship")[0]], axis=0).tolist()
    assert found[1]["ship"] == rows_of(b, "ship")[0]


def test_without_a_base_no_model_goes_before_others(three):
    a, b, _ = three
    vocabulary = plan_vocabulary(three, VocabularyRules())
    mean = np.mean([rows_of(a, "fish")[0], rows_of(b, "fish")[0]], axis=0).tolist()
    assert table_of(vocabulary, 2)["fish"] == mean


def test_rules_go_before_all_that_and_force_goes_before_own_rows(three):
    a, b, _ = three
    rules = (
        TokenRule("ship", ModelRow(2)),
        TokenRule("fish", ZeroRow(), force=True),
        TokenRule("<row>", RowOf(0, token_id=4)),
        TokenRule("<like>", RowOf(1, token="sail")),
    )
    vocabulary = plan_vocabulary(three, VocabularyRules("base", tokens=rules), base=0)
    assert list(vocabulary.tokens)[-3:] == ["ship", "<row>", "<like>"]
    for i in range(3):
        found = table_of(vocabulary, i)
        assert found["fish"] == [0.0] * 4
        assert found["<row>"] == a.array(EMBEDDING)[4].tolist()
        assert found["<like>"] == rows_of(b, "sail")[0]
    assert table_of(vocabulary, 0)["ship"] == rows_of(three[2], "ship")[0]
    assert table_of(vocabulary, 1)["ship"] == rows_of(b, "ship")[0]
    assert any("1 token without a row" in note for note in vocabulary.notes)


def test_rows_without_tokens_are_left_out_and_padding_is_the_mean(three):
    assert plan_vocabulary(three, VocabularyRules("base"), base=0).size == 3
    vocabulary = plan_vocabulary(three, VocabularyRules("base", pad_to_multiple_of=4), base=0)
    assert vocabulary.size == 4
    table = vocabulary.aligned(0).array(EMBEDDING)
    np.testing.assert_allclose(table[3], table[:3].mean(axis=0))
    assert any("1 row without a token" in note for note in vocabulary.notes)


def test_fewer_rows_than_tokens_count_as_missing(model):
    short, whole = model(words("duck", "fish"), 2), model(words("fish", "duck"))
    vocabulary = plan_vocabulary([whole, short], VocabularyRules("base"), base=0)
    assert table_of(vocabulary, 1)["fish"] == table_of(vocabulary, 0)["fish"]
    assert any("1 token of" in note and "'fish'" in note for note in vocabulary.notes)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (TokenRule("duck", ModelRow(3)), "there are 3, counted"),
        (TokenRule("sail", ModelRow(0)), "takes the row of 'sail'"),
        (TokenRule("duck", RowOf(1, token="duck")), "takes the row of 'duck'"),
        (TokenRule("duck", RowOf(0, token_id=5)), "which has 5 rows"),
        (TokenRule("", ZeroRow()), "empty token"),
    ],
)
def test_a_rule_that_names_what_is_not_there_is_refused(rule, message, three):
    with pytest.raises(ValueError, match=message):
        plan_vocabulary(three, VocabularyRules(tokens=(rule,)), base=0)


def test_a_model_that_is_not_there_is_refused(three):
    with pytest.raises(ValueError, match="no model 3 among 3"):
        plan_vocabulary(three, VocabularyRules(3))
    with pytest.raises(ValueError, match="no model -1"):
        plan_vocabulary(three, VocabularyRules(), base=-1)
    with pytest.raises(ValueError, match="at least one model"):
        plan_vocabulary([], VocabularyRules())


def test_a_model_without_an_embedding_is_refused():
    bare = Checkpoint.from_tensors({"layers.0.weight": np.ones((2, 2), np.float32)})
    with pytest.raises(CheckpointError, match="no embedding of tokens"):
        plan_vocabulary([bare], VocabularyRules())


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: VocabularyRules("unoin"),
        lambda: VocabularyRules(pad_to_multiple_of=0),
        lambda: VocabularyRules(tokens=(TokenRule("a", ZeroRow()),) * 2),
        lambda: RowOf(0),
        lambda: RowOf(0, token="a", token_id=1),
    ],
)
def test_rules_that_cannot_be_meant_are_refused(misuse):
    with pytest.raises(ValueError, match=r"must be|two rules"):
        misuse()


def test_rules_survive_as_json():
    rules = VocabularyRules(
        1,
        64,
        (
            TokenRule("a", ZeroRow(), force=True),
            TokenRule("b", ModelRow(0)),
            TokenRule("c", RowOf(1, token="d")),
            TokenRule("e", RowOf(0, token_id=7)),
        ),
    )
    assert VocabularyRules.from_json(rules.to_json()) == rules


@pytest.mark.parametrize(
    "change",
    [
        {"source": "both"},
        {"source": True},
        {"pad_to_multiple_of": 0},
        {"pad_to_multiple_of": 1.5},
        {"tokens": [{"token": "a", "row": {"kind": "one"}, "force": False}]},
        {"tokens": [{"token": "a", "row": {"kind": "model", "model": "b"}, "force": False}]},
        {
            "tokens": [
                {
                    "token": "a",
                    "row": {"kind": "token", "model": 0, "token": None, "token_id": None},
                    "force": False,
                }
            ]
        },
        {"tokens": [{"token": "a", "row": {"kind": "zero"}, "force": "no"}]},
        {"tokens": [{"token": "a", "row": {"kind": "zero"}, "force": False}] * 2},
        {"tokens": None},
    ],
)
def test_what_are_no_rules_is_refused(change):
    with pytest.raises(ConfigError, match="rules of a vocabulary"):
        VocabularyRules.from_json(VocabularyRules().to_json() | change)
