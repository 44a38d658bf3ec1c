"""mergekit-evolve's files: read, with notes of what means something else here.

| names | what |
| --- | --- |
| [`read_mergekit_evolve`][], [`parse_mergekit_evolve`][] | a YAML file, or its text |
| [`is_mergekit_evolve`][] | whether a file is one |
| [`as_evolve_file`][] | the same search as one of our evolve files |
| [`MergekitEvolveConfig`][], [`EvolvedMerge`][], [`WeightedTask`][] | what it says |
"""

from merganser.interop.mergekit_evolve._as_evolve_file import as_evolve_file
from merganser.interop.mergekit_evolve._config import EvolvedMerge, MergekitEvolveConfig, WeightedTask
from merganser.interop.mergekit_evolve._read import (
    is_mergekit_evolve,
    parse_mergekit_evolve,
    read_mergekit_evolve,
)

__all__ = [
    "EvolvedMerge",
    "MergekitEvolveConfig",
    "WeightedTask",
    "as_evolve_file",
    "is_mergekit_evolve",
    "parse_mergekit_evolve",
    "read_mergekit_evolve",
]
