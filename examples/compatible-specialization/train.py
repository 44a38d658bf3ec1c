"""Train a small Llama, and from it two series of specialists whose MLPs alone are tuned, on real text.

    python examples/compatible-specialization/train.py --data DATA --out OUT

`OUT` gets Hugging Face folders: `base`, and for each seed and domain one for every step that is kept
(`maths-0/step-100`). A series that is whole is not made again. The setting is that of the paper, small: see README.md.
"""

from __future__ import annotations

import argparse
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import torch
from texts import DOMAINS, HELD_OUT, texts
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT, BATCH = 128, 8
STEPS = (10, 30, 100, 300, 1000)
"""Where a specialist is kept; the last is the length of its training."""
END = "<|end|>"


def main() -> None:
    """Everything that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3, help="pairs of specialists, each of its own seed")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    seen = {kind: found[HELD_OUT:] for kind, found in texts(given.data).items()}
    tokenizer = make_tokenizer(given.out, seen)
    general = shuffled([*seen["plays"], *(text for domain in DOMAINS for text in seen[domain][:600])])
    make_base(given.out / "base", tokens_of(general, tokenizer), tokenizer)
    for seed in range(given.seeds):
        for domain in DOMAINS:
            series = given.out / f"{domain}-{seed}"
            make_series(series, given.out / "base", tokens_of(seen[domain], tokenizer), tokenizer, seed)


def shuffled(found: list[str]) -> list[str]:
    """In an order that is always the same."""
    random.Random(0).shuffle(found)
    return found


def tokens_of(found: list[str], tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Texts as one row of tokens, each after a mark."""
    rows = tokenizer(found)["input_ids"]
    return torch.tensor([token for row in rows for token in (tokenizer.bos_token_id, *row)])


def make_tokenizer(out: Path, seen: dict[str, list[str]]) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 2,048 tokens, trained on texts of all kinds."""
    if (out / "tokenizer" / "tokenizer.json").exists():
        return PreTrainedTokenizerFast.from_pretrained(out / "tokenizer")
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2048, special_tokens=[END], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    bpe.train_from_iterator((text for found in seen.values() for text in found[:1500]), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=END, eos_token=END, pad_token=END)
    tokenizer.save_pretrained(out / "tokenizer")
    return tokenizer


def make_base(target: Path, tokens: torch.Tensor, tokenizer: PreTrainedTokenizerFast) -> None:
    """The model that everything starts from: plays, and a little of both domains."""
    if (target / "config.json").exists():
        return
    torch.manual_seed(0)
    model = LlamaForCausalLM(config(tokenizer))
    train(model, list(model.parameters()), tokens, steps=1500, rate=3e-3, seed=0, name="base")
    save(model, tokenizer, target)


def make_series(
    target: Path, base: Path, tokens: torch.Tensor, tokenizer: PreTrainedTokenizerFast, seed: int
) -> None:
    """A specialist at every step that is kept; only its MLPs differ from the base."""
    if (target / f"step-{STEPS[-1]}" / "config.json").exists():
        return
    model = LlamaForCausalLM.from_pretrained(base)
    model.requires_grad_(requires_grad=False)
    free = [p.requires_grad_() for name, p in model.named_parameters() if ".mlp." in name]

    def keep(step: int) -> None:
        if step in STEPS:
            save(model, tokenizer, target / f"step-{step}")

    save(model, tokenizer, target / "step-0")
    train(
        model,
        free,
        tokens,
        steps=STEPS[-1],
        rate=4e-3,
        seed=seed,
        decay=0.1,
        name=str(target.name),
        keep=keep,
    )


def train(
    model: LlamaForCausalLM,
    free: list[torch.nn.Parameter],
    tokens: torch.Tensor,
    *,
    steps: int,
    rate: float,
    seed: int,
    name: str,
    decay: float = 0.05,
    keep: Callable[[int], None] | None = None,
) -> None:
    """Next-token training with AdamW, warm-up and cosine to a tenth."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(free, lr=rate, betas=(0.9, 0.99), weight_decay=decay)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.05, total_iters=20)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, rate / 10)
    schedule = torch.optim.lr_scheduler.ChainedScheduler([warm, cosine])
    began = time.monotonic()
    for step in range(1, steps + 1):
        starts = torch.randint(len(tokens) - CONTEXT, (BATCH,), generator=draw)
        rows = torch.stack([tokens[i : i + CONTEXT] for i in starts.tolist()])
        loss = model(rows, labels=rows).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(free, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if keep is not None:
            keep(step)
        if step % 100 == 0:
            spent = time.monotonic() - began
            print(f"{name} {step}/{steps} loss {loss.item():.3f} after {spent:.0f} s", flush=True)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, target: Path) -> None:
    """A Hugging Face folder, whole or not at all."""
    half = target.with_name(f".{target.name}.partial")
    shutil.rmtree(half, ignore_errors=True)
    model.save_pretrained(half)
    tokenizer.save_pretrained(half)
    half.rename(target)


def config(tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    """Two million parameters in six blocks, so that there are depths to cross."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=432,
        num_hidden_layers=6,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


if __name__ == "__main__":
    main()
