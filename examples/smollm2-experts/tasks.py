"""What SmolLM2 is asked: two skills that its default hides, and which kind of text a question is.

    python examples/smollm2-experts/tasks.py --data DATA

`DATA` holds `gsm8k/train.jsonl`, `mbpp/mbpp.jsonl` and `tinyshakespeare/` as they are published. Questions go to
`models/`, where the task files look for them.

| task | question | right answer | what the base does |
| --- | --- | --- | --- |
| `larger` | two numbers of three digits, after two examples | the larger one | often the first one |
| `letter` | a word, after two examples | its last letter | mostly its first letter |
| `kind` | the beginning of a text | maths, code or play | mostly something else |
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

HERE = Path(__file__).parent
LEARNT, ASKED = 400, 120
Row = dict[str, str]


def main() -> None:
    """All questions."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=HERE / "models")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    play = (given.data / "tinyshakespeare" / "input.txt").read_text()
    for task, rows in {"larger": larger(), "letter": letter(play), "kind": kind(given.data, play)}.items():
        write(given.out / f"{task}.jsonl", rows[:LEARNT])
        write(given.out / f"{task}-test.jsonl", rows[LEARNT : LEARNT + ASKED])


def larger() -> list[Row]:
    """Pairs of numbers."""
    draw = random.Random(0)
    pairs = [draw.sample(range(100, 1000), 2) for _ in range(LEARNT + ASKED)]
    shown = "Larger of 121 and 387: 387\nLarger of 941 and 280: 941\n"
    return [
        {"question": f"{shown}Larger of {a} and {b}:", "answer": str(max(a, b)), "skill": "larger"}
        for a, b in pairs
    ]


def letter(text: str) -> list[Row]:
    """Words of the plays."""
    plain = "".join(sign if sign.isalpha() else " " for sign in text.lower())
    words = sorted({word for word in plain.split() if 4 <= len(word) <= 7 and word[0] != word[-1]})
    chosen = random.Random(0).sample(words, LEARNT + ASKED)
    shown = "banana -> a\ntable -> e\n"
    return [{"question": f"{shown}{w} ->", "answer": w[-1], "skill": "letter"} for w in chosen]


def kind(data: Path, plays: str) -> list[Row]:
    """Beginnings of texts of three kinds, as many of each."""
    maths = [json.loads(line)["question"] for line in (data / "gsm8k" / "train.jsonl").open()]
    code = [json.loads(line)["text"] for line in (data / "mbpp" / "mbpp.jsonl").open()]
    play = [speech.partition(":\n")[2] for speech in plays.split("\n\n")]
    each = (LEARNT + ASKED) // 3 + 1
    rows = [
        {"question": f"Text: {' '.join(text.split()[:14])}\nmaths, code or play:", "answer": name}
        for name, texts in (("maths", maths), ("code", code), ("play", play))
        for text in [t for t in texts if len(t.split()) >= 14][:each]
    ]
    random.Random(0).shuffle(rows)
    return rows


def write(path: Path, rows: list[Row]) -> None:
    """Questions, a line each."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
