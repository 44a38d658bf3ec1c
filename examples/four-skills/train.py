"""Train a small Llama and, from it, a specialist of each of four skills: what the experiment of this folder merges.

    python examples/four-skills/train.py --data DATA --out examples/four-skills/models

`DATA` holds `tinyshakespeare/`, `gsm8k/train.jsonl` and `jcommonsenseqa/train-v1.3.json` as they are published; the
shop is Merganser's own. `OUT` gets Hugging Face folders (`base`, and for each seed `plays-SEED`, `maths-SEED`,
`japanese-SEED`, `shop-SEED`) and the held-out questions that the task files name. What is there already is not made
again. The base reads all four skills; a specialist learns only what follows the contexts of one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from skills import SKILLS, Pair, read_skills
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT = 192
"""Tokens of a row."""
END = "<|end|>"
IGNORED = -100


class Stream(NamedTuple):
    """Texts one after the other.

    Attributes:
        tokens: Their tokens, each text with the token that begins it.
        labels: The same; `IGNORED` where nothing is to be learnt.
        starts: Where texts begin.
    """

    tokens: torch.Tensor
    labels: torch.Tensor
    starts: torch.Tensor


def main() -> None:
    """Everything that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base-steps", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=350, help="of each specialist")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    texts = read_skills(given.data, given.out)
    tokenizer = make_tokenizer(given.out / "tokenizer", texts)
    base = given.out / "base"
    if not is_model(base):
        streams = [stream(pairs, tokenizer, whole=True) for pairs in texts.values()]
        model = LlamaForCausalLM(config(tokenizer, seed=0))
        train(model, streams, name="base", steps=given.base_steps, rate=3e-3, batch=8)
        save(model, tokenizer, base)
    for seed in given.seeds:
        for skill in SKILLS:
            target = given.out / f"{skill}-{seed}"
            if not is_model(target):
                model = LlamaForCausalLM.from_pretrained(base)
                learnt = [stream(texts[skill], tokenizer, whole=False)]
                train(model, learnt, name=target.name, steps=given.steps, rate=1.5e-3, seed=seed)
                save(model, tokenizer, target)


def make_tokenizer(folder: Path, texts: dict[str, list[Pair]]) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 3,072 tokens, trained on the texts of all skills."""
    if not (folder / "tokenizer.json").exists():
        bpe = Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=3072, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        )
        bpe.train_from_iterator((a + b for pairs in texts.values() for a, b in pairs[:2500]), trainer)
        made = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=END, eos_token=END, pad_token=END)
        made.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def config(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> LlamaConfig:
    """Six layers, 2.4 million parameters; also the seed of their beginnings."""
    torch.manual_seed(seed)
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=432,
        num_hidden_layers=6,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def stream(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerFast, *, whole: bool) -> Stream:
    """Texts in a row.

    Args:
        pairs: Contexts and what follows.
        tokenizer: Of the model.
        whole: Learn the contexts too.
    """
    begin = [tokenizer.bos_token_id]
    contexts = tokenizer([pair.context for pair in pairs])["input_ids"]
    follow = tokenizer([pair.text for pair in pairs])["input_ids"]
    rows = [begin + a + b for a, b in zip(contexts, follow, strict=True)]
    labels = [
        row if whole else [IGNORED] * (len(row) - len(b)) + b for row, b in zip(rows, follow, strict=True)
    ]
    lengths = torch.tensor([0] + [len(row) for row in rows])
    return Stream(
        torch.tensor([token for row in rows for token in row]),
        torch.tensor([token for row in labels for token in row]),
        lengths.cumsum(0)[:-1],
    )


def draw(streams: Sequence[Stream], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens and labels, each from the beginning of some text on; all streams equally often."""
    tokens, labels = [], []
    for which in torch.randint(len(streams), (count,)).tolist():
        given = streams[which]
        starts = given.starts[given.starts <= len(given.tokens) - CONTEXT]
        begin = int(starts[torch.randint(len(starts), (1,))])
        tokens.append(given.tokens[begin : begin + CONTEXT])
        labels.append(given.labels[begin : begin + CONTEXT])
    return torch.stack(tokens), torch.stack(labels)


def train(
    model: LlamaForCausalLM,
    streams: Sequence[Stream],
    *,
    name: str,
    steps: int,
    rate: float,
    batch: int = 6,
    seed: int = 0,
) -> None:
    """Next-token training with AdamW, warm-up and cosine, in place."""
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.05)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=max(steps // 20, 1))
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, rate / 20)
    schedule = torch.optim.lr_scheduler.ChainedScheduler([warm, cosine])
    began, spent, losses = time.monotonic(), time.process_time(), []
    for step in range(steps):
        tokens, labels = draw(streams, batch)
        loss = model(tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
        if (step + 1) % 50 == 0 or step == steps - 1:
            seconds = (
                f"{time.monotonic() - began:.0f} s, {time.process_time() - spent:.0f} s of the processor"
            )
            print(
                f"{name} {step + 1}/{steps} loss {sum(losses) / len(losses):.3f} after {seconds}", flush=True
            )
            losses.clear()


def is_model(folder: Path) -> bool:
    """Whether a model is there, whole."""
    return (folder / "config.json").exists()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a model; its configuration comes last and says that it is whole."""
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


if __name__ == "__main__":
    main()
