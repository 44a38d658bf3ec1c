"""Train a small Llama and, from it, a specialist of each of four skills: what the experiment of this folder merges.

    python examples/four-skills/train.py --data DATA --out examples/four-skills/models
    python examples/four-skills/train.py --data DATA --out examples/four-skills/models finetune

`DATA` holds `tinyshakespeare/`, `gsm8k/train.jsonl` and `jcommonsenseqa/train-v1.3.json` as they are published; the
shop is Merganser's own. `OUT` gets Hugging Face folders (`base`, and for each seed `plays-SEED`, `maths-SEED`,
`japanese-SEED`, `shop-SEED`) and the held-out questions that the task files name. What is there already is not made
again. The base reads all four skills; a specialist learns only what follows the contexts of one.

`finetune` makes what a search is to be compared with, `tuned-base-SEED` and `tuned-average-SEED`: the base and the
specialists' average, trained further on the very search samples that the evolve files give a search.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from finetune import finetune
from skills import SKILLS, Pair, read_skills
from training import fresh_model, is_model, make_tokenizer, save, stream, train
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

STEPS = {"plays": 450, "maths": 300, "japanese": 300, "shop": 700}
"""Of each specialist; the shop takes longest to learn."""


def main() -> None:
    """Everything that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=("specialists", "finetune"), default="specialists")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base-steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    texts = read_skills(given.data, given.out)
    tokenizer = make_tokenizer(given.out / "tokenizer", texts)
    if given.what == "finetune":
        for seed in given.seeds:
            finetune(given.out, tokenizer, seed=seed)
        return
    make_base(given.out / "base", texts, tokenizer, steps=given.base_steps)
    for seed in given.seeds:
        for skill in SKILLS:
            make_specialist(given.out, skill, texts[skill], tokenizer, steps=STEPS[skill], seed=seed)


def make_base(
    folder: Path, texts: dict[str, list[Pair]], tokenizer: PreTrainedTokenizerFast, *, steps: int
) -> None:
    """A model that has read a little of everything."""
    if is_model(folder):
        return
    model = fresh_model(tokenizer, seed=0)
    streams = [stream(pairs, tokenizer, whole=True) for pairs in texts.values()]
    train(model, streams, name=folder.name, steps=steps, rate=3e-3, batch=8, seed=0)
    save(model, tokenizer, folder)


def make_specialist(
    out: Path, skill: str, pairs: list[Pair], tokenizer: PreTrainedTokenizerFast, *, steps: int, seed: int
) -> None:
    """The base, trained further on one skill."""
    folder = out / f"{skill}-{seed}"
    if is_model(folder):
        return
    model = LlamaForCausalLM.from_pretrained(out / "base")
    learnt = [stream(pairs, tokenizer, whole=False)]
    train(model, learnt, name=folder.name, steps=steps, rate=1.5e-3, batch=6, seed=seed)
    save(model, tokenizer, folder)


if __name__ == "__main__":
    main()
