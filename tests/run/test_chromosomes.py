"""Runs whose genomes have several chromosomes."""

import pytest

from merganser import ConfigError, read_recipe
from merganser.run import RunDirectory, evolve

GENOME = {"chromosomes": {"first": ["layers.0."]}}


def test_direct_children_are_cut_in_each_chromosome(small_npz, tmp_path):
    search = {"method": "natural-niches", "population": 12, "warmup": 8}
    evolve("specialists", str(small_npz), search=search, genome=GENOME, budget=11, run=tmp_path / "run")
    directory = RunDirectory(tmp_path / "run")
    with directory.journal() as journal:
        first = [child for child in journal.children() if child.kind == "warm-up"]
    recipes = [read_recipe(directory.recipe_path(child.recipe)) for child in first]
    boundary = 64 * 256 + 256
    assert len(recipes) == 8
    for child, recipe in zip(first, recipes, strict=True):
        assert boundary in recipe.breaks
        inner = [int(b) for b in recipe.breaks[1:-1] if b != boundary]
        assert len(inner) == 2
        assert child.split == inner[0] + inner[1] - boundary


@pytest.mark.parametrize("genome", [{"kind": "dense"}, {"method": "linear", "genes": {"weight": None}}])
def test_only_combinations_have_chromosomes(small_npz, tmp_path, genome):
    with pytest.raises(ConfigError, match="is for combinations of given models"):
        evolve("specialists", str(small_npz), genome={**GENOME, **genome}, budget=5, run=tmp_path / "run")
