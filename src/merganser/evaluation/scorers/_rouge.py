r"""ROUGE-L: how much of the longest common subsequence of answer and reference either of them is.

$P = \mathrm{LCS}/m$ and $R = \mathrm{LCS}/n$ for a text of $m$ and a reference of $n$ units; the score is their
harmonic mean $2PR/(P + R)$ (the paper's $F$ with $\beta = 1$). Units are words in lower case (`rouge-l:words`),
characters without blanks (`rouge-l:characters`), or by the reference's script (`rouge-l`): characters where it is
Japanese or Chinese. Words are not stemmed. Of several references the best counts.

References:
    Lin, *ROUGE: A Package for Automatic Evaluation of Summaries*, 2004, section 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from merganser.evaluation._question import Question
from merganser.evaluation.scorers._scorer import Scorer, Verdict, needs_answer

_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


def rouge_l(text: Sequence[str], reference: Sequence[str]) -> float:
    """F-measure of the longest common subsequence, in [0, 1].

    Examples:
        >>> rouge_l("police kill the gunman".split(), "police killed the gunman".split())
        0.75
    """
    common = _longest_common(text, reference)
    return 2 * common / (len(text) + len(reference)) if common else 0.0


def words(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return re.findall(r"\w+", text.lower())


def characters(text: str) -> list[str]:
    """Characters without blanks."""
    return [c for c in text if not c.isspace()]


def _by_script(reference: str) -> Callable[[str], list[str]]:
    return characters if _UNSPACED.search(reference) else words


def _longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b, start=1):
            before, row[j] = row[j], before + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def _scorer(name: str, units: Callable[[str], list[str]] | None) -> Scorer:
    def judge(question: Question, text: str) -> Verdict:
        best = 0.0
        for reference in question.answers:
            cut = units or _by_script(reference)
            best = max(best, rouge_l(cut(text), cut(reference)))
        return Verdict(best, "" if best else "nothing in common with the reference")

    return Scorer(name, judge, binary=False, complaint=needs_answer)


ROUGE = {
    "": _scorer("rouge-l", None),
    "words": _scorer("rouge-l:words", words),
    "characters": _scorer("rouge-l:characters", characters),
}
