"""Numbers in configurations: the same tokens before and after."""

import json
from pathlib import Path

import pytest

from merganser.merging.vocabulary import VocabularyRules, plan_vocabulary

EMBEDDING = "model.embed_tokens.weight"


@pytest.fixture
def pair(trained, model):
    ducks = trained("BPE", "ducks", ("<s>", "</s>"))
    ships = trained("BPE", "ships", ("<pad>", "<end>", "</s>", "<s>"))
    settings = {"eos_token": "</s>", "bos_token": "<s>"}
    return [
        model(ducks, settings=settings, config={"bos_token_id": 0, "eos_token_id": 1}),
        model(
            ships, settings=settings, config={"bos_token_id": 3, "eos_token_id": [1, 2], "pad_token_id": -1}
        ),
    ]


def test_numbers_of_tokens_follow_their_tokens(pair):
    vocabulary = plan_vocabulary(pair, VocabularyRules("union"), base=0)
    assert vocabulary.aligned(0).config["eos_token_id"] == 1
    config = vocabulary.aligned(1).config
    assert config["bos_token_id"] == 0
    assert config["eos_token_id"] == [vocabulary.tokens["<end>"], 1]
    assert config["pad_token_id"] == -1
    assert config["vocab_size"] == vocabulary.size


def test_a_token_that_is_gone_is_replaced_by_the_one_of_its_role(pair):
    vocabulary = plan_vocabulary(pair, VocabularyRules("base"), base=0)
    asked = {"eos_token_id": 1, "pad_token_id": 0, "bos_token_id": None, "suppress_tokens": [0, 2, 10**6]}
    expected = {"eos_token_id": 1, "pad_token_id": None, "bos_token_id": None, "suppress_tokens": [1]}
    assert vocabulary.patched(asked, 1) == expected
    assert vocabulary.patched({"eos_token_id": [1]}, 1) == {"eos_token_id": 1}


def test_parts_of_a_configuration_are_patched_and_the_rest_left_alone(pair):
    vocabulary = plan_vocabulary(pair, VocabularyRules("base"), base=0)
    rows = len(pair[1].read(EMBEDDING))
    config = {
        "text_config": {"vocab_size": rows, "bos_token_id": 3},
        "vision_config": {"vocab_size": rows + 1, "hidden_size": 3},
        "image_token_index": 2,
        "bad_words_ids": [[2, 3], [0, 3], [3, 2, 3]],
        "max_position_embeddings": 2,
    }
    assert vocabulary.patched(config, 1) == {
        "text_config": {"vocab_size": vocabulary.size, "bos_token_id": 0},
        "vision_config": {"vocab_size": rows + 1, "hidden_size": 3},
        "image_token_index": 1,
        "bad_words_ids": [[1, 0], [0, 1, 0]],
        "max_position_embeddings": 2,
    }


def test_the_real_configuration_of_a_vocabulary_that_stays_is_what_it_was(model):
    stories = Path(__file__).parents[2] / "data" / "stories260k" / "tokenizer.json"
    base = model(json.loads(stories.read_text()), 512)
    vocabulary = plan_vocabulary([base], VocabularyRules())
    config = {"bos_token_id": 1, "eos_token_id": 2, "vocab_size": 512, "rope_scaling": None}
    assert vocabulary.patched(config, 0) == config
