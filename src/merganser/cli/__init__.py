"""The command `merganser`: each command is a call of one public function."""

from merganser.cli._app import app, main

__all__ = ["app", "main"]
