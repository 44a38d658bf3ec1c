"""Train small Llama specialists from one base, on real text: what the experiment of this folder merges.

    python examples/small-llama/train.py --data DATA --out OUT

`DATA` holds `gsm8k/train.jsonl`, `webshop/human_goals.json` and `tinyshakespeare/` as they are published. `OUT` gets
Hugging Face folders (`base`, and for each seed `maths-SEED` and `shop-SEED`) and held-out texts for search and test
(`maths.jsonl`, `maths-test.jsonl` and so on), of which a model is asked how probable they are. They are in nobody's
training data. What is there already is not made again.
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

CONTEXT = 128
TEXTS = 240
"""Held-out texts of each skill: the first half for search, the others for test."""
LONGEST = 200
"""Characters that are asked for of each."""
END = "<|end|>"
SKILLS = ("maths", "shop", "drama")
"""What the base learns a little of; the last one has no specialist, and is watched."""

Pair = tuple[str, str]
"""A text and what follows it."""


def main() -> None:
    """Everything that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base-steps", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=500, help="of each specialist")
    parser.add_argument("--seeds", type=int, default=3, help="pairs of specialists, each of its own seed")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    pairs = {"maths": maths(given.data), "shop": shop(given.data), "drama": drama(given.data)}
    asked = {skill: each[:TEXTS] for skill, each in pairs.items()}
    seen = {skill: each[TEXTS:] for skill, each in pairs.items()}
    for skill, texts in asked.items():
        write_questions(given.out / f"{skill}.jsonl", texts[: TEXTS // 2])
        write_questions(given.out / f"{skill}-test.jsonl", texts[TEXTS // 2 :])
    tokenizer = make_tokenizer(given.out, seen)
    everything = [pair for skill in SKILLS for pair in seen[skill][: len(seen["drama"])]]
    base = given.out / "base"
    train(base, None, everything, tokenizer, steps=given.base_steps, rate=3e-3, seed=0)
    for seed in range(given.seeds):
        for skill in SKILLS[:-1]:
            target = given.out / f"{skill}-{seed}"
            train(target, base, seen[skill], tokenizer, steps=given.steps, rate=1.5e-3, seed=seed)


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


def shop(data: Path) -> list[Pair]:
    """What people look for in a web shop."""
    goals = json.loads((data / "webshop" / "human_goals.json").read_text())
    parts = [goal.split(" ", 2) for goal in goals if len(goal.split(" ")) > 8]
    return shuffled([(f"{first} {second}", f" {rest}") for first, second, rest in parts])


def drama(data: Path) -> list[Pair]:
    """Speeches of Shakespeare's plays, each with the one that follows it."""
    text = next((data / "tinyshakespeare").glob("*.txt")).read_text()
    speeches = [each.strip() for each in text.split("\n\n") if 60 < len(each) < 400]
    return shuffled(
        [(first, "\n\n" + second) for first, second in zip(speeches[::2], speeches[1::2], strict=False)]
    )


def shuffled(pairs: list[Pair]) -> list[Pair]:
    """In an order that does not depend on the file's."""
    random.Random(0).shuffle(pairs)
    return pairs


def write_questions(path: Path, pairs: list[Pair]) -> None:
    """Beginnings of texts, and what follows."""
    if not path.exists():
        lines = [json.dumps({"question": context, "answer": text[:LONGEST]}) for context, text in pairs]
        path.write_text("\n".join(lines) + "\n")


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
    bpe.train_from_iterator((a + b for pairs in seen.values() for a, b in pairs[:2000]), trainer)
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
    seed: int,
    batch: int = 8,
) -> None:
    """Next-token training with AdamW, warm-up and cosine."""
    if (target / "config.json").exists():
        return
    torch.manual_seed(seed)
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
        if step % 100 == 0 or step == steps - 1:
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
