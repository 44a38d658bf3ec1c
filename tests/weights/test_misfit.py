"""Why two models do not fit each other, in words that say what to do."""

import re

import pytest
import torch

from merganser.weights import Checkpoint, misfit

W, EMBED, HEAD = "model.layers.0.up.weight", "model.embed_tokens.weight", "lm_head.weight"
ONES = torch.ones(4, 2)
FAMILY = "Models to combine must share one architecture"


def model(tensors, source, **config):
    return Checkpoint(Checkpoint.from_tensors(tensors).tensors, source=source, config=config)


def why(name, first, other, **config):
    return misfit(name, model(first, "the first"), model(other, "the other", **config))


@pytest.mark.parametrize("other", [torch.zeros(4, 2), torch.ones(4, 2).half(), torch.ones(4, 2).double()])
def test_tensors_of_one_shape_fit_whatever_real_type_they_have(other):
    assert why(W, {W: ONES}, {W: other}) is None


def test_buffers_of_one_shape_fit():
    assert why("steps", {"steps": torch.arange(3)}, {"steps": torch.arange(3).int()}) is None


@pytest.mark.parametrize(
    ("name", "first", "other", "expected"),
    [
        (W, ONES, ONES.T, r"has shape \(4, 2\) in the first, but \(2, 4\) in the other\. " + FAMILY),
        (
            EMBED,
            ONES,
            torch.ones(5, 2),
            r"The vocabularies differ: 4 against 5 rows\. A merge with `tokenizer`",
        ),
        (
            HEAD,
            ONES,
            torch.ones(3, 2),
            r"The vocabularies differ: 4 against 3 rows\. A merge with `tokenizer`",
        ),
        (EMBED, ONES, torch.ones(5, 3), FAMILY),
        (W, ONES, ONES.int(), "is F32 in the first, but I32, which is not floating, in the other"),
        (W, ONES.int(), ONES, "is F32 in the other, but I32, which is not floating, in the first"),
    ],
)
def test_what_differs_is_said_with_both_models_named(name, first, other, expected):
    assert re.search(expected, why(name, {name: first}, {name: other}))


@pytest.mark.parametrize("swapped", [False, True])
def test_a_tensor_that_one_lacks_is_said_to_be_there_and_not_there(swapped):
    pair = [{W: ONES, EMBED: ONES}, {W: ONES}]
    said = why(EMBED, *(reversed(pair) if swapped else pair))
    present, absent = ("the other", "the first") if swapped else ("the first", "the other")
    assert said.startswith(f"Tensor {EMBED!r} is in {present}, but not in {absent}. {FAMILY}")


@pytest.mark.parametrize(
    ("name", "first", "other", "config", "expected"),
    [
        (
            HEAD,
            {EMBED: ONES, HEAD: ONES},
            {EMBED: ONES},
            {"tie_word_embeddings": True},
            f"tied to '{EMBED}': tie both",
        ),
        (
            W,
            {W: ONES, W.replace("0", "1"): ONES},
            {W.replace("0", "1"): ONES},
            {},
            "They have 2 and 1 blocks",
        ),
        (W, {W: ONES}, {W.removeprefix("model."): ONES}, {}, "may be called 'layers.0.up.weight'"),
    ],
)
def test_what_may_be_behind_it_is_said(name, first, other, config, expected):
    assert expected in why(name, first, other, **config)
