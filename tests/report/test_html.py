"""What comes from outside is text, wherever it is put."""

import json

from merganser.report._html import Html, element, inline_script, joined, json_script, table

HOSTILE = """<script>alert("1")</script>&'"""


def test_text_in_an_element_is_escaped():
    assert "<script>" not in element("p", HOSTILE)
    assert element("p", "a", element("b", "c")) == "<p>a<b>c</b></p>"


def test_text_in_an_attribute_cannot_leave_it():
    assert element("p", title='" onclick="x') == '<p title="&quot; onclick=&quot;x"></p>'


def test_what_is_html_already_is_left_alone():
    assert joined([Html("<b>"), "<b>", None]) == "<b>&lt;b&gt;"


def test_cells_of_a_table_are_escaped():
    text = table([HOSTILE], [[HOSTILE, HOSTILE]], caption=HOSTILE)
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 4


def test_data_cannot_end_its_script_and_is_unchanged():
    text = json_script("spec", {"name": HOSTILE})
    body = text.removeprefix('<script type="application/json" id="spec">').removesuffix("</script>")
    assert "<" not in body
    assert json.loads(body) == {"name": HOSTILE}


def test_a_script_cannot_end_itself():
    text = inline_script('x = "</script><!--"')
    assert text.count("</script") == 1
    assert "<!--" not in text
