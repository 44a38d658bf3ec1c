"""A document's score is what lm-eval's own evaluator reports for it, whatever else is asked beside it."""

import numpy as np
import pytest

from merganser.evaluation import LmEvalSettings, open_lm_eval
from merganser.models import Continuation


@pytest.mark.parametrize("chosen", ["first", "last"])
def test_generated_answers_behind_a_filter(tasks, storyteller, verdict, scores, chosen):
    file = tasks.next_word(**tasks.data(train=20, test=12))
    theirs = verdict(file, "exact_match", chosen)
    task = open_lm_eval(file, LmEvalSettings(metric=f"exact_match,{chosen}")).test
    assert scores(task, storyteller) == theirs
    assert chosen == "last" or 0 < sum(theirs) < len(theirs), (
        "a task that is all right or all wrong tests nothing"
    )


@pytest.mark.parametrize("metric", ["acc", "acc_norm"])
def test_multiple_choice(tasks, storyteller, verdict, scores, metric):
    file = tasks.best_word(**tasks.data(train=20, test=12))
    theirs = verdict(file, metric, "none")
    assert 0 < sum(theirs) < len(theirs)
    assert scores(open_lm_eval(file, LmEvalSettings(metric=metric)).test, storyteller) == theirs


@pytest.mark.parametrize(("metric", "length"), [("acc", lambda choice: 1), ("acc_norm", len)])
def test_the_margin_of_multiple_choice_is_the_probability_of_the_right_one(
    tasks, storyteller, scores, metric, length
):
    task = open_lm_eval(tasks.best_word(**tasks.data(train=20, test=12)), LmEvalSettings(metric=metric)).test
    marks = task.mark(storyteller, np.arange(12))
    assert marks.scores.tolist() == scores(task, storyteller)
    for position, margin in zip(task.positions, marks.margins, strict=True):
        row = task.documents.documents[position]
        asked = [Continuation(row["text"], f" {choice}") for choice in row["choices"]]
        logs = [found.total for found in storyteller.log_likelihoods(asked)]
        values = np.exp([log / length(choice) for log, choice in zip(logs, row["choices"], strict=True)])
        assert margin == pytest.approx(values[row["right"]] / values.sum())


def test_what_is_written_freely_has_no_margin(tasks, storyteller):
    task = open_lm_eval(tasks.next_word(**tasks.data(train=20, test=12))).test
    assert task.mark(storyteller, np.arange(2)).margins is None


@pytest.mark.parametrize(
    ("chat", "turns"), [(False, False), (True, True), (True, False)], ids=["plain", "turns", "one turn"]
)
@pytest.mark.parametrize("kind", ["next_word", "best_word"])
def test_two_examples_before_each_question(tasks, storyteller, verdict, scores, kind, chat, turns):
    file = getattr(tasks, kind)(**tasks.data(train=20, test=12))
    metric, chosen = {"next_word": ("exact_match", "first"), "best_word": ("acc", "none")}[kind]
    theirs = verdict(
        file,
        *(metric, chosen),
        num_fewshot=2,
        apply_chat_template=chat,
        fewshot_as_multiturn=turns,
        system_instruction="You tell stories.",
    )
    settings = LmEvalSettings(
        num_fewshot=2, chat_template=chat, fewshot_as_multiturn=turns, system_prompt="You tell stories."
    )
    task = open_lm_eval(file, settings).test
    assert scores(task, storyteller) == theirs
    some = np.array([7, 2, 11])
    assert task.score(storyteller, some).tolist() == [theirs[i] for i in some]


def test_a_limit_is_the_first_documents_with_the_same_examples(tasks, storyteller, verdict, scores):
    file = tasks.best_word(**tasks.data(train=20, test=12))
    theirs = verdict(file, "acc", "none", num_fewshot=2, limit=5)
    task = open_lm_eval(file, LmEvalSettings(num_fewshot=2, limit=5)).test
    assert scores(task, storyteller) == theirs


def test_the_prompts_are_lm_evals_own(tasks, storyteller):
    """Equal scores could come from unequal prompts; the prompts themselves are compared as well."""
    from lm_eval.tasks import TaskManager

    file = tasks.next_word(**tasks.data(train=20, test=12), description="Finish the story.\n")
    (theirs,) = TaskManager(include_defaults=False).load(file)["tasks"].values()
    theirs.set_config("num_fewshot", 3)
    theirs.set_fewshot_seed(1234)
    theirs.build_all_requests()
    task = open_lm_eval(file, LmEvalSettings(num_fewshot=3)).test
    for position in reversed(range(12)):
        (request,) = task.documents.requests(position, storyteller)
        assert request.args == theirs.instances[position].args


def test_the_likelihood_of_a_whole_text(tasks, storyteller, verdict, scores):
    file = tasks.write(
        "stories",
        **tasks.data(test=6, validation=6),
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{text}} {{word}}",
        metric_list=[{"metric": "byte_perplexity"}, {"metric": "word_perplexity"}],
    )
    # lm-eval puts a start token before what the tokenizer gives, which has one already; here there is one
    theirs = verdict(file, "byte_perplexity", "none", add_bos_token=False)
    expected = [np.exp(log / size) for log, size in theirs]
    assert scores(open_lm_eval(file).test, storyteller) == pytest.approx(expected, rel=1e-6)


def test_the_probability_of_the_right_word(tasks, storyteller, verdict, scores):
    file = tasks.write(
        "cloze",
        **tasks.data(test=6, validation=6),
        output_type="loglikelihood",
        doc_to_text="{{text}}",
        doc_to_target=" {{word}}",
        metric_list=[{"metric": "perplexity"}, {"metric": "acc"}],
    )
    theirs = verdict(file, "perplexity", "none")
    assert scores(open_lm_eval(file).test, storyteller) == pytest.approx(np.exp(theirs).tolist(), rel=1e-6)
    by_rank = open_lm_eval(file, LmEvalSettings(metric="acc")).test
    assert scores(by_rank, storyteller) == verdict(file, "acc", "none")
    assert by_rank.binary


def test_an_answer_that_the_task_begins(tasks, storyteller, verdict, scores):
    file = tasks.next_word(**tasks.data(train=20, test=12), gen_prefix="The word is")
    for chat in (False, True):
        theirs = verdict(file, "exact_match", "first", apply_chat_template=chat, fewshot_as_multiturn=chat)
        assert scores(open_lm_eval(file, LmEvalSettings(chat_template=chat)).test, storyteller) == theirs
