"""Every test has a digest cache of its own, so that none reads or fills the user's."""

import subprocess
import sys
import textwrap

import pytest

from merganser.weights import _digest


@pytest.fixture(autouse=True)
def digest_cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MERGANSER_CACHE", str(folder))
    monkeypatch.setattr(_digest, "_known", {})
    return folder


@pytest.fixture
def in_a_child():
    """Runs a program in a fresh interpreter and returns what it prints."""

    def run(program, *arguments):
        command = [sys.executable, "-c", textwrap.dedent(program), *map(str, arguments)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    return run
