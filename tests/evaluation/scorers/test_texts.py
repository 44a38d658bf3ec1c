"""Scorers of texts, against values worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser import ConfigError
from merganser.evaluation import Question
from merganser.evaluation.scorers import chosen_letter, gated, rouge_l, scorer_named, script_share

PARIS = Question("Capital of France?", ("Paris", "The City of Light"))
CHOICE = Question("Which?", ("red",), ("blue", "red", "green"), 1)


@pytest.mark.parametrize(
    ("scorer", "text", "score"),
    [
        ("exact", " Paris\n", 1),
        ("exact", "paris", 0),
        ("exact:case", "paris", 1),
        ("exact", "Paris.", 0),
        ("exact:punctuation", "Paris.", 1),
        ("exact:articles,case", "city of  light", 1),
        ("exact:blanks", "P a r i s", 1),
        ("contains", "It is Paris, of course", 1),
        ("contains", "It is paris", 0),
        ("contains:case", "It is paris", 1),
        (r"regex:is (\w+)", "it is Rome, it is Paris", 1),
        (r"regex:is (\w+)", "it is Paris, it is Rome", 0),
        (r"regex:(?i)paris", "PARIS", 1),
        (r"regex:^Paris", "not Paris", 0),
    ],
)
def test_texts_are_compared_as_asked(scorer, text, score):
    assert scorer_named(scorer).judge(PARIS, text).score == score


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("The answer is (B).", 1),
        ("Answer: C", 2),
        ("answer is A, no, the answer is B", 1),
        ("B", 1),
        ("B. red", 1),
        ("**C**", 2),
        ("Ｂ", 1),
        ("答えはBです", 1),
        ("正解：（Ｃ）", 2),
        ("I think (A)", 0),
        ("A dog", None),
        ("The answer is Apple", None),
        ("answer: D", None),
        ("", None),
    ],
)
def test_the_letter_of_a_choice(text, at):
    assert chosen_letter(text, 3) == at
    expected = 1.0 if at == 1 else 0.0
    assert scorer_named("letter").judge(CHOICE, text).score == expected


@pytest.mark.parametrize(
    ("text", "reference", "value"),
    [
        ("the cat sat", "the cat sat", 1),
        ("the cat", "the cat sat on", 2 * 2 / 6),
        ("the gunman kill police", "police killed the gunman", 0.5),
        ("a b c d", "b d a", 2 * 2 / 7),
        ("x", "y", 0),
    ],
)
def test_rouge_l_equals_values_worked_out_by_hand(text, reference, value):
    assert rouge_l(text.split(), reference.split()) == pytest.approx(value)


@given(st.text("abc", max_size=8), st.text("abc", max_size=8))
def test_rouge_l_equals_the_recursion_it_is_defined_by(a, b):
    def common(x, y):
        if not x or not y:
            return 0
        if x[0] == y[0]:
            return 1 + common(x[1:], y[1:])
        return max(common(x[1:], y), common(x, y[1:]))

    expected = 2 * common(a, b) / (len(a) + len(b)) if a and b else 0
    assert rouge_l(a, b) == pytest.approx(expected)


def test_rouge_l_counts_characters_of_japanese_and_words_of_english():
    japanese, english = Question("?", ("猫が 座る",)), Question("?", ("The cat sat.",))
    auto, characters, words = map(scorer_named, ("rouge-l", "rouge-l:characters", "rouge-l:words"))
    assert auto.judge(japanese, "猫が寝る").score == pytest.approx(2 * 3 / 8)
    assert words.judge(japanese, "猫が寝る").score == 0
    assert auto.judge(english, "the CAT stood").score == pytest.approx(2 * 2 / 6)
    assert characters.judge(english, "The cat").score == pytest.approx(2 * 6 / 16)
    assert auto.judge(Question("?", ("no", "the cat")), "the cat").score == 1
    assert not auto.binary


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("答えは42です。", (1, 0, 0)),
        ("カタカナ", (1, 0, 0)),
        ("ｶﾀｶﾅ", (1, 0, 0)),
        ("我们的答案是四十二", (0, 1, 0)),
        ("정답은 42입니다", (0, 0, 1)),
        ("The answer is 42", (0, 0, 0)),
        ("42 + 1 = 43", (0, 0, 0)),
        ("", (0, 0, 0)),
        ("xはyです", (0.6, 0, 0)),
    ],
)
def test_the_script_tells_the_language(text, shares):
    assert [script_share(text, language) for language in ("ja", "zh", "ko")] == pytest.approx(shares)


def test_a_right_number_in_the_wrong_language_counts_nothing():
    question, plain = Question("?", ("42",)), scorer_named("numeric")
    scorer = gated(plain, "ja")
    assert scorer.judge(question, "答えは42です") == (1, "")
    assert scorer.judge(question, "The answer is 42") == (0, "the text is not in `ja`")
    assert scorer.judge(question, "答えは41です") == (0, "found 41, expected 42")
    assert scorer.identity != plain.identity


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("numerik", "Did you mean `numeric`"),
        ("numeric:gpt", "There is no scorer `numeric:gpt`; there are `numeric`"),
        ("exact:whatever", "can ignore case, punctuation, articles, blanks, but not whatever"),
        ("regex:(", "no regular expression"),
        ("regex", "needs a pattern"),
        ("zzz", "Known: numeric"),
        ("no_such_module_of_mine:f", "No module named"),
        ("json:no_such_function", "no attribute"),
    ],
)
def test_unknown_scorers_are_refused_with_a_hint(name, message):
    with pytest.raises(ConfigError, match=message):
        scorer_named(name)


@pytest.mark.parametrize(
    ("detector", "language", "message"),
    [
        ("script", "de", "but not 'de'"),
        ("magic", "ja", "Expected the detector"),
        ("fasttext:nowhere.ftz", "ja", "There is no language model nowhere.ftz"),
    ],
)
def test_unknown_detectors_are_refused(detector, language, message):
    with pytest.raises(ConfigError, match=message):
        gated(scorer_named("numeric"), language, detector)


def test_fasttext_tells_the_language_where_it_is_installed(tmp_path):
    fasttext = pytest.importorskip("fasttext")
    pairs = [(f"答えは{i}です これは日本語です", f"the answer is {i} this is english") for i in range(200)]
    lines = [f"__label__ja {a}\n__label__en {b}\n" for a, b in pairs]
    (tmp_path / "train.txt").write_text("".join(lines))
    model = fasttext.train_supervised(str(tmp_path / "train.txt"), epoch=25, lr=1.0, verbose=0)
    model.save_model(str(tmp_path / "small.bin"))
    scorer = gated(scorer_named("numeric"), "ja", f"fasttext:{tmp_path / 'small.bin'}")
    question = Question("?", ("3",))
    assert scorer.judge(question, "これは\n日本語です 3").score == 1
    assert scorer.judge(question, "the answer is 3") == (0, "the text is not in `ja`")


def test_without_fasttext_the_error_says_what_to_install(tmp_path):
    try:
        import fasttext  # noqa: F401
    except ImportError:
        (tmp_path / "lid.176.ftz").write_bytes(b"model")
        with pytest.raises(ConfigError, match="pip install fasttext"):
            gated(scorer_named("numeric"), "ja", f"fasttext:{tmp_path / 'lid.176.ftz'}")
    else:
        pytest.skip("it is installed")
