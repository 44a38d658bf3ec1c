"""Models on the hub come from the user's cache or through it, by the real library and without a network."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from merganser import CheckpointError
from merganser.weights import open_checkpoint, save
from merganser.weights._hub import adapter_files, model_files

SHA, OTHER = "a" * 40, "b" * 40
TENSORS = {"embed_tokens.weight": torch.arange(6.0).reshape(3, 2), "layers.0.up.weight": torch.ones(2, 2)}


def snapshot(cache, name, sha=SHA, **refs):
    """The folder of one revision in a cache, as the library lays it out."""
    repository = cache / "hub" / f"models--{name.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True, exist_ok=True)
    for ref, target in (refs or {"main": sha}).items():
        (repository / "refs" / ref).write_text(target)
    return repository / "snapshots" / sha


@pytest.fixture
def cache(tmp_path):
    """A cache with a model of two revisions and an adapter, filled by hand."""
    first = snapshot(tmp_path, "org/name", main=SHA, v1=OTHER)
    save(TENSORS, first, shard_size=24, config={"vocab_size": 3})
    save({name: tensor + 1 for name, tensor in TENSORS.items()}, first.with_name(OTHER))
    lora = snapshot(tmp_path, "org/lora")
    save({f"layers.0.up.lora_{k}.weight": torch.ones(2, 2) for k in "AB"}, lora / "adapter_model.safetensors")
    (lora / "adapter_config.json").write_text('{"peft_type": "LORA", "lora_alpha": 2}')
    snapshot(tmp_path, "org/empty").mkdir(parents=True)
    return tmp_path


@pytest.fixture
def program(cache):
    """Opens references in a fresh interpreter, since the library reads its settings when it is imported."""
    code = """
        import json, sys
        from merganser import CheckpointError
        from merganser.weights import open_checkpoint
        for reference in sys.argv[1:]:
            try:
                found = open_checkpoint(reference)
                rows = {name: found.array(name).tolist() for name in found}
                print(json.dumps([found.source, str(found.path), dict(found.config), rows]))
            except CheckpointError as error:
                print(json.dumps(str(error)))
    """

    def program(*references, code=code, **environment):
        settings = {
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "*",
            **environment,
        }
        foreign = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")  # other tests in this process may have set them
        cleared = {
            key: value
            for key, value in os.environ.items()
            if not key.lower().endswith("_proxy") and key not in foreign
        }
        command = [sys.executable, "-c", textwrap.dedent(code), *references]
        done = subprocess.run(
            command, env=cleared | settings, cwd=cache, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return program


def test_a_cached_model_opens_offline_at_each_revision(program, cache):
    found = program("org/name", "org/name@v1", f"org/name@{OTHER}", "org/name+org/lora", HF_HUB_OFFLINE="1")
    plain = {name: tensor.tolist() for name, tensor in TENSORS.items()}
    later = {name: (tensor + 1).tolist() for name, tensor in TENSORS.items()}
    folders = [str(cache / "hub" / "models--org--name" / "snapshots" / sha) for sha in (SHA, OTHER)]
    assert found == [
        ["org/name", folders[0], {"vocab_size": 3}, plain],
        ["org/name@v1", folders[1], {}, later],
        [f"org/name@{OTHER}", folders[1], {}, later],
        [
            "org/name+org/lora",
            "None",
            {"vocab_size": 3},
            plain | {"layers.0.up.weight": [[3.0, 3.0], [3.0, 3.0]]},
        ],
    ]


def test_an_adapter_is_told_from_a_model_by_its_files(program):
    """As `merge ADAPTER --base BASE` does; `program` says what opening it on a base gives."""
    code = """
        import json, sys
        from merganser.weights import is_adapter, open_adapter, open_checkpoint
        for reference in sys.argv[1:]:
            print(json.dumps(is_adapter(reference)))
        print(json.dumps(open_adapter(open_checkpoint("org/name"), "org/lora").source))
    """
    found = program("org/name", "org/lora", "org/absent", "org/name+org/lora", code=code, HF_HUB_OFFLINE="1")
    assert found == [False, True, False, False, "org/name+org/lora"]


def test_what_the_cache_lacks_is_said_offline(program, cache):
    shard = next((cache / "hub" / "models--org--name" / "snapshots" / SHA).glob("*00001*"))
    shard.unlink()
    absent, revision, empty, partial = program(
        "org/absent", "org/name@v2", "org/empty", "org/name", HF_HUB_OFFLINE="1"
    )
    assert absent.startswith("org/absent is not in the cache at revision 'main', and HF_HUB_OFFLINE forbids")
    assert absent.endswith("There is no file or folder of this name either.")
    assert revision.startswith("org/name@v2 is not in the cache at revision 'v2'")
    assert "org/empty cannot be opened from the cache:" in empty
    assert "hf download org/empty" in empty
    assert "org/name cannot be opened from the cache:" in partial
    assert "which is missing" in partial


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as downloads ask for; notes what was asked."""

    FILES: dict[str, bytes] = {}  # noqa: RUF012
    asked: list[str] = []  # noqa: RUF012

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        if "gated" in path:
            return self.answer(403, b"", {"X-Error-Code": "GatedRepo"})
        if "org/name" not in path:
            return self.answer(401, b"", {"X-Error-Code": "RepoNotFound"})
        if path.endswith("/v9"):
            return self.answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        if "/tree/" in path:
            tree = [
                {"type": "file", "path": f, "size": len(c), "oid": "0" * 40} for f, c in self.FILES.items()
            ]
            return self.answer(200, json.dumps(tree).encode())
        if "/api/" in path:
            siblings = [{"rfilename": file} for file in self.FILES]
            return self.answer(200, json.dumps({"id": "org/name", "sha": SHA, "siblings": siblings}).encode())
        file = path.partition(f"/resolve/{SHA}/")[2]
        if self.command == "GET":
            self.asked.append(file)
        return self.answer(200, self.FILES[file], {"ETag": f'"{file}"', "X-Repo-Commit": SHA})

    def answer(self, status, content, headers=None):
        self.send_response(status)
        for key, value in {"Content-Length": len(content), **(headers or {})}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint(tmp_path):
    """A hub on this machine."""
    save(TENSORS, tmp_path / "remote", shard_size=24, config={"vocab_size": 3})
    Hub.FILES = {file.name: file.read_bytes() for file in (tmp_path / "remote").iterdir()}
    Hub.FILES |= {"tokenizer.json": b"{}", "consolidated.safetensors": b"huge", "onnx/model.onnx": b"huge"}
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_only_what_is_needed_is_downloaded_and_kept(program, cache, endpoint):
    shutil.rmtree(cache / "hub")
    (opened,) = program("org/name", HF_ENDPOINT=endpoint)
    assert opened[0] == "org/name"
    assert opened[3] == {name: tensor.tolist() for name, tensor in TENSORS.items()}
    assert sorted(Hub.asked) == sorted(set(Hub.FILES) - {"consolidated.safetensors", "onnx/model.onnx"})
    assert program("org/name", HF_HUB_OFFLINE="1") == [opened]
    assert program("org/name", HF_ENDPOINT="http://127.0.0.1:9") == [opened]  # nobody there


def test_what_the_hub_refuses_is_explained(program, cache, endpoint):
    shutil.rmtree(cache / "hub")
    gated, unknown, revision = program("org/gated", "org/unknown", "org/name@v9", HF_ENDPOINT=endpoint)
    assert gated.startswith("org/gated is gated. Accept its conditions on https://huggingface.co/org/gated")
    assert unknown.startswith("org/unknown is neither a file or folder here nor a model on the hub")
    assert revision.startswith("org/name@v9 has no revision 'v9'")
    Hub.FILES = {"README.md": b"", "m.Q4_0.gguf": b""}
    (gguf,) = program("org/name", HF_ENDPOINT=endpoint)
    assert gguf.startswith(
        "org/name on the hub holds no safetensors or torch files of the kind expected, but: README"
    )
    assert gguf.endswith("hf download org/name m.Q4_0.gguf")
    (nobody,) = program("org/name", HF_ENDPOINT="http://127.0.0.1:9")
    assert nobody.startswith("org/name could not be fetched from the hub (Connect")


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["model.safetensors", "pytorch_model.bin", "NOTES.md"], ["model.safetensors"]),
        (["model.safetensors", "README.md", "LICENSE"], ["LICENSE", "README.md", "model.safetensors"]),
        (["pytorch_model.bin", "tf_model.h5", "vocab.txt"], ["vocab.txt", "pytorch_model.bin"]),
        (
            ["pytorch_model-1-of-1.bin", "pytorch_model.bin.index.json", "training_args.bin"],
            ["pytorch_model.bin.index.json", "pytorch_model-1-of-1.bin"],
        ),
        (["any.safetensors", "spiece.model", "sub/model.safetensors"], ["spiece.model", "any.safetensors"]),
        (["a.safetensors", "b.safetensors"], []),
        (["config.json", "model.onnx"], []),
    ],
)
def test_the_files_of_a_model_are_chosen_by_name(files, chosen):
    assert model_files(files) == chosen


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["adapter_config.json", "adapter_model.bin"], ["adapter_config.json", "adapter_model.bin"]),
        (["adapter_model.bin"], []),
        (["adapter_config.json", "model.safetensors"], []),
    ],
)
def test_the_files_of_an_adapter_are_chosen_by_name(files, chosen):
    assert adapter_files(files) == chosen


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CheckpointError, match=r"Install it with: pip install 'merganser\[hub\]'"):
        open_checkpoint("org/name")
