"""`merganser route`: from an experts file to answers, an evaluation, a report and a better router."""

import json

import pytest

EXPERTS = """
contracts:
  words: {kind: question_answering, seconds: 10}
  mood: {kind: classification, labels: [good, bad], seconds: 10, retries: 0}
experts:
  - {name: calculator, function: "desk:calculator", contract: words, cost: 1}
  - {name: critic, function: "desk:critic", contract: mood, cost: 2}
"""
DESK = """
import re
def calculator(prompt):
    first, second = map(int, re.findall("[0-9]+", prompt)[-2:])
    return str(first + second)
def critic(prompt):
    return "good" if "lovely" in prompt else "bad" if "grim" in prompt else "hm"
"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    """A folder with experts and two tasks."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "desk.py").write_text(DESK)
    (folder / "experts.yaml").write_text(EXPERTS)
    sums = [{"question": f"What is {a} plus {a + 1}?", "answer": str(2 * a + 1)} for a in range(40)]
    moods = [
        {"question": f"The {thing} of room {n} was {word}.", "answer": answer}
        for n in range(10)
        for thing in ("soup", "bed")
        for word, answer in (("lovely", "good"), ("grim", "bad"))
    ]
    for name, rows in (("sums", sums), ("moods", moods)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def router(desk, command):
    """A router that `route fit` made."""
    words = ("route", "fit", "-e", "experts.yaml", "-t", "sums.jsonl", "-t", "moods.jsonl", "--out", "router")
    done = command(*words, "--json", cwd=desk)
    facts = json.loads(done.stdout.splitlines()[-1])
    assert [each["name"] for each in facts["experts"]] == ["calculator", "critic"]
    assert facts["search"] > facts["validation"] > 0
    return desk / "router"


def last(done):
    return json.loads(done.stdout.splitlines()[-1])


def test_requests_are_answered_with_a_trace(router, command):
    done = command(
        "route", "run", router, "What is 700 plus 1?", "--trace", "--json", cwd=router.parent.parent
    )
    assert done.stdout.splitlines()[0] == "701"
    assert "calculator" in done.stderr
    [trace] = last(done)["requests"]
    assert (trace["expert"], trace["attempts"][0]["outcome"]) == ("calculator", "kept")


def test_a_request_nobody_can_answer_ends_with_an_error(router, command):
    done = command("route", "run", router, "Quack.", code=1)
    assert "No expert answered within its contract" in done.stderr
    assert "calculator failed: raised ValueError" in done.stderr
    assert "critic broke its contract: expected one of good, bad, found 'hm'" in done.stderr


def test_a_router_is_evaluated_with_a_report(router, command):
    words = ("route", "evaluate", "router", "-t", "sums.jsonl", "-t", "moods.jsonl", "--run", "out", "--json")
    done = command(*words, cwd=router.parent)
    found = last(done)
    assert found["router"]["score"]["value"] == found["oracle"]["score"]["value"] == 1.0
    assert found["captured"]["value"] == 1.0
    assert "of the oracle's gain" in done.stderr
    assert "Can its predictions be believed?" in (router.parent / "out" / "report.html").read_text()


def test_a_log_is_graded_and_learnt_from(router, command):
    desk = router.parent
    (desk / "requests.txt").write_text(
        'What is 3 plus 900?\n{"text": "The lamp was grim."}\nWhat is 81 plus 82?\n'
    )
    done = command("route", "run", "router", "-i", "requests.txt", "--log", "log.jsonl", "--json", cwd=desk)
    ids = [trace["id"] for trace in last(done)["requests"]]
    assert done.stdout.splitlines()[:3] == ["903", "bad", "163"]
    command("route", "grade", "log.jsonl", ids[0], "1", cwd=desk)
    assert "has no request 'x'" in command("route", "grade", "log.jsonl", "x", "1", cwd=desk, code=2).stderr
    done = command("route", "refit", "router", "--log", "log.jsonl", "--out", "better", "--json", cwd=desk)
    found = last(done)
    assert (found["added"], found["ungraded"]) == (1, 2)
    assert found["comparison"]["difference"]["value"] == 0.0
    assert "on which thresholds are chosen" in done.stderr
    assert command("route", "run", "better", "What is 1 plus 1?", cwd=desk).stdout == "2\n"


def test_scores_that_are_there_can_be_learnt_from(desk, command):
    rows = []
    for n in range(40):
        for name, is_sum in (("calculator", True), ("critic", False)):
            for text, sum_ in ((f"What is {n} plus 1?", True), (f"Guest {n} was lovely.", False)):
                split = "test" if n % 4 == 0 else "search"
                score = float(is_sum == sum_)
                rows.append({"model": name, "question": text, "score": score, "split": split})
    (desk / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command("route", "fit", "-e", "experts.yaml", "--scores", "scores.jsonl", "--out", "scored", cwd=desk)
    done = command("route", "evaluate", "scored", "--scores", "scores.jsonl", "--json", cwd=desk)
    assert last(done)["samples"] == 20
    assert last(done)["router"]["score"]["value"] == 1.0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit", "-e", "experts.yaml", "--out", "x"), "Expected --task or --scores"),
        (("fit", "-e", "nobody.yaml", "-t", "sums.jsonl", "--out", "x"), "Cannot read nobody.yaml"),
        (
            ("fit", "-e", "experts.yaml", "-t", "sums.jsonl", "--kind", "best", "--out", "x"),
            "classifier, nearest, tasks",
        ),
        (("run", "nobody", "hello"), "Cannot read nobody"),
        (("run", "router"), "Expected a request or --input"),
    ],
)
def test_misuse_is_said(router, command, words, said):
    assert said in command("route", *words, cwd=router.parent, code=2).stderr
