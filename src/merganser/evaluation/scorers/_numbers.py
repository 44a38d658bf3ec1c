r"""Is the number right? Our reading of numbers, and those of published evaluators with their quirks.

| scorer | the model's number | compared |
| --- | --- | --- |
| `numeric` | after `####` if there is one, else the last in the text | exactly, as fractions |
| `numeric:evomerge` | last match of `\d*\.?\d+`: no commas, no minus; "1,234" is 234, "-5" is 5 | as floats |
| `numeric:lm-eval-strict` | first match of `#### (\-?[0-9\.\,]+)` | as texts without commas, dollars, last stop |
| `numeric:lm-eval-flexible` | last match of `(-?[$0-9.,]{2,})\|(-?[0-9]+)` | the same |

`numeric` reads thousands commas, decimals, fractions (`3/4`, `½`, `1 1/2`, `\frac{3}{4}`), a minus sign that does not
follow an operand, full-width digits, and Japanese units (`3万5千` is 35,000); currency and percent signs do not count.

References:
    Akiba et al., *Evolutionary Optimization of Model Merging Recipes*, Nature Machine Intelligence 2025: its
    released evaluator of MGSM-JA. EleutherAI, lm-evaluation-harness, task `gsm8k`, version 3.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator
from fractions import Fraction

from merganser.evaluation._question import Question
from merganser.evaluation.scorers._scorer import Scorer, Verdict, needs_answer, verdict

_WIDE = {c: c - 0xFEE0 for c in range(0xFF01, 0xFF5F)} | {
    0x3000: " ",
    0xFFE5: "¥",
    **dict.fromkeys((0x2212, 0x2012, 0x2013, 0xFE63), "-"),
}
"""Full-width forms and the signs that are used as a minus."""

_DECIMAL = r"(?:(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3}\b)?"
_UNITS = {"千": 10**3, "万": 10**4, "億": 10**8, "亿": 10**8, "兆": 10**12}
_UNIT = r"千?[万億亿兆]|千"
_NUMBER = re.compile(
    rf"(?P<minus>(?<![A-Za-z0-9)\].])-(?=[$€£¥]?[0-9.]))?(?:[$€£¥](?P<sign>-(?=[0-9.]))?)?"
    rf"(?:(?P<japanese>(?:{_DECIMAL}(?:{_UNIT}))+(?:{_DECIMAL})?)"
    rf"|(?:(?P<whole>[0-9]+)\ (?=[0-9]+/[0-9]))?(?P<value>{_DECIMAL})(?:\s?/\s?(?P<under>{_DECIMAL}))?)"
)
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_TEX_FRACTION = re.compile(r"\\[dt]?frac\{(-?[0-9.]+)\}\{([0-9.]+)\}")
_MARK = re.compile(r"####(.*)")


def numbers_in(text: str) -> Iterator[Fraction]:
    """All numbers in a text, in order.

    Examples:
        >>> [str(x) for x in numbers_in("1,234.5 − no, -5 or １２％; ½ of $10-3")]
        ['2469/2', '-5', '12', '1/2', '10', '3']
    """
    for match in _NUMBER.finditer(_plain(text)):
        try:
            value = _value(match)
        except (ValueError, ZeroDivisionError):  # longer than Python reads, or divided by zero
            continue
        yield -value if match["minus"] or match["sign"] else value


def answer_number(text: str) -> Fraction | None:
    """The number a text ends up with: after `####` if there is one, else the last; None if there is no number."""
    for line in _MARK.findall(text):
        if (marked := next(numbers_in(line), None)) is not None:
            return marked
    return next(iter(reversed(list(numbers_in(text)))), None)


def _plain(text: str) -> str:
    spaced = _VULGAR.sub(lambda m: " " + unicodedata.normalize("NFKC", m[0]).replace("⁄", "/"), text)
    ascii_signs = spaced.translate(_WIDE).replace("{,}", ",").replace("\\$", "$")
    return _TEX_FRACTION.sub(r"\1/\2", ascii_signs)


def _value(match: re.Match[str]) -> Fraction:
    if match["japanese"]:
        parts = re.findall(rf"({_DECIMAL})({_UNIT})?", match["japanese"])
        return sum(
            (_decimal(number) * math.prod(_UNITS[u] for u in unit) for number, unit in parts), Fraction(0)
        )
    value = _decimal(match["value"])
    if match["under"]:
        value /= _decimal(match["under"])
    return value + (int(match["whole"]) if match["whole"] else 0)


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


def _judge(question: Question, text: str) -> Verdict:
    found = answer_number(text)
    if found is None:
        return Verdict(0.0, "no number found")
    expected = [answer_number(answer) for answer in question.answers]
    return verdict(found in expected, _readable(found), question.answers[0])


def _readable(number: Fraction) -> str:
    return f"{number.numerator:,}" if number.denominator == 1 else str(number)


def _complaint(question: Question) -> str | None:
    missing = [answer for answer in question.answers if answer_number(answer) is None]
    return f"has the answer {missing[0]!r}, which holds no number" if missing else needs_answer(question)


def _judge_evomerge(question: Question, text: str) -> Verdict:
    matches = re.findall(r"\d*\.?\d+", text)
    if not matches:
        return Verdict(0.0, "no number found")
    expected = {float(n) for answer in question.answers if (n := answer_number(answer)) is not None}
    return verdict(float(matches[-1]) in expected, matches[-1], question.answers[0])


def _lm_eval(extract: Callable[[str], str | None]) -> Callable[[Question, str], Verdict]:
    def judge(question: Question, text: str) -> Verdict:
        found = extract(text)
        if found is None:
            return Verdict(0.0, "no number found")
        expected = {_stripped(answer) for answer in question.answers}
        return verdict(_stripped(found) in expected, found, question.answers[0])

    return judge


def _stripped(text: str) -> str:
    bare = re.sub(r"(?s).*#### ", "", re.sub(r"[,$]", "", text))
    return re.sub(r"\.$", "", bare).lower()


def _strict(text: str) -> str | None:
    return next(iter(re.findall(r"#### (\-?[0-9\.\,]+)", text)), None)


def _flexible(text: str) -> str | None:
    matches = re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", text)
    return next(part for part in matches[-1] if part) if matches else None


NUMERIC = {
    "": Scorer("numeric", _judge, complaint=_complaint),
    "evomerge": Scorer("numeric:evomerge", _judge_evomerge, complaint=_complaint),
    "lm-eval-strict": Scorer("numeric:lm-eval-strict", _lm_eval(_strict), complaint=needs_answer),
    "lm-eval-flexible": Scorer("numeric:lm-eval-flexible", _lm_eval(_flexible), complaint=needs_answer),
}
