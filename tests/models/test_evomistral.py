"""A released model whose blocks are stored once is the path that its two tensors say."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from merganser import CheckpointError
from merganser.merging import materialise, read_evomistral, verify
from merganser.models import Parents, PathModel
from merganser.weights import open_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS, SCALES = (1, 0, 2, 0), (1.25, 0.75, 1.5, 0.5)


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Makes a folder as the authors wrote theirs: a Mistral of three blocks, and the way through them."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("released")
    config = transformers.MistralConfig(
        vocab_size=99,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    plain = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    plain.save_pretrained(folder / "plain")

    def make(name, layers=LAYERS, scales=SCALES, **settings):
        place = folder / name
        shutil.copytree(folder / "plain", place)
        tensors = load_file(place / "model.safetensors")
        tensors |= {"model.input_layers": torch.tensor(layers), "model.input_scales": torch.tensor(scales)}
        save_file(tensors, place / "model.safetensors", metadata={"format": "pt"})
        said = config.to_dict() | {"model_type": "evomistral", "num_hops": 4} | settings
        (place / "config.json").write_text(json.dumps(said))
        return open_checkpoint(place)

    return make, plain.eval()


def through(plain, ids, scaling):
    """The formulas, block by block."""
    inner = plain.model
    around, made = torch.zeros(()), inner.embed_tokens(ids)
    turned = inner.rotary_emb(made, torch.arange(ids.shape[1])[None])
    for layer, scale in zip(LAYERS, SCALES, strict=True):
        part = inner.layers[layer]
        state = scale * (around + made) if scaling == "state" else around + scale * made
        attended, _ = part.self_attn(
            part.input_layernorm(state), position_embeddings=turned, attention_mask=None
        )
        around = state + attended
        made = part.mlp(part.post_attention_layernorm(around))
    return plain.lm_head(inner.norm(around + made))


@torch.no_grad()
@pytest.mark.parametrize("scaling", ["state", "handed"])
def test_it_is_followed_and_written_with_either_meaning_of_its_scales(scaling, released, tmp_path):
    make, plain = released
    blocks, path = read_evomistral(make(scaling), scaling=scaling)
    assert [(hop.block, hop.scale) for hop in path.hops] == list(zip(LAYERS, SCALES, strict=True))
    ids = torch.randint(4, 99, (2, 12), generator=torch.Generator().manual_seed(3))
    expected = through(plain, ids, scaling)
    alive = PathModel(Parents.of([blocks]), path)
    followed = alive.module(ids).logits
    torch.testing.assert_close(followed, expected, rtol=0, atol=1e-4)  # but for the constant that norms add
    out = tmp_path / "out"
    materialise(path, [blocks], out=out)
    written = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    assert type(written).__name__ == "MistralForCausalLM"
    torch.testing.assert_close(written(ids).logits, followed, rtol=0, atol=1e-5)
    assert not {"model.input_layers", "model.input_scales"} & set(open_checkpoint(out))
    assert verify(out, [blocks]).is_same


def test_the_meaning_is_that_of_the_released_server_unless_it_is_said(released):
    make, _ = released
    assert read_evomistral(make("default"))[1].scaling == "handed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "mistral"}, "is 'mistral'"),
        ({"num_hops": 5}, "Expected 5 hops"),
        ({"scales": (1.0, 1.0)}, "4 entries and `model.input_scales` 2"),
        ({"layers": (0, 3, 1, 2)}, "hop 1 has 3"),
        ({"layers": (0.0, 1.0, 1.0, 2.0)}, "hop 0 has 0.0"),
    ],
)
def test_what_is_no_such_model_is_refused(changes, said, released):
    make, _ = released
    with pytest.raises(CheckpointError, match=said):
        read_evomistral(make(f"refused {said}", **changes))


def test_a_scale_that_turns_the_state_round_is_refused_only_there(released):
    checkpoint = released[0]("negative", scales=(1.0, -0.5, 1.0, 1.0))
    assert read_evomistral(checkpoint)[1].hops[1].scale == -0.5
    with pytest.raises(ValueError, match="hop 1 must be positive"):
        read_evomistral(checkpoint, scaling="state")
