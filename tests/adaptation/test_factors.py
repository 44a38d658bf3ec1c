"""Decompositions reconstruct, are orthogonal, are kept, and belong to the numbers they were made of."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from merganser.adaptation import choose_matrices, decompose, factorise, matrix_digest
from merganser.weights import Checkpoint


def random_matrix(seed, rows, columns, decay=0.0):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(rows, columns, generator=generator)
    return matrix * 10.0 ** (-decay * torch.arange(columns) / columns)


@given(st.integers(0, 99), st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.0, 4.0, 12.0]))
def test_factors_reconstruct_and_are_orthogonal(seed, rows, columns, decay):
    matrix = random_matrix(seed, rows, columns, decay)
    found = factorise(matrix)
    rebuilt = (found.left.T * found.sigma) @ found.right
    assert torch.allclose(rebuilt, matrix, atol=2e-6 * matrix.abs().max().item())
    for side in (found.left, found.right):
        assert torch.allclose(side @ side.T, torch.eye(len(side)), atol=1e-6)
    assert (found.sigma.diff() <= 0).all()
    assert torch.allclose(found.sigma, torch.linalg.svdvals(matrix.double()).float(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("matrix", [torch.zeros(4, 3), torch.ones(3, 5), torch.eye(4)])
def test_singular_matrices_have_orthogonal_factors_too(matrix):
    found = factorise(matrix)
    assert torch.allclose((found.left.T * found.sigma) @ found.right, matrix, atol=1e-6)
    assert torch.allclose(found.left @ found.left.T, torch.eye(len(found.sigma)), atol=1e-6)


def test_a_matrix_that_is_none_is_refused():
    with pytest.raises(ValueError, match="NaN or infinite"):
        factorise(torch.tensor([[1.0, float("nan")]]))
    with pytest.raises(ValueError, match=r"found a tensor of shape \(3,\)"):
        factorise(torch.ones(3))


def test_the_digest_is_that_of_the_numbers_not_of_their_type():
    matrix = random_matrix(0, 4, 5).bfloat16()
    assert matrix_digest(matrix) == matrix_digest(matrix.float()) == matrix_digest(matrix.double())
    assert matrix_digest(matrix) != matrix_digest(matrix.reshape(5, 4))
    other = matrix.clone()
    other[3, 4] += 1
    assert matrix_digest(matrix) != matrix_digest(other)


def test_the_cache_gives_what_was_computed_and_mends_itself(stories, tmp_path):
    names = choose_matrices(stories, layers=[0])
    plain, made = decompose(stories, names), decompose(stories, names, cache=tmp_path)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert {file.stem for file in files} == set(plain.digests.values())
    whole = files[0].read_bytes()
    files[0].unlink()  # in place, it would be cut short while it is mapped
    files[0].write_bytes(whole[:100])
    before = files[1].stat().st_mtime_ns
    again = decompose(stories, names, cache=tmp_path)
    for name in names:
        for one, two, three in zip(*(_tensors(d[name]) for d in (plain, made, again)), strict=True):
            assert torch.equal(one, two)
            assert torch.equal(one, three)
    assert files[1].stat().st_mtime_ns == before


def _tensors(factors):
    return factors.left, factors.sigma, factors.right


def test_threads_change_no_bit(stories):
    one, three = decompose(stories, workers=1), decompose(stories, workers=3)
    assert all(
        torch.equal(a, b)
        for name in one
        for a, b in zip(*map(_tensors, (one[name], three[name])), strict=True)
    )


def test_matrices_are_chosen_by_component_module_and_layer(stories, gpt2):
    assert len(choose_matrices(stories)) == 15
    assert all(".mlp." in name for name in choose_matrices(stories))
    some = choose_matrices(stories, components=(), modules=("q_proj", "v_proj"), layers=[1, 3])
    assert [name.split(".")[2::2] for name in some] == [
        ["1", "q_proj"],
        ["1", "v_proj"],
        ["3", "q_proj"],
        ["3", "v_proj"],
    ]
    assert len(choose_matrices(stories, components=["mlp", "attention"])) == 35
    assert [name.split(".")[-4:-1] for name in choose_matrices(gpt2, layers=[1])] == [
        ["1", "mlp", "c_fc"],
        ["1", "mlp", "c_proj"],
    ]


def test_a_wrong_choice_says_what_there_is(stories):
    with pytest.raises(ValueError, match="among embeddings, attention, mlp"):
        choose_matrices(stories, components=["brain"])
    with pytest.raises(ValueError, match="has 5 blocks, numbered from 0, but no 7"):
        choose_matrices(stories, layers=[7])
    with pytest.raises(ValueError, match="no matrix in its blocks that belongs to head"):
        choose_matrices(stories, components=["head"])
    with pytest.raises(ValueError, match="Did you mean"):
        decompose(stories, ["model.layers.0.mlp.up_proj.weigt"])


def test_what_cannot_be_decomposed_is_named():
    model = Checkpoint.from_tensors({"layers.0.up_proj.weight": torch.full((2, 3), float("inf"))})
    with pytest.raises(ValueError, match=r"'layers\.0\.up_proj\.weight' of memory cannot be decomposed"):
        decompose(model)
    with pytest.raises(ValueError, match="was not decomposed; 0 other"):
        decompose(model, [])["layers.0.up_proj.weight"]
