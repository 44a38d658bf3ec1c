"""What the first pass asks."""

import pytest

from merganser.adaptation.strategies import DispatchPrompt


def test_nothing_in_a_request_is_taken_for_a_field():
    prompt = DispatchPrompt("{experts}|{request}", other=None)
    assert prompt.text("{experts} {request} {x}", {"a": "b"}) == "- a: b|{experts} {request} {x}"


def test_an_expert_without_a_description_is_named_only():
    assert "- maths\n- other: anything" in DispatchPrompt().text("1?", {"maths": ""})


def test_labels_are_the_experts_and_other_unless_it_is_left_out():
    assert DispatchPrompt().labels({"a": "", "b": ""}) == ("a", "b", "other")
    assert DispatchPrompt(other=None).labels({"a": "", "b": ""}) == ("a", "b")


def test_in_a_chat_a_label_begins_without_a_blank():
    assert DispatchPrompt(chat=True).labelled("a") == "a"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"template": "{experts}"}, "needs `{request}`"),
        ({"answer": " label"}, "needs `{label}`"),
        ({"read": "guess"}, "likelihood, boxed, found 'guess'"),
    ],
)
def test_a_prompt_that_lacks_something_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        DispatchPrompt(**wrong)
