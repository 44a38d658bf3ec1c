"""Does the text agree with the answer? Comparing texts, and finding the letter of a choice.

| scorer | 1 where |
| --- | --- |
| `exact[:IGNORED]` | the whole text is an accepted answer |
| `contains[:IGNORED]` | an accepted answer occurs in the text |
| `regex:PATTERN` | the pattern occurs; with a group, what the last match captures is an accepted answer |
| `letter` | the letter of the right choice is given: "The answer is (B)", "B.", "答えはB" |

`IGNORED` is a list of `case`, `punctuation`, `articles` and `blanks`, joined by commas. Outer blanks never count.
"""

from __future__ import annotations

import re
import string
import unicodedata

from merganser._errors import ConfigError
from merganser.evaluation._question import Question
from merganser.evaluation.scorers._scorer import Scorer, Verdict, needs_answer, verdict

_IGNORABLE = ("case", "punctuation", "articles", "blanks")
_WIDE_LETTERS = {c: c - 0xFEE0 for c in range(0xFF01, 0xFF5F)}
_LETTER_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?i:\banswer(?:\s+is)?|答え(?:は)?|正解(?:は)?|回答(?:は)?)\s*[:：]?\s*[*(「『]*([A-Z])(?![A-Za-z'])",
        r"^\s*[*(「『]*([A-Z])(?:[*).:、。」』]|\s*$|\s*\n)",
        r"\(([A-Z])\)",
    )
)


def exact(ignored: str) -> Scorer:
    """Whole texts are compared, but for what is ignored."""
    what = _ignored("exact", ignored)

    def judge(question: Question, text: str) -> Verdict:
        right = _reduced(text, what) in {_reduced(answer, what) for answer in question.answers}
        return verdict(right, text, question.answers[0])

    return Scorer(_name("exact", ignored), judge, complaint=needs_answer)


def contains(ignored: str) -> Scorer:
    """An accepted answer is looked for in the text."""
    what = _ignored("contains", ignored)

    def judge(question: Question, text: str) -> Verdict:
        whole = _reduced(text, what)
        right = any(_reduced(answer, what) in whole for answer in question.answers)
        return verdict(right, text, question.answers[0])

    return Scorer(_name("contains", ignored), judge, complaint=needs_answer)


def regex(pattern: str) -> Scorer:
    """A pattern is looked for; what its first group captures last is the answer.

    Raises:
        ConfigError: If the pattern is none.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"`regex:{pattern}` is no regular expression: {error}.") from error
    if not pattern:
        raise ConfigError("`regex` needs a pattern, for example `regex:answer is (\\w+)`.")

    def judge(question: Question, text: str) -> Verdict:
        matches = list(compiled.finditer(text))
        if not matches:
            return Verdict(0.0, f"no match of {pattern}")
        if not compiled.groups:
            return Verdict(1.0)
        found = (matches[-1][1] or "").strip()
        return verdict(found in {a.strip() for a in question.answers}, found, question.answers[0])

    return Scorer(f"regex:{pattern}", judge, complaint=needs_answer if compiled.groups else lambda _: None)


def chosen_letter(text: str, count: int) -> int | None:
    """Position of the choice whose letter a text gives, among `count`; None if it gives none.

    Examples:
        >>> chosen_letter("So the answer is (B).", 4), chosen_letter("A dog", 4)
        (1, None)
    """
    plain = text.translate(_WIDE_LETTERS)
    known = string.ascii_uppercase[:count]
    for pattern in _LETTER_PATTERNS:
        found = [letter for letter in pattern.findall(plain) if letter in known]
        if found:
            return known.index(found[-1])
    return None


def _judge_letter(question: Question, text: str) -> Verdict:
    found = chosen_letter(text, len(question.choices))
    if found is None:
        return Verdict(0.0, "no letter found")
    letters = string.ascii_uppercase
    return verdict(found == question.right, letters[found], letters[question.right or 0])


def _letter_complaint(question: Question) -> str | None:
    return "has no choices" if question.right is None else None


LETTER = Scorer("letter", _judge_letter, complaint=_letter_complaint)


def _name(name: str, argument: str) -> str:
    return f"{name}:{argument}" if argument else name


def _ignored(name: str, text: str) -> frozenset[str]:
    what = frozenset(filter(None, (part.strip() for part in text.split(","))))
    if what - set(_IGNORABLE):
        raise ConfigError(
            f"`{name}` can ignore {', '.join(_IGNORABLE)}, but not {', '.join(sorted(what - set(_IGNORABLE)))}."
        )
    return what


def _reduced(text: str, ignored: frozenset[str]) -> str:
    if "case" in ignored:
        text = text.casefold()
    if "punctuation" in ignored:
        text = "".join(c for c in text if not unicodedata.category(c).startswith("P"))
    if "articles" in ignored:
        text = re.sub(r"(?i)\b(?:a|an|the)\b", " ", text)
    if "blanks" in ignored:
        return "".join(text.split())
    return " ".join(text.split()) if ignored else text.strip()
