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

Writing:
    save: A whole checkpoint, atomically, tensor by tensor.
    ShardWriter: One file as a stream of chunks.
    plan_shards: Which tensor goes into which file.
    atomic_write_bytes, atomic_write_text, atomic_directory: The same care for other files.
"""

from merganser.weights._atomic import atomic_directory, atomic_write_bytes, atomic_write_text
from merganser.weights._checkpoint import Checkpoint
from merganser.weights._digest import Digest
from merganser.weights._flat import check_aligned, flat_read
from merganser.weights._layout import FlatLayout, Piece
from merganser.weights._open import OPENERS, Opener, open_checkpoint
from merganser.weights._order import ORDER_VERSION, Layer, flat_order
from merganser.weights._save import plan_shards, save
from merganser.weights._source import TensorSource
from merganser.weights._spec import DTYPES, DType, TensorSpec
from merganser.weights._write import ShardWriter

__all__ = [
    "DTYPES",
    "OPENERS",
    "ORDER_VERSION",
    "Checkpoint",
    "DType",
    "Digest",
    "FlatLayout",
    "Layer",
    "Opener",
    "Piece",
    "ShardWriter",
    "TensorSource",
    "TensorSpec",
    "atomic_directory",
    "atomic_write_bytes",
    "atomic_write_text",
    "check_aligned",
    "flat_order",
    "flat_read",
    "open_checkpoint",
    "plan_shards",
    "save",
]
