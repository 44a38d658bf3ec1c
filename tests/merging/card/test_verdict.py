"""The licence of what is merged from models under several."""

from itertools import permutations, product

import pytest

from merganser.merging.card import UNKNOWN, Licence, combined, licence_named
from merganser.merging.card._terms import clash, known_names, obligation, takes_in

NAMES = [*known_names(), "cc-by-sa-3.0", "cc-by-nc-2.0", "cc-by-nc-sa-3.0", "my own"]


def verdict(*names, **options):
    return combined([(f"model {i}", licence_named(name)) for i, name in enumerate(names)], **options)


@pytest.mark.parametrize(
    ("parents", "result"),
    [
        (("mit", "mit"), "mit"),
        (("cc0-1.0", "mit", "apache-2.0"), "apache-2.0"),
        (("apache-2.0", "cc-by-4.0"), "cc-by-4.0"),
        (("apache-2.0", "lgpl-3.0", "gpl-3.0"), "gpl-3.0"),
        (("gpl-3.0", "agpl-3.0"), "agpl-3.0"),
        (("gpl-3.0", "cc-by-sa-4.0"), "gpl-3.0"),
        (("mit", "llama3.1"), "llama3.1"),
        (("gemma", "apache-2.0", "gemma"), "gemma"),
        (("cc-by-nc-4.0", "apache-2.0"), "cc-by-nc-4.0"),
        (("cc-by-nc-2.0", "cc-by-nc-sa-4.0"), "cc-by-nc-sa-4.0"),
        (("cc-by-sa-3.0", "cc-by-sa-4.0"), "cc-by-sa-4.0"),
        (("apache-2.0", "unknown"), "unknown"),
    ],
)
def test_the_most_restrictive_licence_is_the_results_in_any_order(parents, result):
    for order in permutations(parents):
        assert verdict(*order).licence.identifier == result


@pytest.mark.parametrize(
    "parents",
    [
        ("gpl-3.0", "cc-by-nc-4.0"),
        ("gpl-3.0", "llama3"),
        ("gpl-3.0", "cc-by-sa-3.0"),
        ("agpl-3.0", "cc-by-sa-4.0"),
        ("gpl-2.0", "gpl-3.0"),
        ("gpl-2.0", "apache-2.0"),
        ("cc-by-sa-4.0", "cc-by-nc-sa-4.0"),
        ("cc-by-nc-sa-4.0", "gemma"),
        ("lgpl-3.0", "openrail"),
    ],
)
def test_licences_that_clash_are_refused_whatever_the_order(parents):
    for first, second in permutations(parents):
        with pytest.raises(ValueError, match=r"--licence NAME") as error:
            verdict("mit", first, second)
        assert f"model 1 is under {first}" in str(error.value)
        assert f"model 2 under {second}" in str(error.value)
        assert "model 0" not in str(error.value)


def test_a_licence_that_forbids_changes_is_refused_even_alone():
    with pytest.raises(
        ValueError, match=r"model 0 is under cc-by-nd-4\.0, which does not allow changed versions"
    ):
        verdict("cc-by-nd-4.0")


def test_a_clash_can_be_overridden_and_is_said():
    found = verdict("gpl-3.0", "cc-by-nc-4.0", override="mit")
    assert found.licence == Licence("mit")
    assert "cannot keep the terms of both" in found.notes[0]
    assert "the word of whoever merged" in found.notes[-1]


@pytest.mark.parametrize(
    ("typo", "meant"), [("apache2.0", "apache-2.0"), ("cc-by-nc-4", "cc-by-nc-4.0"), ("gpl3.0", "gpl-3.0")]
)
def test_a_misspelt_override_suggests_the_right_one(typo, meant):
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        verdict("mit", override=typo)


def test_an_override_may_be_a_name_of_ones_own_but_not_nothing():
    assert verdict("mit", override="House Rules").licence == Licence("other", "House Rules")
    with pytest.raises(ValueError, match="found ' '"):
        verdict("mit", override=" ")


def test_terms_that_add_up_are_all_named():
    found = verdict("llama3", "cc-by-nc-4.0", "apache-2.0").licence
    assert found == Licence("other", "llama3 and cc-by-nc-4.0")


def test_an_unknown_licence_is_named_with_what_the_others_ask_for():
    found = verdict("gemma", "unknown", "mit")
    assert found.licence == UNKNOWN
    assert found.notes == (
        "Of unknown licence: model 1. Ask the authors before passing this on. The others ask for gemma.",
    )
    assert verdict("unknown").notes[0].endswith("passing this on.")


def test_terms_nobody_has_read_are_named_and_never_called_compatible():
    found = verdict("gpl-3.0", "my own")
    assert found.licence == Licence("other", "gpl-3.0 and my own")
    assert found.notes == ("Terms that were not compared with the others: model 1 (my own). Read them.",)


def test_the_notices_of_lighter_licences_are_still_to_be_kept():
    found = verdict("mit", "llama3", "mit")
    assert len(found.obligations) == 2
    assert "notices of mit" in found.obligations[0]
    assert "Built with Meta Llama 3" in found.obligations[1]


def test_no_models_have_no_known_licence():
    assert combined([]).licence == UNKNOWN


def test_of_two_licences_at_most_one_takes_in_the_other_and_then_they_do_not_clash():
    for first, second in product(NAMES, NAMES):
        assert clash(first, second) == clash(second, first)
        if first != second:
            assert not (takes_in(first, second) and takes_in(second, first))
        if takes_in(first, second):
            assert not clash(first, second)


def test_two_that_clash_may_still_both_fit_under_a_third():
    with pytest.raises(ValueError, match="cannot keep the terms of both"):
        verdict("apache-2.0", "lgpl-2.1")
    assert verdict("apache-2.0", "lgpl-2.1", "gpl-3.0").licence == Licence("gpl-3.0")


def test_every_licence_of_the_table_that_asks_for_something_says_what():
    for name in known_names():
        text = obligation(name)
        assert (text is None) == (
            name in ("unlicense", "cc0-1.0", "pddl", "wtfpl") or "-nd-" in name or "nc-nd" in name
        )
        assert text is None or name in text
