"""A search after a search: what the second one is asked, and the winner of the first as the model it begins with."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from merganser.run._directory import RunDirectory
from merganser.run._inspect import export
from merganser.run._settings import EvolveSettings, OutputSettings
from merganser.weights import open_checkpoint


def next_settings(directory: RunDirectory, settings: EvolveSettings) -> EvolveSettings:
    """What the second search is asked; the first one's winner is written for it, and comes first.

    Args:
        directory: The first run, finished.
        settings: Its settings, with `then`.

    Raises:
        OutputError: If the winner cannot be written.
        CheckpointError: If a parent cannot be read.
    """
    then = settings.then
    assert then is not None
    winner = written_winner(directory)
    digest = open_checkpoint(winner).digest
    with directory.journal() as journal:
        parents = journal.meta()["parents"]
    others = [
        str(entry["path"] or directory.tensors_path(entry["digest"]))
        for entry in parents
        if entry["digest"] != digest
    ]
    return dataclasses.replace(
        settings,
        models=(str(winner.resolve()), *others),
        genome=then.genome,
        search=then.search,
        budget=then.budget,
        baselines=(),  # the first run has them
        output=settings.output if then.genome.is_recipe else OutputSettings(),
        then=None,
    )


def written_winner(directory: RunDirectory) -> Path:
    """A finished run's winner as a model; made once, and made again if it is gone.

    Raises:
        OutputError: If it cannot be written.
        CheckpointError: If a parent cannot be read.
    """
    winner = directory.path / "winner"
    if not winner.exists():
        export(directory.path, winner)
    return winner
