"""Models of different vocabularies are merged, written, and used as transformers uses any model."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from merganser.merging import merge, verify
from merganser.merging.vocabulary import VocabularyRules, plan_vocabulary
from merganser.merging.vocabulary._tokenizer_json import added_entry, token_ids
from merganser.weights import open_checkpoint, save

STORIES = json.loads((Path(__file__).parents[2] / "data" / "stories260k" / "tokenizer.json").read_text())


@pytest.fixture
def llama(model):
    """A tiny random Llama with a tokenizer, and as many more rows as asked for."""

    def make(tokenizer, seed, *, tied, padding=0):
        torch.manual_seed(seed)
        rows = len(token_ids(tokenizer)) + padding
        shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        config = LlamaConfig(
            vocab_size=rows, tie_word_embeddings=tied, bos_token_id=1, eos_token_id=2, **shape
        )
        opened = model(tokenizer, rows)
        LlamaForCausalLM(config).save_pretrained(opened.home)
        return open_checkpoint(opened.home)

    return make


def written(checkpoint, vocabulary, folder):
    """A model and its tokenizer from a folder."""
    save(checkpoint, folder)
    vocabulary.write(folder)
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return loaded, AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def logits(model, ids):
    return model(torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_in_another_vocabulary_says_the_same(tied, trained, llama, tmp_path):
    other = trained("BPE", "ducks", ("</s>", "<pad>", "<s>"))
    base, moved = llama(STORIES, 0, tied=tied), llama(other, 1, tied=tied, padding=7)
    vocabulary = plan_vocabulary([base, moved], VocabularyRules("union"), base=0)
    before = AutoModelForCausalLM.from_pretrained(moved.home).eval()
    after, tokenizer = written(vocabulary.aligned(1), vocabulary, tmp_path / "out")
    ids = list(range(3, 60))
    names = {number: token for token, number in token_ids(other).items()}
    translated = [vocabulary.tokens[names[i]] for i in ids]
    found, expected = logits(after, translated), logits(before, ids)
    order = [vocabulary.tokens[names[i]] for i in range(len(names))]
    torch.testing.assert_close(found[:, order], expected[:, : len(order)])
    assert len(tokenizer) == vocabulary.size == after.config.vocab_size
    assert (after.config.bos_token_id, after.config.eos_token_id) == (vocabulary.tokens["<pad>"], 1)


def test_a_merge_over_two_vocabularies_generates_text(trained, llama, tmp_path):
    qwen_like = trained("BPE", "ducks", ())
    size = len(token_ids(qwen_like))
    qwen_like["added_tokens"] = [
        added_entry(token, special=True) | {"id": size + i}
        for i, token in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    ]
    models = [llama(STORIES, 0, tied=True), llama(qwen_like, 1, tied=True, padding=19)]
    rules = VocabularyRules("union", pad_to_multiple_of=16)
    merged = merge(
        models, "slerp", t=0.5, tokenizer=rules, chat_template="chatml", workers=2, out=tmp_path / "out"
    )
    assert verify(merged.path).is_same
    loaded = AutoModelForCausalLM.from_pretrained(merged.path, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(merged.path)
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "Quack"}], tokenize=False)
    assert chat.startswith("<|im_start|>user\nQuack<|im_end|>")
    asked = tokenizer("<|im_start|>Once upon a time", return_tensors="pt")
    assert tokenizer.convert_ids_to_tokens(asked.input_ids[0])[1] == "<|im_start|>"
    answer = loaded.generate(**asked, max_new_tokens=5, do_sample=False, pad_token_id=0)
    assert tokenizer.decode(answer[0], skip_special_tokens=True).strip().startswith("Once upon a time")
    assert "lm_head.weight" not in merged
