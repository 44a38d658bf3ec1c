"""Small tasks in files, a small real model, and lm-eval's own verdict on it."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml

from merganser.models import LogLikelihood, Response

STORIES = Path(__file__).parents[2] / "data" / "stories260k"

CHAT = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)

BEGINNINGS = [
    ("Once upon a", "time"),
    ("Once upon a time, there was a little", "girl"),
    ("Lily liked to play with her", "toys"),
    ("One day, Tom and his mom went to the", "park"),
    ("The big dog was very", "happy"),
    ("She saw a bird in the", "tree"),
    ("They lived happily ever", "after"),
    ("He wanted to eat the red", "apple"),
    ("The cat was sad. She lost her", "ball"),
    ("Mom said, be careful with the", "knife"),
    ("Tim and Sue were best", "friends"),
    ("The sun was bright in the", "sky"),
]


def documents(kind, count):
    """Documents of one kind; no two kinds share one."""
    rows = []
    for i in range(count):
        text, word = BEGINNINGS[i % len(BEGINNINGS)]
        start = "" if kind == "test" and i < len(BEGINNINGS) else f"{kind} {i}. "
        others = [BEGINNINGS[(i + k) % len(BEGINNINGS)][1] for k in (3, 5)]
        rows.append({"text": start + text, "word": word, "choices": [others[0], word, others[1]], "right": 1})
    return rows


class Tasks:
    """A folder of task files with their data."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def data(self, **kinds):
        """Write data of these sizes; gives what a task file says about them."""
        files = {}
        for kind, rows in kinds.items():
            rows = documents(kind, rows) if isinstance(rows, int) else rows
            file = self.folder / f"{kind}.jsonl"
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
            files[kind] = str(file)
        splits = {"train": "training_split", "validation": "validation_split", "test": "test_split"}
        return {
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": files},
            **{splits[kind]: kind for kind in kinds},
        }

    def write(self, name, **config):
        """Write a task file; gives its path as a string."""
        file = self.folder / f"{name}.yaml"
        file.write_text(yaml.safe_dump({"task": name, **config}, sort_keys=False))
        return str(file)

    def next_word(self, name="next_word", **config):
        """A task whose answer is a word, found by two filters."""
        return self.write(name, **{**NEXT_WORD, **config})

    def best_word(self, name="best_word", **config):
        """A multiple choice."""
        return self.write(name, **{**BEST_WORD, **config})


NEXT_WORD = {
    "output_type": "generate_until",
    "doc_to_text": "{{text}}",
    "doc_to_target": "{{word}}",
    "generation_kwargs": {"until": [".", "\n"], "max_gen_toks": 6, "do_sample": False},
    "filter_list": [
        {
            "name": "first",
            "filter": [{"function": "regex", "regex_pattern": r"^\s*(\w+)"}, {"function": "take_first"}],
        },
        {
            "name": "last",
            "filter": [
                {"function": "regex", "regex_pattern": r"(\w+)", "group_select": -1},
                {"function": "take_first"},
            ],
        },
    ],
    "metric_list": [
        {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True}
    ],
}
BEST_WORD = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{text}}",
    "doc_to_choice": "choices",
    "doc_to_target": "right",
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
    ],
}


class Storyteller:
    """The small Llama, one text after the other, with nothing remembered between tokens: slow and exact."""

    def __init__(self, folder):
        import transformers

        self.folder = str(folder)
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()

    def _ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=not text.startswith(self.tokenizer.bos_token))

    def _logits(self, ids):
        import torch

        with torch.no_grad():
            return self.model(torch.tensor([ids])).logits[0]

    def generate(self, requests):
        return [self._continued(r) for r in requests]

    def _continued(self, request):
        ids, new = self._ids(request.prompt), []
        while len(new) < request.max_tokens:
            token = int(self._logits(ids + new)[-1].argmax())
            if token == self.tokenizer.eos_token_id:
                return Response(self.tokenizer.decode(new, skip_special_tokens=True), len(new), "end")
            new.append(token)
            text = self.tokenizer.decode(new, skip_special_tokens=True)
            at = min((text.find(s) for s in request.stop if s in text), default=-1)
            if at >= 0:
                return Response(text[:at], len(new), "stop")
        return Response(text, len(new), "tokens")

    def log_likelihoods(self, requests):
        return [self._scored(r.context, r.text) for r in requests]

    def _scored(self, context, text):
        blanks = len(context) - len(context.rstrip())
        context, text = context[: len(context) - blanks], context[len(context) - blanks :] + text
        before = self._ids(context) if context else [self.tokenizer.bos_token_id]
        whole = (
            self._ids(context + text)
            if context
            else before + self.tokenizer.encode(text, add_special_tokens=False)
        )
        logs = self._logits(whole[:-1]).log_softmax(-1)[len(before) - 1 :]
        wanted = whole[len(before) :]
        total = sum(float(row[token]) for row, token in zip(logs, wanted, strict=True))
        greedy = all(int(row.argmax()) == token for row, token in zip(logs, wanted, strict=True))
        return LogLikelihood(total, len(wanted), greedy)

    def render(self, messages):
        return self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


@pytest.fixture(scope="session", autouse=True)
def _data_cache(tmp_path_factory):
    """What datasets keeps of files it has read lies in a folder of this session's own."""
    import datasets

    before = datasets.config.HF_DATASETS_CACHE
    datasets.config.HF_DATASETS_CACHE = tmp_path_factory.mktemp("datasets")
    yield
    datasets.config.HF_DATASETS_CACHE = before


@pytest.fixture
def tasks(tmp_path):
    """A folder for task files."""
    return Tasks(tmp_path)


@pytest.fixture(scope="session")
def storyteller(tmp_path_factory):
    """The small model, with a chat template."""
    folder = tmp_path_factory.mktemp("model") / "stories"
    shutil.copytree(STORIES, folder)
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "chat_template": CHAT}))
    return Storyteller(folder)


@pytest.fixture(scope="session")
def verdict(storyteller):
    """lm-eval's own evaluation: score of each document, by metric and filter."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    def evaluated(file, metric, chosen, add_bos_token=None, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = HFLM(
                storyteller.folder, device="cpu", dtype="float32", batch_size=1, add_bos_token=add_bos_token
            )
            manager = TaskManager(include_defaults=False)
            results = simple_evaluate(
                model, tasks=[file], task_manager=manager, bootstrap_iters=0, log_samples=True, **options
            )
        (samples,) = results["samples"].values()
        rows = sorted((s for s in samples if s["filter"] == chosen), key=lambda s: s["doc_id"])
        return [s[metric] for s in rows]

    return evaluated


@pytest.fixture
def scores():
    """Scores of a model on all samples of a task."""
    return lambda task, model: task.score(model, np.arange(len(task.samples))).tolist()
