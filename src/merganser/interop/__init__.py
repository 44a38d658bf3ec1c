"""Other tools' files and services, read and written; each tool in a package of its own.

| tool | names |
| --- | --- |
| mergekit | [`read_mergekit`][], [`parse_mergekit`][], [`plan_mergekit`][], [`merge_mergekit`][], [`carry_out`][] |
| | [`MergekitConfig`][], [`Stage`][], [`to_yaml`][] |
| mergekit-evolve | [`read_mergekit_evolve`][], [`parse_mergekit_evolve`][], [`is_mergekit_evolve`][] |
| | [`as_evolve_file`][] |
| | [`MergekitEvolveConfig`][], [`EvolvedMerge`][], [`WeightedTask`][] |
"""

from merganser.interop.mergekit import (
    MergekitConfig,
    Stage,
    carry_out,
    merge_mergekit,
    parse_mergekit,
    plan_mergekit,
    read_mergekit,
    to_yaml,
)
from merganser.interop.mergekit_evolve import (
    EvolvedMerge,
    MergekitEvolveConfig,
    WeightedTask,
    as_evolve_file,
    is_mergekit_evolve,
    parse_mergekit_evolve,
    read_mergekit_evolve,
)

__all__ = [
    "EvolvedMerge",
    "MergekitConfig",
    "MergekitEvolveConfig",
    "Stage",
    "WeightedTask",
    "as_evolve_file",
    "carry_out",
    "is_mergekit_evolve",
    "merge_mergekit",
    "parse_mergekit",
    "parse_mergekit_evolve",
    "plan_mergekit",
    "read_mergekit",
    "read_mergekit_evolve",
    "to_yaml",
]
