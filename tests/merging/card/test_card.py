"""The card of a merged model, read back as the hub reads it."""

import dataclasses
import json
import re

import pytest

from merganser.merging.card import CardFacts, CardParent, Licence, Verdict, model_card

PARENTS = (
    CardParent("org/base@main", "base", Licence("apache-2.0"), "f" * 32, "d" * 64, languages=("en", "no")),
    CardParent("/home/someone/secret/my model", "model", Licence("mit"), "e" * 32, languages=("en", "no")),
)
FACTS = CardFacts(
    name='Duck: a "merge" of café-7B | 鴨',
    parents=PARENTS,
    methods=("ties",),
    verdict=Verdict(Licence("apache-2.0"), ("A note.",), ("Keep the notices.",)),
    recipe="merge_method: ties\nmodels:\n- model: /home/someone/secret/my model\n",
    architectures=("LlamaForCausalLM",),
    parameters=1_234_567,
    dtype="bfloat16",
    tokenizer="The tokenizer is the base's.",
    chat_template="The chat template is chatml.",
    notes=("Layer 3\nwas cut.",),
)


def card(**changes):
    return model_card(dataclasses.replace(FACTS, **changes))


def read(text):
    """The front matter as the hub's own library reads it, and the rest."""
    from huggingface_hub import ModelCard

    found = ModelCard(text)
    return found.data.to_dict(), found.text


def parent(reference, **changes):
    return dataclasses.replace(PARENTS[0], reference=reference, **changes)


def test_the_hub_reads_what_was_meant():
    settings, _ = read(card())
    assert settings == {
        "base_model": ["org/base"],
        "base_model_relation": "merge",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "language": ["en", "no"],
        "license": "apache-2.0",
        "tags": ["merge", "merganser", "ties"],
    }


def test_the_hubs_library_writes_the_same_settings_again():
    from huggingface_hub import ModelCard

    assert read(str(ModelCard(card()))) == read(card())


def test_parents_on_the_hub_are_listed_once_in_order_with_adapters():
    parents = (parent("org/b"), parent("org/a@v1+someone/lora"), parent("org/b"))
    assert read(card(parents=parents))[0]["base_model"] == ["org/b", "org/a", "someone/lora"]


def test_without_parents_on_the_hub_there_is_no_base_model():
    settings, text = read(card(parents=PARENTS[1:]))
    assert "base_model" not in settings
    assert "base_model_relation" not in settings
    assert "local: my model" in text


def test_no_path_of_this_machine_is_told(tmp_path):
    model = tmp_path / "größer"
    model.mkdir()
    local = (parent(str(model)), parent(f"{model}+{model}"))
    note = f"The head is that of {model}."
    text = card(parents=(*PARENTS, *local), recipe=f"models: [{model}, {model}+{model}]", notes=(note,))
    assert "/home" not in text
    assert "secret" not in text
    assert str(tmp_path) not in text
    assert "| local: größer + local: größer |" in text
    assert "models: [größer, größer+größer]\n" in text
    assert "The head is that of größer." in text


def test_paths_are_hidden_in_recipes_that_json_wrote(tmp_path):
    model = tmp_path / "größer"
    model.mkdir()
    recipe = json.dumps({"models": [str(model)]})
    text = card(parents=(parent(str(model)),), recipe=recipe, recipe_language="json")
    assert '```json\n{"models": ["größer"]}\n```' in text


@pytest.mark.parametrize(
    "name", ['the "best"', "a: b", "'tis", "鴨 # duck", "- x", "{y}", "no", "line\nbreak"]
)
def test_names_do_not_break_the_settings(name):
    settings, text = read(card(name=name, verdict=Verdict(Licence("other", name, "https://x.example/l"))))
    assert settings["license"] == "other"
    assert settings["license_link"] == "https://x.example/l"
    assert re.fullmatch(r"[a-z0-9.-]*", settings.get("license_name", ""))
    assert f"\n# {' '.join(name.split())}\n" in text


def test_a_link_into_the_parents_own_repository_is_not_passed_on():
    settings, text = read(card(verdict=Verdict(Licence("other", "mine", "LICENSE.md"))))
    assert "license_link" not in settings
    assert "LICENSE.md" not in text


def test_the_language_is_told_only_if_all_parents_agree():
    assert "language" not in read(card(parents=(parent("org/a"), parent("org/b", languages=("de",)))))[0]
    assert "language" not in read(card(parents=(parent("org/a"), parent("org/b", languages=()))))[0]


def test_a_model_that_is_no_language_model_has_no_pipeline():
    assert "pipeline_tag" not in read(card(architectures=("ViTForImageClassification",)))[0]
    bare = read(card(architectures=()))[0]
    assert "library_name" not in bare
    assert "pipeline_tag" not in bare


def test_the_table_names_every_parent_with_role_licence_and_digest():
    text = card()
    assert "| [org/base@main](https://huggingface.co/org/base) | base | apache-2.0 | " in text
    assert f"| local: my model | model | mit | `{'e' * 32}` | – |" in text
    assert "digest" not in card(parents=PARENTS[1:])


def test_methods_come_with_their_source():
    text = card(methods=("ties", "slerp"))
    assert "- `ties`: task vectors trimmed to their largest entries" in text
    assert "https://arxiv.org/abs/2306.01708" in text
    assert "https://dl.acm.org/doi/" in text
    with pytest.raises(ValueError, match="no merge method 'tiez'"):
        card(methods=("tiez",))


def test_sections_with_nothing_to_say_are_left_out():
    text = card(notes=(), recipe="", tokenizer=None, chat_template=None, parameters=None, dtype=None)
    assert "## Notes" not in text
    assert "## Recipe" not in text
    assert "None" not in text
    assert "\n\n\n" not in text


def test_what_was_never_a_file_has_to_be_given_to_be_checked():
    assert "merganser verify FOLDER\n" in card()
    assert "merganser verify FOLDER MODEL …\n" in card(parents=(parent(None),))
    assert "| in memory |" in card(parents=(parent(None),))


def test_the_licence_comes_with_obligations_and_notes():
    section = card().partition("## Licence")[2]
    assert section.lstrip().startswith("apache-2.0.")
    assert "no legal advice" in section
    assert "- Keep the notices.\n- A note.\n" in section


def test_a_recipe_with_a_fence_inside_stays_inside():
    assert "````yaml\na: '```'\n````\n" in card(recipe="a: '```'\n")


def test_one_cell_stays_one_cell():
    row = next(line for line in card(parents=(parent("/x/a|b"),)).splitlines() if line.startswith("| local"))
    assert r"local: a\|b" in row


def test_the_text_is_a_function_of_the_facts():
    assert card() == card()
    assert card().endswith("- Layer 3 was cut.\n")
