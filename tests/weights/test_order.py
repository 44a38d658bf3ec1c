"""Flat order on the names of real architectures, and the laws that make it an order of names alone."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.weights import flat_order
from merganser.weights._order import group_layers

LLAMA_BLOCK = (
    "input_layernorm.weight",
    "mlp.down_proj.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "post_attention_layernorm.weight",
    "self_attn.k_proj.weight",
    "self_attn.o_proj.weight",
    "self_attn.q_proj.weight",
    "self_attn.v_proj.weight",
)
GPT2_BLOCK = ("attn.c_attn.weight", "attn.c_attn.bias", "ln_1.weight", "ln_1.bias", "mlp.c_fc.weight")
BERT_BLOCK = ("attention.output.LayerNorm.weight", "attention.self.query.weight", "output.dense.weight")
T5_BLOCK = ("layer.0.SelfAttention.q.weight", "layer.0.layer_norm.weight", "layer.1.DenseReluDense.wi.weight")


def blocks(prefix, names, count=12):
    return [f"{prefix}.{i}.{name}" for i in range(count) for name in names]


MODELS = {
    "sequential": ["0.weight", "0.bias", "2.weight", "2.bias"],
    "layers": ["layers.0.weight", "layers.0.bias", "layers.2.weight", "layers.10.weight"],
    "parameter list": ["prompts.0", "prompts.1", "prompts.10"],
    "digits": ["hidden.weight", "hidden.bias", "output.weight", "output.bias"],
    "fc": ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "fc10.weight"],
    "autoencoder": ["encoder.0.weight", "encoder.2.weight", "decoder.0.weight", "decoder.2.weight"],
    "lstm": ["rnn.weight_hh_l0", "rnn.weight_ih_l0", "rnn.bias_hh_l0", "rnn.bias_ih_l0"],
    "llama": [
        "model.embed_tokens.weight",
        *blocks("model.layers", LLAMA_BLOCK),
        "model.norm.weight",
        "lm_head.weight",
    ],
    "gpt2": ["wte.weight", "wpe.weight", *blocks("h", GPT2_BLOCK), "ln_f.weight", "ln_f.bias"],
    "gpt_neox": [
        "gpt_neox.embed_in.weight",
        *blocks("gpt_neox.layers", ("attention.dense.weight",)),
        "gpt_neox.final_layer_norm.weight",
        "embed_out.weight",
    ],
    "bert": [
        "bert.embeddings.word_embeddings.weight",
        "bert.embeddings.position_embeddings.weight",
        "bert.embeddings.token_type_embeddings.weight",
        "bert.embeddings.LayerNorm.weight",
        "bert.embeddings.LayerNorm.bias",
        *blocks("bert.encoder.layer", BERT_BLOCK),
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "classifier.weight",
        "classifier.bias",
    ],
    "t5": [
        "shared.weight",
        *blocks("encoder.block", T5_BLOCK),
        "encoder.final_layer_norm.weight",
        *blocks("decoder.block", T5_BLOCK),
        "decoder.final_layer_norm.weight",
        "lm_head.weight",
    ],
    "opt": [
        "model.decoder.embed_tokens.weight",
        "model.decoder.embed_positions.weight",
        *blocks("model.decoder.layers", ("fc1.weight", "fc1.bias", "fc2.weight", "layer_norm.bias")),
        "model.decoder.final_layer_norm.weight",
        "lm_head.weight",
    ],
    "vit": [
        "vit.embeddings.cls_token",
        "vit.embeddings.patch_embeddings.projection.weight",
        *blocks("vit.encoder.layer", BERT_BLOCK),
        "vit.layernorm.weight",
        "vit.layernorm.bias",
        "classifier.weight",
    ],
    "llava": [
        "language_model.model.embed_tokens.weight",
        "vision_tower.embeddings.patch_embedding.weight",
        "vision_tower.pre_layrnorm.weight",
        *blocks("vision_tower.encoder.layers", ("mlp.fc1.weight",)),
        "vision_tower.post_layernorm.weight",
        "multi_modal_projector.linear_1.weight",
        *blocks("language_model.model.layers", LLAMA_BLOCK),
        "language_model.model.norm.weight",
        "language_model.lm_head.weight",
    ],
}

NAMES = sorted({name for names in MODELS.values() for name in names})
WHOLE = flat_order(NAMES)
models = pytest.mark.parametrize("model", MODELS)


@models
def test_tensors_come_in_the_order_in_which_a_reader_expects_them(model):
    shuffled = random.Random(0).sample(MODELS[model], len(MODELS[model]))
    assert list(flat_order(shuffled)) == MODELS[model]


@models
def test_layers_cover_every_tensor_once_and_in_flat_order(model):
    layers = group_layers(reversed(MODELS[model]))
    assert [name for layer in layers for name in layer.tensors] == MODELS[model]
    assert len({layer.name for layer in layers}) == len(layers)


@given(st.lists(st.sampled_from(NAMES)), st.randoms(use_true_random=False))
def test_a_subset_keeps_the_order_of_the_whole(names, shuffle):
    shuffle.shuffle(names)
    assert flat_order(names) == tuple(name for name in WHOLE if name in names)


@given(st.lists(st.text(".0129aweight_norm²٣", max_size=12), unique=True), st.randoms(use_true_random=False))
def test_any_names_have_one_order_and_belong_to_one_layer_each(names, shuffle):
    ordered = flat_order(names)
    shuffle.shuffle(names)
    assert flat_order(names) == ordered
    layers = group_layers(names)
    assert tuple(name for layer in layers for name in layer.tensors) == ordered
    assert len({(layer.kind, layer.name) for layer in layers}) == len(layers)


def test_layers_of_a_llama_are_named_after_its_parts():
    layers = group_layers(MODELS["llama"])
    assert [layer.name for layer in layers[:2]] == ["embeddings", "model.layers.0"]
    assert [(layer.name, layer.kind) for layer in layers[-3:]] == [
        ("model.layers.11", "block"),
        ("model.norm", "norm"),
        ("head", "head"),
    ]


def test_numbers_of_thousands_of_digits_are_ordered_too():
    huge = "9" * 5000
    assert flat_order([f"h.{huge}.weight", "h.10.weight"]) == ("h.10.weight", f"h.{huge}.weight")
