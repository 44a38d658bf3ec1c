"""What foretells whether a merge of two specialists pays? A small Llama on real text.

    make foretell-llama ARGS='--data DATA --models MODELS'

`MODELS` is what `examples/compatible-specialization/train.py` wrote from `DATA`: its specialists, whose MLPs alone are
tuned, give one family a seed. Others are trained here, all parameters of them, on maths and code or maths and plays,
with and without texts of the other domain. A score is the probability of a byte, e to the minus cross-entropy per byte.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from _foretell import HERE, Pair, World, run

sys.path.insert(0, str(HERE.parent / "examples" / "compatible-specialization"))

import merganser
from merganser.comparison import SimilaritySums, View, compare_features
from merganser.weights import Checkpoint

STEPS = (10, 30, 100, 300)
OVERLAPS = (0.0, 0.5)
PAIRS = (("maths", "code"), ("maths", "plays"))
CONTEXT, BATCH, RATE = 128, 8, 1.5e-3
_WINDOWS, _TEXTS = 24, 64


class Texts:
    """Texts of every kind as tokens: for training, validation and test."""

    def __init__(self, data: Path, models: Path) -> None:
        from texts import HELD_OUT, texts
        from train import make_tokenizer, tokens_of

        found, half = texts(data), HELD_OUT // 2
        self.tokenizer = make_tokenizer(models, found)
        parts = {"train": slice(HELD_OUT, None), "validation": slice(half), "test": slice(half, HELD_OUT)}
        self.tokens = {
            (kind, split): tokens_of(each[part], self.tokenizer)
            for kind, each in found.items()
            for split, part in parts.items()
        }
        self.plain = {kind: each[: _TEXTS // 2] for kind, each in found.items()}

    def windows(self, kind: str, split: str) -> torch.Tensor:
        """The first windows of a split."""
        tokens = self.tokens[kind, split]
        return tokens[: len(tokens) // CONTEXT * CONTEXT].view(-1, CONTEXT)[:_WINDOWS]

    def bytes_of(self, rows: torch.Tensor) -> int:
        """How many bytes the text of some tokens has."""
        return sum(len(text.encode()) for text in self.tokenizer.batch_decode(rows))

    def batch(self, own: str, pair: tuple[str, str], overlap: float, draw: torch.Generator) -> torch.Tensor:
        """Windows of a specialist's own texts, some of them of either domain of its pair."""
        rows = []
        for _ in range(BATCH):
            shared = torch.rand((), generator=draw).item() < overlap
            kind = pair[int(torch.randint(2, (), generator=draw))] if shared else own
            tokens = self.tokens[kind, "train"]
            begin = int(torch.randint(len(tokens) - CONTEXT, (), generator=draw))
            rows.append(tokens[begin : begin + CONTEXT])
        return torch.stack(rows)


def series(
    folder: Path, base: Path, texts: Texts, own: str, pair: tuple[str, str], overlap: float, seed: int
) -> list[Checkpoint]:
    """A specialist after each number of steps, all parameters tuned; made once."""
    from train import save
    from transformers import LlamaForCausalLM

    if not (folder / f"step-{STEPS[-1]}").exists():
        shutil.rmtree(folder, ignore_errors=True)
        model = LlamaForCausalLM.from_pretrained(base)
        draw = torch.Generator().manual_seed(seed)
        optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.05)
        for step in range(1, STEPS[-1] + 1):
            batch = texts.batch(own, pair, overlap, draw)
            model(batch, labels=batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()
            if step in STEPS:
                save(model, texts.tokenizer, folder / f"step-{step}")
    return [merganser.open(folder / f"step-{step}") for step in STEPS]


def world(data: Path, models: Path, seeds: list[int]) -> World:
    """Pairs of specialists of these seeds."""
    texts, base = Texts(data, models), models / "base"

    def pairs() -> Iterator[Pair]:
        start = merganser.open(base)
        for seed in seeds:
            for pair in PAIRS:
                for overlap in OVERLAPS:
                    family = f"{seed}/{pair[0]}/{pair[1]}/{overlap:g}/all"
                    first, second = (
                        series(
                            models / "foretell" / family.replace("/", "-") / own,
                            base,
                            texts,
                            own,
                            pair,
                            overlap,
                            2 * seed + i,
                        )
                        for i, own in enumerate(pair)
                    )
                    for steps, one, other in zip(STEPS, first, second, strict=True):
                        yield Pair(family, overlap, (steps, steps), (one, other), start)
            for folder in sorted((models / f"maths-{seed}").glob("step-*"), key=_step):
                other = models / f"code-{seed}" / folder.name
                if _step(folder) and other.exists():
                    both = merganser.open(folder), merganser.open(other)
                    yield Pair(f"{seed}/maths/code/0/mlps", 0.0, (_step(folder),) * 2, both, start)

    alive = merganser.load(base)

    @torch.no_grad()
    def scores(pair: Pair, model: Checkpoint, split: str) -> list[float]:
        alive.become(model)
        _, *kinds, _, _ = pair.family.split("/")
        found = []
        for kind in kinds:
            rows = texts.windows(kind, split)
            logits = alive.module(rows).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(
                logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="sum"
            )
            found.append(math.exp(-loss.item() / texts.bytes_of(rows[:, 1:])))
        return found

    def similarity(pair: Pair) -> SimilaritySums:
        _, *kinds, _, _ = pair.family.split("/")
        mixed = [text for both in zip(*(texts.plain[kind] for kind in kinds), strict=True) for text in both]
        names = dict(zip(("first", "second"), pair.models, strict=True))
        return compare_features(names, mixed, View(rows=32, neighbours=5, most_tokens=96))

    return World(pairs(), scores, similarity)


def _step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    given = parser.parse_args()
    torch.set_num_threads(1)
    run("foretell_llama", world(given.data, given.models, given.seeds))
