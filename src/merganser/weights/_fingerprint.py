"""A quick look at a checkpoint: enough to tell one model from another, not to vouch for every byte.

A digest reads everything, which takes longer than many a merge. A fingerprint hashes names, element types, shapes, and
a few hundred numbers from the beginning, the middle and the end of each tensor. Two fine-tunes differ nearly
everywhere, so their fingerprints differ; a single flipped bit may go unnoticed, which a digest would not let happen.
"""

from __future__ import annotations

import json

from merganser.weights._checkpoint import Checkpoint
from merganser.weights._digest import new_hash

_LOOK = 256


def fingerprint(checkpoint: Checkpoint) -> str:
    """32 hexadecimal digits that name what a checkpoint looks like.

    Raises:
        CheckpointError: If a file has changed since it was opened, or cannot be read.
    """
    import torch

    state = new_hash()
    for name in sorted(checkpoint):
        spec = checkpoint.spec(name)
        state.update(json.dumps([name, spec.dtype, list(spec.shape)]).encode())
        if not spec.is_floating or not spec.numel:
            continue
        read, buffer = checkpoint.reader(name), torch.empty(min(_LOOK, spec.numel), dtype=torch.float64)
        for begin in (0, (spec.numel - len(buffer)) // 2, spec.numel - len(buffer)):
            read(begin, buffer)
            state.update(buffer.numpy().tobytes())
    return state.hexdigest()[:32]
