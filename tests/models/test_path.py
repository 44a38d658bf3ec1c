"""A path that is followed in place is the model that it is written as, and no weight is there twice."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
import transformers

from merganser import CheckpointError, load
from merganser.merging import PATH_FAMILIES, Hop, LayerPath, materialise
from merganser.models import Continuation, GenerationRequest, Parents, PathModel, TextModel
from merganser.weights import open_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
KINDS: dict[str, dict[str, Any]] = {
    "Llama": {"attention_bias": True, "mlp_bias": True},
    "Mistral": {"sliding_window": 5},
    "Qwen2": {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "Qwen3": {"head_dim": 4, "tie_word_embeddings": True},
    "Phi3": {"rms_norm_eps": 1e-6},
}
HOPS = ((0, 0, 1.25), (0, 1, 0.75), (1, 1, 1.5), (1, 1, 0.5), (0, 1, 1.0), (1, 2, 1.1), (0, 2, 0.9))
"""Blocks of both parents, one twice in a row, one again later, and scales everywhere but once."""

PROMPTS = ("Once upon a time", "The dog", "Lily and Tom went to the park. They saw a big")


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Makes the folders of a family's two models, of which the second is deeper and has more words."""
    folder = tmp_path_factory.mktemp("paths")

    def make(name, **other):
        places = []
        for seed, more in enumerate(({}, {"num_hidden_layers": 4, "vocab_size": 107, **other})):
            place = folder / f"{name}{seed}{''.join(other)}"
            places.append(place)
            if place.exists():
                continue
            torch.manual_seed(seed)
            config = getattr(transformers, f"{name}Config")(**SMALL | KINDS[name] | more)
            made = transformers.AutoModelForCausalLM.from_config(config)
            with torch.no_grad():
                for parameter in made.parameters():
                    parameter.add_(torch.randn_like(parameter) * 0.1)
            made.save_pretrained(place)
        return places

    return make


def through(parents, hops=HOPS, scaling="state"):
    return LayerPath(parents.digests, tuple(Hop(*hop) for hop in hops), scaling)


def words(rows=2, length=12):
    return torch.randint(4, 99, (rows, length), generator=torch.Generator().manual_seed(3))


def storages(module):
    return {p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() for p in module.parameters()}


def without_eps(module):
    """The constant under the root of norms is all that folding does not keep."""
    for part in module.modules():
        if hasattr(part, "variance_epsilon"):
            part.variance_epsilon = 1e-20
    return module


def test_every_family_of_paths_is_tested():
    kinds = [getattr(transformers, f"{name}Config").model_type for name in KINDS]
    assert sorted(kinds) == sorted(PATH_FAMILIES)


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("scaling", ["state", "handed"])
def test_a_path_followed_is_the_path_written(name, scaling, family, tmp_path):
    parents = Parents.of(family(name))
    path = through(parents, scaling=scaling)
    alive = PathModel(parents, path)
    materialise(path, parents.checkpoints, out=tmp_path / "out")
    written = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    followed, read = alive.module(words()).logits, written(words()).logits
    assert followed.abs().max() > 0.1
    torch.testing.assert_close(followed, read, rtol=0, atol=1e-4)
    plain = PathModel(parents, through(parents, [hop[:2] for hop in HOPS], scaling))
    assert (plain.module(words()).logits - followed).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("scaling", ["state", "handed"])
def test_the_small_real_model_too(scaling, stories, two_stories, tmp_path):
    parents = Parents.of([stories, *two_stories])
    hops = ((0, 0, 0.8), (1, 1, 1.2), (1, 1, 1.1), (2, 2, 0.9), (0, 3), (0, 4, 1.3))
    path = through(parents, hops, scaling)
    alive = PathModel(parents, path)
    written = load(materialise(path, parents.checkpoints, out=tmp_path / "out").home)
    followed, read = alive.module(words()).logits, written.module(words()).logits
    torch.testing.assert_close(followed, read, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("scaling", ["state", "handed"])
def test_scales_are_what_the_formulas_say(scaling, family):
    """Against blocks run one by one, with the residual stream written out."""
    parents = Parents.of(family("Llama"))
    alive = PathModel(parents, through(parents, scaling=scaling))
    without_eps(alive.module)
    plain = [without_eps(load(checkpoint).module.model) for checkpoint in parents.checkpoints]
    ids, first = words(), plain[0]
    positions = torch.arange(ids.shape[1])[None]
    around, made = torch.zeros(()), first.embed_tokens(ids)  # r and u
    turned = first.rotary_emb(made, positions)
    for number, block, scale in HOPS:
        part = plain[number].layers[block]
        state = scale * (around + made) if scaling == "state" else around + scale * made
        attended, _ = part.self_attn(
            part.input_layernorm(state), position_embeddings=turned, attention_mask=None
        )
        around = state + attended
        made = part.mlp(part.post_attention_layernorm(around))
    expected = load(parents.checkpoints[0]).module.lm_head(first.norm(around + made))
    torch.testing.assert_close(alive.module(ids).logits, expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", KINDS)
def test_a_parents_own_path_is_the_parent_bit_for_bit(name, family):
    places = family(name)
    parents = Parents.of(places)
    alive = PathModel(parents, LayerPath.whole(parents.digests, parents.blocks[0]))
    expected = transformers.AutoModelForCausalLM.from_pretrained(places[0]).eval()
    assert alive.module(words()).logits.equal(expected(words()).logits)


def test_a_parents_own_path_says_what_the_parent_says(stories, two_stories):
    parents, parent = Parents.of([stories, two_stories[0]]), load(stories)
    alive = PathModel(parents, LayerPath.whole(parents.digests, 5))
    assert isinstance(alive, TextModel)
    asked = [GenerationRequest(prompt, max_tokens=20) for prompt in PROMPTS]
    assert alive.generate(asked) == parent.generate(asked)
    texts = [Continuation("Once upon a", f" {word}") for word in ("time", "dog", "mat")]
    assert alive.log_likelihoods(texts) == parent.log_likelihoods(texts)


@torch.no_grad()
@pytest.mark.parametrize("scaling", ["state", "handed"])
def test_answers_with_a_cache_for_each_hop_are_those_without(scaling, stories, two_stories):
    """Of four hops through one block each has keys and values of its own."""
    parents = Parents.of([stories, two_stories[0]])
    hops = ((0, 0), (1, 1, 0.9), (1, 1, 1.2), (1, 1), (0, 2), (1, 1, 0.8), (0, 3), (0, 4))
    alive = PathModel(parents, through(parents, hops, scaling))
    for prompt, answer in zip(
        PROMPTS, alive.generate([GenerationRequest(p, max_tokens=24) for p in PROMPTS]), strict=True
    ):
        tokens = alive.tokens.prompt(prompt)
        begun = len(tokens)
        for _ in range(answer.tokens):
            logits = alive.module(torch.tensor([tokens]), use_cache=False).logits
            tokens.append(int(logits[0, -1].argmax()))
        assert answer.tokens == 24
        expected = alive.tokens.text(tokens)[len(alive.tokens.text(tokens[:begun])) :]
        assert answer.text == expected


@pytest.mark.parametrize("name", ["Mistral", "Qwen2"])
def test_windows_of_attention_go_with_their_blocks(name, family, tmp_path):
    parents = Parents.of(family(name))
    path = through(parents)
    out = materialise(path, parents.checkpoints, out=tmp_path / "out").home
    written = transformers.AutoModelForCausalLM.from_pretrained(out).eval()
    alive = PathModel(parents, path)
    how = {"max_new_tokens": 20, "do_sample": False, "pad_token_id": 0, "eos_token_id": None}
    answers = [model.generate(words(), **how) for model in (alive.module, written)]
    slow = alive.module.generate(words(), use_cache=False, **how)  # longer than the window of five
    assert slow.shape == (2, 32)
    assert answers[0].equal(slow)
    assert answers[1].equal(slow)


def test_any_number_of_paths_holds_one_copy_of_the_parents(stories, two_stories):
    parents = Parents.of([stories, *two_stories])
    whole = load(stories).module
    blocks = sum(storages(whole.model.layers).values())
    outside = sum(storages(whole).values()) - blocks
    paths = [through(parents, ((0, 0, 1.5), (1, i % 5), (2, i // 5), (0, 4, 0.5))) for i in range(20)]
    alive = [PathModel(parents, path) for path in paths]
    held = {address: size for model in alive for address, size in storages(model.module).items()}
    assert sum(held.values()) <= 3 * blocks + outside
    one = storages(alive[0].module)
    assert sum(one.values()) == 4 * blocks // 5 + outside
    assert all(
        not p.is_meta for model in alive for p in (*model.module.parameters(), *model.module.buffers())
    )


def test_every_parent_is_held_once_and_can_be_a_path_itself(stories, two_stories):
    parents = Parents.of([stories, two_stories[0]])
    gc.collect()
    checkpoint = open_checkpoint(two_stories[0])
    held = [o.data for o in gc.get_objects() if type(o) is torch.nn.Parameter and not o.is_meta]

    def count(name):
        wanted = checkpoint.read(name)
        return sum(tensor.shape == wanted.shape and tensor.equal(wanted) for tensor in held)

    assert parents.blocks == (5, 5)
    assert count("model.layers.0.mlp.down_proj.weight") == 1
    assert count("model.embed_tokens.weight") == 1
    alone = PathModel(parents, LayerPath.whole(parents.digests[1:], 5))
    assert alone.module(words()).logits.equal(load(checkpoint).module(words()).logits)


def test_a_model_becomes_path_after_path(stories, two_stories):
    parents = Parents.of([stories, two_stories[0]])
    first, second = through(parents, ((0, 0), (1, 2, 1.5), (0, 4))), LayerPath.whole(parents.digests, 5)
    alive = PathModel(parents, first)
    before = alive.module(words()).logits
    alive.become(second)
    assert alive.path == second
    assert not alive.module(words()).logits.equal(before)
    alive.become(first)
    assert alive.module(words()).logits.equal(before)


def test_activations_are_those_of_hops(stories, two_stories):
    parents = Parents.of([stories, two_stories[0]])
    alive = PathModel(parents, through(parents, ((0, 0), (1, 2), (1, 2), (0, 4))))
    with torch.no_grad(), alive.activations(["model.layers.1", "model.layers.2"]) as seen:
        alive.module(words())
    [first], [second] = seen["model.layers.1"], seen["model.layers.2"]
    assert first.shape == second.shape == (2, 12, 64)
    assert not first.equal(second)


def test_half_precision_stays_half(stories, two_stories):
    parents = Parents.of([stories, two_stories[0]], dtype="bfloat16")
    alive = PathModel(parents, through(parents, ((0, 0, 1.5), (1, 2, 0.5), (0, 4)), "handed"))
    assert {p.dtype for p in alive.module.parameters()} == {torch.bfloat16}
    assert alive.module(words()).logits.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"hidden_size": 32}, r"is of shape \(16,\) in .* and of shape \(32,\) in block 'model.layers.0'"),
        ({"rms_norm_eps": 1e-3}, "`rms_norm_eps` is 1e-06 in"),
        ({"hidden_act": "gelu"}, "`hidden_act` is 'silu' in"),
    ],
)
def test_parents_whose_blocks_do_not_fit_are_refused(other, said, family):
    with pytest.raises(CheckpointError, match=said):
        Parents.of(family("Llama", **other))


def test_no_parents_and_strangers_paths_are_refused(stories, two_stories):
    with pytest.raises(ValueError, match="at least one model"):
        Parents.of([])
    alone = Parents.of([stories])
    with pytest.raises(ValueError, match="needs the model with digest"):
        PathModel(alone, through(Parents.of([two_stories[0]]), ((0, 0),)))
