"""Questions from files as people have them; every fault is told with its line."""

import json

import pytest

from merganser import ConfigError, TaskError
from merganser.evaluation import Columns, read_questions


@pytest.fixture
def file(tmp_path):
    """Writes a file of this name, rows as JSON lines where they are not text."""

    def write(name, content, encoding="utf-8"):
        path = tmp_path / name
        if not isinstance(content, str | bytes):
            content = "\n".join(json.dumps(row, ensure_ascii=False) for row in content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
        return path

    return write


def test_gsm8k(file):
    solution = "Half of 84 is <<84/2=42>>42.\n#### 42"
    (question,) = read_questions(file("gsm8k.jsonl", [{"question": "Half of 84?", "answer": solution}]))
    assert (question.text, question.answers, question.line) == ("Half of 84?", ("42",), 1)
    assert question.fields == {"question": "Half of 84?", "solution": solution}


def test_mgsm_has_no_header_and_quotes_that_are_text(file):
    questions = read_questions(file("mgsm_ja.tsv", 'ロジャーは"5"個？\t11\n"一つ\t1,200\n'))
    assert [(q.text, q.answers, q.line) for q in questions] == [
        ('ロジャーは"5"個？', ("11",), 1),
        ('"一つ', ("1,200",), 2),
    ]


def test_mgsm_from_the_hub_has_an_empty_answer_and_a_number(file):
    row = {"question": "いくつ？", "answer": None, "answer_number": 18, "equation_solution": None}
    (question,) = read_questions(file("mgsm.jsonl", [row]))
    assert question.answers == ("18",)


def test_svamp(file):
    row = {"ID": "1", "Body": "Ann has 3 pens.", "Question": "How many?", "Answer": 3.0, "Type": "Common"}
    (question,) = read_questions(file("SVAMP.json", json.dumps([row])))
    assert (question.text, question.answers) == ("Ann has 3 pens. How many?", ("3",))
    assert question.fields["Type"] == "Common"


def test_jcommonsenseqa(file):
    row = {"q_id": 1, "question": "主に子ども向けのものは？", "label": 2}
    row |= {f"choice{k}": text for k, text in enumerate(["世界", "写真集", "絵本", "論文", "図鑑"])}
    (question,) = read_questions(file("jcqa.jsonl", [row]))
    assert question.choices == ("世界", "写真集", "絵本", "論文", "図鑑")
    assert (question.right, question.answers) == (2, ("絵本",))


@pytest.mark.parametrize(
    ("row", "right"),
    [
        ({"choices": {"text": ["x", "y"], "label": ["A", "B"]}, "answerKey": "B"}, 1),
        ({"choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "1"}, 0),
        ({"choices": {"A": "x", "B": "y"}, "answer": "B"}, 1),
        ({"options": ["x", "y"], "answer": "b"}, 1),
        ({"options": ["x", "y"], "answer": "y"}, 1),
        ({"choices": ["1", "2", "0"], "answer": 1}, 1),  # MMLU: a number is a position
        ({"choices": ["1", "2", "0"], "answer": "1"}, 0),  # a text is a choice, if it is one
        ({"choices": ["1", "2", "0"], "label": "1"}, 1),
        ({"ctx": "…", "endings": ["x", "y"], "label": "1"}, 1),
        ({"option_a": "x", "option_b": "y", "answer": "B"}, 1),
        ({"choice0": "x", "choice1": "y", "choice2": None, "label": 1}, 1),
    ],
)
def test_the_right_choice_however_it_is_given(file, row, right):
    (question,) = read_questions(file("q.jsonl", [{"question": "?", **row}]))
    assert question.right == right
    assert question.answers == (question.choices[right],)
    assert len(question.choices) == len([c for c in question.choices if c])


def test_several_accepted_answers_and_a_list_inside_an_object(file):
    rows = {"version": "1", "data": [{"prompt": "Capital?", "answers": ["Paris", " Lutetia "]}]}
    (question,) = read_questions(file("q.json", json.dumps(rows)))
    assert question.answers == ("Paris", "Lutetia")


def test_csv_with_line_breaks_a_mark_and_columns_of_its_own(file):
    text = '\ufeffaufgabe,kontext,lösung\n"1 + 1\nist","a, b",2\n\nzwei,c,3\n'
    columns = Columns(("kontext", "aufgabe"), "lösung")
    questions = read_questions(file("q.csv", text), columns)
    assert [(q.text, q.answers) for q in questions] == [("a, b 1 + 1\nist", ("2",)), ("c zwei", ("3",))]


def test_other_encodings(file):
    path = file("q.csv", "question,answer\nいくつ,3\n", "cp932")
    assert read_questions(path, encoding="cp932")[0].text == "いくつ"
    with pytest.raises(TaskError, match=r"line 2: not utf-8. Save it as UTF-8, or give its encoding"):
        read_questions(path)
    with pytest.raises(TaskError, match="no encoding 'cp-932-ms'"):
        read_questions(path, encoding="cp-932-ms")


def test_texts_without_answers(file):
    questions = read_questions(file("texts.jsonl", [{"text": "once"}, {"text": "upon"}]))
    assert [(q.text, q.answers) for q in questions] == [("once", ()), ("upon", ())]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.jsonl", '{"question": "a", "answer": "b"}\n\n{"question": "a", "answer\n', "line 3: no JSON"),
        ("q.jsonl", '["a"]', "line 1: expected an object"),
        ("q.jsonl", "", "holds no questions"),
        ("q.json", '{"a": 1}', "found 0 lists"),
        ("q.json", '"a"', "found str"),
        ("q.json", "[\n[}", "line 2: no JSON"),
        ("q.csv", "question,answer\na,b\na,b,c\n", "line 3: 3 cells, but there are 2 columns"),
        ("q.csv", 'question,answer\na,"b\n', "line 2: unexpected end of data"),
        ("q.csv", "a,b,c\n1,2,3\n", "no column that we know as a question; it has a, b, c"),
        ("q.txt", "a", "Expected a file of questions"),
        (
            "q.jsonl",
            [{"question": "a", "answer": "1"}, {"question": " ", "answer": "1"}],
            "1 questions are empty, the first in line 2",
        ),
        (
            "q.jsonl",
            [{"question": "a", "answer": "1"}, {"question": "b"}],
            "1 answers are missing, the first in line 2",
        ),
        (
            "q.jsonl",
            [{"question": "a", "choices": ["x", "y"], "label": 2}],
            "line 1: the answer '2' is none of 2 choices",
        ),
        (
            "q.jsonl",
            [{"question": "a", "choices": ["x", "y"], "answer": "z"}],
            "a letter from A to B, or a choice",
        ),
    ],
)
def test_faults_are_told_with_their_line(file, name, content, message):
    with pytest.raises(TaskError, match=message):
        read_questions(file(name, content))


def test_a_file_that_is_not_there_and_a_column_that_is_not_there(file, tmp_path):
    with pytest.raises(TaskError, match="No such file"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="has no column 'frage'; it has question, answer"):
        read_questions(file("q.csv", "question,answer\na,b\n"), Columns(("frage",)))
