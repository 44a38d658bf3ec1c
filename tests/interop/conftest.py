"""What tests of other tools' files share: no network, quiet libraries, and merging by a YAML text."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # is read when transformers is imported, which modules here do

import pytest
import yaml

from merganser.interop.mergekit import merge_mergekit


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    """Without transformers' progress bars and advice; tiny tensors are slower on several threads."""
    import torch
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def merge_by(tmp_path):
    """Merge by a configuration, given as YAML or as what YAML would say; gives the folder."""

    def merge(config, *, formulas="papers"):
        text = config if isinstance(config, str) else yaml.safe_dump(config)
        (tmp_path / "merge.yaml").write_text(text)
        out = tmp_path / f"merged{len(list(tmp_path.glob('merged*')))}"
        return merge_mergekit(tmp_path / "merge.yaml", out, formulas=formulas).path

    return merge
