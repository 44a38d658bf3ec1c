"""A model that answers each request as its own expert, in the batches that all models use."""

import shutil

import numpy as np
import pytest
import torch

from merganser import CheckpointError
from merganser.adaptation import ExpertVector, decompose, fold, mix
from merganser.adaptation.strategies import (
    AdaptiveModel,
    ByExpert,
    ByPrompt,
    DispatchPrompt,
    Fixed,
    Mixture,
)
from merganser.evaluation import ChoiceTask, Question
from merganser.models import Continuation, GenerationRequest, load
from merganser.weights import Checkpoint

from .conftest import NAMES, STORIES, expert_of

PROMPTS = ["Once upon a time", "Tom", "Lily saw a big dog and", "One day a very small bird sat in a tree and"]
REQUESTS = [GenerationRequest(prompt, (), 4 + 5 * (k % 3)) for k, prompt in enumerate(PROMPTS * 2)]
VOICES = ["cats", None, "dogs", "birds", None, "dogs", "birds", "cats"]
LONG = "Once upon a time there was a little girl called Lily who lived in a big house with her mom and"
CONTINUATIONS = [
    Continuation(f"{LONG} {who}", text) for who in ("cat", "dog") for text in (" ran away.", " ate.")
]


def test_requests_of_different_experts_in_one_batch_are_answered_as_one_by_one(model):
    together = model.generate_as(REQUESTS, VOICES)
    alone = [model.generate_as([r], [v])[0] for r, v in zip(REQUESTS, VOICES, strict=True)]
    assert together == alone
    assert len({a.text for a in together}) > 4  # experts differ, or this would say nothing


def test_what_all_prompts_begin_with_is_read_by_each_expert_for_itself(model):
    requests = [
        GenerationRequest(f"{LONG} {end}", (), 6) for end in ("her dog", "a cat", "one of her many toys")
    ]
    voices = ["cats", "dogs", None]
    alone = [model.generate_as([r], [v])[0] for r, v in zip(requests, voices, strict=True)]
    assert model.generate_as(requests, voices) == alone


def test_log_likelihoods_of_different_experts_in_one_batch_are_those_one_by_one(model):
    asked = [each for each in CONTINUATIONS for _ in range(3)] + [Continuation("", "Tom ran.")] * 3
    voices = ["cats", None, "birds"] * (len(asked) // 3)
    together = [found.total for found in model.log_likelihoods_as(asked, voices)]
    alone = [model.log_likelihoods_as([a], [v])[0].total for a, v in zip(asked, voices, strict=True)]
    assert together == pytest.approx(alone, abs=1e-4)
    assert len({round(total, 2) for total in together}) == len(together)


def test_an_expert_answers_as_the_checkpoint_it_is_folded_into_and_the_base_as_itself(
    model, stories, experts
):
    folded = load(fold(stories, experts["dogs"]))
    assert model.generate_as(REQUESTS, ["dogs"] * 8) == folded.generate(REQUESTS)
    assert model.generate(REQUESTS) == load(stories).generate(REQUESTS)
    model.strategy = Fixed("dogs")
    assert model.generate(REQUESTS) == folded.generate(REQUESTS)


def test_a_mixture_of_weight_one_is_the_expert_and_one_of_nothing_the_base(model):
    alone = model.generate_as(REQUESTS, ["birds"] * 8)
    model.strategy = Mixture(NAMES, (0, 0, 1))
    assert model.generate(REQUESTS) == alone
    model.strategy = Mixture(NAMES, (0, 0, 0))
    assert model.generate(REQUESTS) == model.generate_as(REQUESTS, [None] * 8)


def test_a_mixture_per_matrix_is_what_mix_makes(model, experts, stories):
    matrices = list(experts["cats"])
    weights = {matrix: (k / len(matrices), 0.5, 0.0) for k, matrix in enumerate(matrices)}
    model.strategy = Mixture(NAMES, weights)
    folded = load(fold(stories, mix(list(experts.values()), weights)))
    assert model.generate(REQUESTS) == folded.generate(REQUESTS)


def test_the_base_chooses_the_label_that_is_most_probable_to_it(model, stories):
    prompt = DispatchPrompt("{request} and the {experts}", other=None, calibrate=False)
    model.strategy = ByPrompt(prompt)
    base = load(stories)
    for request in PROMPTS:
        [decision] = model.decide([request])
        text = prompt.text(request, model.descriptions)
        values = base.log_likelihoods([Continuation(text, f" {name}") for name in NAMES])
        totals = torch.tensor([value.total for value in values], dtype=torch.float64)
        assert decision.expert == NAMES[int(totals.argmax())]
        assert decision.sure == pytest.approx(totals.softmax(0).max().item(), abs=1e-4)


def test_the_first_pass_speaks_as_the_dispatcher_which_no_request_goes_to(model):
    model.strategy = ByExpert("birds")
    assert list(model.descriptions) == ["cats", "dogs"]
    mine = [each.sure for each in model.decide(PROMPTS)]
    assert {each.expert for each in model.decide(PROMPTS)} <= {"cats", "dogs", None}
    model.strategy = ByPrompt()
    assert [each.sure for each in model.decide(PROMPTS)] != mine


def test_other_is_the_base_exactly(model, stories):
    # an expert's name that the model finds improbable: everything is `other`
    prompt = DispatchPrompt("{request}", answer=" {label}", calibrate=False)
    model.specialists = {"zzqxw zzqxw zzqxw": model.specialists["cats"]}
    model.strategy = ByPrompt(prompt)
    with model.traced() as traces:
        answers = model.generate(REQUESTS)
    assert {trace.decision.expert for trace in traces} == {None}
    assert {trace.decision.name for trace in traces} == {"other"}
    assert answers == load(stories).generate(REQUESTS)


def test_what_cannot_be_parsed_goes_to_the_base_and_says_so(model):
    model.strategy = ByPrompt(DispatchPrompt(read="boxed", max_tokens=5))
    for decision in model.decide(PROMPTS):
        assert decision.expert is None
        assert decision.reason.startswith("no \\boxed{…} in ")
        assert decision.cost.written == 5


def test_calibration_takes_away_what_is_probable_whatever_the_request(model):
    model.strategy = ByPrompt(DispatchPrompt("Say {request}", calibrate=True, other=None))
    [plain] = model.decide(["a"])
    prompt = DispatchPrompt("Say {request}", other=None)
    asked = [Continuation(prompt.text(r, {}), f" {name}") for r in ("a", "") for name in NAMES]
    totals = [found.total for found in model.log_likelihoods_as(asked, [None] * 6)]
    calibrated = torch.tensor([totals[k] - totals[k + 3] for k in range(3)], dtype=torch.float64)
    assert plain.expert == NAMES[int(calibrated.argmax())]
    assert plain.sure == pytest.approx(calibrated.softmax(0).max().item(), abs=1e-4)


def test_by_itself_the_base_is_calibrated_and_a_dispatcher_is_not(model):
    def sure(strategy):
        model.strategy = strategy
        return [decision.sure for decision in model.decide(PROMPTS)]

    always, never = DispatchPrompt(calibrate=True), DispatchPrompt(calibrate=False)
    assert sure(ByPrompt()) == sure(ByPrompt(always)) != sure(ByPrompt(never))
    assert sure(ByExpert("birds")) == sure(ByExpert("birds", never)) != sure(ByExpert("birds", always))


def test_a_trace_says_who_answered_and_what_both_passes_cost(model):
    model.strategy = ByPrompt()
    with model.traced() as traces:
        answers = model.generate(REQUESTS)
        model.log_likelihoods(CONTINUATIONS)
    assert len(traces) == len(REQUESTS) + 2  # two contexts
    decided = model.decide(PROMPTS)
    for trace, request, answer in zip(traces, REQUESTS, answers, strict=False):
        assert trace.request == request.prompt
        assert trace.decision == decided[PROMPTS.index(request.prompt)]
        assert (trace.second.read, trace.second.written) == (
            len(model.tokens.prompt(request.prompt)),
            answer.tokens,
        )
        assert trace.first.read > len(model.tokens.prompt(trace.decision.prompt))
        assert trace.first.seconds > 0
        assert trace.second.seconds > 0
    assert traces[-1].second.written == 0
    assert traces[-1].to_json()["first"]["read"] > 0
    model.generate(REQUESTS[:1])
    assert len(traces) == len(REQUESTS) + 2  # the block is over


def test_choices_are_weighed_by_the_expert_of_their_question(model):
    questions = tuple(Question(p, ("ran",), (" ran", " sat", " is"), 0) for p in PROMPTS)
    task = ChoiceTask("choices", questions)
    model.strategy = ByPrompt()
    chosen = [each.expert for each in model.decide([task.prompt.text(q) for q in questions])]
    found = task.details(model, np.arange(len(questions)))
    for k, name in enumerate(chosen):
        model.strategy = Fixed(name)
        assert task.details(model, np.array([k]))[0].margin == pytest.approx(found[k].margin, abs=1e-4)


def test_without_a_request_the_base_answers(model):
    model.strategy = ByPrompt()
    assert model.decide([" "])[0].reason == "there is no request to go by"
    model.strategy = Fixed("cats")
    assert model.decide([""])[0].expert == "cats"


def test_an_expert_of_another_base_is_refused_with_both_digests(stories, experts):
    other = Checkpoint.from_tensors(
        {n: stories.read(n) * (1.5 if ".mlp." in n else 1) for n in stories}, config=stories.config
    )
    mine = decompose(other, list(experts["cats"])).digests
    matrix = next(iter(mine))
    with pytest.raises(CheckpointError, match="made for another base") as error:
        AdaptiveModel.of(other, experts)
    assert mine[matrix] in str(error.value)
    assert experts["cats"].base[matrix] in str(error.value)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        (Fixed("cat"), "needs an expert 'cat'; there are: cats, dogs, birds"),
        (ByExpert("who"), "needs an expert 'who'"),
        (Mixture(("cats", "fish"), (1, 1)), "needs an expert 'fish'"),
    ],
)
def test_a_strategy_whose_expert_is_not_there_is_refused(model, strategy, message):
    with pytest.raises(ValueError, match=message):
        model.strategy = strategy


def test_asking_as_somebody_unknown_is_refused(model):
    with pytest.raises(ValueError, match=r"There is no expert 'cast'.*Did you mean 'cats'"):
        model.generate_as(REQUESTS[:2], ["cast", "dogs"])


@pytest.mark.parametrize("name", ["other", "mixture", " "])
def test_names_that_mean_something_else_are_refused(stories, experts, name):
    with pytest.raises(ValueError, match="No expert can be called"):
        AdaptiveModel.of(stories, {name: experts["cats"]})


def test_a_dispatcher_alone_has_nobody_to_choose(stories, experts):
    model = AdaptiveModel.of(stories, {"who": experts["cats"]}, ByExpert("who"))
    with pytest.raises(ValueError, match="no expert that a request could go to"):
        model.generate(REQUESTS)


def test_a_model_without_experts_is_refused(stories):
    with pytest.raises(ValueError, match="at least one expert"):
        AdaptiveModel.of(stories, {})


def test_the_chat_that_was_rendered_is_asked_about_by_its_words(tmp_path, stories, factors):
    shutil.copytree(STORIES, tmp_path / "chat")
    (tmp_path / "chat" / "chat_template.jinja").write_text(
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    )
    model = AdaptiveModel.of(tmp_path / "chat", {"cats": expert_of(factors)}, ByPrompt())
    text = model.render([{"role": "system", "content": "Be good."}, {"role": "user", "content": "A cat?"}])
    assert model.decide([text]) == model.decide(["A cat?"])
    with model.traced() as traces:
        model.generate([GenerationRequest(text, (), 3)])
    assert traces[0].request == "A cat?"


def test_an_expert_that_is_nothing_leaves_the_base(stories, factors):
    nothing = ExpertVector.from_gains(
        {n: torch.zeros(len(factors[n].sigma)) for n in factors}, factors.digests
    )
    model = AdaptiveModel.of(stories, {"nothing": nothing}, Fixed("nothing"))
    assert model.generate(REQUESTS) == load(stories).generate(REQUESTS)
