"""`merganser adapt train` from a terminal's point of view."""

import json
import re
from pathlib import Path

import pytest

pytest.importorskip("trl")

STORIES = Path(__file__).parents[1] / "data" / "stories260k"
SUBJECTS = ("One day", "Lily was", "Tom had", "The dog", "A cat", "The sun")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a task."""
    folder = tmp_path_factory.mktemp("adapt")
    rows = [
        {"question": f"{who} {word}", "answer": "the"}
        for who in SUBJECTS
        for word in ("a", "big", "red", "so")
    ]
    (folder / "the.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "the.yaml").write_text(
        'data: the.jsonl\ntemplate: "{question}"\nscorer: contains\nmax_tokens: 4\n'
    )
    return folder


def words_for(place, out, *more):
    common = ("--steps", "4", "--every", "2", "--prompts", "2", "--rollouts", "4")
    return ("adapt", "train", STORIES, "--task", place / "the.yaml", "--out", place / out, *common, *more)


def test_it_trains_reports_and_is_not_repeated(command, place):
    words = words_for(place, "svf", "--module", "q_proj", "--learning-rate", "0.05", "--json")
    done = command(*words)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["kind"] == "svf"
    assert said["steps"] == 4
    assert said["parameters"] == 5 * 4 * 64
    assert (place / "svf" / "expert.safetensors").is_file()
    page = (place / "svf" / "report.html").read_text()
    assert "Which scales moved" in page
    assert "Divergence from the base" in page
    assert re.search(r"the: [\d.]+.% → [\d.]+.% on the test", page)
    begun = (place / "svf" / "expert.safetensors").stat().st_mtime_ns
    again = command(*words)
    assert json.loads(again.stdout.splitlines()[-1]) == said
    assert (place / "svf" / "expert.safetensors").stat().st_mtime_ns == begun
    other = command(*words, "--seed", "1", code=1)
    assert "holds another training" in other.stderr


def test_right_answers_can_be_imitated_by_a_lora(command, place):
    done = command(*words_for(place, "lora", "--adapter", "lora", "--preset", "supervised", "--rank", "2"))
    assert "parameters trained in 4 steps" in done.stdout
    assert (place / "lora" / "adapter" / "adapter_model.safetensors").is_file()
    page = (place / "lora" / "report.html").read_text()
    assert "Cross-entropy" in page
    assert "Which scales moved" not in page


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--adapter", "ia3"), "Expected an adapter among svf, lora, full, found 'ia3'"),
        (("--alpha", "2"), "--adapter svf has no --alpha. Leave it out."),
        (("--adapter", "full", "--rank", "2"), "--adapter full has no --rank. Leave it out."),
        (("--adapter", "full", "--layer", "0"), "--adapter full has no --layer. Leave it out."),
        (("--preset", "rlo"), "found 'rlo'. Did you mean 'rloo'?"),
        (("--component", "mpl"), "found 'mpl'"),
    ],
)
def test_misuse_is_explained_and_writes_nothing(command, place, more, message):
    done = command(*words_for(place, "never", *more), code=2)
    assert message in re.sub(r"\s+", " ", done.stderr)
    assert not (place / "never").exists()
