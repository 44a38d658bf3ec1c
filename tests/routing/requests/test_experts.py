"""Ways to ask: none of them hangs, and each says why there is no answer."""

import os
import time

import pytest

from merganser._errors import ConfigError
from merganser.routing.requests import (
    AskError,
    Endpoint,
    Function,
    LateError,
    Limits,
    LocalModels,
    make_experts,
    parse_experts_file,
    read_experts_file,
    threaded,
)

LIMITS = Limits(5.0)
SHORT = Limits(0.2)


@pytest.fixture
def module(tmp_path):
    """A module of functions, in a folder that is not on the path."""
    (tmp_path / "answers.py").write_text(
        "import os, sys, time\n"
        "def loud(text):\n    print('noise')\n    return text.upper()\n"
        "def slow(text):\n    time.sleep(60)\n"
        "def counts(text):\n    return len(text)\n"
        "def dies(text):\n    os._exit(3)\n"
        "def raises(text):\n    raise KeyError(text)\n"
        "def pid(text):\n    time.sleep(60) if text == 'sleep' else None\n    return str(os.getpid())\n"
    )
    return str(tmp_path)


def test_a_python_function_answers_and_what_it_raises_is_said():
    assert threaded(str.upper)("quack", LIMITS).text == "QUACK"
    with pytest.raises(AskError, match="raised ZeroDivisionError"):
        threaded(lambda text: str(1 // 0))("?", LIMITS)
    with pytest.raises(AskError, match="answered with int"):
        threaded(len)("?", LIMITS)


def test_a_hanging_python_function_is_given_up_on_and_refused_while_its_calls_live(service):
    ask = threaded(lambda text: str(service.closing.wait(60)))
    for _ in range(4):
        with pytest.raises(LateError, match=r"longer than 0\.01 s"):
            ask("?", Limits(0.01))
    with pytest.raises(LateError, match="4 earlier calls have not returned"):
        ask("?", LIMITS)
    service.closing.set()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            assert ask("?", LIMITS).text == "True"
            return
        except LateError:
            time.sleep(0.01)
    pytest.fail("calls that have returned still count")


def test_a_function_of_a_module_runs_in_a_process_of_its_own(module):
    assert Function("answers:loud", path=[module])("quack", LIMITS).text == "QUACK"
    assert Function("answers:pid", path=[module])("?", LIMITS).text != str(os.getpid())
    with pytest.raises(AskError, match="raised KeyError: 'x'"):
        Function("answers:raises", path=[module])("x", LIMITS)
    with pytest.raises(AskError, match="answered with int"):
        Function("answers:counts", path=[module])("x", LIMITS)
    with pytest.raises(ConfigError, match="no attribute 'nobody'"):
        Function("answers:nobody", path=[module])("x", LIMITS)


def test_a_process_that_hangs_or_dies_is_replaced(module):
    ask = Function("answers:pid", path=[module])
    first = ask("?", LIMITS).text
    assert ask("?", LIMITS).text == first
    with pytest.raises(LateError, match=r"longer than 0\.2 s"):
        ask("sleep", SHORT)
    with pytest.raises(ProcessLookupError):
        os.kill(int(first), 0)
    assert ask("?", LIMITS).text != first
    with pytest.raises(AskError, match="ended with code 3"):
        Function("answers:dies", path=[module])("?", LIMITS)


def test_an_endpoint_answers(service, monkeypatch):
    monkeypatch.setenv("DUCK_KEY", "quack-secret")
    url = f"http://127.0.0.1:{service.server_port}/v1"
    reply = Endpoint(url, "duck", "DUCK_KEY")("hello", Limits(5.0, 7, ("\n",)))
    assert (reply.text, reply.tokens) == ("You said hello", 4)
    path, asked, headers = service.asked[0]
    assert path == "/v1/chat/completions"
    assert (asked["model"], asked["max_tokens"], asked["stop"]) == ("duck", 7, ["\n"])
    assert headers["Authorization"] == "Bearer quack-secret"


@pytest.mark.parametrize(
    ("prompt", "error", "said"),
    [
        ("hang", LateError, "longer than 0.2 s"),
        ("drip", LateError, "longer than 0.2 s"),
        ("fail", AskError, "500"),
        ("garbage", AskError, "no chat completion: '<html>'"),
        ("odd", AskError, "no text but NoneType"),
        ("move", AskError, "302"),
    ],
)
def test_an_endpoint_that_does_not_answer_says_why_without_the_key(service, monkeypatch, prompt, error, said):
    monkeypatch.setenv("DUCK_KEY", "quack-secret")
    ask = Endpoint(f"http://127.0.0.1:{service.server_port}/v1", "duck", "DUCK_KEY")
    with pytest.raises(error, match=said.replace("(", r"\(")) as found:
        ask(prompt, SHORT if error is LateError else LIMITS)
    assert "quack-secret" not in str(found.value)
    assert len(service.asked) == 1  # no redirect was followed


def test_an_endpoint_that_is_not_there_or_has_no_key_is_an_error(service, monkeypatch):
    port = service.server_port
    monkeypatch.delenv("DUCK_KEY", raising=False)
    with pytest.raises(ConfigError, match="environment variable DUCK_KEY"):
        Endpoint(f"http://127.0.0.1:{port}/v1", "duck", "DUCK_KEY")("hello", LIMITS)
    with pytest.raises(ConfigError, match="unencrypted"):
        Endpoint("http://example.org/v1", "duck", "DUCK_KEY")
    with pytest.raises(ConfigError, match="Expected an address"):
        Endpoint("file:///etc/passwd", "duck")
    service.shutdown()
    service.server_close()
    with pytest.raises(AskError, match="cannot be reached"):
        Endpoint(f"http://127.0.0.1:{port}/v1", "duck")("hello", LIMITS)


def test_local_models_share_a_process_under_a_memory_cap(stories):
    models = LocalModels(memory=10 * 2**20, starting=120)
    ask = models.expert(str(stories))
    reply = ask("Once upon a time", Limits(60.0, 5))
    assert reply.text
    assert reply.tokens == 5
    assert models.expert(str(stories))("Once upon a time", Limits(60.0, 5)) == reply
    with pytest.raises(AskError, match="the cap is 1,000"):
        LocalModels(memory=1000, starting=120).expert(str(stories))("Once", Limits(60.0, 5))


def test_experts_of_a_file_are_asked_where_the_file_lies(module, tmp_path):
    (tmp_path / "experts.yaml").write_text(
        "contracts:\n  words: {kind: question_answering, seconds: 5, prompt: 'Say {question}'}\n"
        "experts:\n  - {name: loud, function: 'answers:loud', contract: words, cost: 2, token_cost: 0.5}\n"
    )
    [expert] = make_experts(read_experts_file(tmp_path / "experts.yaml"))
    assert expert.ask(expert.contract.question(expert.contract.accept("hi")), LIMITS).text == "SAY HI"
    assert expert.price(4) == 4.0


GOOD = {
    "contracts": {"words": {"kind": "question_answering"}},
    "experts": [{"name": "a", "function": "m:f", "contract": "words"}],
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expert": []}, "unknown key `expert`. Did you mean `experts`"),
        ({"experts": []}, "`experts`"),
        ({"fallback": ["b"]}, "`fallback` names b"),
        (
            {"experts": [{"name": "a", "contract": "words"}]},
            "one of function, model and endpoint, found none",
        ),
        ({"experts": [{"name": "a", "function": "m:f", "contract": "word"}]}, "there are: words"),
        ({"experts": [*GOOD["experts"], *GOOD["experts"]]}, "a name of its own"),
        ({"router": {"kind": "oracle"}}, "`router.kind`"),
        ({"router": {"prize": 1}}, "Did you mean `price`"),
    ],
)
def test_a_wrong_experts_file_says_what_is_wrong(change, said):
    with pytest.raises(ConfigError) as found:
        parse_experts_file({**GOOD, **change})
    assert said in str(found.value)


def test_a_contract_that_lacks_its_labels_or_has_others_is_an_error():
    for contract, said in (
        ({"kind": "classification"}, "two or more different labels"),
        ({"kind": "code", "labels": ["a", "b"]}, "`labels` is not for code"),
    ):
        file = parse_experts_file({**GOOD, "contracts": {"words": contract}})
        with pytest.raises(ConfigError, match=said):
            make_experts(file)
