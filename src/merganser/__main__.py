"""`python -m merganser`: the command."""

from merganser.cli import main

main()
