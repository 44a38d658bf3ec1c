"""Other tools' files and services, read and written; each tool in a package of its own.

| tool | names |
| --- | --- |
| mergekit | [`read_mergekit`][], [`parse_mergekit`][], [`plan_mergekit`][], [`merge_mergekit`][], [`carry_out`][] |
| | [`MergekitConfig`][], [`Stage`][], [`to_yaml`][] |
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

__all__ = [
    "MergekitConfig",
    "Stage",
    "carry_out",
    "merge_mergekit",
    "parse_mergekit",
    "plan_mergekit",
    "read_mergekit",
    "to_yaml",
]
