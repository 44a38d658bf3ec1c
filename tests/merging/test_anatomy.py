"""Where tensors stand: by the names that libraries give them."""

import numpy as np
import pytest

from merganser.merging._anatomy import Anatomy, depth_of
from merganser.weights import Checkpoint

DECODER = ["model.embed_tokens", "model.layers.0.mlp", "model.layers.1.mlp", "model.norm", "lm_head"]
PARTS = {
    "llama": (DECODER, "model.embed_tokens", "model.norm lm_head"),
    "gpt2": (
        ["h.0.attn", "h.1.attn", "wte", "wpe", "ln_f"],
        "wte wpe",
        "ln_f",
    ),
    "bert with a classifier": (
        [
            "bert.embeddings.word_embeddings",
            "bert.embeddings.LayerNorm",
            "bert.encoder.layer.0.output.dense",
            "bert.encoder.layer.1.output.dense",
            "bert.pooler.dense",
            "classifier",
        ],
        "bert.embeddings.word_embeddings bert.embeddings.LayerNorm",
        "bert.pooler.dense classifier",
    ),
    "a head by any name": (
        ["distilbert.embeddings.word_embeddings", "distilbert.transformer.layer.0.ffn", "vocab_transform"],
        "distilbert.embeddings.word_embeddings",
        "vocab_transform",
    ),
    "a stem without a name of its own": (
        ["resnet.stem_conv", "resnet.stages.0.conv", "resnet.stages.1.conv", "fc"],
        "resnet.stem_conv",
        "fc",
    ),
    "a projection before a model without embeddings": (
        ["project", "transformer.layers.0.ff", "transformer.layers.1.ff", "transformer.norm", "head"],
        "project",
        "transformer.norm head",
    ),
    "lfm": (
        ["model.embed_tokens", "model.embedding_norm", "model.layers.0.conv"],
        "model.embed_tokens",
        "model.embedding_norm",
    ),
    "no blocks": (["embed", "hidden", "output"], "embed hidden", "output"),
}
"""Names of modules; those before the blocks, and those after them."""


def anatomy(modules):
    return Anatomy(
        Checkpoint.from_tensors({f"{name}.weight": np.ones((4, 4), "float32") for name in modules})
    )


def placed(model, stack, *, is_before):
    found = [tensor for tensor in model.outside if (tensor.stack, tensor.is_before) == (stack, is_before)]
    return {tensor.name.removesuffix(".weight") for tensor in found}


@pytest.mark.parametrize(("modules", "before", "after"), PARTS.values(), ids=PARTS)
def test_what_stands_before_and_after_the_only_stack(modules, before, after):
    model = anatomy(modules)
    assert placed(model, 0, is_before=True) == set(before.split())
    assert placed(model, 0, is_before=False) == set(after.split())


STACKS = {
    "t5": (
        ["shared", "lm_head", "encoder.final_layer_norm", "decoder.final_layer_norm"],
        ["encoder.block.0.ff", "decoder.block.0.ff"],
        ("shared", "encoder.final_layer_norm", "", "decoder.final_layer_norm lm_head"),
    ),
    "whisper": (
        ["model.encoder.conv1", "model.encoder.layer_norm", "model.decoder.embed_tokens", "proj_out"],
        ["model.encoder.layers.0.fc1", "model.decoder.layers.0.fc1"],
        ("model.encoder.conv1", "model.encoder.layer_norm", "model.decoder.embed_tokens", "proj_out"),
    ),
    "clip": (
        [
            "text_model.embeddings.token_embedding",
            "text_model.final_layer_norm",
            "vision_model.embeddings.patch_embedding",
            "vision_model.pre_layrnorm",
            "vision_model.post_layernorm",
        ],
        ["vision_model.encoder.layers.0.mlp", "text_model.encoder.layers.0.mlp"],
        (
            "vision_model.embeddings.patch_embedding vision_model.pre_layrnorm",
            "vision_model.post_layernorm",
            "text_model.embeddings.token_embedding",
            "text_model.final_layer_norm",
        ),
    ),
    "a language model that sees": (
        [
            "vision_tower.embeddings.patch_embedding",
            "vision_tower.post_layernorm",
            "multi_modal_projector.linear",
            "multi_modal_projector.norm",
            "language_model.model.embed_tokens",
            "language_model.model.norm",
            "language_model.lm_head",
        ],
        ["vision_tower.encoder.layers.0.mlp", "language_model.model.layers.0.mlp"],
        (
            "vision_tower.embeddings.patch_embedding",
            "vision_tower.post_layernorm",
            "multi_modal_projector.linear multi_modal_projector.norm language_model.model.embed_tokens",
            "language_model.model.norm language_model.lm_head",
        ),
    ),
    "two models in one": (
        ["encoder.embeddings.word", "encoder.pooler", "decoder.bert.embeddings.word", "decoder.cls"],
        ["encoder.encoder.layer.0.output", "decoder.bert.encoder.layer.0.output"],
        ("encoder.embeddings.word", "encoder.pooler", "decoder.bert.embeddings.word", "decoder.cls"),
    ),
}
"""Names outside the blocks and of blocks; before and after the first stack, before and after the second."""


@pytest.mark.parametrize(("modules", "blocks", "expected"), STACKS.values(), ids=STACKS)
def test_what_goes_with_which_of_two_stacks(modules, blocks, expected):
    model = anatomy([*modules, *blocks])
    assert [stream.blocks[0] for stream in model.stacks] == [name.rpartition(".")[0] for name in blocks]
    found = [placed(model, stack, is_before=before) for stack in (0, 1) for before in (True, False)]
    assert found == [set(names.split()) for names in expected]


def test_blocks_are_told_by_what_follows_their_number():
    model = anatomy(["layers.0.a", "layers.0.b", "layers.10.a", "layers.9.a"])
    assert model.blocks(0) == (
        {".a.weight": "layers.0.a.weight", ".b.weight": "layers.0.b.weight"},
        {".a.weight": "layers.9.a.weight"},
        {".a.weight": "layers.10.a.weight"},
    )


def test_depth_runs_from_the_first_block_to_the_last_of_each_stack():
    encoder = [f"encoder.layers.{i}.mlp" for i in range(3)]
    decoder = [f"decoder.layers.{i}.mlp" for i in range(2)]
    depths = anatomy(["shared", *encoder, *decoder, "decoder.norm"]).depths
    assert [depths[f"{name}.weight"] for name in encoder] == [0.0, 0.5, 1.0]
    assert [depths[f"{name}.weight"] for name in decoder] == [0.0, 1.0]
    assert depths["shared.weight"] == 0.0
    assert "decoder.norm.weight" not in depths


def test_a_slice_of_one_block_is_at_its_end():
    assert [depth_of(0, 1), depth_of(0, 2), depth_of(1, 2)] == [1.0, 0.0, 1.0]
