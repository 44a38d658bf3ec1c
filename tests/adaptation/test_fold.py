"""Folding, the additive form and LoRA say the same of an expert; other bases are refused."""

import re

import pytest
import torch

from merganser import CheckpointError
from merganser.adaptation import ExpertVector, as_lora, decompose, fold, identity
from merganser.merging import is_inputs_first
from merganser.models import load
from merganser.weights import Checkpoint, open_checkpoint, save

from .conftest import STORIES, expert_of


def test_folding_adds_the_scaled_directions(stories, factors):
    expert = expert_of(factors)
    folded = fold(stories, expert, factors)
    for name in stories:
        before = stories.read(name)
        if name in expert:
            f, e = factors[name], 1 + expert.gains(name)
            expected = (f.left.T.double() * (f.sigma * e)) @ f.right.double()
            assert torch.allclose(folded.read(name).double(), expected, atol=1e-6)
            assert (folded.read(name) - before).norm() > 0.1 * before.norm()
        else:
            assert torch.equal(folded.read(name), before)


def test_a_base_folded_without_its_decomposition_is_the_same_but_for_rounding(stories, factors):
    expert = expert_of(factors)
    given, made = fold(stories, expert, factors), fold(stories, expert)
    for name in expert:
        assert torch.allclose(given.read(name), made.read(name), atol=1e-6)


def test_no_gain_leaves_every_bit(stories, factors):
    for expert in (identity(expert_of(factors)), expert_of(factors, spread=0.0)):
        assert fold(stories, expert, factors).digest == stories.digest


def test_half_precision_is_rounded_once(stories, factors):
    half = Checkpoint.from_tensors({n: stories.read(n).bfloat16() for n in stories}, config=stories.config)
    expert = expert_of(found := decompose(half))
    folded = fold(half, expert, found)
    for name in expert:
        expected = half.read(name).double() + found[name].change(expert.gains(name)).double()
        assert folded.read(name).dtype == torch.bfloat16
        assert (folded.read(name).double() - expected).abs().max() <= 2**-8 * expected.abs().max()


def test_a_folded_model_is_saved_and_speaks(stories, factors, tmp_path):
    expert = expert_of(factors, spread=0.1)
    folded = fold(stories, expert, factors)
    save(folded, tmp_path / "model")
    assert open_checkpoint(tmp_path / "model").digest == folded.digest
    ids = torch.tensor([[1, 400, 300, 20]])
    base = load(STORIES).module(ids).logits
    assert not torch.allclose(load(folded).module(ids).logits, base, atol=1e-3)


def test_an_expert_of_another_base_is_refused_with_both_digests(stories, factors):
    name = next(iter(factors))
    tensors = {n: stories.read(n).clone() for n in stories}
    tensors[name][0, 0] += 1
    other = Checkpoint.from_tensors(tensors, config=stories.config)
    theirs = decompose(other)
    expert = expert_of(factors)
    both = re.compile(f"{factors[name].digest}.*{theirs[name].digest}")
    with pytest.raises(CheckpointError, match=both):
        fold(other, expert)
    with pytest.raises(CheckpointError, match=both):
        fold(stories, expert, theirs)
    with pytest.raises(CheckpointError, match="is not among the 0 matrices"):
        fold(Checkpoint.from_tensors({"w": torch.ones(2)}), expert)
    with pytest.raises(ValueError, match=r"scales 64 directions .* has 5"):
        fold(stories, expert, factors.leading(5))


@pytest.mark.parametrize("rank", [1, 7, 64, 80])
def test_a_lora_keeps_the_stated_share_and_no_other_could_keep_more(stories, factors, tmp_path, rank):
    expert = expert_of(factors)
    made = as_lora(stories, expert, factors, tmp_path / "lora", rank=rank)
    adapted = open_checkpoint(f"{STORIES}+{made.path}")
    assert set(made.kept) == set(expert)
    for name in expert:
        change = factors[name].change(expert.gains(name)).double()
        rest = change - (adapted.read(name).double() - stories.read(name).double())
        values = torch.linalg.svdvals(change).square()
        assert made.kept[name] == pytest.approx((values[:rank].sum() / values.sum()).item(), abs=1e-5)
        assert 1 - (rest.square().sum() / change.square().sum()).item() == pytest.approx(
            made.kept[name], abs=1e-4
        )
    assert (made.kept[name] == 1.0) == (rank >= 64)


def test_a_lora_of_layers_stored_in_out(gpt2, gpt2_folder, gpt2_factors, tmp_path):
    expert = expert_of(gpt2_factors)
    assert all(is_inputs_first(gpt2, name) for name in expert)
    made = as_lora(gpt2, expert, gpt2_factors, tmp_path / "lora", rank=24)
    adapted, folded = open_checkpoint(f"{gpt2_folder}+{made.path}"), fold(gpt2, expert, gpt2_factors)
    for name in gpt2:
        assert torch.allclose(adapted.read(name), folded.read(name), atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # PEFT asks for it
def test_peft_reads_the_lora(stories, factors, tmp_path):
    peft = pytest.importorskip("peft")
    expert = expert_of(factors, spread=0.2)
    made = as_lora(stories, expert, factors, tmp_path / "lora", rank=64)
    ids = torch.tensor([[1, 400, 300, 20]])
    expected = load(fold(stories, expert, factors)).module(ids).logits
    found = peft.PeftModel.from_pretrained(load(STORIES).module, made.path)(ids).logits
    assert torch.allclose(found, expected, atol=1e-4)


def test_a_lora_says_what_it_cannot_be(stories, factors, tmp_path):
    with pytest.raises(ValueError, match="changes nothing"):
        as_lora(stories, identity(expert_of(factors)), factors, tmp_path / "lora", rank=2)
    with pytest.raises(ValueError, match="at least 1"):
        as_lora(stories, expert_of(factors), factors, tmp_path / "lora", rank=0)
    assert not (tmp_path / "lora").exists()


def test_truncated_experts_fold_too(stories, factors):
    few = factors.leading(9)
    expert = expert_of(factors, rank=9)
    assert isinstance(expert, ExpertVector)
    one, two = fold(stories, expert, few), fold(stories, expert, factors)
    for name in expert:
        assert torch.equal(one.read(name), two.read(name))
        assert torch.linalg.matrix_rank(one.read(name).double() - stories.read(name), rtol=1e-5) <= 9
