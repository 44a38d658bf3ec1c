"""`merganser compare --then`: from models to a decision and its report, in one command."""

import json

import pytest

from merganser.report import read_found
from merganser.weights import save

np = pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two perceptrons that know one half of the digits each."""
    from merganser.evaluation import read_arrays
    from merganser.models import perceptron_size, perceptron_tensors, train_perceptron

    data, widths, folder = read_arrays("digits"), (64, 16, 10), tmp_path_factory.mktemp("models")
    generator = np.random.default_rng(0)
    base = (generator.standard_normal(perceptron_size(widths)) * 0.1).astype(np.float32)
    for name, chosen in (("low", data.labels < 5), ("high", data.labels >= 5)):
        tuned = train_perceptron(base, widths, data.inputs[chosen], data.labels[chosen], steps=30)
        save(perceptron_tensors(tuned, widths), folder / f"{name}.safetensors")
    return [str(folder / f"{name}.safetensors") for name in ("low", "high")]


def test_it_says_what_to_take_and_writes_the_report(command, models, tmp_path):
    out = tmp_path / "out"
    asked = ["compare", *models, "--task", "digits", "--limit", "100", "--then", "--out", str(out)]
    done = command(*asked, "--json", cwd=tmp_path)
    found = json.loads(done.stdout.strip().splitlines()[-1])["decision"]
    assert found == json.loads((out / "decision.json").read_text())
    page = (out / "report.html").read_text()
    for heading in ("Decision report", "Ways to answer", "Verdicts"):
        assert heading in page
    assert read_found(out).models == ("low.safetensors", "high.safetensors")
    assert found["words"][0] in command(*asked, cwd=tmp_path).stdout


def test_it_needs_a_task_and_a_folder(command, models, tmp_path):
    for given in (["--task", "digits"], ["--out", "out"]):
        done = command("compare", *models, "--then", *given, cwd=tmp_path, code=2)
        assert "`--then` needs a --task" in done.stderr
    assert not (tmp_path / "out").exists()


def test_it_replaces_nothing(command, models, tmp_path):
    given = ("--task", "digits", "--out", "out", "--overwrite")
    done = command("compare", *models, "--then", *given, cwd=tmp_path, code=2)
    assert "replaces nothing" in done.stderr
