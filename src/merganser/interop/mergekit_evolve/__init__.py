"""mergekit-evolve's files: read, with notes of what means something else here.

| names | what |
| --- | --- |
| [`read_mergekit_evolve`][], [`parse_mergekit_evolve`][] | a YAML file, or its text |
| [`MergekitEvolveConfig`][], [`EvolvedMerge`][], [`WeightedTask`][] | what it says |
"""

from merganser.interop.mergekit_evolve._config import EvolvedMerge, MergekitEvolveConfig, WeightedTask
from merganser.interop.mergekit_evolve._read import parse_mergekit_evolve, read_mergekit_evolve

__all__ = [
    "EvolvedMerge",
    "MergekitEvolveConfig",
    "WeightedTask",
    "parse_mergekit_evolve",
    "read_mergekit_evolve",
]
