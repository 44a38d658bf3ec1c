"""What README and docs show works: Python blocks run, commands are accepted, links lead somewhere."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += [ROOT / "benchmarks" / "README.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
WHO = ("One day", "Lily was", "Tom had", "The dog", "A cat", "The sun", "Mom saw", "He is")
SMALL = {"evolve": ["--budget", "60", "--quiet"]}


def blocks(language):
    for page in PAGES:
        for i, (kind, text) in enumerate(BLOCK.findall(page.read_text())):
            if kind == language:
                yield pytest.param(text, id=f"{page.relative_to(ROOT)}-{i}")


def lay_out(folder):
    """What the pages assume to lie in the folder: a small real model, a text, and a task."""
    (folder / "stories260k").symlink_to(ROOT / "tests" / "data" / "stories260k")
    asked = [f"{who} {word}" for who in WHO for word in ("so", "red", "big")]
    rows = [json.dumps({"question": question, "answer": "the"}) for question in asked]
    (folder / "the.jsonl").write_text("\n".join(rows))
    (folder / "the.yaml").write_text(
        'data: the.jsonl\ntemplate: "{question}"\nscorer: contains\nmax_tokens: 4\n'
    )
    (folder / "texts.txt").write_text("Once upon a time there was a little dog who ran away. " * 50)


@pytest.mark.parametrize("text", list(blocks("python")))
def test_python_blocks_run(text, tmp_path, heavy_command):
    lay_out(tmp_path)
    heavy_command(program=text, cwd=tmp_path)


@pytest.mark.parametrize("text", list(blocks("yaml")))
def test_yaml_blocks_are_evolve_files(text):
    import yaml

    from merganser.run import parse_settings

    assert parse_settings(yaml.safe_load(text)).weighted_tasks


@pytest.mark.parametrize("text", list(blocks("yml")))
def test_yml_blocks_are_mergekit_files(text):
    from merganser.interop import parse_mergekit

    assert parse_mergekit(text)


@pytest.mark.parametrize("text", list(blocks("console")))
def test_commands_run_with_a_small_budget(text, tmp_path, heavy_command):
    lay_out(tmp_path)
    commands = [line[2:].split() for line in text.splitlines() if line.startswith("$ merganser")]
    assert commands, "a console block shows at least one command of ours"
    for _, *words in commands:
        heavy_command(*words, *SMALL.get(words[0], []), cwd=tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_merge_method_is_in_the_table_of_the_docs():
    from merganser.merging import METHODS

    rows = re.findall(r"^\| (`[^|]+) \|", (ROOT / "docs" / "merging.md").read_text(), re.MULTILINE)
    assert set(METHODS) <= {name for row in rows for name in re.findall(r"`(\w+)`", row)}
