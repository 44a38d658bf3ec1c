"""Merges as values: what they are made of, and what of them survives JSON."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser._errors import ConfigError
from merganser.merging import (
    Blueprint,
    Case,
    Ingredient,
    MergeRecipe,
    Module,
    Setting,
    Slice,
    Source,
    read_recipe,
)
from merganser.merging.vocabulary import ModelRow, RowOf, TokenRule, VocabularyRules, ZeroRow

SCALARS = st.floats(-10, 10) | st.booleans() | st.sampled_from(["rows", "tensor"])
CASES = st.builds(Case, SCALARS | st.tuples(SCALARS, SCALARS), st.none() | st.just("mlp"))
SETTING = st.lists(CASES, min_size=1, max_size=2).map(lambda cases: Setting(tuple(cases)))
SETTINGS = st.dictionaries(st.sampled_from(["weight", "density", "lambda"]), SETTING, max_size=2)
MODEL = st.integers(0, 3)
SOURCES = st.builds(Source, MODEL, st.none() | st.tuples(MODEL, MODEL), SETTINGS)
SLICES = st.builds(Slice, st.lists(SOURCES, min_size=1, max_size=2).map(tuple), st.none() | MODEL, SETTINGS)
MODULES = st.builds(
    Module,
    st.lists(SLICES, min_size=1, max_size=2).map(tuple),
    st.none() | st.sampled_from(["encoder", "decoder"]),
    SETTINGS,
)
ROWS = st.just(ZeroRow()) | st.builds(ModelRow, MODEL) | st.builds(RowOf, MODEL, st.just("<a>"))
RULES = st.builds(
    VocabularyRules,
    st.sampled_from(["union", "base", 0, 2]),
    st.none() | st.integers(1, 128),
    st.builds(TokenRule, st.just("<x>"), ROWS, st.booleans()).map(lambda rule: (rule,)) | st.just(()),
)
BLUEPRINTS = st.builds(
    Blueprint,
    st.sampled_from(["linear", "ties"]),
    st.lists(MODULES, min_size=1, max_size=2).map(tuple),
    SETTINGS,
    base=st.none() | MODEL,
    donor=MODEL,
    dtype=st.sampled_from([None, "bfloat16"]),
    seed=st.integers(0, 2**40),
    dialect=st.just("mergekit"),
    formulas=st.sampled_from(["papers", "mergekit"]),
    vocabulary=st.none() | RULES,
    chat_template=st.sampled_from([None, "auto", "{{ x }}\n"]),
)

FULL = Blueprint(
    "ties",
    (
        Module(
            (
                Slice(
                    (Source(1, (0, 2), {"weight": Setting.of(0.5)}), Source(0, (0, 2))),
                    0,
                    {"density": Setting.of(1)},
                ),
            ),
            "encoder",
            {"lambda": Setting((Case((0.5, 1.0), "mlp"), Case(1.0)))},
        ),
    ),
    {"normalize": Setting.of(True)},
    base=0,
    vocabulary=VocabularyRules("union", 8, (TokenRule("<x>", RowOf(1, "<y>"), True),)),
    chat_template="auto",
)
INNER = MergeRecipe(FULL, (Ingredient("b", "3"), Ingredient("c", "4", "5")))
RECIPE = MergeRecipe(FULL, (Ingredient("a", "1"), Ingredient(None, "2", recipe=INNER)))


def plain(*numbers, parameters=None, **other):
    return Blueprint.plain("linear", numbers, parameters, **other)


# what it is made of


def test_a_plain_merge_is_one_slice_of_whole_models():
    blueprint = plain(2, 0, parameters={"weight": (1, 2), "normalize": False}, base=1, donor=2)
    sources = (Source(2, None, {"weight": Setting.of(1)}), Source(0, None, {"weight": Setting.of(2)}))
    assert blueprint.slices == (Slice(sources),)
    assert blueprint.settings == {"normalize": Setting.of(False)}
    assert blueprint.is_whole
    assert blueprint.models == (0, 1, 2)


def test_a_value_that_all_models_share_is_written_once():
    blueprint = plain(0, 1, parameters={"weight": [2.0, 2.0], "along": "rows"})
    assert blueprint.settings == {"weight": Setting.of(2.0), "along": Setting.of("rows")}
    assert all(not source.settings for source in blueprint.slices[0].sources)


def test_a_value_for_each_model_means_each():
    with pytest.raises(ValueError, match="zip"):
        plain(0, 1, parameters={"weight": [1, 2, 3]})


def test_models_are_those_of_base_donor_slices_and_sources():
    slices = (Slice((Source(4),), 2), Slice((Source(6, (0, 1)),)))
    assert Blueprint("ties", (Module(slices),), base=1, donor=3).models == (1, 2, 3, 4, 6)


@pytest.mark.parametrize(
    ("slices", "is_whole"),
    [
        ((Slice((Source(0), Source(1))),), True),
        ((Slice((Source(0, (0, 1)),)),), False),
        ((Slice((Source(0),)), Slice((Source(0),))), False),
    ],
)
def test_whole_models_are_one_slice_without_numbers_of_blocks(slices, is_whole):
    assert Blueprint("linear", (Module(slices),)).is_whole == is_whole


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Slice(()), "needs sources"),
        (lambda: Module(()), "needs slices"),
        (lambda: Blueprint("linear", ()), "needs modules"),
        (lambda: plain(0, formulas="mergekit"), "the dialect must be mergekit too"),
    ],
)
def test_what_is_empty_or_does_not_go_together_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# JSON


@given(BLUEPRINTS)
def test_a_blueprint_survives_json(blueprint):
    assert Blueprint.from_json(json.loads(json.dumps(blueprint.to_json()))) == blueprint


@pytest.mark.parametrize("layout", [{}, {"as_adapter": True}, {"rank": 3}, {"rank": 3, "as_adapter": True}])
def test_where_adapters_are_merged_survives_json(layout):
    blueprint = plain(0, 1, space="core", **layout)
    data = blueprint.to_json()
    assert {"space", *layout} <= set(data)
    assert Blueprint.from_json(json.loads(json.dumps(data))) == blueprint


def test_a_recipe_with_recipes_inside_survives_json():
    assert MergeRecipe.from_json(json.loads(json.dumps(RECIPE.to_json()))) == RECIPE


def test_what_says_nothing_is_not_written():
    assert plain(0).to_json() == {
        "method": "linear",
        "dialect": "merganser",
        "formulas": "papers",
        "base": None,
        "donor": 0,
        "dtype": None,
        "seed": 0,
        "modules": [{"slices": [{"sources": [{"model": 0}]}]}],
    }


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("method", 3),
        ("dialect", "french"),
        ("formulas", None),
        ("base", "0"),
        ("donor", True),
        ("dtype", 16),
        ("seed", 0.5),
        ("space", "kernel"),
        ("space", ["core"]),
        ("rank", 3),
        ("rank", True),
        ("as_adapter", True),
        ("as_adapter", 1),
        ("modules", {}),
        ("modules", []),
        ("modules", [{"slices": []}]),
        ("modules", [{"slices": [{"sources": []}]}]),
        ("modules", [{"slices": [{"sources": [{"model": -1}]}]}]),
        ("modules", [{"slices": [{"base": True, "sources": [{"model": 0}]}]}]),
        ("modules", [{"slices": [{"sources": [{"model": 0, "blocks": [1]}]}]}]),
        ("parameters", {"weight": None}),
    ],
)
def test_what_is_no_blueprint_is_refused(entry, value):
    with pytest.raises(ValueError, match=r".+"):
        Blueprint.from_json({**FULL.to_json(), entry: value})


@pytest.mark.parametrize(
    "entry", ["method", "dialect", "formulas", "base", "donor", "dtype", "seed", "modules"]
)
def test_what_is_missing_is_named(entry):
    data = FULL.to_json()
    del data[entry]
    with pytest.raises(KeyError, match=entry):
        Blueprint.from_json(data)


def places(data, path=()):
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield (*path, key)
        yield from places(value, (*path, key))


def are_sound(blueprint):
    """Whether words are words, and models are counted from 0."""
    rules = blueprint.vocabulary
    numbers = [*blueprint.models, rules.source, *(rule.row.model for rule in rules.tokens)]
    levels = [blueprint, *blueprint.modules, *blueprint.slices]
    levels += [source for slice_ in blueprint.slices for source in slice_.sources]
    cases = [case for level in levels for setting in level.settings.values() for case in setting.cases]
    words = [blueprint.chat_template, *(m.name for m in blueprint.modules), *(case.filter for case in cases)]
    return all(isinstance(word, str | None) for word in words) and all(
        isinstance(number, str) or number >= 0 for number in numbers
    )


def read(path, data):
    """What a file with this data is; None if it is refused in words."""
    path.write_text(json.dumps(data))
    try:
        return read_recipe(path)
    except ConfigError:
        return None


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes") / "recipe.json"


@pytest.mark.parametrize("value", [[], {}, [[]], {"a": 1}, 3, -1, 0.5, "word", True, None])
def test_whatever_stands_in_a_recipe_is_kept_or_refused_in_words(path, value):
    written = RECIPE.to_json()
    assert read(path, written) == RECIPE
    for place in places(written):
        data = copy.deepcopy(written)
        parent = data
        for key in place[:-1]:
            parent = parent[key]
        parent[place[-1]] = value
        recipe = read(path, data)
        if recipe is not None:
            assert MergeRecipe.from_json(recipe.to_json()) == recipe, place
            assert are_sound(recipe.blueprint), place
            assert are_sound(recipe.ingredients[1].recipe.blueprint), place
