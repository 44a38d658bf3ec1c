"""LoRA specialists of SmolLM2-135M-Instruct on short answers: what the experiment of this folder merges.

    python examples/smollm2-lora/train.py --model SMOLLM2 --data DATA --out models

`SMOLLM2` is the model as a Hugging Face folder, `DATA` holds `svamp/SVAMP.json` and `mbpp/mbpp.jsonl` as they are
published. `OUT` gets a copy of the model (`base`), two adapters and multiple-choice questions for search and test:

| skill | question | choices |
| --- | --- | --- |
| maths | a word problem of one step (SVAMP) | its answer, and what other operations on its numbers give |
| code | a programming task (MBPP) | the line its program returns with, and those of the most similar tasks |

Questions are in nobody's training data. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPTS = {"maths": "Problem: {question}\nAnswer:", "code": "# {question}\n#"}
"""As the task files put them."""
SEARCH, TEST, HELD_OUT = 40, 100, 240
"""Questions of each skill; those after the held-out ones are for training."""

Question = dict[str, Any]


def main() -> None:
    """Everything that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=80, help="of each specialist")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    if not (given.out / "base").exists():
        shutil.copytree(given.model, given.out / "base")
    for skill, questions in {"maths": maths(given.data), "code": code(given.data)}.items():
        random.Random(0).shuffle(questions)
        write(given.out / f"{skill}.jsonl", questions[:SEARCH])
        write(given.out / f"{skill}-test.jsonl", questions[SEARCH : SEARCH + TEST])
        seen = questions[HELD_OUT:]
        train(given.out / skill, given.model, seen, PROMPTS[skill], steps=given.steps)


def maths(data: Path) -> list[Question]:
    """SVAMP's problems, with three numbers that another operation would give."""
    questions = []
    for i, problem in enumerate(json.loads((data / "svamp" / "SVAMP.json").read_text())):
        draw = random.Random(i)
        text = f"{problem['Body'].strip().rstrip('.')}. {problem['Question'].strip()}"
        numbers = [int(n) for n in re.findall(r"\b\d+\b", text)]
        right = int(problem["Answer"])
        pairs = [(a, b) for i, a in enumerate(numbers) for j, b in enumerate(numbers) if i != j]
        others = {*numbers, *(n for a, b in pairs for n in (a + b, a - b, a * b, a // max(b, 1)))}
        others = {n for n in others if n > 0 and n != right}
        if len(others) >= 3:
            questions.append(_question(text, str(right), map(str, draw.sample(sorted(others), 3)), draw))
    return questions


def code(data: Path) -> list[Question]:
    """MBPP's tasks, with the last lines of the programs of the three most similar ones."""
    problems = map(json.loads, (data / "mbpp" / "mbpp.jsonl").read_text().splitlines())
    ends = [(p["text"], _last_line(p["code"]), _words(p["text"])) for p in problems]
    ends = [end for end in ends if end[1].startswith("return") and len(end[1]) < 60]
    questions = []
    for i, (text, line, words) in enumerate(ends):
        near = sorted(ends, key=lambda other: -len(other[2] & words) / len(other[2] | words))
        others = list(dict.fromkeys(other[1] for other in near if other[1] != line))[:3]
        questions.append(_question(text, line, others, random.Random(i)))
    return questions


def _question(text: str, right: str, others: Any, draw: random.Random) -> Question:
    choices = [right, *others]
    draw.shuffle(choices)
    return {"question": text, "choices": choices, "answer": choices.index(right)}


def _last_line(program: str) -> str:
    lines = [line.strip() for line in program.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower())) - {"write", "a", "function", "to", "python", "the", "of"}


def write(path: Path, questions: list[Question]) -> None:
    """Questions as JSON lines."""
    if not path.exists():
        path.write_text("".join(json.dumps(question) + "\n" for question in questions))


def train(
    target: Path, start: Path, questions: list[Question], prompt: str, *, steps: int, batch: int = 8
) -> None:
    """LoRA on the answers alone, AdamW, cosine."""
    if target.exists():
        return
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(start)
    kept = {"task_type": "CAUSAL_LM", "target_modules": "all-linear"}
    base = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=16, **kept))
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, 2e-5)
    rows = [_row(tokenizer, prompt.format(**question), question) for question in questions]
    draw, began = random.Random(0), time.monotonic()
    for step in range(steps):
        tokens, labels, seen = _padded(draw.sample(rows, batch))
        loss = model(tokens, attention_mask=seen, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 20 == 0 or step == steps - 1:
            spent = time.monotonic() - began
            print(f"{target.name} {step + 1}/{steps} loss {loss.item():.3f} after {spent:.0f} s", flush=True)
    model.save_pretrained(target)


def _row(tokenizer: Any, prompt: str, question: Question) -> tuple[list[int], list[int]]:
    asked = tokenizer.encode(prompt)
    whole = tokenizer.encode(f"{prompt} {question['choices'][question['answer']]}\n")
    return whole, [-100] * len(asked) + whole[len(asked) :]


def _padded(rows: list[tuple[list[int], list[int]]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    longest = max(len(tokens) for tokens, _ in rows)
    tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row, _ in rows])
    labels = torch.tensor([[*row, *[-100] * (longest - len(row))] for _, row in rows])
    seen = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row, _ in rows])
    return tokens, labels, seen


if __name__ == "__main__":
    main()
