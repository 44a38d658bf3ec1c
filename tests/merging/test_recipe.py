"""Recipes as files: what is written is read again, and what is no recipe is refused in words."""

import json

import numpy as np
import pytest

from merganser import ConfigError
from merganser.merging import Combination, read_recipe, write_recipe

RECIPE = Combination(("a" * 64, "b" * 64), np.array([0, 4, 10]), np.array([[1 / 3, 2 / 3], [np.pi, -1e-300]]))


def test_a_recipe_survives_the_file(tmp_path):
    write_recipe(RECIPE, tmp_path / "r.json")
    again = read_recipe(str(tmp_path / "r.json"))
    assert again == RECIPE
    assert (again.coefficients == RECIPE.coefficients).all()


def changed(**entries):
    return json.dumps({**RECIPE.to_json(), **entries})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no recipe"),
        ("{", "is no recipe"),
        ("[1]", "Expected a JSON object, but found list"),
        ("{}", "found None"),
        (changed(format="other"), "Expected a recipe of format"),
        (changed(version=2), "newer release"),
        (changed(order_version=99), "flat order 99"),
        (changed(breaks=[0, 4.5, 10]), "is no recipe"),
        (changed(breaks=[0, 4, 10**30]), "is no recipe"),
        (changed(breaks=[0, "4", 10]), "is no recipe"),
        (changed(breaks=None), "is no recipe"),
        (changed(coefficients=[[1, 0], [1]]), "is no recipe"),
        (changed(coefficients=[[1, 0], [1, None]]), "is no recipe"),
        (changed(coefficients=[[1, 0], [1, float("nan")]]), "must be finite"),
        (changed(seeds=[]), "is no recipe"),
    ],
)
def test_what_is_no_recipe_is_refused_in_words(tmp_path, text, message):
    path = tmp_path / "r.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_recipe(path)


@pytest.mark.parametrize("entry", ["seeds", "breaks", "coefficients"])
def test_a_missing_entry_is_named(tmp_path, entry):
    data = RECIPE.to_json()
    del data[entry]
    (tmp_path / "r.json").write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=f"no '{entry}'"):
        read_recipe(tmp_path / "r.json")


def test_a_missing_file_and_bytes_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_recipe(tmp_path / "none.json")
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is no recipe"):
        read_recipe(tmp_path / "b.json")
