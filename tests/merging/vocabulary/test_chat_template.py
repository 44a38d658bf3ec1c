"""Chat templates: chosen, laid out as their makers say, and found by transformers in one place."""

import json
import sys

import pytest
from transformers import AutoTokenizer

from merganser import CheckpointError, ConfigError
from merganser.merging.vocabulary import CHAT_TEMPLATES, chat_template, write_chat_template

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Quack"},
    {"role": "user", "content": "Why?"},
]
LAID_OUT = {
    "alpaca": "<s>Be brief.\n\n### Instruction:\nHi\n\n### Response:\nQuack</s>\n\n"
    "### Instruction:\nWhy?\n\n### Response:\n",
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nQuack"
    "<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user"
    "<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nQuack<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "mistral": "<s>[INST] Be brief.\n\nHi [/INST] Quack</s>[INST] Why? [/INST]",
    "exaone": "[|system|]Be brief.[|endofturn|]\n[|user|]Hi\n"
    "[|assistant|]Quack[|endofturn|]\n[|user|]Why?\n[|assistant|]",
}


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_transformers_lays_out_a_conversation_by_what_is_written(name, trained, model):
    settings = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{ 'old' }}"}
    folder = model(trained("BPE", "ducks"), settings=settings, chat_template={"chat_template": "old"}).home
    write_chat_template(folder, chat_template([], name))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.apply_chat_template(TALK, tokenize=False, add_generation_prompt=True) == LAID_OUT[name]
    assert "chat_template" not in json.loads((folder / "tokenizer_config.json").read_text())
    assert not (folder / "chat_template.json").exists()


def test_other_settings_stay_when_a_template_goes(trained, model):
    files = {"chat_template": {"chat_template": "old", "more": 1}}
    folder = model(trained("BPE", "ducks"), **files).home
    before = (folder / "tokenizer_config.json").read_bytes()
    write_chat_template(folder, "{{ new }}")
    assert json.loads((folder / "chat_template.json").read_text()) == {"more": 1}
    assert (folder / "tokenizer_config.json").read_bytes() == before


def test_auto_takes_the_commonest_wherever_it_stands_and_the_earliest_of_equals(trained, model):
    tokenizer = trained("BPE", "ducks")
    listed = [{"name": "tool_use", "template": "{x}"}, {"name": "default", "template": "{b}"}]
    first = model(tokenizer, settings={"chat_template": "{a}"})
    second = model(tokenizer, chat_template={"chat_template": "{b}"})
    third = model(tokenizer, settings={"chat_template": listed})
    silent = model(tokenizer)
    fourth = model(tokenizer, settings={"chat_template": "{old}"})
    (fourth.home / "chat_template.jinja").write_text("{a}")
    assert chat_template([silent, first, second, third], "auto") == "{b}"
    assert chat_template([second, first, silent], "auto") == "{b}"
    assert chat_template([second, first, fourth], "auto") == "{a}"
    with pytest.raises(ConfigError, match="none has one"):
        chat_template([silent], "auto")


def test_a_text_is_taken_as_it_is_if_it_is_jinja():
    text = (
        "{% for m in messages %}{% generation %}{{ m }}{% endgeneration %}{% if m %}{% break %}{% endif %}"
        "{% endfor %}"
    )
    assert chat_template([], text) == text
    with pytest.raises(ConfigError, match="no valid Jinja: line 2"):
        chat_template([], "{{ a }}\n{% for %}")
    with pytest.raises(ConfigError, match="one of alpaca, chatml"):
        chat_template([], "chatmll")


def test_a_text_without_jinja_installed_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ConfigError, match=r"merganser\[transformers\]"):
        chat_template([], "{{ a }}")


def test_a_damaged_template_is_named(trained, model):
    opened = model(trained("BPE", "ducks"))
    (opened.home / "chat_template.jinja").write_bytes(b"\xff{}")
    with pytest.raises(CheckpointError, match=r"chat_template.jinja cannot be read"):
        chat_template([opened], "auto")
