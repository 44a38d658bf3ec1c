# Moved by the lead to merganser/merging/methods/mergekit/_translate.py (the planner needs it): edit it there.
from merganser.merging.methods.mergekit._translate import *  # noqa: F403
from merganser.merging.methods.mergekit._translate import to_mergekit, translate, with_defaults  # noqa: F401
