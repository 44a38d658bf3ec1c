"""mergekit-evolve's files: what is right is read, and whatever is wrong is named with its line."""

import pytest

from merganser._errors import ConfigError
from merganser.interop import EvolvedMerge, WeightedTask, parse_mergekit_evolve, read_mergekit_evolve

FULL = """\
genome:
  models:
  - org/one
  - org/two
  merge_method: dare_ties
  base_model: org/base
  tokenizer_source: union
  layer_granularity: 8
  normalize: false
  allow_negative_weights: true
  smooth: true
  filters: [self_attn, mlp]
tasks:
- name: gsm8k
  weight: 0.5
  metric: exact_match,flexible-extract
- name: arc_easy
limit: 100
num_fewshot: 2
shuffle: true
random_init: true
apply_chat_template: false
fewshot_as_multiturn: false
"""
SMALL = "genome: {models: [a, b], merge_method: linear}\ntasks: [{name: arc_easy}]\n"


def test_everything_that_a_file_can_say(tmp_path):
    file = tmp_path / "evolve.yml"
    file.write_text(FULL)
    config = read_mergekit_evolve(file)
    assert config.genome == EvolvedMerge(
        ("org/one", "org/two"),
        "dare_ties",
        "org/base",
        tokenizer_source="union",
        layer_granularity=8,
        normalize=False,
        allow_negative_weights=True,
        filters=("self_attn", "mlp"),
        smooth=True,
    )
    assert config.tasks == (
        WeightedTask("gsm8k", 0.5, "exact_match,flexible-extract"),
        WeightedTask("arc_easy", 1.0, "acc,none"),
    )
    assert (config.limit, config.num_fewshot, config.shuffle, config.random_init) == (100, 2, True, True)
    assert (config.apply_chat_template, config.fewshot_as_multiturn) == (False, False)


def test_the_defaults_are_mergekits():
    config = parse_mergekit_evolve(SMALL)
    assert config.genome == EvolvedMerge(("a", "b"), "linear")
    assert (config.limit, config.num_fewshot, config.shuffle, config.random_init) == (
        None,
        None,
        False,
        False,
    )
    assert (config.apply_chat_template, config.fewshot_as_multiturn) == (True, True)


@pytest.mark.parametrize(
    ("method", "said", "is_normalized"),
    [("linear", "", True), ("slerp", "", False), ("linear", "normalize: false, ", False)],
)
def test_weights_are_normalized_where_mergekit_does(method, said, is_normalized):
    text = SMALL.replace("merge_method: linear", f"{said}merge_method: {method}")
    assert parse_mergekit_evolve(text).genome.is_normalized is is_normalized


def test_what_means_something_else_here_is_noted():
    assert [n for n in parse_mergekit_evolve(SMALL).notes if "does not normalize" in n]
    notes = "\n".join(parse_mergekit_evolve(FULL).notes)
    assert "workers may score different documents" in notes
    assert "the run's seed decides" in notes
    assert "does not normalize" not in notes
    assert any("the first 5 documents" in n for n in parse_mergekit_evolve(SMALL + "limit: 5").notes)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("limit: 100", "limt: 100", r"line 18: `limt` is not known. Did you mean `limit`\?"),
        ("limit: 100", "limit: 0", "line 18: `limit` must be 1 or more, but is 0"),
        (
            "dare_ties",
            "della",
            "line 5: `genome.merge_method` is 'della', but mergekit-evolve has only linear",
        ),
        ("  base_model: org/base\n", "", "line 1: `genome` has the method `dare_ties`, which needs a base"),
        ("  - org/two\n", "", "line 2: `genome.models` must name at least two models, but names 1"),
        ("dare_ties", "slerp", "line 12: `genome.filters` is not for slerp"),
        ("weight: 0.5", "weight: half", r"line 15: `tasks\[0\].weight` must be a number, but is 'half'"),
        ("- name: arc_easy", "- metric: acc", r"line 17: `tasks\[1\]` lacks `name:`"),
        ("smooth: true", "smooth: perhaps", "line 11: `genome.smooth` must be true or false"),
        ("  layer_granularity: 8", "  layer_granularity: -1", "line 8: .* must be 0 or more"),
        ("shuffle: true", "---\nshuffle: true", "line 21: is a second document"),
    ],
)
def test_mistakes_are_named_with_their_line(before, after, message):
    assert before in FULL
    with pytest.raises(ConfigError, match=message):
        parse_mergekit_evolve(FULL.replace(before, after))


def test_files_that_are_none(tmp_path):
    with pytest.raises(ConfigError, match="Cannot read"):
        read_mergekit_evolve(tmp_path / "nothing.yml")
    (tmp_path / "bytes.yml").write_bytes(b"genome:\n\xff")
    with pytest.raises(ConfigError, match="line 2: this is no text in UTF-8"):
        read_mergekit_evolve(tmp_path / "bytes.yml")
    for text, message in [("tasks: []", "lacks `genome:`"), (SMALL.split("tasks")[0], "lacks `tasks:`")]:
        with pytest.raises(ConfigError, match=message):
            parse_mergekit_evolve(text)
    with pytest.raises(ConfigError, match="must name at least one task"):
        parse_mergekit_evolve(SMALL.replace("{name: arc_easy}", ""))
