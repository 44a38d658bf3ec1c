"""Most commands need more than torch."""

import pytest


@pytest.fixture(scope="session")
def command(heavy_command):
    """Runs the command with these words; see `Commands`."""
    return heavy_command
