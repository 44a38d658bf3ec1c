"""The tokenizer of the result: what is written is what the library and transformers load."""

import copy
import json
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from merganser import CheckpointError, ConfigError
from merganser.merging.vocabulary import RowOf, TokenRule, VocabularyRules, ZeroRow, plan_vocabulary
from merganser.merging.vocabulary._tokenizer_json import added_entry, token_ids
from merganser.weights import Checkpoint, open_checkpoint

STORIES = Path(__file__).parents[2] / "data" / "stories260k"


def library(content):
    return Tokenizer.from_str(json.dumps(content))


def written(vocabulary, folder):
    """The tokenizer that transformers makes of what is written."""
    folder.mkdir()
    vocabulary.write(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_equal_vocabularies_are_copied_byte_for_byte(kind, trained, model, tmp_path):
    tokenizer = trained(kind, "ducks")
    models = [model(tokenizer, chat_template={"chat_template": "{{ messages }}"}) for _ in range(2)]
    vocabulary = plan_vocabulary(models, VocabularyRules(), base=1)
    assert [vocabulary.aligned(i) for i in (0, 1)] == models
    vocabulary.write(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.json"):
        assert (tmp_path / name).read_bytes() == (models[1].home / name).read_bytes()
    assert not (tmp_path / "config.json").exists()


def test_a_union_appends_what_the_base_lacks_in_the_order_of_the_models(kind, trained, model, tmp_path):
    base = trained(kind, "ducks")
    first, second = trained(kind, "ships", ("<s>", "<tool>")), trained(kind, "ducks", ("<s>", "<end>"))
    models = [model(first), model(base), model(second)]
    vocabulary = plan_vocabulary(models, VocabularyRules("union"), base=1)
    ids = token_ids(base)
    assert {token: i for token, i in vocabulary.tokens.items() if i < len(ids)} == ids
    appended = {token: i for token, i in vocabulary.tokens.items() if i >= len(ids)}
    following = sorted((token for token in token_ids(first) if token not in ids), key=token_ids(first).get)
    assert sorted(appended, key=appended.get)[: len(following)] == following
    assert sorted(appended.values()) == list(range(len(ids), vocabulary.size))
    loaded = written(vocabulary, tmp_path / "out")
    assert loaded.get_vocab() == dict(vocabulary.tokens)
    assert loaded("<tool><end>", add_special_tokens=False).input_ids[-1] == appended["<end>"]
    assert appended["<tool>"] in loaded("<tool><end>").input_ids
    assert loaded.decode([appended["<tool>"]], skip_special_tokens=True) == ""


def test_text_without_appended_tokens_is_cut_as_before(trained, model, tmp_path):
    base, other = trained("BPE", "ducks"), trained("BPE", "ships", ("<s>", "<tool>"))
    vocabulary = plan_vocabulary([model(base), model(other)], VocabularyRules("union"), base=0)
    loaded, before = written(vocabulary, tmp_path / "out"), library(base)
    text = "the duck dives – 深く"
    assert not any(token in text for token in vocabulary.tokens.keys() - token_ids(base).keys())
    assert loaded(text).input_ids == before.encode(text).ids
    assert loaded.decode(loaded(text).input_ids, skip_special_tokens=True) == text


def test_a_real_sentencepiece_vocabulary_grows_under_its_own_class(trained, model, tmp_path):
    stories = json.loads((STORIES / "tokenizer.json").read_text())
    settings = json.loads((STORIES / "tokenizer_config.json").read_text())
    for name in ("PreTrainedTokenizerFast", "LlamaTokenizer"):
        base = model(stories, settings=settings | {"tokenizer_class": name})
        other = model(trained("BPE", "ships", ("<|im_start|>",)))
        rules = VocabularyRules("base", tokens=(TokenRule("<|im_start|>", RowOf(1, "<|im_start|>")),))
        vocabulary = plan_vocabulary([base, other], rules, base=0)
        loaded = written(vocabulary, tmp_path / name)
        assert vocabulary.tokens["<|im_start|>"] == 512 == vocabulary.size - 1
        assert loaded.get_vocab() == dict(vocabulary.tokens)
        assert loaded("<|im_start|>").input_ids == [1, 512]
        text = "Once upon a time, in a big forest"
        before = AutoTokenizer.from_pretrained(STORIES)
        assert loaded(text).input_ids == before(text).input_ids
        assert loaded.decode(loaded(text).input_ids, skip_special_tokens=True) == text
        listed = json.loads((tmp_path / name / "tokenizer_config.json").read_text())["added_tokens_decoder"]
        assert listed["512"]["content"] == "<|im_start|>"
        assert listed["512"]["special"]


def test_tokens_beyond_the_embedding_are_left_out_and_no_longer_named(kind, trained, model, tmp_path):
    tokenizer = trained(kind, "ducks", ("<s>",))
    rows = len(token_ids(tokenizer)) - 3
    tokenizer["added_tokens"].append(added_entry("<pad>", special=True) | {"id": rows + 3})
    padding = {"strategy": "BatchLongest", "direction": "Right", "pad_id": rows + 3, "pad_token": "<pad>"}
    tokenizer["padding"] = padding | {"pad_to_multiple_of": None, "pad_type_id": 0}
    settings = {
        "pad_token": "<pad>",
        "bos_token": added_entry("<s>", special=True) | {"__type": "AddedToken"},
        "extra_special_tokens": ["<pad>"],
    }
    base = model(tokenizer, rows, settings=settings, special_tokens_map={"pad_token": {"content": "<pad>"}})
    vocabulary = plan_vocabulary([base, base], VocabularyRules("base"), base=0)
    assert vocabulary.size == rows
    assert vocabulary.aligned(0) is base
    loaded = written(vocabulary, tmp_path / "out")
    assert loaded.get_vocab() == dict(vocabulary.tokens)
    assert max(loaded("the duck eats fish <pad>").input_ids) < rows
    assert loaded.bos_token == "<s>"
    assert json.loads((tmp_path / "out" / "tokenizer.json").read_text())["padding"] is None
    assert any("4 tokens of" in note and "'<pad>'" in note for note in vocabulary.notes)


def test_merges_that_need_a_token_left_out_go_with_it(trained, model, tmp_path):
    tokenizer = trained("BPE", "ducks", ())
    old_form = copy.deepcopy(tokenizer)
    old_form["model"]["merges"] = [" ".join(merge) for merge in tokenizer["model"]["merges"]]
    for i, content in enumerate((tokenizer, old_form)):
        ids = token_ids(content)
        rows = len(ids) - 5
        vocabulary = plan_vocabulary([model(content, rows)], VocabularyRules("base"))
        loaded = written(vocabulary, tmp_path / f"out{i}")
        text = "the duck dives deep"
        assert loaded.decode(loaded(text).input_ids) == text
        assert max(loaded(text).input_ids) < rows


def test_a_token_beyond_the_embedding_comes_back_from_a_model_that_has_it(trained, model, tmp_path):
    tokenizer = trained("BPE", "ducks", ("<s>",))
    tokenizer["added_tokens"].append(added_entry("<pad>", special=True) | {"id": 999})
    size = len(token_ids(tokenizer))
    short = model(tokenizer, size - 1, settings={"pad_token": "<pad>"})
    whole = model(tokenizer, size)
    vocabulary = plan_vocabulary([short, whole], VocabularyRules("union"), base=0)
    assert vocabulary.tokens["<pad>"] == size - 1
    assert written(vocabulary, tmp_path / "out").pad_token_id == size - 1


def test_gaps_and_doubled_numbers_stay_as_they_are(model, tmp_path):
    content = {
        "version": "1.0",
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 6, "c": 3}, "merges": [["a", "b"]]},
        "added_tokens": [added_entry("<x>") | {"id": 9}, added_entry("c") | {"id": 3}],
    }
    library_ids = library(content).get_vocab()
    assert library_ids == {"a": 0, "b": 1, "c": 3, "<x>": 4, "ab": 6}
    doubled = copy.deepcopy(content)
    doubled["model"]["vocab"]["d"] = 5  # now the library gives <x> this number
    assert library(doubled).get_vocab()["<x>"] == 5
    for i, each in enumerate((content, doubled)):
        rules = VocabularyRules("base", tokens=(TokenRule("<new>", ZeroRow()),))
        vocabulary = plan_vocabulary([model(each)], rules, base=0)
        assert dict(vocabulary.tokens) == library(each).get_vocab() | {"<new>": 7}
        loaded = written(vocabulary, tmp_path / f"out{i}")
        assert loaded.get_vocab() == dict(vocabulary.tokens)
        assert loaded("ab<new><x>").input_ids == [6, 7, vocabulary.tokens["<x>"]]


@given(
    st.dictionaries(st.sampled_from("pqrstuvw"), st.integers(2, 20), max_size=5),
    st.lists(st.tuples(st.sampled_from("pqrstuvw"), st.integers(0, 20), st.booleans()), max_size=6),
)
def test_numbers_of_tokens_are_those_the_library_gives(pieces, added):
    content = {
        "version": "1.0",
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "x": 1, **pieces}, "unk_token": "[UNK]"},
        "added_tokens": [added_entry(t, special=special) | {"id": i} for t, i, special in added],
    }
    assert token_ids(content) == library(content).get_vocab()


def test_tokens_that_only_the_settings_name_have_the_numbers_transformers_gives_them(
    trained, model, tmp_path
):
    tokenizer = trained("BPE", "ducks", ("<s>",))
    size = len(token_ids(tokenizer))
    settings = {
        "pad_token": "<pad>",
        "bos_token": "<s>",
        "additional_special_tokens": ["<z>", "<a>"],
        "added_tokens_decoder": {str(size + 9): added_entry("<q>", special=True)},
    }
    base = model(tokenizer, size + 4, settings=settings)
    vocabulary = plan_vocabulary([base], VocabularyRules("base"), base=0)
    expected = AutoTokenizer.from_pretrained(base.home).get_vocab()
    assert vocabulary.tokens == expected
    assert [expected[token] - size for token in ("<q>", "<pad>", "<z>", "<a>")] == [0, 1, 2, 3]
    short = model(tokenizer, size + 1, settings=settings)
    loaded = written(plan_vocabulary([short], VocabularyRules("base")), tmp_path / "out")
    assert len(loaded) == size + 1
    assert loaded("<q>").input_ids[-1] == size


def test_a_sentencepiece_model_is_converted(trained, model, tmp_path):
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text").write_text("the duck eats fish\na duck dives deep\n" * 50)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"),
        model_prefix=str(tmp_path / "sp"),
        vocab_size=30,
        model_type="bpe",
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(str(tmp_path / "sp.model"))
    opened = model(trained("BPE", "ducks", ()), 30, settings={"tokenizer_class": "LlamaTokenizer"})
    (opened.home / "tokenizer.json").unlink()
    shutil.copy(tmp_path / "sp.model", opened.home / "tokenizer.model")
    vocabulary = plan_vocabulary([open_checkpoint(opened.home)], VocabularyRules("base"))
    assert {pieces.id_to_piece(i): i for i in range(30)} == dict(vocabulary.tokens)
    vocabulary.write(tmp_path / "out")
    assert (tmp_path / "out" / "tokenizer.model").read_bytes() == (tmp_path / "sp.model").read_bytes()


def test_a_conversion_without_transformers_names_the_extra(trained, model, monkeypatch):
    opened = model(trained("BPE", "ducks"))
    (opened.home / "tokenizer.json").rename(opened.home / "tokenizer.model")
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ConfigError, match=r"merganser\[transformers\]"):
        plan_vocabulary([opened], VocabularyRules())


def test_without_the_library_a_note_says_that_nothing_was_tried(trained, model, monkeypatch):
    models = [model(trained("BPE", "ducks")), model(trained("BPE", "ships"))]
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert any("not tried" in note for note in plan_vocabulary(models, VocabularyRules()).notes)


def test_a_frame_of_tokens_without_rows_is_refused(trained, model):
    tokenizer = trained("BPE", "ducks", ())
    start, size = added_entry("<s>", special=True), len(token_ids(tokenizer))
    tokenizer["added_tokens"].append(start | {"id": size})
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [size], "tokens": ["<s>"]}},
    }
    with pytest.raises(CheckpointError, match=rf"puts \[{size}\] around every text"):
        plan_vocabulary([model(tokenizer, size)], VocabularyRules("base"), base=0)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"model": None}, "no `model`"),
        ({"model": {"type": "BPE", "vocab": ["a"]}}, "to give each token a number"),
        ({"model": {"type": "BPE", "vocab": {"a": "b"}}}, "to give each token a number"),
        ({"added_tokens": [{"id": 3}]}, "list of tokens with `content`"),
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}, "pair of tokens"),
    ],
)
def test_what_is_no_tokenizer_is_refused(damage, message, trained, model):
    opened = model(trained("BPE", "ducks"))
    path = opened.home / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(CheckpointError, match=message):
        plan_vocabulary([opened], VocabularyRules())


def test_damaged_settings_are_refused(trained, model):
    opened = model(trained("BPE", "ducks"), settings={"added_tokens_decoder": {"one": {}}})
    with pytest.raises(CheckpointError, match="added_tokens_decoder"):
        plan_vocabulary([opened], VocabularyRules())
    (opened.home / "tokenizer_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer_config.json is not valid JSON"):
        plan_vocabulary([opened], VocabularyRules())


def test_a_model_without_a_tokenizer_is_named(trained, model):
    opened = model(trained("BPE", "ducks"))
    (opened.home / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match="holds no tokenizer"):
        plan_vocabulary([opened], VocabularyRules())
    memory = Checkpoint.from_tensors({name: opened.array(name) for name in opened})
    with pytest.raises(CheckpointError, match="no folder with a tokenizer"):
        plan_vocabulary([memory], VocabularyRules())
