"""mergekit's files: read, carried out, written.

| names | what |
| --- | --- |
| [`read_mergekit`][], [`parse_mergekit`][], [`MergekitConfig`][] | a YAML file, or its text, as blueprints |
| [`plan_mergekit`][], [`Stage`][] | its documents, planned in the order in which they need each other |
| [`merge_mergekit`][], [`carry_out`][] | merging by it |
| [`to_yaml`][] | a merge as such a file |

Formulas, names and defaults of its methods are in `merganser.merging.methods.mergekit`.
"""

from merganser.interop.mergekit._read import MergekitConfig, parse_mergekit, read_mergekit
from merganser.interop.mergekit._run import Stage, carry_out, merge_mergekit, plan_mergekit
from merganser.interop.mergekit._write import to_yaml

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
