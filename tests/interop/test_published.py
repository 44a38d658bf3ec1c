"""Configurations as people publish them on model cards: they are read, carried out, and the result is used.

The models are tiny, but whole: tokenizers trained on the spot, chat templates, generation settings, an adapter. Where
the numbers of a method are to be mergekit's, `test_goldens` compares them; here the structure is checked by hand.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as tokenizer_models
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BLOCKS = 4
TEXT = ["a duck dives deep", "the duck eats fish", "ducks and drakes dive for fish", "1 + 1 = 2"] * 3
CHATML = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def trained_tokenizer(*added):
    """A byte-level BPE, with tokens of its own behind the others."""
    tokenizer = Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_tokens([AddedToken(token, special=True) for token in added])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@torch.no_grad()
def write_model(folder, seed, tokenizer, spread, like=None):
    """A small Llama: random, or another one with noise on it, and rows for further tokens."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=BLOCKS,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(config)
    for name, parameter in model.named_parameters():
        if like is not None:
            known = like.get_parameter(name)
            parameter[: len(known)] = known
        parameter.add_(torch.randn_like(parameter) * spread)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def write_adapter(folder):
    """An adapter on two of the modules, in the files that PEFT writes."""
    generator = torch.Generator().manual_seed(9)
    factors = {}
    for i in range(BLOCKS):
        for module, rows in (("q_proj", 32), ("v_proj", 16)):
            name = f"base_model.model.model.layers.{i}.self_attn.{module}"
            factors[f"{name}.lora_A.weight"] = torch.randn(4, 32, generator=generator)
            factors[f"{name}.lora_B.weight"] = torch.randn(rows, 4, generator=generator)
    folder.mkdir()
    save_file(factors, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "bias": "none"}
    settings |= {"fan_in_fan_out": False, "target_modules": ["q_proj", "v_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))


@pytest.fixture(scope="session")
def zoo(tmp_path_factory):
    """Folders of a base; of `math`, `code` and `story`, tuned from it; of `chat`, with more tokens; of a `lora`."""
    folder = tmp_path_factory.mktemp("zoo")
    plain, chat = trained_tokenizer(), trained_tokenizer("<|im_start|>", "<|im_end|>")
    chat.chat_template, chat.eos_token = CHATML, "<|im_end|>"
    base = write_model(folder / "base", 0, plain, 0.1)
    for seed, name in enumerate(("math", "code", "story"), start=1):
        write_model(folder / name, seed, plain, 0.02, like=base)
    write_model(folder / "chat", 4, chat, 0.02, like=base)
    write_adapter(folder / "lora")
    return {name: str(folder / name) for name in ("base", "math", "code", "story", "chat", "lora")}


class Merged(NamedTuple):
    """A merged model, as transformers has it."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    tensors: dict


@pytest.fixture
def made(zoo, merge_by):
    """Merge by a text with the names of models in braces, and load what comes out."""

    def made(text, formulas="papers"):
        for name, folder in zoo.items():
            text = text.replace(f"{{{name}}}", folder)
        out = merge_by(text, formulas=formulas)
        model, report = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
        assert not any(report.values()), report
        tensors = load_file(out / "model.safetensors")
        return Merged(model.eval(), AutoTokenizer.from_pretrained(out), tensors)

    return made


@pytest.fixture(scope="session")
def tensors(zoo):
    """The tensors of every model."""
    return {name: load_file(f"{zoo[name]}/model.safetensors") for name in zoo if name != "lora"}


@torch.no_grad()
def check_use(merged):
    """The model reads and writes text, and every token has a row."""
    model, tokenizer = merged.model, merged.tokenizer
    asked = tokenizer("the duck eats", return_tensors="pt")
    assert tokenizer.decode(asked.input_ids[0]) == "the duck eats"
    assert model(asked.input_ids).logits.isfinite().all()
    rows = model.get_input_embeddings().weight.shape[0]
    assert rows == model.config.vocab_size >= len(tokenizer)
    answer = model.generate(
        input_ids=asked.input_ids,
        attention_mask=asked.attention_mask,
        max_new_tokens=4,
        do_sample=False,
        pad_token_id=0,
    )
    assert isinstance(tokenizer.decode(answer[0]), str)


PUBLISHED = {
    "slerp": """
slices:
  - sources:
      - model: {math}
        layer_range: [0, 4]
      - model: {code}
        layer_range: [0, 4]
merge_method: slerp
base_model: {math}
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 0.3, 0.7, 1]
    - filter: mlp
      value: [1, 0.5, 0.7, 0.3, 0]
    - value: 0.5
dtype: bfloat16
""",
    "slerp of models": """
models:
  - model: {math}
  - model: {code}
merge_method: slerp
base_model: {code}
dtype: float16
parameters:
  t: [0, 0.5, 1, 0.5, 0]  # V shaped: math for input and output, code in the middle layers
""",
    "ties": """
models:
  - model: {base}
    # no parameters necessary for base model
  - model: {math}
    parameters:
      density: 0.5
      weight: 0.5
  - model: {code}
    parameters:
      density: 0.5
      weight: 0.3
merge_method: ties
base_model: {base}
parameters:
  normalize: true
  int8_mask: true
dtype: float16
""",
    "ties with gradients": """
models:
  - model: {math}
    parameters:
      density: [1, 0.7, 0.1] # density gradient
      weight: 1.0
  - model: {code}
    parameters:
      density: 0.5
      weight: [0, 0.3, 0.7, 1] # weight gradient
  - model: {story}
    parameters:
      density: 0.33
      weight:
        - filter: mlp
          value: 0.5
        - value: 0
merge_method: ties
base_model: {base}
parameters:
  normalize: true
  int8_mask: true
dtype: float32
""",
    "dare_ties of three": """
models:
  - model: {base}
    # No parameters necessary for base model
  - model: {math}
    parameters:
      density: 0.53
      weight: 0.4
  - model: {code}
    parameters:
      density: 0.53
      weight: 0.3
  - model: {story}
    parameters:
      density: 0.53
      weight: 0.3
merge_method: dare_ties
base_model: {base}
parameters:
  int8_mask: true
dtype: bfloat16
""",
    "dare_linear in slices": """
merge_method: dare_linear
base_model: {base}
parameters:
  density: 0.6
  normalize: 1.0
slices:
- sources:
  - {layer_range: [0, 4], model: "{base}"}
  - {layer_range: [0, 4], model: "{math}", parameters: {weight: 0.5}}
  - {layer_range: [0, 4], model: "{code}", parameters: {weight: 0.5}}
dtype: bfloat16
tokenizer_source: base
""",
    "frankenmerge": """
slices:
  - sources:
    - model: {math}
      layer_range: [0, 3]
  - sources:
    - model: {code}
      layer_range: [1, 4]
merge_method: passthrough
dtype: float16
""",
    "self-merge": """
dtype: bfloat16
merge_method: passthrough
slices:
- sources:
  - layer_range: [0, 2]
    model: {base}
- sources:
  - layer_range: [1, 3]
    model: {base}
    parameters:
      scale:
      - filter: o_proj
        value: 0.0
      - filter: down_proj
        value: 0.0
      - value: 1.0
- sources:
  - layer_range: [2, 4]
    model: {base}
""",
    "model_stock": """
base_model: {base}
models:
  - model: {math}
  - model: {code}
  - model: {story}
merge_method: model_stock
parameters:
  normalize: true
  filter_wise: false
dtype: bfloat16
""",
    "linear, not normalised": """
models:
  - model: {math}
    parameters:
      weight: 0.6
  - model: {code}
    parameters:
      weight: 0.6
  - model: {story}
    parameters:
      weight: -0.2
merge_method: linear
parameters:
  normalize: false
dtype: float32
out_dtype: bfloat16
""",
    "negative task_arithmetic": """
base_model: {base}
dtype: float32
merge_method: task_arithmetic
models:
- model: {math}
  parameters: {weight: 1.0}
- model: {code}
  parameters: {weight: -0.5}
""",
    "breadcrumbs": """
models:
  - model: {math}
    parameters: {weight: 0.6, density: 0.9, gamma: 0.01}
  - model: {code}
    parameters: {weight: 0.4, density: 0.9, gamma: 0.01}
merge_method: breadcrumbs_ties
base_model: {base}
parameters:
  lambda: 1.1
  normalize: true
dtype: bfloat16
""",
    "della": """
models:
  - model: {math}
    parameters: {weight: 0.5, density: 0.7}
  - model: {code}
    parameters: {weight: 0.5, density: 0.7}
merge_method: della
base_model: {base}
parameters:
  epsilon: 0.05
  lambda: 1.0
  int8_mask: true
  normalize: true
dtype: bfloat16
""",
    "della_linear with parameters of every model": """
merge_method: della_linear
base_model: {base}
models:
  - model: {math}
    parameters: {weight: [0.2, 0.8], density: 0.6, epsilon: 0.15, lambda: 1.2}
  - model: {code}
    parameters: {weight: [0.8, 0.2], density: 0.5, epsilon: 0.1, lambda: 1.2}
dtype: float32
out_dtype: bfloat16
""",
    "mixed slices": """
slices:
  - sources:
      - model: {math}
        layer_range: [0, 1]
      - model: {code}
        layer_range: [0, 1]
    parameters:
      weight: 0.5
  - sources:
      - model: {math}
        layer_range: [1, 3]
        parameters: {weight: 0.25}
      - model: {story}
        layer_range: [2, 4]
        parameters: {weight: 0.75}
  - sources:
      - model: {code}
        layer_range: [3, 4]
        parameters: {weight: 1.0}
merge_method: linear
dtype: float16
""",
    "sce": """
models:
  - model: {math}
  - model: {code}
  - model: {story}
merge_method: sce
base_model: {base}
parameters:
  select_topk: 0.8
dtype: bfloat16
tokenizer:
  source: base
""",
    "nuslerp": """
models:
  - model: {math}
    parameters: {weight: 0.6}
  - model: {code}
    parameters: {weight: 0.4}
merge_method: nuslerp
base_model: {base}
parameters: {normalize: true, int8_mask: true}
dtype: bfloat16
""",
    "karcher": """
models: [{model: "{math}"}, {model: "{code}"}, {model: "{story}"}]
merge_method: karcher
parameters: {max_iter: 1000, tol: 1e-9}
dtype: bfloat16
tokenizer_source: "{math}"
""",
    "arcee_fusion": """
models:
  - model: {base}
  - model: {math}
merge_method: arcee_fusion
base_model: {base}
dtype: bfloat16
""",
    "union of two vocabularies": """
models:
  - model: {math}
    parameters: {weight: 0.5}
  - model: {chat}
    parameters: {weight: 0.5}
merge_method: linear
dtype: bfloat16
tokenizer_source: union
""",
    "a model's tokenizer": """
models:
  - model: {math}
    parameters: {weight: 0.5, density: 0.5}
  - model: {chat}
    parameters: {weight: 0.5, density: 0.5}
merge_method: ties
base_model: {base}
dtype: bfloat16
tokenizer_source: {chat}
chat_template: auto
""",
    "adapters": """
models:
  - model: {base}+{lora}
    parameters: {weight: 0.5}
  - model: {math}
    parameters: {weight: 0.5}
merge_method: task_arithmetic
base_model: {base}
dtype: bfloat16
""",
    "several documents": """
name: brains
merge_method: ties
base_model: {base}
models:
  - model: {math}
    parameters: {weight: 1.0, density: 0.5}
  - model: {code}
    parameters: {weight: 1.0, density: 0.5}
dtype: float32
---
name: final
merge_method: slerp
base_model: brains
models:
  - model: brains
  - model: {story}
parameters:
  t: 0.5
dtype: bfloat16
""",
    "one module": """
merge_method: passthrough
modules:
  default:
    slices:
      - sources: [{model: "{math}", layer_range: [0, 2]}]
      - sources: [{model: "{code}", layer_range: [2, 4]}]
dtype: bfloat16
""",
}
DEPTHS = {"frankenmerge": 6, "self-merge": 6}
"""Numbers of blocks where they change."""


@pytest.mark.parametrize("formulas", ["papers", "mergekit"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_configuration_makes_a_model_that_works(name, formulas, made, tensors):
    merged = made(PUBLISHED[name], formulas)
    check_use(merged)
    last = yaml.safe_load(PUBLISHED[name].split("---")[-1].replace("{", "'{").replace("}", "}'"))
