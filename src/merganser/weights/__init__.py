"""Checkpoints: a model as named tensors on disk, read lazily.

The values:
    Checkpoint: Named tensors with their specs, layers, flat layout, configuration and digest.
    TensorSpec, DType, DTYPES: Name, element type and shape of a tensor; the table of element types.
    Layer: Tensors that belong together, such as one transformer block.
    FlatLayout, Piece: Where each tensor lies in the flattened parameters.
    Digest: The name of a checkpoint's content.

Reading:
    open_checkpoint: Open a ``.safetensors`` file, or a folder with one or with shards.
    flat_read: Any range of the flattened parameters as one vector.
    check_aligned: Make sure that flat positions mean the same in several checkpoints.
    flat_order, ORDER_VERSION: The order of tensors, from their names alone.
    OPENERS, Opener: The forms that can be opened.
    TensorSource: What a new format supplies.
    fingerprint: A quick look that tells one model from another.

Streaming:
    Aligned, Block: One tensor of several checkpoints, walked side by side in blocks that fit the cache.
    Execution, Buffers, single_threaded: With how many threads, on which device, into which memory.
    REDUCTION: Runs over which partial sums are taken.

Writing:
    save: A whole checkpoint, atomically, tensor by tensor.
    ShardWriter: One file as a stream of chunks.
    plan_shards, shard_files: Which tensor goes into which file.
    write_index, write_config, file_metadata: What else a folder with shards has.
    PartialFolder: A folder that fills up over several attempts.
    refuse_foreign: Keep a mistyped path from costing a folder of other things.
    atomic_write_bytes, atomic_write_text, atomic_directory: The same care for other files.
"""

from merganser.weights._atomic import atomic_directory, atomic_write_bytes, atomic_write_text
from merganser.weights._checkpoint import Checkpoint
from merganser.weights._digest import Digest
from merganser.weights._fingerprint import fingerprint
from merganser.weights._flat import check_aligned, flat_read
from merganser.weights._layout import FlatLayout, Piece
from merganser.weights._open import OPENERS, Opener, open_checkpoint
from merganser.weights._order import ORDER_VERSION, Layer, flat_order
from merganser.weights._partial import PartialFolder
from merganser.weights._save import (
    file_metadata,
    plan_shards,
    refuse_foreign,
    save,
    shard_files,
    write_config,
    write_index,
)
from merganser.weights._source import TensorSource
from merganser.weights._spec import DTYPES, DType, TensorSpec
from merganser.weights._stream import (
    DEFAULT_CHUNK,
    REDUCTION,
    Aligned,
    Block,
    Buffers,
    Execution,
    single_threaded,
)
from merganser.weights._write import ShardWriter

__all__ = [
    "DEFAULT_CHUNK",
    "DTYPES",
    "OPENERS",
    "ORDER_VERSION",
    "REDUCTION",
    "Aligned",
    "Block",
    "Buffers",
    "Checkpoint",
    "DType",
    "Digest",
    "Execution",
    "FlatLayout",
    "Layer",
    "Opener",
    "PartialFolder",
    "Piece",
    "ShardWriter",
    "TensorSource",
    "TensorSpec",
    "atomic_directory",
    "atomic_write_bytes",
    "atomic_write_text",
    "check_aligned",
    "file_metadata",
    "fingerprint",
    "flat_order",
    "flat_read",
    "open_checkpoint",
    "plan_shards",
    "refuse_foreign",
    "save",
    "shard_files",
    "single_threaded",
    "write_config",
    "write_index",
]
