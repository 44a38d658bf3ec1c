"""Runs: the loop that joins the rooms, its journal, and the directory it lives in.

| names | what |
| --- | --- |
| [`evolve`][], [`evolve_settings`][], [`resume`][] | start and go on |
| [`Watcher`][] | is shown a run in progress, about twice a second |
| [`Outcome`][], [`ModelScores`][], [`Skill`][], [`Watched`][], [`Answered`][], [`FrontMember`][] | what a run found |
| [`ToldGoal`][], [`ToldEpisode`][] | episodes to read, of tasks of several turns |
| [`tune`][], [`Tuned`][] | the parameters with which a merge scores best |
| [`EvolveSettings`][], [`SearchSettings`][], [`GenomeSettings`][], [`OutputSettings`][] | what it is asked to do |
| [`AdaptSettings`][] | the same, of experts |
| [`METHODS`][] | names of the searches |
| [`SplitSettings`][], [`SubsetSettings`][], [`TaskSettings`][], [`Budget`][] | on which data, for how long |
| [`summarise`][], [`list_runs`][], [`compare_runs`][], [`export`][], [`sources_of_run`][] | looking at runs |
| [`RunSummary`][], [`Comparison`][] | what one sees then |
| [`read_settings`][], [`parse_settings`][], [`settings_schema`][] | the same as a file |
| [`RunDirectory`][], [`Journal`][], [`Child`][], [`Progress`][], [`TaskRecord`][] | where everything is kept |
| [`Evolution`][], [`Plan`][], [`Subsets`][], [`Parent`][], [`make_plan`][] | a run in progress |
| [`Estimate`][], [`Savings`][] | what a figure rests on, what was not measured |
| [`read_objectives`][] | which sample belongs to which objective, from there |
| [`read_weights`][], [`SplitWeights`][] | what samples of several tasks count, from there |
"""

from merganser.run._answers import Answered
from merganser.run._citation import sources_of_run
from merganser.run._directory import RunDirectory, read_objectives
from merganser.run._episodes import ToldEpisode, ToldGoal
from merganser.run._evolve import Watcher, evolve, evolve_settings, resume
from merganser.run._front import FrontMember
from merganser.run._inspect import Comparison, RunSummary, compare_runs, export, list_runs, summarise
from merganser.run._journal import Child, Journal, Progress, TaskRecord
from merganser.run._loop import Evolution
from merganser.run._outcome import ModelScores, Outcome, Watched
from merganser.run._parents import Parent
from merganser.run._plan import Plan, make_plan
from merganser.run._savings import Savings
from merganser.run._settings import (
    METHODS,
    AdaptSettings,
    Budget,
    EvolveSettings,
    GenomeSettings,
    OutputSettings,
    SearchSettings,
    SplitSettings,
    SubsetSettings,
    TaskSettings,
    parse_settings,
    read_settings,
    settings_schema,
)
from merganser.run._skills import Skill
from merganser.run._subsets import Estimate, Subsets
from merganser.run._tune import Tuned, tune
from merganser.run._weights import SplitWeights, read_weights

__all__ = [
    "METHODS",
    "AdaptSettings",
    "Answered",
    "Budget",
    "Child",
    "Comparison",
    "Estimate",
    "Evolution",
    "EvolveSettings",
    "FrontMember",
    "GenomeSettings",
    "Journal",
    "ModelScores",
    "Outcome",
    "OutputSettings",
    "Parent",
    "Plan",
    "Progress",
    "RunDirectory",
    "RunSummary",
    "Savings",
    "SearchSettings",
    "Skill",
    "SplitSettings",
    "SplitWeights",
    "SubsetSettings",
    "Subsets",
    "TaskRecord",
    "TaskSettings",
    "ToldEpisode",
    "ToldGoal",
    "Tuned",
    "Watched",
    "Watcher",
    "compare_runs",
    "evolve",
    "evolve_settings",
    "export",
    "list_runs",
    "make_plan",
    "parse_settings",
    "read_objectives",
    "read_settings",
    "read_weights",
    "resume",
    "settings_schema",
    "sources_of_run",
    "summarise",
    "tune",
]
