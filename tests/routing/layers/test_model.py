"""Routed language models: they speak, are written as folders, and come back the same."""

import json
import shutil

import pytest
import torch

import merganser
from merganser import CheckpointError, OutputError
from merganser.models import Continuation, GenerationRequest, LanguageModel
from merganser.routing import load
from merganser.routing.layers import (
    LayerRouting,
    RoutedModel,
    RouterTraining,
    TokenWindows,
    open_routed,
    save_routed,
    train_routers,
)

from .conftest import gpt2, llama, logits_of

PROMPTS = ["Once upon a time", "Lily and Tom went to the park and", "The"]
ROUTINGS = [
    LayerRouting("static"),
    LayerRouting("single"),
    LayerRouting("layers"),
    LayerRouting("layers", top_k=1),
    LayerRouting("cross-depth", reach=2, own_bias=4.0),
]


def opinionated(places, routing, **options):
    """A routed model whose routers are no longer equal."""
    model = RoutedModel.of(dict(zip("abc", places, strict=False)), routing, **options)
    generator = torch.Generator().manual_seed(4)
    weights = {n: 0.5 * torch.rand(w.shape, generator=generator) for n, w in model.net.routers.items()}
    model.net.set_weights(weights)
    return model


def said_by(model):
    """Answers, one after the other, and what it finds probable."""
    with torch.inference_mode():
        ids = torch.arange(3, 40)[None]
        return model.module(input_ids=ids, use_cache=False).logits


@pytest.mark.parametrize("routing", ROUTINGS, ids=str)
def test_generating_with_a_cache_gives_the_tokens_that_reading_all_anew_gives(two_stories, stories, routing):
    model = opinionated(two_stories, routing, trunk=stories)
    responses = model.generate([GenerationRequest(prompt, max_tokens=12) for prompt in PROMPTS])
    for prompt, response in zip(PROMPTS, responses, strict=True):
        ids = list(model.tokens.prompt(prompt))
        with torch.inference_mode():
            for _ in range(response.tokens):
                logits = model.module(input_ids=torch.tensor([ids]), use_cache=False).logits
                ids.append(int(logits[0, -1].argmax()))
        assert model.tokens.text(ids) == prompt + response.text


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_at_the_ends_of_static_shares_it_says_what_an_expert_says(two_stories, share):
    model = RoutedModel.of(dict(zip("ab", two_stories, strict=True)), LayerRouting("static"))
    model.net.set_weights({"static": [share]})
    alone = load(two_stories[0] if share else two_stories[1])
    asked = [Continuation("Once upon a", " time"), Continuation("The dog", " ran away.")]
    assert model.log_likelihoods(asked) == alone.log_likelihoods(asked)


def test_the_experts_distances_from_the_trunk_are_said(two_stories, stories, tmp_path):
    model = RoutedModel.of({"a": two_stories[0], "b": two_stories[1]}, trunk=stories)
    assert [each.trunk_distance for each in model.ingredients.values()] == [0.0, 0.0]
    alone = merganser.open(stories)
    louder = {name: alone.read(name) * (1 if ".mlp." in name else 1.5) for name in alone}
    merganser.save(louder, tmp_path / "louder", config=alone.config)
    model = RoutedModel.of({"base": stories, "louder": tmp_path / "louder"})
    assert model.ingredients["base"].trunk_distance == 0.0
    assert model.ingredients["louder"].trunk_distance == pytest.approx(0.5, rel=1e-6)


@pytest.mark.parametrize("self_contained", [False, True])
@pytest.mark.parametrize("routing", ROUTINGS, ids=str)
def test_a_folder_gives_the_same_logits_bit_for_bit(two_stories, stories, tmp_path, routing, self_contained):
    model = opinionated(two_stories, routing, trunk=stories)
    save_routed(model, tmp_path / "routed", self_contained=self_contained)
    opened = merganser.load(tmp_path / "routed")
    assert isinstance(opened, RoutedModel)
    assert opened.net.routing == routing
    assert opened.net.experts == ("a", "b")
    assert torch.equal(said_by(opened), said_by(model))


def test_a_self_contained_folder_needs_nothing_else(two_stories, stories, tmp_path):
    places = [
        shutil.copytree(place, tmp_path / f"copy{n}") for n, place in enumerate((*two_stories, stories))
    ]
    model = opinionated(places, LayerRouting("layers"), trunk=places[2])
    expected = said_by(model)
    save_routed(model, tmp_path / "routed", self_contained=True)
    for place in places:
        shutil.rmtree(place)
    moved = (tmp_path / "routed").rename(tmp_path / "moved")
    opened = open_routed(moved)
    assert torch.equal(said_by(opened), expected)
    assert opened.generate([GenerationRequest(PROMPTS[0], max_tokens=3)])[0].tokens == 3
    with pytest.raises(ValueError, match="in memory, or was changed"):
        save_routed(opened, tmp_path / "named")
    save_routed(opened, tmp_path / "again", self_contained=True)
    assert torch.equal(said_by(open_routed(tmp_path / "again")), expected)


def test_a_model_that_has_changed_since_is_refused(two_stories, stories, tmp_path):
    other = shutil.copytree(two_stories[0], tmp_path / "other")
    save_routed(RoutedModel.of({"a": stories, "b": other}), tmp_path / "routed")
    shutil.copy(two_stories[1] / "model.safetensors", other)
    with pytest.raises(CheckpointError, match=r"other is not the model that .*routed.json was made of"):
        merganser.load(tmp_path / "routed")
    shutil.rmtree(other)
    with pytest.raises(CheckpointError, match="no such file or folder"):
        merganser.load(tmp_path / "routed")


def test_damaged_folders_are_refused(two_stories, tmp_path):
    save_routed(RoutedModel.of(dict(zip("ab", two_stories, strict=True))), tmp_path / "routed")
    file = tmp_path / "routed" / "routed.json"
    facts = json.loads(file.read_text())
    for damage, message in [
        ({"version": 9}, "of version 9, but this release reads version 1"),
        ({"routing": {"level": "deep"}}, "does not describe a routed model"),
        ({"trunk": None}, "does not describe a routed model"),
        ({"routing": facts["routing"] | {"level": "single"}}, "router.safetensors does not fit"),
    ]:
        file.write_text(json.dumps(facts | damage))
        with pytest.raises(CheckpointError, match=message):
            open_routed(tmp_path / "routed")
    file.write_text("{")
    with pytest.raises(CheckpointError, match="does not describe a routed model"):
        open_routed(tmp_path / "routed")


def test_only_routed_folders_are_overwritten(two_stories, tmp_path):
    model = RoutedModel.of(dict(zip("ab", two_stories, strict=True)))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="exists already"):
        save_routed(model, tmp_path / "mine")
    with pytest.raises(OutputError, match="no routed model"):
        save_routed(model, tmp_path / "mine", overwrite=True)
    save_routed(model, tmp_path / "routed")
    save_routed(model, tmp_path / "routed", overwrite=True)


@pytest.mark.parametrize("family", [gpt2, llama])
def test_files_of_transformers_without_a_tokenizer_will_do_for_numbers(family, tmp_path):
    models = {name: family(seed) for seed, name in enumerate("ab")}
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
    routed = RoutedModel.of({name: tmp_path / name for name in models}, LayerRouting("static"))
    routed.net.set_weights({"static": [1.0]})
    ids = torch.arange(3, 20)[None]
    torch.testing.assert_close(logits_of(routed.module, ids), logits_of(models["a"], ids))


def test_without_a_tokenizer_it_does_not_speak(tmp_path):
    for seed, name in enumerate("ab"):
        llama(seed).save_pretrained(tmp_path / name)
    routed = RoutedModel.of({name: tmp_path / name for name in "ab"})
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        routed.generate([GenerationRequest("Hi")])


def test_other_models_still_load(stories):
    assert isinstance(merganser.load(stories), LanguageModel)
    assert isinstance(load(merganser.open(stories)), LanguageModel)


def test_one_model_is_not_enough(stories):
    with pytest.raises(ValueError, match="at least two models to mix, found 1"):
        RoutedModel.of({"a": stories})


def test_training_on_texts_prefers_the_model_that_knows_them(two_stories, stories, tmp_path):
    """Of a storyteller and one whose MLPs were disturbed, stories choose the former."""
    alone = merganser.open(stories)
    generator = torch.Generator().manual_seed(0)
    broken = {
        name: alone.read(name)
        + (0.3 * torch.randn(alone.spec(name).shape, generator=generator)) * (".mlp." in name)
        for name in alone
    }
    merganser.save(broken, tmp_path / "broken", config=alone.config)
    model = RoutedModel.of({"broken": tmp_path / "broken", "teller": stories}, trunk=stories)
    told = load(stories).generate([GenerationRequest(prompt, max_tokens=80) for prompt in PROMPTS * 2])
    texts = [prompt + said.text for prompt, said in zip(PROMPTS * 2, told, strict=True)]
    data = TokenWindows(texts, model.tokens, most_tokens=32)
    state = train_routers(model.net, data, RouterTraining(steps=40, every=10, learning_rate=0.05))
    assert state.best_look.validation < 0.7 * state.looks[0].validation
