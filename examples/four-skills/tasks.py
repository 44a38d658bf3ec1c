"""The four tasks, divided as the evolve files divide them, and merges by rule to compare with."""

from __future__ import annotations

from pathlib import Path

from skills import HERE, SKILLS

import merganser
from merganser.evaluation import SplitRule, Splits, open_task
from merganser.run import EvolveSettings, read_settings

RULES = ("linear", "task_arithmetic", "ties")
SEARCHES = ("m2n2", "parameter-space", "nsga2", "paths", "hybrid")
"""Evolve files of this folder."""


def settings_of(search: str) -> EvolveSettings:
    """What the evolve file of a search says."""
    return read_settings(HERE / f"{search}.yaml")


def split_tasks() -> dict[str, Splits]:
    """Search, validation and test of every skill: what the searches are given."""
    said = settings_of(SEARCHES[0]).splits
    rule = SplitRule(said.preset, said.validation, said.test, said.seed)
    return {skill: open_task(str(HERE / f"{skill}.yaml"), rule) for skill in SKILLS}


def specialists(models: Path, seed: int) -> list[str]:
    """Folders of the specialists of a seed."""
    return [str(models / f"{skill}-{seed}") for skill in SKILLS]


def merged(models: Path, rule: str, seed: int) -> Path:
    """The folder of the specialists' merge by a rule with its defaults, made if it is not there."""
    folder = models / f"{rule}-{seed}"
    if not folder.exists():
        base = None if rule == "linear" else models / "base"
        merganser.merge(specialists(models, seed), rule, base=base, out=folder)
    return folder
