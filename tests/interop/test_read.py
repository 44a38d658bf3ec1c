"""Files as people write them: what is right is read, and whatever is wrong is named with its line, before any work."""

import copy
import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from merganser._errors import ConfigError
from merganser.interop.mergekit import merge_mergekit, parse_mergekit, plan_mergekit, read_mergekit
from merganser.interop.mergekit._read import in_order
from merganser.merging import Case, Setting, Source
from merganser.merging.vocabulary import ModelRow, RowOf, TokenRule, VocabularyRules, ZeroRow

MODELS = Path(__file__).parent / "goldens" / "models"
LINEAR = "merge_method: linear\nparameters: {weight: 1}\n"

SLICED = """\
merge_method: della
base_model: base
slices:
- sources:
  - model: a
    layer_range: [0, 4]
    parameters:
      density:
      - filter: self_attn
        value: [0.3, 0.6]
      - value: 0.5
  - model:
      model:
        path: org/b
        revision: main
      lora:
        path: org/lora
    layer_range: [4, 8]
  - model: base
    layer_range: [0, 4]
  parameters:
    weight: 0.4
  base_model: base
parameters:
  weight: 1
  epsilon: 0.1
  normalize: [true, false]
  lambda: 1e-1
  rescale:
    value: true
    filter: mlp
dtype: float32
out_dtype: bfloat16
tokenizer:
  source: union
  pad_to_multiple_of: 64
  tokens:
    <one>:
      source:
        kind: model_token
        model: a
        token: <two>
      force: true
    <zero>:
      source:
        kind: zero
    <three>:
      source: base
chat_template: chatml
name: stage
"""

MODULAR = """\
merge_method: task_arithmetic
base_model: base
modules:
  encoder:
    models:
    - model: a
      parameters:
        weight: 1
    - model: b
    parameters:
      weight: [0, 1]
  decoder:
    slices:
    - sources:
      - model: a
        layer_range: [0, 2]
        parameters:
          weight: 0.5
      - model: base
        layer_range: [0, 2]
parameters:
  int8_mask: true
tokenizer_source: base
"""

FREE = ("tokens", "modules")
"""Whose keys are names of the user's own."""


def read(text):
    return parse_mergekit(text, "f.yaml")


def one(text):
    [config] = read(text)
    return config


def complaint(text):
    with pytest.raises(ConfigError) as caught:
        in_order(read(text))
    assert re.match(r"f\.yaml, line \d+: ", str(caught.value)), caught.value
    return str(caught.value)


def places(data, path=()):
    """The paths of all values of a document."""
    yield path
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield from places(value, (*path, key))


def at(data, path):
    for key in path:
        data = data[key]
    return data


def replaced(data, path, value):
    if not path:
        return value
    data = copy.deepcopy(data)
    at(data, path[:-1])[path[-1]] = value
    return data


def dumped(data):
    return yaml.safe_dump(data, sort_keys=False)


DOCUMENTS = {"sliced": yaml.safe_load(SLICED), "modular": yaml.safe_load(MODULAR)}
PLACES = [(name, path) for name, data in DOCUMENTS.items() for path in places(data)]
KEYS = [
    (name, path)
    for name, path in PLACES
    if path and isinstance(path[-1], str) and (len(path) < 2 or path[-2] not in FREE)
]


# what is right


def test_the_full_documents_are_right():
    for text in (SLICED, MODULAR):
        assert one(text).notes == ()


def test_models_are_numbered_as_they_come_and_the_base_is_the_first():
    config = one(SLICED)
    assert config.models == ("base", "a", "org/b@main+org/lora")
    assert (config.blueprint.base, config.blueprint.donor) == (0, 0)
    assert one(LINEAR + "models: [{model: x}, {model: y}]").blueprint.donor == 0


def test_filters_gradients_and_numbers_that_yaml_takes_for_text():
    blueprint = one(SLICED).blueprint
    [slice_] = blueprint.slices
    assert slice_.sources[0] == Source(
        1, (0, 4), {"density": Setting((Case((0.3, 0.6), "self_attn"), Case(0.5)))}
    )
    assert slice_.settings == {"weight": Setting.of(0.4)}
    assert blueprint.settings == {
        "weight": Setting.of(1),
        "epsilon": Setting.of(0.1),
        "normalize": Setting((Case((True, False)),)),
        "lambda": Setting.of(0.1),
        "rescale": Setting((Case(True, "mlp"),)),
    }


@pytest.mark.parametrize("written", ["1e-5", "'1e-5'", "1.0e-5", "0.00001"])
def test_every_way_to_write_a_number(written):
    config = one(
        f"merge_method: nearswap\nbase_model: b\nmodels: [{{model: a}}]\nparameters: {{t: {written}}}"
    )
    assert config.blueprint.settings == {"t": Setting.of(1e-5)}


def test_a_star_is_no_filter():
    written = one(LINEAR + "models: [{model: a, parameters: {weight: [{filter: '*', value: 2}]}}]")
    plain = one(LINEAR + "models: [{model: a, parameters: {weight: 2}}]")
    assert written.blueprint == plain.blueprint


def test_null_is_as_good_as_nothing():
    plain = one(LINEAR + "models: [{model: a}]")
    nulls = "base_model: null\ndtype: ~\ntokenizer:\nslices: null\nmodels: [{model: a, parameters: null}]"
    assert one(LINEAR + nulls).blueprint == plain.blueprint


def test_out_dtype_counts_for_the_result_and_dtype_without_it():
    assert one(SLICED).blueprint.dtype == "bfloat16"
    assert one(LINEAR + "dtype: torch.float16\nmodels: [{model: a}]").blueprint.dtype == "float16"


def test_vocabulary_rules_number_their_models():
    rules = (
        TokenRule("<one>", RowOf(1, "<two>"), True),
        TokenRule("<zero>", ZeroRow()),
        TokenRule("<three>", ModelRow(0)),
    )
    assert one(SLICED).blueprint.vocabulary == VocabularyRules("union", 64, rules)
    assert one(MODULAR).blueprint.vocabulary == VocabularyRules("base")
    other = one(LINEAR + "models: [{model: a}]\ntokenizer_source: b")
    assert (other.models, other.blueprint.vocabulary) == (("a", "b"), VocabularyRules(1))


def test_an_unlisted_base_is_one_more_model_for_methods_without_a_base():
    config = one(LINEAR + "base_model: base\nmodels: [{model: a}]")
    assert [source.model for source in config.blueprint.slices[0].sources] == [1, 0]


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (
            "merge_method: slerp\nbase_model: b\nmodels: [{model: a}]\nparameters:\n  t: 1\n  int8_mask: true",
            "6: ",
        ),
        (
            "merge_method: slerp\nbase_model: b\nparameters: {t: 1}\nmodels:\n- model: a\n  parameters: {t: 1}",
            "6: ",
        ),
        (LINEAR + "slices:\n- sources: [{model: a, layer_range: [0, 1]}]\n  residual_weight: 1", "5: "),
        (LINEAR + "models:\n- model: {model: a, override_architecture: Llama}", "4: "),
    ],
)
def test_what_has_no_effect_is_a_note_with_its_line(text, note):
    [found] = one(text).notes
    assert f"line {note}" in found
    assert "no effect" in found


def test_aliases_and_merge_keys_are_read_as_what_they_stand_for():
    text = (
        LINEAR
        + "models:\n- &m {model: a, parameters: {weight: 2}}\n- {<<: *m, model: b}\n- {<<: [{model: c}, *m]}"
    )
    sources = one(text).blueprint.slices[0].sources
    assert [source.model for source in sources] == [0, 1, 2]
    assert all(source.settings == {"weight": Setting.of(2)} for source in sources)
    twice = LINEAR + "x: &x\n  model: a\nmodels: [*x]"
    assert "`x` is not known" in complaint(twice)


def test_a_model_in_a_merged_mapping_may_give_the_vocabulary():
    text = LINEAR + "models: [{model: &a {model: {path: a}}}]\ntokenizer: {source: {<<: *a}}"
    assert one(text).blueprint.vocabulary == VocabularyRules(0)


PRECEDENCE = """\
merge_method: linear
slices:
- sources:
  - model: {a}
    layer_range: [0, 2]
    parameters:
      weight: [{{filter: q_proj, value: 1}}]
  - model: {b}
    layer_range: [0, 2]
  parameters:
    weight: [{{filter: self_attn, value: 2}}]
- sources: [{{model: {a}, layer_range: [2, 4]}}, {{model: {b}, layer_range: [2, 4]}}]
parameters:
  weight: [{{filter: mlp, value: [3, 5]}}, {{value: 4}}]
"""


def test_the_narrowest_parameter_with_a_value_counts(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(PRECEDENCE.format(a=MODELS / "a", b=MODELS / "b"))
    [stage] = plan_mergekit(path)
    weights = {target.spec.name: target.method.weight for target in stage.plan.targets}
    layers = "model.layers.{}.{}.weight"
    assert weights[layers.format(0, "self_attn.q_proj")] == (1, 2)
    assert weights[layers.format(0, "self_attn.k_proj")] == (2, 2)
    assert weights[layers.format(2, "self_attn.q_proj")] == (4, 4)
    assert [weights[layers.format(i, "mlp.up_proj")] for i in range(4)] == [(3, 3), (5, 5), (3, 3), (5, 5)]
    assert weights["model.norm.weight"] == (4, 4)


# what is wrong


@pytest.mark.parametrize(("name", "path"), KEYS, ids=[".".join(map(str, path)) for _, path in KEYS])
def test_a_misspelt_key_is_found_with_its_line_and_the_right_one(name, path):
    data, key = copy.deepcopy(DOCUMENTS[name]), path[-1]
    parent = at(data, path[:-1])
    parent[key[:-1]] = parent.pop(key)
    text = dumped(data)
    line = next(
        i for i, row in enumerate(text.splitlines(), 1) if re.match(rf"[ -]*{re.escape(key[:-1])}:", row)
    )
    found = complaint(text)
    assert f"Did you mean `{key}`?" in found
    if text.count(f"{key[:-1]}:") == 1:
        assert f"line {line}: " in found


def refusal(text):
    """Why a text is refused; empty if it is not."""
    try:
        read(text)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("value", [[], {}, [[]], {"a": 1}, [{"a": 1}], 3, -1, 0.5, "", "word", True, None])
def test_a_value_of_another_kind_is_read_or_refused_with_its_line(value):
    for name, path in PLACES:
        assert re.match(r"f\.yaml, line \d+: |$", refusal(dumped(replaced(DOCUMENTS[name], path, value))))


@given(st.text(alphabet="models:\n -[]{}&*a<!'\"?|,#", max_size=60))
def test_whatever_is_written_is_read_or_refused_with_its_line(text):
    assert re.match(r"f\.yaml, line \d+: |$", refusal(text))


BASE = "merge_method: {}\nbase_model: b\nmodels:\n- model: a\n"

WRONG = {
    "no method": ("models: [{model: a}]", 1, "no `merge_method`"),
    "unknown method": ("\nmerge_method: tise\nmodels: [{model: a}]", 2, "Did you mean `ties`?"),
    "no models": (LINEAR, 1, "exactly one of `models`, `slices` and `modules`, but has none"),
    "models and slices": (LINEAR + "models: [{model: a}]\nslices: []", 1, "but has `models` and `slices`"),
    "missing base": ("models: [{model: a}]\nmerge_method: ties", 2, "there is no `base_model`"),
    "missing weight": (BASE.format("ties"), 4, "sets no `weight`"),
    "missing shared": (BASE.format("slerp"), 1, "sets no `t`"),
    "too many": (BASE.format("slerp") + "- model: c\nparameters: {t: 1}", 3, "takes exactly 1"),
    "too few": (BASE.format("model_stock"), 3, "takes at least 2"),
    "a model twice": (LINEAR + "models:\n- model: a\n- model: b\n- model: a\n", 6, "takes a a second time"),
    "empty models": (LINEAR + "models: []", 3, "is empty"),
    "unknown parameter": (BASE.format("ties") + "  parameters: {wieght: 1}", 5, "Did you mean `weight`?"),
    "out of range": (BASE.format("ties") + "  parameters: {weight: 1, density: -1}", 5, "must be in [0, inf]"),
    "text for a number": (BASE.format("ties") + "  parameters: {weight: much}", 5, "must be a number, but is 'much'"),
    "flag for a number": (BASE.format("ties") + "  parameters: {weight: true}", 5, "must be a number, but is true"),
    "no number": (BASE.format("ties") + "  parameters: {weight: .nan}", 5, "must be a finite number"),
    "endless": (BASE.format("ties") + "  parameters: {weight: 1e999}", 5, "must be a finite number"),
    "number for a flag": (BASE.format("ties") + "parameters: {normalize: 2, weight: 1}", 5, "must be true or false"),
    "words in a gradient": (LINEAR.replace("1", "[0, a]") + "models: [{model: a}]", 2, "weight[1]` must be a number"),
    "empty gradient": (LINEAR.replace("1", "[]") + "models: [{model: a}]", 2, "is an empty gradient"),
    "nested gradient": (LINEAR.replace("1", "[[1]]") + "models: [{model: a}]", 2, "but is a list"),
    "mixed cases": (LINEAR.replace("1", "[{value: 1}, 2]") + "models: [{model: a}]", 2, "but is a mapping"),
    "case without value": (LINEAR.replace("1", "{filter: mlp}") + "models: [{model: a}]", 2, "has no `value`"),
    "both tokenizers": (
        LINEAR + "models: [{model: a}]\ntokenizer_source: a\ntokenizer: {source: a}",
        5,
        "say the same",
    ),
    "base tokenizer": (LINEAR + "models: [{model: a}]\ntokenizer_source: base", 4, "there is no `base_model`"),
    "row without source": (LINEAR + "models: [{model: a}]\ntokenizer: {tokens: {x: {force: true}}}", 4, "no `source`"),
    "two tokens": (
        LINEAR + "models: [{model: a}]\ntokenizer: {tokens: {x: {source: {kind: model_token, model: a}}}}",
        4,
        "`token` or by `token_id`",
    ),
    "padding": (LINEAR + "models: [{model: a}]\ntokenizer: {pad_to_multiple_of: 0}", 4, "must be at least 1"),
    "template": (LINEAR + "models: [{model: a}]\nchat_template: chatlm", 4, "found 'chatlm'"),
    "type": (LINEAR + "models: [{model: a}]\ndtype: bf16", 4, "must be one of"),
    "duplicate key": (LINEAR + "models: [{model: a}]\nmodels: [{model: b}]", 4, "is given twice, first in line 3"),
    "key that is a number": (LINEAR + "models: [{model: a}]\n1: 2", 4, "key that is no text"),
    "undefined alias": (LINEAR + "models: *a", 3, "undefined alias"),
    "alias to itself": (LINEAR + "models: &a [*a]", 3, "leads back to itself"),
    "merge with itself": (LINEAR + "models: [&a {<<: *a}]", 3, "leads back to itself"),
    "tag": (LINEAR + "models: [{model: !!python/name:os.system x}]", 3, "is no plain value"),
    "date that is none": (LINEAR + "models: [{model: 2026-13-45}]", 3, "is no plain value"),
    "control character": (LINEAR + "models: [{model: \x07}]", 3, "U+0007"),
    "nothing": ("# a comment\n", 1, "there is nothing here"),
}  # fmt: skip

RANGES = {
    "reversed": ("[3, 1]", "0 <= first < last, but is [3, 1]"),
    "empty": ("[2, 2]", "0 <= first < last"),
    "negative": ("[-1, 2]", "0 <= first < last"),
    "one number": ("[2]", "must be two numbers"),
    "no list": ("2", "must be a list"),
    "fractions": ("[0.5, 1]", "must be a whole number"),
}


@pytest.mark.parametrize(("text", "line", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_in_one_message_with_its_line(text, line, words):
    found = complaint(text)
    assert found.startswith(f"f.yaml, line {line}: ")
    assert words in found


@pytest.mark.parametrize(("blocks", "words"), RANGES.values(), ids=RANGES)
def test_a_layer_range_is_two_numbers_in_order(blocks, words):
    text = LINEAR + f"slices:\n- sources:\n  - model: a\n    layer_range: {blocks}"
    found = complaint(text)
    assert found.startswith("f.yaml, line 6: `slices[0].sources[0].layer_range")
    assert words in found


def test_sources_of_a_slice_are_equally_long_and_hold_the_base():
    uneven = LINEAR + "slices:\n- sources: [{model: a, layer_range: [0, 2]}, {model: b, layer_range: [0, 3]}]"
    assert "line 4: `slices[0]` takes 2, 3 blocks" in complaint(uneven)
    sliced = "merge_method: task_arithmetic\nslices:\n- sources:\n  - {model: a, layer_range: [0, 2]}\n"
    assert "line 3: `slices[0].sources` do not hold the base b" in complaint(
        sliced + "base_model: b\nparameters: {weight: 1}"
    )
    assert "line 1: `merge_method` is `task_arithmetic`" in complaint(sliced + "parameters: {weight: 1}")
    assert one(sliced + "  - {model: b, layer_range: [0, 2]}\n  base_model: b\n  parameters: {weight: 1}")


def test_aliases_that_stand_for_too_much_are_refused():
    """Written out, these would be 9 to the power of 39 nodes: nobody would see the end of it."""
    lists = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))
    merges = "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 40))
    for text in (f"a0: &a0 [x]\n{lists}", f"a0: &a0 {{x: y}}\n{merges}"):
        assert "aliases make" in complaint(text)
    assert "is nested too deeply" in refusal("[" * 1000)


# several documents


def named(name, *models):
    name = "" if name is None else f"name: {name}\n"
    return LINEAR + name + "models: [" + ", ".join(f"{{model: {model}}}" for model in models) + "]\n"


def test_documents_come_after_those_they_need():
    text = "---\n".join([named(None, "x", "y"), named("x", "y", "a"), named("y", "b")])
    assert [config.name for config in in_order(read(text))] == ["y", "x", None]
    text = "---\n".join([named("last", "x"), named("x", "a"), ""])
    assert [config.name for config in in_order(read(text))] == ["x", "last"]


@pytest.mark.parametrize(
    ("documents", "line", "words"),
    [
        ([("x", "y"), ("y", "x")], 1, "needs itself: x -> y -> x"),
        ([("x", "x")], 1, "needs itself: x -> x"),
        ([(None, "x"), ("x", "y"), ("y", "x")], 5, "needs itself: x -> y -> x"),
        ([("x", "a"), ("x", "b"), (None, "x")], 6, "second document named 'x'"),
        ([("x", "a"), (None, "b")], 1, "does not need the document 'x'"),
        ([("x", "y"), ("y", "x"), (None, "b")], 1, "does not need the document 'x'"),
        ([("x", "a"), ("y", "b")], 6, "second result: no other document uses 'x' and 'y'"),
        ([(None, "a"), (None, "b")], 5, "second result"),
    ],
)
def test_documents_that_make_no_single_result(documents, line, words):
    found = complaint("---\n".join(named(*each) for each in documents))
    assert words in found
    assert found.startswith(f"f.yaml, line {line}: ")


# files


def test_a_file_is_named_as_it_was_given(tmp_path):
    path = tmp_path / "m.yaml"
    with pytest.raises(ConfigError, match=r"Cannot read .*m\.yaml: No such file"):
        read_mergekit(path)
    path.write_bytes(b"merge_method: linear\n# \xff\n")
    with pytest.raises(ConfigError, match=r"m\.yaml, line 2: this is no text in UTF-8"):
        read_mergekit(path)
    path.write_bytes(b"\xef\xbb\xbf" + named(None, "a").encode())
    assert len(read_mergekit(path)) == 1


STACK = """\
merge_method: passthrough
slices:
- sources:
  - model: {a}
    layer_range: [0, 3]
- sources:
  - model: {b}
    layer_range: [1, 4]
"""


def test_overlapping_ranges_are_a_stack(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_text(STACK.format(a=MODELS / "a", b=MODELS / "b"))
    [stage] = plan_mergekit(path)
    assert stage.plan.config["num_hidden_layers"] == 6


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("[1, 4]", "[1, 5]", "line 8: .*does not fit the model.* it has 4 blocks"),
        ("merge_method", "merge_metod", "line 1: .*Did you mean `merge_method`"),
        ("[1, 4]", "[4, 1]", "line 8: .*0 <= first < last"),
        ("slices:", "parameters: {scale: [{filter: [], value: 1}]}\nslices:", "line 2: .*must be text"),
        ("slices:", "modules: {encoder: {slices: []}}\nslices:", "line 1: needs exactly one"),
        ("slices:", "chat_template: auto\nslices:", "none has one"),
    ],
)
def test_nothing_is_written_for_a_bad_file(tmp_path, before, after, words):
    path = tmp_path / "m.yaml"
    path.write_text(STACK.format(a=MODELS / "a", b=MODELS / "b").replace(before, after))
    with pytest.raises(ConfigError, match=words):
        merge_mergekit(path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [path]
