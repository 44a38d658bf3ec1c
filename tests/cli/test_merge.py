"""`merganser merge`, `methods` and `verify` as a user meets them: words, exit codes, one JSON object."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import merganser
from merganser.merging import METHODS, parameters_of, plan_recipe, read_recipe
from merganser.merging.methods import fields_of

COMMAND = str(Path(sys.executable).with_name("merganser"))
NAMES = (
    "model.embed_tokens.weight",
    "model.layers.0.w",
    "model.layers.1.w",
    "model.norm.weight",
    "lm_head.weight",
)


def last_json(done):
    return json.loads(done.stdout.splitlines()[-1])


def flat(text):
    """Words of a message, without the frames and the line breaks that terminals get."""
    return " ".join(text.translate(dict.fromkeys(map(ord, "│╭╮╰╯─"), " ")).split())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with three models: `first`, `second` and `base`."""
    folder = tmp_path_factory.mktemp("models")
    for i, name in enumerate(("first", "second", "base")):
        generator = torch.Generator().manual_seed(i)
        tensors = {n: torch.randn(8, 4, generator=generator).bfloat16() for n in NAMES}
        tensors["model.norm.weight"] = torch.ones(4)
        merganser.save(tensors, folder / name, config={"torch_dtype": "bfloat16"})
        (folder / name / "tokenizer.json").write_text(json.dumps({"of": name}))
    return folder


@pytest.fixture
def run(place, command):
    """Runs a command where the models are."""

    def run(*words, code=0):
        return command(*words, code=code, cwd=place)

    return run


@pytest.fixture
def made(run, tmp_path):
    """Merges into a folder, and gives the folder."""

    def made(*words):
        run("merge", "first", "second", "--out", tmp_path / "made", *words)
        return tmp_path / "made"

    return made


class TestMerging:
    def test_a_merge_says_on_standard_error_what_it_made(self, run, tmp_path):
        done = run("merge", "first", "second", "--out", tmp_path / "out")
        assert done.stdout == ""
        assert done.stderr.startswith(f"{tmp_path / 'out'}: 5 tensors, 272 B in ")
        assert done.stderr.endswith("/s read and written)\n")
        assert len(done.stderr.splitlines()) == 1

    def test_the_last_line_of_the_output_is_json(self, run, tmp_path):
        done = run("merge", "first", "second", "--out", tmp_path / "out", "--json")
        assert done.stderr == ""
        found = last_json(done)
        assert found["seconds"] >= 0
        assert (found["out"], found["tensors"], found["bytes"]) == (str(tmp_path / "out"), 5, 272)

    def test_the_command_does_what_the_function_does(self, made, place):
        words = (
            "-m",
            "dare_ties",
            "-b",
            "base",
            "--weight",
            "1,0.5",
            "--density=0.7",
            "--normalize",
            "--lambda",
            "0.9",
        )
        folder = made(*words, "--rescale", "l1", "--seed", "3", "--dtype", "float32", "--donor", "second")
        expected = merganser.merge(
            [place / "first", place / "second"],
            "dare_ties",
            base=place / "base",
            weight=[1, 0.5],
            density=0.7,
            normalize=True,
            rescale="l1",
            seed=3,
            dtype="float32",
            donor=place / "second",
            **{"lambda": 0.9},
        )
        assert merganser.open(folder).digest == expected.digest
        assert json.loads((folder / "tokenizer.json").read_text()) == {"of": "second"}
        assert json.loads((folder / "config.json").read_text()) == {"torch_dtype": "float32"}

    @pytest.mark.parametrize(
        ("words", "parameters"),
        [
            ((), {"weight": (1, 1), "normalize": True}),
            (("--weight", "2"), {"weight": (2, 2)}),
            (("--weight", "0.25, -1e-1"), {"weight": (0.25, -0.1)}),
            (("--no-normalize",), {"normalize": False}),
            (("--normalize",), {"normalize": True}),
            (("-m", "slerp", "--t", ".3"), {"t": 0.3}),
            (("-m", "task_arithmetic", "-b", "base", "--lambda", "0.5"), {"lambda": 0.5}),
            (
                ("-m", "ties", "-b", "base", "--scope", "tensor", "--density", "0.1,1"),
                {"scope": "tensor", "density": (0.1, 1)},
            ),
            (("-m", "sce", "-b", "base", "--select-topk", "0.5"), {"select_topk": 0.5}),
            (("-m", "karcher", "--max-iter", "7"), {"max_iter": 7}),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
    )
    def test_options_are_the_parameters(self, made, words, parameters):
        [method] = plan_recipe(read_recipe(made(*words) / "recipe.json")).methods
        fields = {p.name: field for field, p in fields_of(type(method))}
        assert {name: getattr(method, fields[name]) for name in parameters} == parameters

    def test_sizes_of_shards_have_units(self, made, run, tmp_path):
        for size, shards in {"100": 4, "0.13k": 3, "5G": 1, "1TB": 1}.items():
            run("merge", "first", "second", "--out", tmp_path / size, "--shard-size", size)
            assert len(list((tmp_path / size).glob("*.safetensors"))) == shards

    def test_digests_are_named_if_asked_for(self, made, place):
        assert (
            read_recipe(made("--digests") / "recipe.json").ingredients[1].digest
            == merganser.open(place / "second").digest
        )

    def test_what_is_there_is_replaced_only_if_allowed(self, run, made):
        folder = made()
        done = run("merge", "first", "second", "--out", folder, code=1)
        assert (
            done.stderr
            == f"error: {folder} exists already. Choose another path, or allow it to be overwritten.\n"
        )
        run("merge", "first", "--out", folder, "--overwrite")
        assert len(read_recipe(folder / "recipe.json").ingredients) == 1

    def test_a_terminal_gets_a_bar_unless_it_is_to_be_quiet(self, place, tmp_path):
        def start(*words):
            leader, follower = pty.openpty()
            arguments = [
                COMMAND,
                "merge",
                "first",
                "second",
                "--out",
                str(tmp_path / f"{len(words)}"),
                *words,
            ]
            process = subprocess.Popen(arguments, stderr=follower, stdout=subprocess.DEVNULL, cwd=place)
            os.close(follower)
            return process, leader

        def seen(process, leader):
            text = b""
            with suppress(OSError):  # a terminal that nobody writes to any more
                while part := os.read(leader, 65536):  # a full one would keep the command waiting
                    text += part
            os.close(leader)
            assert process.wait() == 0
            return text.decode(errors="replace")

        lively, quiet = start(), start("--quiet")
        assert "━" in seen(*lively)
        assert "━" not in seen(*quiet)


class TestDryRuns:
    def test_a_table_says_what_would_be_done_and_nothing_is(self, run, tmp_path):
        done = run("merge", "first", "second", "--dry-run", "--out", tmp_path / "out")
        rows = [line.split() for line in done.stdout.splitlines()]
        assert rows == [
            ["part", "method", "type", "tensors", "parameters", "bytes"],
            ["embeddings", "linear", "BF16", "1", "32", "64", "B"],
            ["block", "linear", "BF16", "2", "64", "128", "B"],
            ["norm", "linear", "F32", "1", "4", "16", "B"],
            ["head", "linear", "BF16", "1", "32", "64", "B"],
        ]
        assert done.stderr.startswith("reads 544 B (once), writes 272 B; buffers of ")
        assert "configuration and tokenizer of" in done.stderr
        assert list(tmp_path.iterdir()) == []

    def test_the_same_as_json(self, run, place):
        done = run(
            "merge",
            "first",
            "second",
            "-m",
            "ties",
            "-b",
            "base",
            "--dry-run",
            "--json",
            "--dtype",
            "float64",
        )
        found = last_json(done)
        assert done.stderr == ""
        assert (found["method"], found["passes"], found["bytes_in"], found["bytes_out"]) == (
            "ties",
            2,
            1632,
            1056,
        )
        assert found["models"] == [str(place / "first"), str(place / "second")]
        assert found["base"] == found["donor"] == str(place / "base")
        assert found["workers"] >= 1
        assert found["memory"] > 0
        assert {group["dtype"] for group in found["groups"]} == {"F64"}
        assert sum(group["bytes"] for group in found["groups"]) == found["bytes_out"]
        assert sum(group["tensors"] for group in found["groups"]) == 5

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (("first", "nowhere"), 1),
            (("first", "second", "--weight=1,-1"), 2),
            (("first", "second", "-m", "ties"), 2),
        ],
    )
    def test_it_finds_what_is_wrong_before_any_work(self, run, words, code):
        assert run("merge", *words, "--dry-run", code=code).stderr.startswith("error: ")

    def test_it_does_without_torch(self, place):
        program = (
            "import sys; sys.argv[1:] = ['merge', 'first', 'second', '--dry-run', '-q']\n"
            "from merganser.cli import main\n"
            "try: main()\n"
            "finally: print({'torch', 'merganser.run', 'merganser.report', 'merganser.evolution'} & set(sys.modules))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=place, check=False
        )
        assert done.stdout.splitlines()[-1] == "set()", done.stderr


def test_a_merge_imports_nothing_of_runs_and_reports(place, tmp_path):
    words = ["-m", "merganser", "merge", "first", "second", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *words], capture_output=True, text=True, cwd=place, check=True
    )
    imported = {
        line.rpartition("|")[2].strip()
        for line in done.stderr.splitlines()
        if line.startswith("import time:")
    }
    rooms = {name.split(".")[1] for name in imported if name.startswith("merganser.")}
    assert {"merging", "weights", "cli"} <= rooms
    assert rooms.isdisjoint({"run", "report", "evolution", "evaluation", "models"})
    assert imported.isdisjoint({"sklearn", "altair", "cma", "scipy"})


class TestMisuse:
    """Exit code 2 and a message that helps; nothing is written, no traceback."""

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("-m", "tise"), "There is no merge method `tise`. Did you mean `ties`?"),
            (("-m", "magic"), "There is no merge method `magic`. Known are linear, slerp"),
            (("-m", "ties"), "`ties` works on differences from a base model, but none was given"),
            (("-b", "base"), "`linear` takes no base model"),
            (("-m", "ties", "-b", "first"), "is the base and among the models too"),
            (("-m", "passthrough"), "`passthrough` takes exactly 1 model"),
            (("--t", "0.5"), "`linear` has no parameter `t`. It has `weight`, `normalize`."),
            (
                ("--weight", "1,2,3"),
                "`weight` of `linear` needs one number, or one for each of 2 models, but has 3",
            ),
            (("--weight", "1,x"), "--weight takes a number, or one a model as in 0.6,0.4, not '1,x'"),
            (("--weight", ""), "--weight takes a number, or one a model"),
            (("--weight", "nan"), "`weight` of `linear` must be a finite number, but is nan"),
            (
                ("-m", "ties", "-b", "base", "--density", "1.5"),
                "`density` of `ties` must be in [0, 1], but is 1.5",
            ),
            (("-m", "slerp", "--t", "half"), "Invalid value for '--t'"),
            (("-m", "dare_ties", "-b", "base", "--rescale", "exat"), "but is 'exat'. Did you mean 'exact'?"),
            (
                ("-m", "ties", "-b", "base", "--scope", "magic"),
                "must be one of model, tensor, but is 'magic'",
            ),
            (("--densty", "0.5"), "No such option: --densty (Possible options: --density"),
            (("--dtype", "bf16"), "`dtype` must be one of float64, float32, float16, bfloat16"),
            (("--donor", "base"), "The donor must be one of the models or the base"),
            (("--shard-size", "5X"), "A size must look like 500M or 5G, but is '5X'"),
            (("--shard-size", "inf"), "A size must look like 500M or 5G, but is 'inf'"),
            (("--shard-size", "nan"), "A size must look like 500M or 5G, but is 'nan'"),
            (("--shard-size", "0"), "`shard_size` must be a positive number of bytes"),
            (("--workers", "0"), "Invalid value for '--workers'"),
            (("--device", "banana"), "torch cannot compute on the device 'banana' here"),
            (("--seed", "x"), "Invalid value for '--seed'"),
        ],
        ids=lambda value: "_".join(value) if isinstance(value, tuple) else "",
    )
    def test_a_wrong_word_is_named_with_what_was_meant(self, run, tmp_path, words, message):
        done = run("merge", "first", "second", "--out", tmp_path / "out", *words, code=2)
        assert message in flat(done.stderr)
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
        assert list(tmp_path.iterdir()) == []

    def test_a_merge_to_nowhere(self, run):
        done = run("merge", "first", "second", code=2)
        assert (
            done.stderr == "error: Where to? Name a folder with --out, or look at the plan with --dry-run.\n"
        )

    def test_a_merge_of_nothing(self, run):
        assert "Missing argument" in run("merge", code=2).stderr

    def test_a_command_that_is_none(self, run):
        assert "No such command 'mrege'" in run("mrege", code=2).stderr


class TestMethods:
    def test_the_list_has_every_method_in_a_line(self, run):
        lines = run("methods").stdout.splitlines()
        assert lines[0].split() == ["method", "base", "models", "reads", "statistics"]
        assert [line.split()[0] for line in lines[1:]] == list(METHODS)
        for line, method in zip(lines[1:], METHODS.values(), strict=True):
            assert line.split()[1] == method.rule.base
            assert line.rstrip().endswith(method.rule.summary)

    @pytest.mark.parametrize(
        ("name", "reads"), [("linear", "once"), ("ties", "twice"), ("wudi", "whole matrices")]
    )
    def test_what_a_method_costs_is_said(self, run, name, reads):
        assert f"reads: {reads}" in run("methods", name).stderr

    @pytest.mark.parametrize("name", ["linear", "ties", "nearswap", "arcee_fusion"])
    def test_a_method_tells_its_parameters_and_source(self, run, name):
        done = run("methods", name)
        assert done.stderr.startswith(f"{name}: {METHODS[name].rule.summary}\n")
        assert "source: https://" in done.stderr
        assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [
            parameter.name for parameter in parameters_of(METHODS[name])
        ]

    def test_parameters_without_a_default_say_so(self, run):
        assert "must be given" in run("methods", "nearswap").stdout

    def test_json_has_all_or_the_one_asked_for(self, run):
        every, one = last_json(run("methods", "--json")), last_json(run("methods", "ties", "--json"))
        assert [method["name"] for method in every["methods"]] == list(METHODS)
        assert one["methods"] == [method for method in every["methods"] if method["name"] == "ties"]
        assert set(one["methods"][0]) == {
            *("name", "summary", "base", "models", "reads", "source", "laws", "parameters"),
            "statistics",
        }
        density = next(p for p in one["methods"][0]["parameters"] if p["name"] == "density")
        assert (density["default"], density["range"]) == (0.2, "0 … 1")

    @pytest.mark.parametrize(
        ("name", "hint"), [("tise", "Did you mean `ties`?"), ("magic", "Known are linear")]
    )
    def test_a_method_that_is_none_is_misuse(self, run, name, hint):
        for words in ((), ("--json",)):
            done = run("methods", name, *words, code=2)
            assert done.stderr.startswith(f"error: There is no merge method `{name}`. {hint}")
            assert done.stdout == ""


class TestVerifying:
    def test_a_model_as_its_recipe_says_ends_with_zero(self, run, made):
        folder = made()
        assert run("verify", folder).stderr == f"{folder} is what its recipe says: 5 tensors, byte by byte.\n"
        done = run("verify", folder, "--json", "--workers", 1)
        assert (last_json(done), done.stderr) == ({"same": True, "tensors": 5, "different": []}, "")

    def test_a_changed_model_ends_with_one_and_names_the_tensors(self, run, made):
        folder = made()
        merged = merganser.open(folder)
        tensors = {name: merged.read(name).clone() for name in merged}
        tensors[NAMES[1]][2, 3] += 1
        merganser.save(tensors, folder / "model.safetensors", overwrite=True)
        said = run("verify", folder, code=1).stderr
        assert said == f"{folder} is not what its recipe says: 1 tensors differ: {NAMES[1]}.\n"
        done = run("verify", folder, "--json", code=1)
        assert last_json(done) == {"same": False, "tensors": 5, "different": [NAMES[1]]}

    def test_many_changes_are_counted_and_some_named(self, run, made):
        folder = made()
        extra = {f"extra.{i}": torch.ones(1) for i in range(9)}
        merganser.save(extra, folder / "model.safetensors", overwrite=True)
        said = run("verify", folder, code=1).stderr
        assert "14 tensors differ: extra.0, extra.1, extra.2, extra.3, extra.4, …" in said

    def test_models_that_moved_are_named_the_base_first(self, run, made, place):
        folder = made("-m", "ties", "-b", "base")
        run("verify", folder, "base", "first", "second")
        done = run("verify", folder, "first", "base", "second", code=2)
        assert "is not the model that the recipe was made with" in done.stderr
        done = run("verify", folder, "base", "first", code=2)
        assert done.stderr == "error: The recipe names 3 models, the base first, but 2 were given.\n"

    def test_no_recipe_and_no_folder_are_misuse(self, run):
        for folder in ("first", "nowhere"):
            done = run("verify", folder, code=2)
            assert (
                done.stderr
                == f"error: Cannot read the recipe {folder}/recipe.json: No such file or directory.\n"
            )

    def test_a_recipe_of_a_newer_release_says_so(self, run, made):
        folder = made()
        file = folder / "recipe.json"
        file.write_text(file.read_text().replace('"version": 1', '"version": 2'))
        assert "Was it written by a newer release?" in run("verify", folder, code=2).stderr

    def test_a_damaged_result_is_a_failure(self, run, made):
        folder = made()
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-1])
        done = run("verify", folder, code=1)
        assert done.stderr.startswith(f"error: {file} is cut short")


class TestHelp:
    def test_all_commands_are_listed(self, run):
        done = run("--help")
        commands = [
            line.split()[1]
            for line in done.stdout.splitlines()
            if line.startswith("│ ") and line[2].isalpha()
        ]
        assert commands == [
            "compare",
            "series",
            "merge",
            "methods",
            "statistics",
            "verify",
            "explain",
            "generate",
            "recipe",
            "citation",
            "evaluate",
            "evolve",
            "route",
            "adapt",
            "think",
            "runs",
            "schema",
        ]

    def test_merging_shows_every_parameter_of_every_method_with_its_users(self, run):
        said = flat(run("merge", "--help").stdout)
        for method, rule in METHODS.items():
            for parameter in parameters_of(rule):
                assert f"--{parameter.name.replace('_', '-')} " in said
            assert method in said or not parameters_of(rule)
        for option in (
            "--method -m",
            "--base -b",
            "--out -o",
            "--donor",
            "--dtype",
            "--seed",
            "--dry-run",
            "--json",
        ):
            assert option in said
        assert "--normalize --no-normalize" in said
        assert "exact|l1|none" in said
        assert "N[,N…]" in said

    @pytest.mark.parametrize("name", ["merge", "methods", "verify"])
    def test_every_command_explains_itself(self, run, name):
        assert run(name, "--help").stdout == run(name, "-h").stdout
        assert f"merganser {name}" in run(name, "-h").stdout
