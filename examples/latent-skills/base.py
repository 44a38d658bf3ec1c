"""Train the small Llama of this folder, and write down what it is asked.

    python examples/latent-skills/base.py

`models/base-SEED` are Hugging Face folders of 110,000 parameters (about forty seconds each); `models/TASK.jsonl` and
`models/TASK-test.jsonl` the questions that the task files `TASK.yaml` name. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import torch
from skills import RULES, SKILLS, WORDS, numbers, request, spaced, taught
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).parent
END, PAD = "<end>", "<pad>"
IGNORED = -100
"""The label of what is not to be learnt."""
LEARNT, ASKED = 2048, 512
"""Questions to train and validate on, and to test on, of each task."""


def main() -> None:
    """Everything that is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "models")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1100)
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    write_questions(given.out)
    tokenizer = make_tokenizer()
    for seed in given.seeds:
        folder = given.out / f"base-{seed}"
        if not (folder / "model.safetensors").exists():
            model = train(tokenizer, steps=given.steps, seed=seed)
            tokenizer.save_pretrained(folder)
            model.save_pretrained(folder)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Words and digits, one token each; what begins a text ends it too."""
    words = {word: number for number, word in enumerate((PAD, END, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=PAD))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(f"{END} $A", special_tokens=[(END, words[END])])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END, eos_token=END, pad_token=PAD, unk_token=PAD
    )


def write_questions(out: Path) -> None:
    """The questions of every task, those of the test apart."""
    drawn = {task: numbers(LEARNT + ASKED, task) for task in RULES}
    for task, rule in RULES.items():
        rows = [{"question": request(task, d), "answer": spaced(rule(d)), "skill": task} for d in drawn[task]]
        write_rows(out / f"{task}.jsonl", rows[:LEARNT])
        write_rows(out / f"{task}-test.jsonl", rows[LEARNT:])
    for part, which in {
        "": slice(ASKED // len(SKILLS)),
        "-test": slice(LEARNT, LEARNT + ASKED // len(SKILLS)),
    }.items():
        mixed = [
            {"question": request(task, d), "answer": spaced(RULES[task](d)), "skill": task}
            for task in SKILLS
            for d in drawn[task][which]
        ]
        random.Random(0).shuffle(mixed)
        write_rows(out / f"mixed{part}.jsonl", mixed)
    for name, skills in {"which": SKILLS, "which-two": SKILLS[:2]}.items():
        asked = {
            part: [
                {"question": f"which {request(skill, d)}", "answer": skill}
                for skill in skills
                for d in drawn[skill][which]
            ]
            for part, which in {"": slice(LEARNT), "-test": slice(LEARNT, None)}.items()
        }
        for part, rows in asked.items():
            write_rows(out / f"{name}{part}.jsonl", rows)


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    """Questions, a line each."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def train(tokenizer: PreTrainedTokenizerFast, *, steps: int, seed: int) -> LlamaForCausalLM:
    """Next-token training on the answers to requests of all tasks, as they are taught."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    draw = random.Random(f"base {seed}")
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for step in range(steps):
        samples = [taught(task, draw) for task in draw.choices([*RULES, "which"], k=160)]
        texts = [f"{prompt} {answer} {END}" for prompt, answer in samples]
        batch = tokenizer(texts, padding=True, return_tensors="pt")
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
        for row, (prompt, _) in enumerate(samples):
            labels[row, : 1 + len(prompt.split())] = IGNORED  # requests are random: nothing to learn
        loss = model(**batch, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"base-{seed}: step {step + 1} of {steps}, loss {loss.item():.3f}", flush=True)
    return model.eval()


if __name__ == "__main__":
    main()
