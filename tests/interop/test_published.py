"""Configurations as people publish them on model cards: they are read, carried out, and the result is used.

The models are tiny, but whole: tokenizers trained on the spot, chat templates, generation settings, an adapter. Where
the numbers of a method are to be mergekit's, `test_goldens` compares them; here the structure is checked by hand.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as tokenizer_models
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

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
def write_model(folder, seed, tokenizer, spread, like=None, *, dtype=torch.float32, shard="5GB"):
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
    model.to(dtype).save_pretrained(folder, max_shard_size=shard)
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
    write_model(folder / "math", 1, plain, 0.02, like=base)
    write_model(folder / "code", 2, plain, 0.02, like=base, shard="40KB")
    write_model(folder / "story", 3, plain, 0.02, like=base, dtype=torch.bfloat16)
    write_model(folder / "chat", 4, chat, 0.02, like=base)
    write_adapter(folder / "lora")
    return {name: str(folder / name) for name in ("base", "math", "code", "story", "chat", "lora")}


class Merged(NamedTuple):
    """A merged model, as transformers has it, and what its files hold."""

    folder: Path
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
        return Merged(out, model.eval(), AutoTokenizer.from_pretrained(out), tensors)

    return made


@pytest.fixture(scope="session")
def tensors(zoo):
    """The tensors of every model."""
    return {
        name: {
            key: tensor.float()
            for file in Path(folder).glob("model*.safetensors")
            for key, tensor in load_file(file).items()
        }
        for name, folder in zoo.items()
        if name != "lora"
    }


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
    assert tokenizer.decode(answer[0]).startswith("the duck eats")


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
    parameters: {weight: [0.8, 0.2], density: 0.5, epsilon: 0.15, lambda: 1.2}
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
    "an adapter for good": """
models:
  - model: {base}+{lora}
merge_method: passthrough
dtype: bfloat16
""",
    "models with keys": """
models:
  - model: {math}
    parameters: &half {weight: 0.5}
  - model: {model: {path: "{base}"}, lora: {path: "{lora}"}}
    parameters: *half
merge_method: linear
dtype: torch.float16
""",
    "stack with a base": """
base_model: {story}
merge_method: passthrough
slices:
  - sources: [{model: "{code}", layer_range: [0, 2]}]
  - sources: [{model: "{chat}", layer_range: [2, 4]}]
dtype: bfloat16
tokenizer:
  source: union
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
    "documents of two vocabularies": """
name: with chat
merge_method: linear
models:
  - model: {math}
  - model: {chat}
parameters: {weight: 1.0}
tokenizer_source: union
dtype: float32
---
merge_method: task_arithmetic
base_model: {base}
models:
  - model: with chat
    parameters: {weight: 0.7}
  - model: {chat}
    parameters: {weight: 0.3}
tokenizer:
  source: with chat
  tokens:
    <|im_start|>:
      source: with chat
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
"""Numbers of blocks, where they change."""


@pytest.mark.parametrize("formulas", ["papers", "mergekit"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_configuration_makes_a_model_that_works(name, formulas, made, tensors):
    merged = made(PUBLISHED[name], formulas)
    check_use(merged)
    assert len(merged.model.model.layers) == merged.model.config.num_hidden_layers == DEPTHS.get(name, BLOCKS)
    stated = re.findall(r"^out_dtype: (\w+)|^dtype: (?:torch\.)?(\w+)", PUBLISHED[name], re.MULTILINE)
    dtype = getattr(torch, next((out for out, _ in stated if out), stated[-1][1]))
    assert {tensor.dtype for tensor in merged.tensors.values()} == {dtype, merged.model.dtype}
    for model in tensors.values():
        assert any(
            name not in model or not tensor.equal(model[name].to(dtype))
            for name, tensor in merged.tensors.items()
        )


Q, OUT, DOWN = (
    f"model.layers.{{}}.{part}.weight" for part in ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj")
)
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


def test_slerp_follows_its_gradients(made, tensors):
    found = made(PUBLISHED["slerp"].replace("bfloat16", "float32")).tensors
    math, code = tensors["math"], tensors["code"]
    assert found[Q.format(0)].equal(math[Q.format(0)])
    assert found[DOWN.format(0)].equal(code[DOWN.format(0)])
    assert found[Q.format(3)].equal(code[Q.format(3)])
    assert found[DOWN.format(3)].equal(math[DOWN.format(3)])


@pytest.mark.parametrize(("formulas", "of_head"), [("papers", 1), ("mergekit", 0)])
def test_a_head_takes_the_last_value_of_a_gradient_and_with_mergekits_formulas_the_first(
    formulas, of_head, made, tensors
):
    text = PUBLISHED["slerp of models"].replace("[0, 0.5, 1, 0.5, 0]", "[0, 1]").replace("float16", "float32")
    found = made(text, formulas).tensors
    assert found[EMBEDDING].equal(tensors["code"][EMBEDDING])
    assert found[HEAD].equal(tensors[("code", "math")[of_head]][HEAD])


@pytest.mark.parametrize("formulas", ["papers", "mergekit"])
def test_a_base_among_the_models_changes_nothing(formulas, made):
    for name in ("ties", "dare_ties of three"):
        listed = PUBLISHED[name]
        first = re.search(r"  - model: \{base\}\n    #[^\n]*\n", listed)
        assert first
        with_base, without = made(listed, formulas), made(listed.replace(first[0], ""), formulas)
        assert all(tensor.equal(without.tensors[name]) for name, tensor in with_base.tensors.items())


def test_a_stack_is_made_of_the_blocks_it_names(made, tensors):
    found = made(PUBLISHED["frankenmerge"]).tensors
    origins = [("math", 0), ("math", 1), ("math", 2), ("code", 1), ("code", 2), ("code", 3)]
    for i, (model, block) in enumerate(origins):
        for name in (Q, OUT, DOWN):
            assert found[name.format(i)].equal(tensors[model][name.format(block)].half())
    assert found[EMBEDDING].equal(tensors["math"][EMBEDDING].half())
    assert found[HEAD].equal(tensors["code"][HEAD].half())


def test_blocks_scaled_to_nothing_leave_a_model_what_it_was(made, tensors, zoo):
    text = PUBLISHED["self-merge"].replace("bfloat16", "float32")
    text = text.replace("layer_range: [0, 2]", "layer_range: [0, 3]").replace("[2, 4]", "[3, 4]")
    merged, base = made(text), AutoModelForCausalLM.from_pretrained(zoo["base"])
    assert not merged.tensors[OUT.format(3)].any()
    assert merged.tensors[Q.format(3)].equal(tensors["base"][Q.format(1)])
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        torch.testing.assert_close(merged.model(ids).logits, base(ids).logits)


def test_weights_that_are_not_normalised_add_up(made, tensors):
    found = made(PUBLISHED["linear, not normalised"]).tensors
    for name, tensor in found.items():
        math, code, story = (tensors[model][name].double() for model in ("math", "code", "story"))
        assert tensor.equal((0.6 * math + 0.6 * code - 0.2 * story).float().bfloat16())


def test_a_task_vector_is_taken_away(made, tensors):
    found = made(PUBLISHED["negative task_arithmetic"]).tensors
    for name, tensor in found.items():
        base, math, code = (tensors[model][name].double() for model in ("base", "math", "code"))
        torch.testing.assert_close(tensor, (base + (math - base) - 0.5 * (code - base)).float())


def test_slices_are_averages_of_their_own(made, tensors):
    found = made(PUBLISHED["mixed slices"]).tensors
    math, code, story = (tensors[model] for model in ("math", "code", "story"))
    for name in (Q, OUT, DOWN):
        names = [name.format(i) for i in range(BLOCKS)]
        expected = [
            (math[names[0]] + code[names[0]]) / 2,
            0.25 * math[names[1]] + 0.75 * story[names[2]],
            0.25 * math[names[2]] + 0.75 * story[names[3]],
            code[names[3]],
        ]
        for i, tensor in enumerate(expected):
            torch.testing.assert_close(found[names[i]], tensor.half())
    assert found[HEAD].equal(code[HEAD].half())


@pytest.mark.parametrize("formulas", ["papers", "mergekit"])
def test_a_union_has_the_tokens_of_both_and_the_rows_of_those_that_have_them(formulas, made, tensors):
    merged = made(PUBLISHED["union of two vocabularies"].replace("bfloat16", "float32"), formulas)
    start = merged.tokenizer.convert_tokens_to_ids("<|im_start|>")
    assert len(merged.tokenizer) == merged.model.config.vocab_size == len(tensors["chat"][EMBEDDING])
    assert merged.tokenizer("<|im_start|>duck").input_ids[0] == start
    for table in (EMBEDDING, HEAD):
        assert merged.tensors[table][start].equal(tensors["chat"][table][start])
        mean = (tensors["math"][table][:start] + tensors["chat"][table][:start]) / 2
        torch.testing.assert_close(merged.tensors[table][:start], mean)


def test_a_models_tokenizer_is_the_whole_models(made):
    merged = made(PUBLISHED["a model's tokenizer"])
    assert merged.tokenizer.eos_token == "<|im_end|>"
    end = merged.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert merged.model.config.eos_token_id == merged.model.generation_config.eos_token_id == end


def test_rules_say_which_rows_tokens_get(made, tensors):
    merged = made("""
merge_method: linear
models:
  - model: {math}
    parameters: {weight: 0.5}
  - model: {chat}
    parameters: {weight: 0.5}
tokenizer:
  source: union
  pad_to_multiple_of: 64
  tokens:
    <|im_start|>:
      source: {chat}
      force: true
    <|im_end|>:
      source:
        kind: model_token
        model: {math}
        token: </s>
      force: true
    <|pad|>:
      source:
        kind: zero
dtype: float32
""")
    check_use(merged)
    assert merged.model.config.vocab_size % 64 == 0
    found = merged.tensors[EMBEDDING]
    row = dict(zip(("start", "end", "pad"), merged.tokenizer.convert_tokens_to_ids(RULED), strict=True))
    assert found[row["start"]].equal(tensors["chat"][EMBEDDING][row["start"]])
    assert found[row["end"]].equal(tensors["math"][EMBEDDING][1])
    assert not found[row["pad"]].any()


RULED = ["<|im_start|>", "<|im_end|>", "<|pad|>"]
TALK = [{"role": "user", "content": "quack"}, {"role": "assistant", "content": "?"}]


@pytest.mark.parametrize("template", ["auto", "chatml", "'{{ messages[0].content }}, said the duck'"])
def test_conversations_are_laid_out_as_asked(template, made):
    text = PUBLISHED["union of two vocabularies"] + f"chat_template: {template}\n"
    merged = made(text)
    said = merged.tokenizer.apply_chat_template(TALK, tokenize=False)
    chatml = "<|im_start|>user\nquack<|im_end|>\n<|im_start|>assistant\n?<|im_end|>\n"
    assert said == ("quack, said the duck" if "duck" in template else chatml)


@pytest.mark.parametrize("formulas", ["papers", "mergekit"])
def test_an_adapter_is_added_to_its_base(formulas, made, tensors, zoo):
    found = made(PUBLISHED["adapters"].replace("bfloat16", "float32"), formulas).tensors
    factors = load_file(f"{zoo['lora']}/adapter_model.safetensors")
    base, math = tensors["base"], tensors["math"]
    for name, tensor in found.items():
        module = f"base_model.model.{name.removesuffix('.weight')}"
        pair = [factors.get(f"{module}.lora_{side}.weight") for side in "BA"]
        lora = 0 if pair[0] is None else 8 / 4 * pair[0].double() @ pair[1].double()
        expected = base[name].double() + 0.5 * lora + 0.5 * (math[name].double() - base[name].double())
        torch.testing.assert_close(tensor, expected.float(), rtol=1e-5, atol=1e-6)
        assert name in (EMBEDDING, HEAD) or (pair[0] is None) == (
            "q_proj" not in name and "v_proj" not in name
        )


@pytest.mark.parametrize("formulas", ["papers", "mergekit"])
def test_documents_are_carried_out_one_after_the_other(formulas, made):
    first, second = PUBLISHED["several documents"].split("---")
    together = made(first + "---" + second, formulas)
    brains = made(first.replace("name: brains\n", ""), formulas).folder
    apart = made(second.replace(": brains", f": {brains}"), formulas)
    assert all(tensor.equal(apart.tensors[name]) for name, tensor in together.tensors.items())
