"""`merganser citation`: BibTeX of exactly what was used."""

import numpy as np
import pytest

import merganser
from merganser.merging import METHODS, citations, references
from merganser.run import METHODS as SEARCHES
from merganser.run import sources_of_run


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_an_entry(method):
    entry = citations([METHODS[method].rule.paper])
    assert entry.startswith("@")
    assert entry.count("{") == entry.count("}")


def test_entries_have_keys_of_their_own():
    keys = [entry.partition("{")[2].partition(",")[0] for entry in references().values()]
    assert len(set(keys)) == len(keys)


def test_methods_are_cited_once(command):
    done = command("citation", "ties", "dare_ties", "ties")
    assert done.stdout.count("@") == 2
    assert "yadav2023ties" in done.stdout
    assert "Did you mean `ties`?" in command("citation", "tise", code=2).stderr


def test_a_merged_model_cites_its_method(command, tmp_path):
    models = [{"w": np.full((2, 2), value, "float32")} for value in (1.0, 2.0)]
    merganser.merge(models, "slerp", out=tmp_path / "out")
    assert "shoemake1985slerp" in command("citation", tmp_path / "out").stdout


@pytest.mark.parametrize(("rule", "keys"), [("slerp", {"abrantes", "shoemake"}), ("linear", {"abrantes"})])
def test_a_run_cites_its_search_and_its_rule(command, tmp_path, small_npz, rule, keys):
    (tmp_path / "evolve.yaml").write_text(
        f"version: 1\nmodels: scratch\ngenome: {{kind: dense, rule: {rule}}}\ntask: {small_npz}\n"
        "search: {method: ga, population: 4}\nbudget: {evaluations: 8}\n"
    )
    command("evolve", tmp_path / "evolve.yaml", "--run", tmp_path / "run", "--quiet", "--no-report")
    text = command("citation", tmp_path / "run").stdout
    assert {key for key in ("abrantes", "shoemake", "mouret", "hansen") if key in text} == keys


def test_every_search_is_known():
    from merganser.run._citation import SEARCHES as KNOWN

    assert set(KNOWN) == set(SEARCHES)
    assert sources_of_run
