"""Importing the room is light, and its face is what its listing says."""

import pytest

from merganser import weights


def test_importing_the_room_does_not_import_torch(in_a_child):
    loaded = in_a_child(
        "import sys, merganser.weights; print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    assert loaded.split() == ["False", "True"]


@pytest.mark.parametrize("library", ["gguf", "huggingface_hub", "pydantic", "safetensors", "yaml"])
def test_libraries_for_one_form_wait_until_it_is_opened(in_a_child, library):
    assert in_a_child(f"import sys, merganser.weights; print({library!r} in sys.modules)").split() == [
        "False"
    ]


def test_reading_without_tensors_does_not_import_torch(in_a_child):
    loaded = in_a_child("""
        import sys
        import numpy as np
        from merganser.weights import Checkpoint, flat_read
        model = Checkpoint.from_tensors({"w": np.ones(3)})
        print(model.digest, flat_read(model).sum(), 'torch' in sys.modules)
    """)
    assert loaded.split()[1:] == ["3.0", "False"]


def test_every_public_name_is_there_and_in_the_docstring():
    for name in weights.__all__:
        assert hasattr(weights, name)
        assert name in weights.__doc__
