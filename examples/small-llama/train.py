"""Train small Llama specialists from one base, on real text: what the experiment of this folder merges.

    python examples/small-llama/train.py --data DATA --out OUT

`DATA` holds `gsm8k/train.jsonl`, `mbpp/mbpp.jsonl` and `tinyshakespeare/` as they are published. `OUT` gets Hugging
Face folders (`base`, `maths`, `code`) and multiple-choice questions (`maths.jsonl`, `code.jsonl`, `drama.jsonl`): which
of four texts is the one that somebody wrote? In each of the others two neighbouring words have changed places. Texts of
questions are in nobody's training data. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT = 192
CHOICES = 4
QUESTIONS = 240
END = "<|end|>"
SKILLS = ("maths", "code", "drama")
"""What the base learns a little of; the last one has no specialist, and is watched."""

Pair = tuple[str, str]
"""A text and what follows it."""


def main() -> None:
    """Everything that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base-steps", type=int, default=500)
    parser.add_argument("--steps", type=int, default=500, help="of each specialist")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    pairs = {"maths": maths(given.data), "code": code(given.data), "drama": drama(given.data)}
    asked = {skill: each[:QUESTIONS] for skill, each in pairs.items()}
    seen = {skill: each[QUESTIONS:] for skill, each in pairs.items()}
    for skill, questions in asked.items():
        write_questions(given.out / f"{skill}.jsonl", questions)
    tokenizer = make_tokenizer(given.out, seen)
    everything = [pair for skill in SKILLS for pair in seen[skill][: len(seen["code"])]]
    train(given.out / "base", None, everything, tokenizer, steps=given.base_steps, rate=2e-3)
    for skill in SKILLS[:-1]:
        train(given.out / skill, given.out / "base", seen[skill], tokenizer, steps=given.steps, rate=1e-3)


def maths(data: Path) -> list[Pair]:
    """Problems and worked solutions of GSM8K, without the calculator's marks."""
    pairs = []
    for line in (data / "gsm8k" / "train.jsonl").read_text().splitlines():
        problem = json.loads(line)
        solution = problem["answer"].split("####")[0]
        while "<<" in solution:
            solution = solution[: solution.index("<<")] + solution[solution.index(">>") + 2 :]
        pairs.append((problem["question"], " " + solution.strip()))
    return shuffled(pairs)


def code(data: Path) -> list[Pair]:
    """Tasks and programs of MBPP."""
    lines = (data / "mbpp" / "mbpp.jsonl").read_text().splitlines()
    problems = [json.loads(line) for line in lines]
    return shuffled([(p["text"], "\n" + p["code"].replace("\r\n", "\n")) for p in problems])


def drama(data: Path) -> list[Pair]:
    """Speeches of Shakespeare's plays, each with the one that follows it."""
    text = next((data / "tinyshakespeare").glob("*.txt")).read_text()
    speeches = [each.strip() for each in text.split("\n\n") if 60 < len(each) < 400]
    return shuffled(
        [(first, "\n\n" + second) for first, second in zip(speeches[::2], speeches[1::2], strict=False)]
    )


def shuffled(pairs: list[Pair]) -> list[Pair]:
    """In an order that does not depend on the file's."""
    random.Random(0).shuffle(pairs)  # noqa: S311
    return pairs


def write_questions(path: Path, pairs: list[Pair]) -> None:
    """Which of four continuations is the true one?"""
    if path.exists():
        return
    lines = []
    for i, (context, text) in enumerate(pairs):
        draw = random.Random(i)  # noqa: S311
        true = text[:200].rsplit(" ", 1)[0]
        choices = {true: None} | {disturbed(true, draw): None for _ in range(CHOICES * 4)}
        if len(choices) < CHOICES:
            continue
        shown = list(choices)[:CHOICES]
        draw.shuffle(shown)
        question = {"question": context, "choices": shown, "answer": shown.index(true)}
        lines.append(json.dumps(question, ensure_ascii=False))
    path.write_text("\n".join(lines) + "\n")


def disturbed(text: str, draw: random.Random) -> str:
    """The text with two neighbouring words in each other's place."""
    words = text.split(" ")
    first = draw.randrange(1, len(words) - 1) if len(words) > 3 else 0
    words[first : first + 2] = reversed(words[first : first + 2])
    return " ".join(words)


def make_tokenizer(out: Path, seen: dict[str, list[Pair]]) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 2,048 tokens, trained on the texts of all skills."""
    if (out / "tokenizer" / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(out / "tokenizer")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator((a + b for pairs in seen.values() for a, b in pairs[:1500]), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=END, eos_token=END, pad_token=END)
    tokenizer.save_pretrained(out / "tokenizer")
    return tokenizer


def train(
    target: Path,
    start: Path | None,
    pairs: list[Pair],
    tokenizer: PreTrainedTokenizerFast,
    *,
    steps: int,
    rate: float,
    batch: int = 12,
) -> None:
    """Next-token training with AdamW, warm-up and cosine."""
    if (target / "config.json").exists():
        return
    torch.manual_seed(0)
    model = LlamaForCausalLM.from_pretrained(start) if start else LlamaForCausalLM(config(tokenizer))
    stream = [token for a, b in pairs for token in (tokenizer.bos_token_id, *tokenizer.encode(a + b))]
    tokens = torch.tensor(stream)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.05)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=max(steps // 20, 1))
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, rate / 20)
    schedule = torch.optim.lr_scheduler.ChainedScheduler([warm, cosine])
    began = time.monotonic()
    for step in range(steps):
        starts = torch.randint(len(tokens) - CONTEXT, (batch,))
        rows = torch.stack([tokens[i : i + CONTEXT] for i in starts.tolist()])
        loss = model(rows, labels=rows).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            spent = time.monotonic() - began
            print(f"{target.name} {step + 1}/{steps} loss {loss.item():.3f} after {spent:.0f} s", flush=True)
    tokenizer.save_pretrained(target)
    model.save_pretrained(target)


def config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """Two million parameters."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


if __name__ == "__main__":
    main()
