"""The command end to end, as a user meets it: a real process, real files, exit codes, one JSON object."""

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import merganser
from merganser.models import perceptron_size, perceptron_tensors
from merganser.run import RunDirectory
from merganser.weights import Checkpoint

COMMAND = str(Path(sys.executable).with_name("merganser"))


def last_json(done):
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small_npz, command):
    """A finished run from specialists, with its JSON."""
    path = tmp_path_factory.mktemp("cli") / "run"
    options = ("--from", "specialists", "--budget", 200, "--run", path, "--json")
    return path, last_json(command("evolve", small_npz, *options))


def test_the_json_has_the_promised_keys_and_figures_that_agree(finished):
    path, outcome = finished
    promised = {"run", "winner", "search", "validation", "test", "coverage", "entropy", "evaluations"}
    assert promised | {"samples_saved", "seconds", "parents"} <= set(outcome)
    assert outcome["run"] == str(path)
    assert outcome["evaluations"] == 200
    assert set(outcome["test"]) == {"value", "low", "high"}
    assert outcome["test"]["low"] <= outcome["test"]["value"] <= outcome["test"]["high"]
    assert [p["name"] for p in outcome["parents"]] == ["classes 0-4", "classes 5-9"]
    assert all(p["test"]["value"] < outcome["test"]["value"] for p in outcome["parents"])
    assert Path(outcome["report"]).is_file()


def test_progress_goes_to_standard_error_and_only_json_to_standard_output(tmp_path, small_npz, command):
    done = command("evolve", small_npz, "--budget", 100, "--run", tmp_path / "r", "--no-report", "--json")
    assert len(done.stdout.splitlines()) == 1
    assert "100 children (100.0 %)" in done.stderr
    assert "evaluations/s" in done.stderr


def test_quiet_leaves_out_the_progress(tmp_path, small_npz, command):
    done = command("evolve", small_npz, "--budget", 60, "--run", tmp_path / "r", "--no-report", "-q")
    assert "children" not in done.stderr
    assert not (tmp_path / "r" / "report.html").exists()


def test_a_terminal_gets_a_live_bar(tmp_path, small_npz):
    leader, follower = pty.openpty()
    arguments = ["evolve", str(small_npz), "--budget", "1500", "--run", str(tmp_path / "r"), "--no-report"]
    process = subprocess.Popen([COMMAND, *arguments], stderr=follower, stdout=subprocess.DEVNULL)
    os.close(follower)
    seen = b""
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
    assert process.wait() == 0
    text = seen.decode(errors="replace")
    assert "━" in text
    assert "children" in text
    assert "evaluations/s" in text


def test_ctrl_c_stops_cleanly_says_how_to_resume_and_resuming_ends_as_undisturbed(
    tmp_path, small_npz, command
):
    options = ("--budget", "4000", "--no-report", "--seed", "5")
    path = tmp_path / "stopped"
    process = subprocess.Popen(
        [COMMAND, "evolve", str(small_npz), *options, "--run", str(path)], stderr=subprocess.PIPE, text=True
    )
    while not (path / "run.db").exists():
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert f"merganser runs resume {path}" in errors
    shown = last_json(command("runs", "show", path, "--json"))
    assert shown["state"] == "unfinished"
    assert 0 < shown["evaluations"] < 4000
    resumed = last_json(command("runs", "resume", path, "--no-report", "--json"))
    whole = last_json(command("evolve", small_npz, *options, "--run", tmp_path / "whole", "--json"))
    for key in ("winner", "search", "validation", "test", "coverage", "entropy", "samples_measured"):
        assert resumed[key] == whole[key]


def test_a_file_is_read_and_options_override_it(tmp_path, small_npz, command):
    (tmp_path / "small.npz").write_bytes(small_npz.read_bytes())
    file = tmp_path / "evolve.yaml"
    file.write_text(
        "version: 1\nmodels: specialists\ntask: small.npz\n"
        "search: {method: ga, population: 8}\nbudget: {evaluations: 500}\nseed: 4\n"
    )
    outcome = last_json(
        command("evolve", file, "--budget", 90, "--run", tmp_path / "r", "--no-report", "--json")
    )
    assert outcome["evaluations"] == 90
    shown = last_json(command("runs", "show", tmp_path / "r", "--json"))
    assert (shown["method"], shown["seed"], shown["models"]) == ("ga", 4, "specialists")


def test_scores_of_a_run_on_subsets_are_called_estimates_until_its_end(tmp_path, small_npz, command):
    options = ("--from", "specialists", "--subset", 40, "--run", tmp_path / "run", "--json")
    finished = last_json(command("evolve", small_npz, *options, "--budget", 150, "--no-report"))
    assert finished["estimate"] is None
    assert finished["savings"]["subsets"] > finished["savings"]["rescored"] > 0
    assert finished["samples_measured"] + finished["samples_saved"] == 150 * samples_of(tmp_path / "run")
    assert "≈" not in command("runs", "list", tmp_path).stdout
    assert "estimate" not in command("runs", "show", tmp_path / "run").stdout
    unfinish(tmp_path / "run")
    shown = command("runs", "show", tmp_path / "run").stdout
    assert f"(estimate on 40 of {samples_of(tmp_path / 'run')} samples)" in shown
    assert "(subsets " in shown
    assert "≈ " in command("runs", "list", tmp_path).stdout


def samples_of(path):
    with RunDirectory(path).journal() as journal:
        return journal.tasks()[0].samples


def unfinish(path):
    """The run as if it had been stopped with a best member known on 40 samples."""
    with sqlite3.connect(path / "run.db") as db:
        db.execute("DELETE FROM results")
        db.execute("UPDATE meta SET value = ? WHERE key = 'estimate'", [f"[40, {samples_of(path)}]"])
    db.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task: digits\nserch: {method: ga}\n", "unknown key `serch`. Did you mean `search`?"),
        (
            "task: digits\nsearch: {populaton: 5}\n",
            "unknown key `search.populaton`. Did you mean `population`?",
        ),
        ("task: digits\nsearch: {method: magic}\n", "`search.method`: input should be"),
        ("task: digits\nsearch: {population: 0}\n", "greater than 0, but found 0"),
        ("task: digits\ntasks: [{task: digits}]\n", "Give either `task:` or `tasks:`"),
        ("models: scratch\n", "Give either `task:` or `tasks:`"),
        ("task: digits\nmodels: []\n", "`models` is empty"),
        ("version: 2\ntask: digits\n", "`version`: input should be 1"),
        ("- a list\n", "expected a mapping"),
        ("task: [unclosed\n", "is no YAML"),
        ("task: digits\ngenome: {network: 'no.such:thing'}\n", "cannot be found"),
    ],
)
def test_a_wrong_file_is_misuse_with_one_clear_message(tmp_path, text, message, command):
    (tmp_path / "bad.yaml").write_text(text)
    done = command("evolve", tmp_path / "bad.yaml", cwd=tmp_path, code=2)
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("evolve", "nowhere.npz"), 1, "task data, but nowhere.npz is not there"),
        (("evolve", "nowhere.yaml"), 2, "Cannot read nowhere.yaml"),
        (("evolve", "digits", "--budget", "soon"), 2, "Expected a budget such as 20000"),
        (("evolve", "digits", "--search", "brute-force"), 2, "children are mutated"),
        (("evolve", "digits", "--from", "specialists", "--no-crossover"), 2, "every child is a copy"),
        (("evolve", "digits", "--from", "nothing"), 2, "`models"),
        (("evolve", "digits", "--from", "scratch", "-m", "a.safetensors"), 2, "not from both"),
        (("evolve", "digits", "-m", "nowhere.safetensors"), 1, "nowhere.safetensors"),
        (("runs", "show", "nowhere"), 1, "is no run directory"),
        (("runs", "report", "nowhere"), 1, "is no run directory"),
        (("runs", "resume", "nowhere"), 1, "is no run directory"),
        (("runs", "export", "nowhere", "--out", "x"), 1, "is no run directory"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_message(tmp_path, arguments, code, message, command):
    done = command(*arguments, cwd=tmp_path, code=code)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_models_from_files_are_merged_and_written(tmp_path, small_npz, command):
    widths = (64, 16, 10)
    for i in range(2):
        flat = np.random.default_rng(i).standard_normal(perceptron_size(widths)).astype(np.float32)
        merganser.save(
            Checkpoint.from_tensors(perceptron_tensors(flat, widths)), tmp_path / f"{i}.safetensors"
        )
    options = (
        "-m",
        "0.safetensors",
        "-m",
        "1.safetensors",
        "--budget",
        60,
        "--out",
        "won",
        "--no-report",
        "--json",
    )
    outcome = last_json(command("evolve", small_npz, *options, cwd=tmp_path))
    assert [p["name"] for p in outcome["parents"]] == ["0", "1"]
    won = merganser.open(tmp_path / "won")
    assert won.layout.size == perceptron_size(widths)
    assert (tmp_path / "runs").is_dir()


def test_runs_are_listed_shown_compared_exported_and_reported(finished, tmp_path, small_npz, command):
    path, outcome = finished
    other = path.parent / "other"
    options = ("--from", "specialists", "--search", "random", "--budget", 100, "--no-report")
    command("evolve", small_npz, *options, "--run", other)
    (path.parent / "broken").mkdir()
    (path.parent / "broken" / "run.db").write_bytes(b"no database" * 500)
    listed = {
        Path(r["run"]).name: r for r in last_json(command("runs", "list", path.parent, "--json"))["runs"]
    }
    assert listed["run"]["state"] == listed["other"]["state"] == "finished"
    assert "is no journal" in listed["broken"]["state"]
    assert "natural-niches" in command("runs", "list", path.parent).stdout
    assert "finished" in command("runs", "show", path).stdout
    compared = last_json(command("runs", "compare", path, other, "--json"))
    difference = compared["differences"][0]["difference"]
    expected = listed["other"]["test"]["value"] - outcome["test"]["value"]
    assert difference["value"] == pytest.approx(expected)
    assert "on test:" in command("runs", "compare", path, other).stdout
    exported = last_json(command("runs", "export", path, "--out", tmp_path / "model", "--json"))
    assert merganser.open(tmp_path / "model").digest == exported["digest"]
    assert merganser.read_recipe(tmp_path / "model" / "recipe.json").digest == outcome["winner"]
    page = last_json(command("runs", "report", path, "--out", tmp_path / "page.html", "--json"))
    assert Path(page["report"]).read_text().lower().startswith("<!doctype html>")


def test_a_run_over_several_tasks_says_what_became_of_each(tmp_path, small_npz, command):
    (tmp_path / "other.npz").write_bytes(small_npz.read_bytes())
    tasks = f"tasks: [{{task: {small_npz}, weight: 3}}, {{task: other.npz}}]\nwatch: [{small_npz}]\n"
    (tmp_path / "two.yaml").write_text(f"{tasks}budget: {{evaluations: 20}}\n")
    done = command("evolve", tmp_path / "two.yaml", "--run", tmp_path / "run", "--no-report", "--json")
    shown, summary = (
        command("runs", "show", tmp_path / "run"),
        command("runs", "show", tmp_path / "run", "--json"),
    )
    skills = last_json(done)["skills"]
    assert [skill["task"] for skill in skills] == [small_npz.stem, "other"]
    assert last_json(summary)["skills"][:2] == skills
    for text in (done.stderr, shown.stdout):
        assert "change (95 %)" in text
        assert f"{small_npz.stem} (watched)" in text
        for skill in skills:
            parent = skill["parents"][skill["best"]]["value"]
            assert f"{skill['best']} {100 * parent:.1f} %" in text


def test_a_run_for_several_things_shows_its_front(tmp_path, small_npz, command):
    path = tmp_path / "run"
    options = ("--from", "specialists", "--search", "nsga-ii", "--budget", 40, "--no-report", "--quiet")
    done = command("evolve", small_npz, *options, "--run", path)
    shown, summary = command("runs", "show", path).stdout, last_json(command("runs", "show", path, "--json"))
    assert f"front of {len(summary['front'])}" in done.stderr
    assert "hypervolume" in shown
    for member in summary["front"]:
        assert member["recipe"][:12] in shown
        assert set(member["search"]) == set(member["validation"]) == {"odd classes", "even classes"}


def test_an_empty_folder_says_how_to_begin(tmp_path, command):
    assert "merganser evolve digits" in command("runs", "list", tmp_path).stderr


def test_the_schema_of_the_file_and_the_version_are_printed(command):
    schema = last_json(command("schema"))
    assert {"task", "search", "budget"} <= set(schema["properties"])
    assert merganser.__version__ in command("--version").stdout


@pytest.mark.parametrize("words", [(), ("evolve",), ("runs",), ("runs", "resume")])
def test_every_command_explains_itself(words, command):
    assert "Usage" in command(*words, "--help").stdout


def test_what_is_worth_knowing_about_a_run_is_said_once(tmp_path, small_npz, command):
    options = ("--search", "cma-es", "--budget", 30, "--run", tmp_path / "r", "--no-report")
    errors = command("evolve", small_npz, *options).stderr
    assert errors.count("note: CMA-ES keeps a diagonal covariance over 19,210 dimensions") == 1
    with np.load(small_npz) as arrays:
        doubled = dict(arrays)
    doubled["x_train"][:3] = doubled["x_test"][:3]
    np.savez(tmp_path / "doubled.npz", **doubled)
    options = ("--budget", 30, "--run", tmp_path / "d", "--no-report")
    assert (
        "note: 3 training samples are left out"
        in command("evolve", tmp_path / "doubled.npz", *options).stderr
    )
