"""Checkpoints: a model as named tensors on disk, read lazily.

The values:
    Checkpoint: Named tensors with their specs, layers, flat layout, configuration and digest.
    TensorSpec, DType, DTYPES: Name, element type and shape of a tensor; the table of element types.
    Layer: Tensors that belong together, such as one transformer block.
    FlatLayout, Piece: Where each tensor lies in the flattened parameters.
    Digest: The name of a checkpoint's content.
    Architecture, Stream, streams_of: Blocks, embeddings, head, ties and vocabulary, read off a checkpoint.
    Reference, HubId: How a checkpoint is named: a path, a hub id, a base with adapters.

Reading:
    open_checkpoint: Open a path (safetensors, torch, GGUF), ``org/name[@revision]`` or ``base+adapter``.
    is_adapter, open_adapter: Adapters without a base, and on one that is open already.
    AdaptedSource, Placement, LowRank: What an adapter changes, factor by factor.
    parse_reference, short_names: What a reference means, without opening it; what tells several apart.
    read_architecture, ArchitectureDescription: A few lines of YAML for architectures that do not speak for themselves.
    flat_read: Any range of the flattened parameters as one vector.
    tied_to: The tensor that a name stands for in a checkpoint that does not hold it apart.
    is_derived: Whether a tensor follows from the configuration, so that newer files lack it.
    check_aligned, misfit: Make sure that flat positions, or one tensor, mean the same in several checkpoints.
    flat_order, group_layers, ORDER_VERSION: The order of tensors, and the layers they form, from their names alone.
    OPENERS, Opener: The forms that can be opened.
    TensorSource, Bytes, FileStamp: What a new format supplies.
    UpdatedSource: A checkpoint with updates of low rank, added when it is read.
    PartialSource, ComputingSource, Reader: What one supplies that decodes or computes its tensors.
    fingerprint: A quick look that tells one model from another.

Streaming:
    Aligned, Block: One tensor of several checkpoints, walked side by side in blocks that fit the cache.
    Execution, Buffers, single_threaded: With how many threads, on which device, into which memory.
    DEFAULT_CHUNK, REDUCTION, row_run: Elements of a block; of the runs over which partial sums are taken.

Writing:
    save: A whole checkpoint, atomically, tensor by tensor.
    ShardWriter: One file as a stream of chunks.
    plan_shards, shard_files: Which tensor goes into which file.
    CONFIG_NAME, ADAPTER_NAMES, ADAPTER_CONFIG_NAME: The names of configurations, and of adapters' tensors.
    write_index, write_config, file_metadata: What else a folder with shards has.
    PartialFolder: A folder that fills up over several attempts.
    refuse_existing, refuse_foreign: Keep a mistyped path from costing what is there, or a folder of other things.
    atomic_write_bytes, atomic_write_text, atomic_directory: The same care for other files.
"""

from merganser.weights._adapter import AdaptedSource
from merganser.weights._adapter_config import CONFIG_NAME as ADAPTER_CONFIG_NAME
from merganser.weights._architecture import Architecture, Stream, streams_of, tied_to
from merganser.weights._architecture_file import ArchitectureDescription, read_architecture
from merganser.weights._atomic import (
    atomic_directory,
    atomic_write_bytes,
    atomic_write_text,
    refuse_existing,
)
from merganser.weights._checkpoint import Checkpoint
from merganser.weights._derived import is_derived
from merganser.weights._digest import Digest
from merganser.weights._fingerprint import fingerprint
from merganser.weights._flat import check_aligned, flat_read, misfit
from merganser.weights._layout import FlatLayout, Piece
from merganser.weights._low_rank import LowRank, Placement
from merganser.weights._open import (
    ADAPTER_NAMES,
    CONFIG_NAME,
    OPENERS,
    Opener,
    is_adapter,
    open_adapter,
    open_checkpoint,
)
from merganser.weights._order import ORDER_VERSION, Layer, flat_order, group_layers
from merganser.weights._partial import PartialFolder
from merganser.weights._reference import HubId, Reference, parse_reference
from merganser.weights._save import (
    file_metadata,
    plan_shards,
    refuse_foreign,
    save,
    shard_files,
    write_config,
    write_index,
)
from merganser.weights._short_names import short_names
from merganser.weights._source import Bytes, ComputingSource, FileStamp, PartialSource, Reader, TensorSource
from merganser.weights._spec import DTYPES, DType, TensorSpec
from merganser.weights._stream import (
    DEFAULT_CHUNK,
    REDUCTION,
    Aligned,
    Block,
    Buffers,
    Execution,
    row_run,
    single_threaded,
)
from merganser.weights._updated import UpdatedSource
from merganser.weights._write import ShardWriter

__all__ = [
    "ADAPTER_CONFIG_NAME",
    "ADAPTER_NAMES",
    "CONFIG_NAME",
    "DEFAULT_CHUNK",
    "DTYPES",
    "OPENERS",
    "ORDER_VERSION",
    "REDUCTION",
    "AdaptedSource",
    "Aligned",
    "Architecture",
    "ArchitectureDescription",
    "Block",
    "Buffers",
    "Bytes",
    "Checkpoint",
    "ComputingSource",
    "DType",
    "Digest",
    "Execution",
    "FileStamp",
    "FlatLayout",
    "HubId",
    "Layer",
    "LowRank",
    "Opener",
    "PartialFolder",
    "PartialSource",
    "Piece",
    "Placement",
    "Reader",
    "Reference",
    "ShardWriter",
    "Stream",
    "TensorSource",
    "TensorSpec",
    "UpdatedSource",
    "atomic_directory",
    "atomic_write_bytes",
    "atomic_write_text",
    "check_aligned",
    "file_metadata",
    "fingerprint",
    "flat_order",
    "flat_read",
    "group_layers",
    "is_adapter",
    "is_derived",
    "misfit",
    "open_adapter",
    "open_checkpoint",
    "parse_reference",
    "plan_shards",
    "read_architecture",
    "refuse_existing",
    "refuse_foreign",
    "row_run",
    "save",
    "shard_files",
    "short_names",
    "single_threaded",
    "streams_of",
    "tied_to",
    "write_config",
    "write_index",
]
