"""A real browser without a network, for tests of pages."""

import shutil
import subprocess

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=10000",
    "--window-size=1280,1000",
]

NEEDS_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]


def drawn(report, folder):
    """The page as the browser holds it after its scripts ran; time passes as fast as nothing happens."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "--dump-dom", report.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
