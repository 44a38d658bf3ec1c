"""Verdicts: each rule, on numbers made for it and on real models."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from merganser import CheckpointError, compare, merge
from merganser.comparison import (
    THRESHOLDS,
    Barrier,
    Depth,
    Difference,
    Differences,
    Estimate,
    Evidence,
    Kin,
    Representations,
    TaskVectors,
    TokenOverlap,
    judge,
)
from merganser.evaluation import choose, open_task
from merganser.models import perceptron_size, perceptron_tensors

STORIES = Path(__file__).parents[1] / "data" / "stories260k"
ALIKE = Differences((), None, None)
RELATED = Kin("related", 0.98, 0.2, 9)
VECTORS = TaskVectors(0.1, 0.45, {0.01: 0.01, 0.1: 0.06}, (0.05, 0.05))
CLOSE = VECTORS._replace(overlap={0.1: 0.3})


def inside(cka):
    """Representations whose only layers are so alike."""
    return Representations((Depth("a", "a", Estimate(cka, cka, cka)),), 0.01, None, None, None, ())


TASKS = Evidence(ALIKE, RELATED, (RELATED, RELATED), VECTORS)


def line(shortfall, samples=400):
    """A barrier of this height: 1 at the ends, less in between."""
    ones = np.ones(samples)
    between = np.where(np.arange(samples) < shortfall * samples, 0.0, 1.0)
    return Barrier({0.0: ones, 0.25: ones, 0.5: between, 0.75: ones, 1.0: ones})


@pytest.mark.parametrize(
    ("known", "action", "first_method", "confidence"),
    [
        (Evidence(replace(ALIKE, misfit="Other blocks.")), "keep apart", None, "likely"),
        (Evidence(Differences((), TokenOverlap(9, 9, 9, 9, True), "Other.")), "route", None, "likely"),
        (Evidence(ALIKE, Kin("same", 1.0, 0.0, 9)), "keep apart", None, "sure"),
        (Evidence(ALIKE, Kin("reordered", 0.0, 1.4, 9)), "align first", None, "sure"),
        (Evidence(ALIKE, Kin("unrelated", 0.0, 1.4, 9)), "align first", None, "a guess"),
        (Evidence(ALIKE, Kin("unrelated", 0.0, 1.4, 9), barrier=line(0.3)), "align first", None, "a guess"),
        (Evidence(ALIKE, Kin("unrelated", 0.0, 1.4, 9), barrier=line(0.0)), "merge", "linear", "sure"),
        (Evidence(ALIKE, Kin("cannot tell", 0.4, 0.9, 9)), "merge", "linear", "a guess"),
        (Evidence(ALIKE, Kin("cannot tell", None, None, 0)), "merge", "linear", "a guess"),
        (Evidence(ALIKE, RELATED), "merge", "linear", "likely"),
        (TASKS, "route", "ties", "likely"),
        (
            replace(TASKS, task_vectors=VECTORS._replace(relative=(0.3, 0.05))),
            "route",
            "model_stock",
            "likely",
        ),
        (replace(TASKS, task_vectors=CLOSE), "merge", "ties", "likely"),
        (replace(TASKS, task_vectors=CLOSE._replace(relative=(0.05, 0.3))), "merge", "model_stock", "likely"),
        (replace(TASKS, cka=inside(0.9)), "route", "ties", "likely"),
        (replace(TASKS, cka=inside(0.97)), "merge", "ties", "a guess"),
        (replace(TASKS, task_vectors=CLOSE, cka=inside(0.9)), "merge", "ties", "a guess"),
        (replace(TASKS, task_vectors=CLOSE, cka=inside(0.97)), "merge", "ties", "likely"),
        (replace(TASKS, task_vectors=CLOSE, cka=inside(np.nan)), "merge", "ties", "likely"),
        (Evidence(ALIKE, RELATED, cka=inside(0.9)), "route", "linear", "likely"),
        (Evidence(ALIKE, RELATED, cka=inside(0.97)), "merge", "linear", "likely"),
        (replace(TASKS, task_vectors=VECTORS._replace(cosine=None)), "merge", "linear", "likely"),
        (replace(TASKS, from_base=(RELATED, Kin("unrelated", 0, 1.4, 9))), "merge", "linear", "likely"),
        (replace(TASKS, barrier=line(0.3)), "route", None, "sure"),
        (replace(TASKS, barrier=line(0.0)), "route", "ties", "likely"),
        (replace(TASKS, task_vectors=CLOSE, barrier=line(0.0)), "merge", "ties", "sure"),
        (replace(TASKS, task_vectors=CLOSE, barrier=line(0.05)), "merge", "ties", "likely"),
        (
            Evidence(replace(ALIKE, architecture=(Difference("`rope_theta`", 1, 2),)), RELATED),
            "merge",
            "linear",
            "a guess",
        ),
    ],
)
def test_each_rule_of_the_table(known, action, first_method, confidence):
    found = judge(known)
    assert (found.action, found.confidence) == (action, confidence)
    assert (found.methods[0] if found.methods else None) == first_method
    assert found.evidence


def test_what_is_remarked_does_not_decide():
    tokens = TokenOverlap(512, 600, 500, 480, True)
    known = replace(TASKS, differences=Differences((), tokens, None), unmeasured="No GPU.")
    found = judge(known)
    assert (found.action, found.confidence) == ("route", "likely")
    assert any("--tokenizer union" in line for line in found.evidence)
    assert any("could not be measured: No GPU." in line for line in found.evidence)
    assert judge(replace(known, cka=inside(0.9))).evidence[-1] == f"Representations: {inside(0.9).words}."


@pytest.fixture(scope="module")
def stories():
    """The story teller's tensors, and two fine-tunes of it."""
    tensors = load_file(STORIES / "model.safetensors")
    tuned = []
    for seed in (1, 2):
        generator = torch.Generator().manual_seed(seed)
        tuned.append({n: t + 0.05 * torch.randn(t.shape, generator=generator) for n, t in tensors.items()})
    return tensors, *tuned


def test_every_recommended_method_merges_the_two_models(stories):
    base, one, other = stories
    wanted = [VECTORS, VECTORS._replace(relative=(0.3, 0.3))]
    for vectors in wanted:
        for method in judge(replace(TASKS, task_vectors=vectors)).methods:
            takes_base = method != "linear"
            assert len(merge([one, other], method, base=base if takes_base else None)) == 47
    for method in judge(Evidence(ALIKE, RELATED)).methods:
        assert len(merge([one, other], method, **({"t": 0.5} if method == "slerp" else {}))) == 47


def test_real_models_strangers_and_permuted_copies(stories):
    base, one, other = stories
    order = torch.randperm(172, generator=torch.Generator().manual_seed(0))
    permuted = {
        n: t[order] if "gate_proj" in n or "up_proj" in n else t[:, order] if "down_proj" in n else t
        for n, t in base.items()
    }
    halves = {n: t.roll(1, 0) if "self_attn" in n else t for n, t in permuted.items()}
    deeper = {**base, "model.layers.5.mlp.up_proj.weight": torch.ones(172, 64)}
    found = compare([base, one, other, halves, deeper])
    verdicts = {(pair.first[6:], pair.second[6:]): pair.verdict for pair in found.pairs}
    assert len(verdicts) == 10
    assert verdicts["1", "2"].action == verdicts["2", "3"].action == "merge"
    assert "model 1 looks like their base" in verdicts["2", "3"].evidence[1]
    assert "With the model" in verdicts["1", "2"].evidence[1]
    assert verdicts["1", "4"].confidence == "sure"
    assert {verdicts["1", "4"].action, verdicts["2", "4"].action} == {"align first"}
    assert verdicts["3", "5"].action == "keep apart"
    assert [group.geometry.models for group in found.groups] == [("model 1", "model 2", "model 3", "model 4")]
    known = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert known["thresholds"]["related"]["calibrated"] is False
    assert known["thresholds"]["apart"]["calibrated"] is True
    assert known["parentage"][0]["bases"] == ["model 1"]


def test_with_a_base_task_vectors_decide(stories):
    base, one, other = stories
    [pair] = compare([one, other], base).pairs
    assert pair.verdict.words == "route, or else merge by model_stock, linear"
    assert pair.known.has_base
    assert pair.known.task_vectors.cosine == pytest.approx(0, abs=0.02)
    spread = {n: 2 * one[n] - base[n] for n in one}
    [pair] = compare([one, spread], base).pairs
    assert pair.verdict.methods[0] == "linear"
    assert pair.known.task_vectors.cosine == pytest.approx(1, abs=1e-6)
    with pytest.raises(CheckpointError, match="does not fit"):
        compare([one, other], {n: t for n, t in base.items() if "layers.4" not in n})
    with pytest.raises(ValueError, match="two or more"):
        compare([one])


def test_a_task_measures_the_line_and_a_pair_that_cannot_be_measured_says_why(small_npz):
    widths = (64, 16, 10)
    flat = np.random.default_rng(0).normal(size=perceptron_size(widths)).astype(np.float32)
    one, other = (perceptron_tensors(flat + 1e-4 * i, widths) for i in range(2))
    chosen = choose(open_task(small_npz), "search")
    [pair] = compare([one, other], chosen=chosen).pairs
    assert pair.known.barrier.height.value <= THRESHOLDS["barrier"].value
    assert (pair.verdict.action, pair.verdict.confidence) == ("merge", "sure")
    stories = [{"model.embed_tokens.weight": torch.randn(50, 50) + i} for i in range(2)]
    [pair] = compare(stories, chosen=chosen).pairs
    assert pair.known.barrier is None
    assert "takes 64 values" in pair.known.unmeasured
