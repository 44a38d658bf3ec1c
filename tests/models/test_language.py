"""A language model that becomes one child after the other, answers, and says how probable texts are."""

from __future__ import annotations

import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from merganser import CheckpointError, load
from merganser._errors import NonFiniteOutputError
from merganser.merging import (
    Combination,
    Engine,
    _fused,
    plan_combination,
    plan_merge,
    recipe_of,
    write_merge,
    write_recipe,
)
from merganser.models import Continuation, GenerationRequest, LanguageModel, TextModel, _tokens
from merganser.models._generation import generate
from merganser.models._likelihood import log_likelihoods
from merganser.models._tokens import Answer, Tokens
from merganser.weights import Checkpoint, Execution, open_checkpoint

pytestmark = pytest.mark.usefixtures("one_thread")

PROMPTS = (
    "Once upon a time",
    "The dog",
    "Lily and Tom went to the park. They saw a big",
    "One day, a boy named Tim found a red ball in the",
)


@pytest.fixture(scope="module")
def alive(stories):
    return load(stories)


@pytest.fixture(scope="module")
def reference(stories):
    return AutoModelForCausalLM.from_pretrained(stories).eval(), AutoTokenizer.from_pretrained(stories)


def contents(alive):
    return {name: place.clone() for name, place in alive.places.items()}


def check_holds(alive, plan):
    """The module holds what the plan makes in memory."""
    expected = Engine(plan, Execution()).in_memory({})
    assert set(alive.places) == set(expected)
    for name, place in alive.places.items():
        assert place.equal(expected.read(name)), name


def split_at(seeds, position, before, after):
    size = seeds[0].layout.size
    digests = tuple(seed.digest for seed in seeds)
    return plan_combination(Combination(digests, np.array([0, position, size]), [before, after]), seeds)


# becoming


def test_only_what_differs_from_the_last_child_is_written(two_stories):
    seeds = [open_checkpoint(place) for place in two_stories]
    alive = LanguageModel.of(seeds[0])
    middle = seeds[0].layout.spans()["model.layers.2.self_attn.q_proj.weight"][0] + 7
    first = alive.become(split_at(seeds, middle, [0.25, 0.75], [0.5, 0.5]))
    assert (first.tensors, first.kept) == (len(alive.places), 0)
    other_end = split_at(seeds, middle, [0.25, 0.75], [0.9, 0.1])
    second = alive.become(other_end)
    assert second.bytes + second.kept_bytes == first.bytes
    changed = [n for n, (_, end) in seeds[0].layout.spans().items() if end > middle]
    assert second.tensors == len(changed) < first.tensors
    check_holds(alive, other_end)
    assert alive.become(other_end).tensors == 0


def test_a_split_elsewhere_in_a_tensor_is_a_difference(two_stories):
    seeds = [open_checkpoint(place) for place in two_stories]
    alive = LanguageModel.of(seeds[0])
    begin, _ = seeds[0].layout.spans()["model.layers.2.self_attn.q_proj.weight"]
    alive.become(split_at(seeds, begin + 7, [0.25, 0.75], [0.5, 0.5]))
    moved = split_at(seeds, begin + 8, [0.25, 0.75], [0.5, 0.5])
    assert alive.become(moved).tensors == 1
    check_holds(alive, moved)


def test_a_child_made_in_one_pass_over_stored_numbers_is_the_same(two_stories, monkeypatch):
    seeds = [open_checkpoint(place) for place in two_stories]
    begin, _ = seeds[0].layout.spans()["model.layers.2.self_attn.q_proj.weight"]
    child = split_at(seeds, begin + 7, [0.25, 0.75], [0.5, 0.5])
    expected = Engine(child, Execution()).in_memory({})
    monkeypatch.setattr(_fused, "WORTH_LOADING", 0)  # else only large models are worth it
    alive = LanguageModel.of(seeds[0])
    alive.become(child)
    assert all(place.equal(expected.read(name)) for name, place in alive.places.items())


@pytest.mark.parametrize("method", ["linear", "slerp", "ties", "dare_linear"])
def test_parameters_seeds_and_sources_are_differences(method, two_stories, stories):
    base, *models = (open_checkpoint(place) for place in (stories, *two_stories))
    alive = LanguageModel.of(base)
    given = {
        "linear": [{"weight": [0.4, 0.6]}, {"weight": [0.6, 0.4]}],
        "slerp": [{"t": 0.2}, {"t": 0.4}],
        "ties": [{"density": 0.4}, {"density": 0.6}],
        "dare_linear": [{"density": 0.4}, {"density": 0.6}],
    }[method]
    rooted = None if method in ("linear", "slerp") else base
    wanted = [(models, given[0], 0), (models, given[1], 0), (models[::-1], given[0], 0)]
    if method == "dare_linear":
        wanted.append((models, given[0], 5))
    for parents, parameters, seed in wanted:
        plan, again = (
            plan_merge(parents, method, base=rooted, parameters=parameters, seed=seed) for _ in range(2)
        )
        assert alive.become(plan).kept == 0
        check_holds(alive, plan)
        assert alive.become(again).tensors == 0


def test_a_checkpoint_after_a_merge_leaves_nothing_of_it(two_stories, stories):
    models = [open_checkpoint(place) for place in two_stories]
    alive = load(stories)
    before = contents(alive)
    alive.become(plan_merge(models, "linear"))
    assert not alive.places["model.norm.weight"].equal(before["model.norm.weight"])
    alive.become(open_checkpoint(stories))
    assert all(place.equal(before[name]) for name, place in alive.places.items())


def test_a_failed_child_leaves_no_trust_in_what_is_there(two_stories):
    sound, other = (open_checkpoint(place) for place in two_stories)
    tensors = {name: other.read(name).clone() for name in other}
    tensors["model.layers.4.mlp.down_proj.weight"][3, 3] = float("nan")
    damaged = Checkpoint.from_tensors(tensors, config=other.config)
    alive = LanguageModel.of(sound)
    plan = plan_merge([sound, other], "linear")
    alive.become(plan)
    with pytest.raises(CheckpointError, match="NaN"):
        alive.become(plan_merge([sound, damaged], "linear"))
    with pytest.raises(RuntimeError, match="`become`"):
        alive.generate([GenerationRequest("Once")])
    assert alive.become(plan).kept == 0, "all of it was going to be written"
    check_holds(alive, plan)


def test_a_child_of_another_architecture_is_refused_and_changes_nothing(alive, stories):
    checkpoint = open_checkpoint(stories)
    before = contents(alive)
    tensors = {name: checkpoint.read(name) for name in checkpoint}
    other_rope = {**checkpoint.config, "rms_norm_eps": 0.1}
    with pytest.raises(CheckpointError, match="rms_norm_eps"):
        alive.become(Checkpoint.from_tensors(tensors, config=other_rope))
    tensors.pop("model.norm.weight")
    with pytest.raises(CheckpointError, match=r"lacks model\.norm\.weight"):
        alive.become(Checkpoint.from_tensors(tensors, config=checkpoint.config))
    assert all(place.equal(before[name]) for name, place in alive.places.items())
    assert alive.generate([GenerationRequest("Once", max_tokens=2)])[0].tokens == 2


def test_a_recipe_is_a_reference(two_stories, tmp_path):
    plan = plan_merge([open_checkpoint(place) for place in two_stories], "linear")
    write_recipe(recipe_of(plan), tmp_path / "recipe.json")
    alive = load(tmp_path / "recipe.json")
    check_holds(alive, plan)
    write_merge(Engine(plan, Execution()), recipe_of(plan), tmp_path / "out")
    asked = [GenerationRequest("The dog", max_tokens=6)]
    assert alive.generate(asked) == load(tmp_path / "out").generate(asked)


# answering


def slow_answer(reference, prompt, count):
    """Token by token, without a cache."""
    module, tokenizer = reference
    start = tokenizer(prompt)["input_ids"]
    tokens = list(start)
    with torch.no_grad():
        for _ in range(count):
            tokens.append(int(module(torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokenizer.decode(tokens, skip_special_tokens=True)[len(prompt) :]


def test_answers_are_those_of_the_slow_way_whatever_shares_the_batch(alive, reference):
    requests = [GenerationRequest(prompt, max_tokens=12 + 3 * i) for i, prompt in enumerate(PROMPTS)]
    together = alive.generate(requests)
    assert [r.text for r in together] == [slow_answer(reference, r.prompt, r.max_tokens) for r in requests]
    assert [r.tokens for r in together] == [12, 15, 18, 21]
    assert {r.ended for r in together} == {"tokens"}
    assert [alive.generate([request])[0] for request in requests] == together
    small = generate(alive.module, alive.tokens, requests, batch_tokens=40)
    assert small == together
    assert alive.generate(requests[::-1]) == together[::-1]


def test_a_common_beginning_is_computed_once_and_changes_nothing(alive):
    beginning = "Once upon a time, there was a little girl named Lily. She loved to play outside. "
    requests = [GenerationRequest(beginning + p, max_tokens=10) for p in PROMPTS]
    widths = []
    hook = alive.module.model.register_forward_pre_hook(
        lambda _, args, kwargs: widths.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    together = alive.generate(requests)
    hook.remove()
    assert widths[0][0] == 1
    assert widths[0][1] > 16
    assert widths[1][0] == 4
    assert widths[1][1] < 32
    assert together == [alive.generate([request])[0] for request in requests]


def test_the_first_stop_string_ends_an_answer_and_is_no_part_of_it(alive):
    whole = alive.generate([GenerationRequest(PROMPTS[0], max_tokens=40)])[0].text
    stop = (whole[25:28], whole[21:24])
    found = alive.generate([GenerationRequest(PROMPTS[0], stop, 40), GenerationRequest(PROMPTS[1], (), 40)])
    assert found[0].text == whole[: min(whole.find(s) for s in stop)]
    assert found[0].ended == "stop"
    assert found[0].tokens < 40
    assert found[1] == alive.generate([GenerationRequest(PROMPTS[1], (), 40)])[0]


@pytest.mark.parametrize("text", ["plain words here", "naïve café — 東京 🦆 ducks", " leading and  double"])
def test_an_answer_reads_like_the_whole_text_at_every_token(alive, text):
    """Characters of several tokens (this tokenizer falls back to bytes) appear when they are whole."""
    prompt = alive.tokens.prompt("Say:")
    tokens = alive.tokens.prompt("Say:" + text)[len(prompt) :]
    answer = Answer(alive.tokens, prompt)
    for token in tokens:
        answer.add(token)
        assert text.startswith(answer.text.rstrip("\ufffd"))
    assert answer.text == text
    for stop in (text[4:6], text[-1]):
        answer = Answer(alive.tokens, prompt, [stop])
        complete = [answer.add(token) for token in tokens]
        assert complete.index(True) >= 0
        assert answer.text == text[: text.index(stop)]


def test_the_models_own_end_ends_an_answer(alive, reference):
    module, _ = reference
    first = int(module(torch.tensor([alive.tokens.prompt(PROMPTS[0])])).logits[0, -1].argmax())
    alive.tokens.ends, before = frozenset([first]), alive.tokens.ends
    try:
        assert alive.generate([GenerationRequest(PROMPTS[0])])[0].ended == "end"
        assert alive.generate([GenerationRequest(PROMPTS[0])])[0].text == ""
    finally:
        alive.tokens.ends = before


def test_drawn_answers_are_those_of_the_seed_and_as_probable_as_the_model_says(alive, reference):
    request = GenerationRequest(PROMPTS[0], max_tokens=1)
    drawn = [each.answer[0] for each in alive.roll_out([request] * 2000, temperature=0.7, seed=3)]
    assert drawn == [each.answer[0] for each in alive.roll_out([request] * 2000, temperature=0.7, seed=3)]
    assert drawn != [each.answer[0] for each in alive.roll_out([request] * 2000, temperature=0.7, seed=4)]
    with torch.no_grad():
        ids = torch.tensor([alive.tokens.prompt(PROMPTS[0])])
        expected = torch.softmax(reference[0](ids).logits[0, -1] / 0.7, -1)
    found = torch.bincount(torch.tensor(drawn), minlength=len(expected)) / len(drawn)
    assert (found - expected).abs().max() < 0.04


def test_rollouts_have_the_tokens_of_their_answers(alive):
    requests = [GenerationRequest(prompt, (".",), 12) for prompt in PROMPTS]
    greedy = alive.roll_out(requests, temperature=0)
    assert [each.response for each in greedy] == alive.generate(requests)
    for each, request in zip(greedy, requests, strict=True):
        assert list(each.prompt) == alive.tokens.prompt(request.prompt)
        assert len(each.answer) == each.response.tokens
        whole = alive.tokens.text([*each.prompt, *each.answer])
        assert whole.startswith(request.prompt + each.response.text)
    with pytest.raises(ValueError, match="temperature of at least 0, found -1"):
        alive.roll_out(requests, temperature=-1)


def test_time_that_is_up_ends_every_answer(alive):
    found = alive.generate([GenerationRequest(p, max_tokens=50) for p in PROMPTS], seconds=0.0)
    assert [(r.ended, r.tokens, r.text) for r in found] == [("seconds", 0, "")] * 4


def test_answers_stop_at_the_end_of_the_context(alive):
    most = alive.module.config.max_position_embeddings
    words = "the dog " * 400
    fitting = alive.tokens.prompt(words)[1 : most - 4]
    prompt = alive.tokens.text(fitting)
    assert len(alive.tokens.prompt(prompt)) < most
    found = alive.generate([GenerationRequest(prompt, max_tokens=100)])[0]
    assert found.tokens == most - len(alive.tokens.prompt(prompt))
    with pytest.raises(ValueError, match="Shorten"):
        alive.generate([GenerationRequest(words, max_tokens=1)])
    with pytest.raises(ValueError, match="max_tokens"):
        alive.generate([GenerationRequest("Once", max_tokens=0)])


def test_a_model_that_overflows_is_an_error(stories):
    alive = load(stories)
    alive.places["model.norm.weight"].fill_(float("inf"))
    with pytest.raises(NonFiniteOutputError):
        alive.generate([GenerationRequest("Once")])
    with pytest.raises(NonFiniteOutputError):
        alive.log_likelihoods([Continuation("Once", " upon")])


# probabilities


def slow_likelihood(reference, context, text):
    """One by one, as lm-evaluation-harness encodes."""
    module, tokenizer = reference
    blanks = len(context) - len(context.rstrip())
    if blanks:
        context, text = context[:-blanks], context[-blanks:] + text
    if context:
        first = tokenizer(context)["input_ids"]
        second = tokenizer(context + text)["input_ids"][len(first) :]
    else:
        first = [tokenizer.bos_token_id]
        second = tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logits = module(torch.tensor([first + second])).logits[0].log_softmax(-1)
    at = range(len(first) - 1, len(first) + len(second) - 1)
    total = sum(logits[i, token].item() for i, token in zip(at, second, strict=True))
    return total, len(second), all(int(logits[i].argmax()) == t for i, t in zip(at, second, strict=True))


LONG = "Once upon a time, there was a little girl named Lily. She loved to play outside in the"
ASKED = [
    Continuation(LONG, " park"),
    Continuation(LONG, " sun and the rain"),
    Continuation("The cat ", "sat"),
    Continuation(LONG, " box. It was big."),
    Continuation("", "Once upon a time"),
    Continuation("The cat", " sat"),
    Continuation("Tim", " and Sue went to the park to play with the ball. They were happy."),
    Continuation(LONG, " park"),
]


def test_log_likelihoods_are_those_of_one_by_one(alive, reference):
    found = alive.log_likelihoods(ASKED)
    for asked, answer in zip(ASKED, found, strict=True):
        total, tokens, is_greedy = slow_likelihood(reference, asked.context, asked.text)
        assert answer.total == pytest.approx(total, abs=2e-4)
        assert (answer.tokens, answer.is_greedy) == (tokens, is_greedy)
    assert {answer.is_greedy for answer in found} == {True, False}


def test_log_likelihoods_do_not_depend_on_what_is_asked_beside(alive):
    together = alive.log_likelihoods(ASKED)
    alone = [alive.log_likelihoods([asked])[0] for asked in ASKED]
    small = log_likelihoods(alive.module, alive.tokens, ASKED, batch_tokens=50)
    for other in (alone, small):
        assert [a.total for a in other] == pytest.approx([a.total for a in together], abs=2e-4)
    assert alive.log_likelihoods([Continuation("Once", "")])[0].tokens == 0
    blank, none = alive.log_likelihoods([Continuation("  ", "Once"), Continuation("", "  Once")])
    assert blank == none
    assert alive.log_likelihoods([]) == []


@contextmanager
def widths_of(alive):
    """The shapes of what the module is given while the block runs."""
    seen = []
    hook = alive.module.model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    yield seen
    hook.remove()


def test_a_context_that_several_texts_share_is_computed_once(alive):
    with widths_of(alive) as widths:
        alive.log_likelihoods([asked for asked in ASKED if asked.context == LONG])
    assert widths[0] == (1, len(alive.tokens.prompt(LONG)))
    assert widths[1][0] == 3, "the same text twice is scored once"
    assert len(widths) == 2


CONTEXTS = [f"{name} {LONG[17:]} {place}" for name in ("Lily", "One day Tim", "The big") for place in "ab"]


def choices(*texts):
    return [Continuation(context, text) for context in CONTEXTS for text in texts]


def test_many_contexts_are_read_at_a_time_and_what_they_begin_with_once(alive):
    longest = max(len(alive.tokens.prompt(context)) for context in CONTEXTS)
    with widths_of(alive) as widths:
        alive.log_likelihoods(choices(" cat and dog", " so big that", " sun and moon"))
    assert [rows for rows, _ in widths] == [len(CONTEXTS), 3 * len(CONTEXTS)]
    assert widths[0][1] == longest
    with widths_of(alive) as widths:
        alive.log_likelihoods(
            [Continuation(LONG + c, t) for c in (" a", " the") for t in (" cat", " it was", " big")]
        )
    assert widths[0] == (1, len(alive.tokens.prompt(LONG)))
    assert widths[1][0] == 2


def test_texts_of_one_token_need_no_second_call(alive):
    with widths_of(alive) as widths:
        found = alive.log_likelihoods(choices(" a", " the", " it"))
    assert {answer.tokens for answer in found} == {1}
    assert len(widths) == 1


def test_what_is_computed_at_a_time_is_bounded(alive):
    asked = choices(" cat and dog", " sun", " so big that")
    with widths_of(alive) as widths:
        bounded = log_likelihoods(alive.module, alive.tokens, asked, batch_tokens=200)
    most = max(len(alive.tokens.prompt(r.context + r.text)) for r in asked)
    assert max(rows for rows, _ in widths) <= 200 // (most - 6)
    assert len(widths) > 2
    together = alive.log_likelihoods(asked)
    assert [a.total for a in bounded] == pytest.approx([a.total for a in together], rel=1e-5)


def test_a_text_longer_than_the_context_is_refused(alive):
    with pytest.raises(ValueError, match="Shorten"):
        alive.log_likelihoods([Continuation("Once", " upon a time" * 400)])


# tokens, templates, activations


def test_what_was_tokenised_is_remembered_up_to_a_limit(stories, monkeypatch):
    asked = []

    class Counting:
        def __init__(self, tokenizer):
            self._tokenizer = tokenizer

        def __call__(self, texts, **options):
            asked.extend([texts] if isinstance(texts, str) else texts)
            return self._tokenizer(texts, **options)

        def __getattr__(self, name):
            return getattr(self._tokenizer, name)

    tokenizer = Counting(AutoTokenizer.from_pretrained(stories))
    pairs = [("The cat", " sat"), ("The cat", " ran"), ("", "Once")]
    tokens = Tokens(tokenizer, 1, frozenset())
    first = tokens.split(pairs)
    assert sorted(asked) == ["Once", "The cat", "The cat ran", "The cat sat"]
    assert tokens.split(pairs[::-1]) == first[::-1]
    assert len(asked) == 4, "nothing is asked twice"
    monkeypatch.setattr(_tokens, "_KEPT", 3)
    full = Tokens(tokenizer, 1, frozenset())
    assert full.prompts(["The cat", "The dog"]) == full.prompts(["The cat", "The dog"])
    assert asked[4:] == ["The cat", "The dog", "The dog"]


def test_a_model_without_tokenizer_says_so_when_text_is_needed(stories):
    checkpoint = open_checkpoint(stories)
    tensors = {name: checkpoint.read(name) for name in checkpoint}
    alive = load(Checkpoint.from_tensors(tensors, config=checkpoint.config))
    with torch.no_grad():
        assert alive.module(torch.tensor([[1, 2]])).logits.shape == (1, 2, 512)
    with pytest.raises(CheckpointError, match="no tokenizer"):
        alive.generate([GenerationRequest("Once")])


def test_conversations_follow_the_chat_template_and_begin_once(stories, tmp_path):
    folder = tmp_path / "chat"
    shutil.copytree(stories, folder)
    (folder / "chat_template.jinja").write_text(
        "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    alive = load(folder)
    prompt = alive.render([{"role": "user", "content": "Hi"}])
    assert prompt == "<s>user: Hi\nassistant:"
    assert alive.tokens.prompt(prompt).count(1) == 1
    assert alive.tokens.prompt("Hi")[0] == 1


def test_a_model_without_chat_template_says_so(alive):
    with pytest.raises(ValueError, match="no chat template"):
        alive.render([{"role": "user", "content": "Hi"}])


def test_activations_are_collected_while_the_block_runs(alive):
    words = torch.tensor([[1, 5, 9]])
    with torch.no_grad(), alive.activations(["model.layers.1", "model.norm"]) as seen:
        alive.module(words)
        alive.module(words[:, :2])
    assert [t.shape for t in seen["model.layers.1"]] == [(1, 3, 64), (1, 2, 64)]
    with torch.no_grad():
        normed = alive.module.model.norm(seen["model.layers.1"][0])
        alive.module(words)
    assert normed.shape == seen["model.norm"][0].shape
    assert len(seen["model.norm"]) == 2
    with pytest.raises(ValueError, match=r"no part 'ears'"), alive.activations(["ears"]):
        pass


def test_it_is_what_tasks_expect(alive):
    assert isinstance(alive, TextModel)


def test_unknown_types_and_devices_are_misuse(stories):
    with pytest.raises(ValueError, match="floating element type"):
        load(stories, dtype="int8")
    with pytest.raises(ValueError, match="no device 'abacus'"):
        load(stories, device="abacus")
