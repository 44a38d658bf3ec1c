"""A small Llama, its tokenizer, and next-token training on texts of which all or the ends are learnt."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from skills import Pair
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT = 192
"""Tokens of a row."""
END = "<|end|>"
IGNORED = -100
"""The label of what is not to be learnt."""


class Stream(NamedTuple):
    """Texts one after the other.

    Attributes:
        tokens: Their tokens, each text with the token that begins it.
        labels: The same, or `IGNORED`.
        starts: Where texts begin.
    """

    tokens: torch.Tensor
    labels: torch.Tensor
    starts: torch.Tensor


def make_tokenizer(folder: Path, texts: dict[str, list[Pair]]) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 3,072 tokens, trained on the texts of all skills, unless it is there."""
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


def fresh_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> LlamaForCausalLM:
    """Six layers and 2.4 million parameters, untrained."""
    torch.manual_seed(seed)
    settings = LlamaConfig(
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
    return LlamaForCausalLM(settings)


def rows_of(
    pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerFast, *, whole: bool
) -> list[tuple[list[int], list[int]]]:
    """Tokens and labels of each pair.

    Args:
        pairs: Contexts and what follows.
        tokenizer: Of the model.
        whole: Learn the contexts too.
    """
    contexts = tokenizer([pair.context for pair in pairs])["input_ids"]
    texts = tokenizer([pair.text for pair in pairs])["input_ids"]
    begun = [[tokenizer.bos_token_id, *context] for context in contexts]
    return [(a + b, (a if whole else [IGNORED] * len(a)) + b) for a, b in zip(begun, texts, strict=True)]


def stream(pairs: Sequence[Pair], tokenizer: PreTrainedTokenizerFast, *, whole: bool) -> Stream:
    """Pairs in a row; arguments as of `rows_of`."""
    rows = rows_of(pairs, tokenizer, whole=whole)
    return Stream(
        torch.tensor([token for tokens, _ in rows for token in tokens]),
        torch.tensor([label for _, labels in rows for label in labels]),
        torch.tensor([0, *(len(tokens) for tokens, _ in rows)]).cumsum(0)[:-1],
    )


def train(
    model: LlamaForCausalLM,
    streams: Sequence[Stream],
    *,
    name: str,
    steps: int,
    rate: float,
    batch: int,
    seed: int,
) -> None:
    """Next-token training with AdamW, warm-up and cosine, in place.

    Args:
        model: It learns.
        streams: What it reads, all of them equally often.
        name: What the log calls it.
        steps: How many.
        rate: The highest learning rate.
        batch: Rows of `CONTEXT` tokens in a step.
        seed: Of the order in which texts are read.
    """
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.05)
    warm = torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=max(steps // 20, 1))
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, rate / 20)
    schedule = torch.optim.lr_scheduler.ChainedScheduler([warm, cosine])
    began, losses = time.process_time(), []
    for step in range(1, steps + 1):
        tokens, labels = _drawn(streams, batch)
        loss = model(tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 0 or step == steps:
            spent, mean = time.process_time() - began, sum(losses) / len(losses)
            print(f"{name} {step}/{steps} loss {mean:.3f} after {spent:.0f} CPU-s", flush=True)
            losses.clear()


def is_model(folder: Path) -> bool:
    """Whether a model is there; `save` puts it there whole."""
    return (folder / "config.json").exists()


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write a model, or nothing."""
    stage = folder.with_name(f".{folder.name}")
    shutil.rmtree(stage, ignore_errors=True)
    tokenizer.save_pretrained(stage)
    model.save_pretrained(stage)
    stage.rename(folder)


def _drawn(streams: Sequence[Stream], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens and labels, each from the beginning of some text on."""
    tokens, labels = [], []
    for which in torch.randint(len(streams), (count,)).tolist():
        given = streams[which]
        starts = given.starts[given.starts <= len(given.tokens) - CONTEXT]
        begin = int(starts[torch.randint(len(starts), (1,))])
        tokens.append(given.tokens[begin : begin + CONTEXT])
        labels.append(given.labels[begin : begin + CONTEXT])
    return torch.stack(tokens), torch.stack(labels)
