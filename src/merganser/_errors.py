"""The errors of the outside world, one small tree.

    MerganserError
    ├── CheckpointError     a file is no checkpoint we can read: truncated, corrupted, a shard missing
    ├── OutputError         something could not be written: disk full, target exists, not writable
    ├── ConfigError         a configuration file or option is wrong: unknown key, missing part, bad value
    ├── TaskError           a task cannot be set up: data missing, labels and inputs disagree
    └── RunError            a run directory cannot be used: not a run, newer schema, other settings

Misuse of a function by its caller is `ValueError` or `TypeError`, as everywhere in Python. Every
message says what was expected, what was found, and what to do.
"""

from __future__ import annotations


class MerganserError(Exception):
    """Whatever goes wrong outside the program: files, configurations, devices."""


class CheckpointError(MerganserError):
    """A file is not a checkpoint that can be read."""


class OutputError(MerganserError):
    """Something could not be written; what stood there before still stands."""


class ConfigError(MerganserError):
    """A configuration file or an option is wrong."""


class TaskError(MerganserError):
    """A task cannot be set up from what was given."""


class RunError(MerganserError):
    """A run directory cannot be used as asked."""


class NonFiniteOutputError(ArithmeticError):
    """A model answered with NaN or infinity: then nothing it says can be trusted, and the model is the cause."""
