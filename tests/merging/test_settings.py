"""Parameters that vary over a model: which value a tensor gets, and what of it survives JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merganser.merging import Case, Setting
from merganser.merging._settings import first_of

NUMBERS = st.integers(-5, 5) | st.floats(-1e6, 1e6)
DEPTHS = st.floats(0, 1)
SCALARS = NUMBERS | st.booleans() | st.text(max_size=4)
CASES = st.builds(
    Case,
    SCALARS | st.lists(SCALARS, min_size=1, max_size=4).map(tuple),
    st.none() | st.sampled_from(["mlp", "norm", ""]),
)
SETTINGS = st.lists(CASES, min_size=1, max_size=3).map(lambda cases: Setting(tuple(cases)))


# gradients


@given(st.lists(NUMBERS, min_size=2, max_size=6).map(tuple))
def test_a_gradient_goes_through_its_values(values):
    for i, value in enumerate(values):
        assert Case(values).at(i / (len(values) - 1)) == pytest.approx(value, abs=1e-6)


@given(st.lists(NUMBERS, min_size=1, max_size=6).map(tuple), DEPTHS)
def test_a_gradient_is_a_line_between_neighbours(values, depth):
    place = depth * (len(values) - 1)
    below = int(place)
    above = min(below + 1, len(values) - 1)
    expected = values[below] + (place - below) * (values[above] - values[below])
    assert Case(values).at(depth) == pytest.approx(expected, rel=1e-9, abs=1e-6)


@given(NUMBERS, DEPTHS)
def test_one_value_is_the_same_at_every_depth(value, depth):
    assert Case(value).at(depth) == Case((value,)).at(depth) == value


@pytest.mark.parametrize("values", [("a", "b", "c"), (False, True, False), (0, True, 1)])
def test_what_does_not_blend_steps(values):
    depths = [0.0, 0.49, 0.5, 0.99, 1.0]
    assert [Case(values).at(depth) for depth in depths] == [values[i] for i in (0, 0, 1, 1, 2)]


def test_a_number_before_a_word_does_not_blend_either():
    assert Case((1.0, "a")).at(0.5) == 1.0


def test_a_gradient_without_values_is_refused():
    with pytest.raises(ValueError, match="at least one value"):
        Case(())


# cases


def test_the_first_case_that_fits_counts():
    setting = Setting((Case(1, "q_proj"), Case(2, "proj"), Case(3), Case(4, "norm")))
    names = ["x.q_proj.weight", "x.k_proj.weight", "model.norm.weight", ""]
    assert [setting.at(name, 0.0) for name in names] == [1, 2, 3, 3]


def test_no_value_where_no_case_fits():
    assert Setting((Case(1, "mlp"),)).at("model.norm.weight", 0.0) is None


def test_a_filter_is_a_part_of_the_name_and_no_pattern():
    setting = Setting((Case(1, "layers.1."),))
    assert [setting.at(f"model.layers.{n}.w", 0.0) for n in (1, 11, 21)] == [1, None, None]


def test_values_are_those_of_all_cases():
    assert Setting((Case((1, 2), "mlp"), Case("a"))).values == (1, 2, "a")


# levels


@pytest.mark.parametrize(("tensor", "expected"), [("a.mlp", 1), ("a.norm", 2), ("a.head", 3)])
def test_the_narrowest_level_that_has_a_value_for_a_tensor_counts(tensor, expected):
    levels = [
        {"weight": Setting((Case(1, "mlp"),))},
        {},
        {"weight": Setting((Case(2, "norm"), Case(9, "mlp")))},
        {"weight": Setting.of(3)},
    ]
    assert first_of(levels, "weight", tensor, 0.0) == expected
    assert first_of(levels, "density", tensor, 0.0) is None


def test_false_and_zero_are_values():
    assert first_of([{"x": Setting.of(False)}, {"x": Setting.of(True)}], "x", "", 0.0) is False
    assert first_of([{"x": Setting.of(0.0)}, {"x": Setting.of(1.0)}], "x", "", 0.0) == 0.0


# JSON


@given(SETTINGS)
def test_a_setting_survives_json(setting):
    again = Setting.from_json(json.loads(json.dumps(setting.to_json())))
    assert again == setting
    assert [type(value) for value in again.values] == [type(value) for value in setting.values]


@pytest.mark.parametrize(
    ("setting", "written"),
    [
        (Setting.of(0.5), 0.5),
        (Setting((Case((0, 1)),)), [{"value": [0, 1]}]),
        (Setting((Case(True, "mlp"),)), [{"value": True, "filter": "mlp"}]),
    ],
)
def test_json_is_as_short_as_it_can_be(setting, written):
    assert setting.to_json() == written


@pytest.mark.parametrize(
    "data", [None, {}, {"value": 1}, [{"value": None}], [{"value": []}], [{"value": [[1]]}]]
)
def test_what_is_no_setting_is_refused(data):
    with pytest.raises(ValueError, match=r"setting is|at least one value"):
        Setting.from_json(data)
