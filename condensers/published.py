"""Condensed sets as other projects publish them: `.pt` files, read without running what they carry."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condensers.memory import Memory, check

# DC, DSA and DM write accuracies of numpy beside their tensors; these types hold numbers only.
_HARMLESS = [
    np.dtype,
    np.ndarray,
    np._core.multiarray.scalar,
    np._core.multiarray._reconstruct,
    *{type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32")},
]


def import_published(path: Path, replicate: int = 0) -> Memory:
    """Read a published set: `{"data": [[images, labels], ...]}` (DC, DSA, DM), `{"images", "labels"}`, or a pair.

    Such files do not say what made them, so the metadata holds the file name only.

    Args:
        path: a file written by `torch.save`.
        replicate: which of several sets in the file.

    Raises:
        ValueError: unreadable, more than tensors and numbers in it, no such replicate, or not a memory.
    """
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            content = torch.load(path, map_location="cpu", weights_only=True)
        images, labels = _pair(content, replicate)
        memory = Memory(images.detach().float(), labels.detach().long(), {"imported_from": path.name})
        check(memory)
    except (OSError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"cannot read {path} as a published condensed set: {error}") from error
    except Exception as error:  # torch names a refused or damaged pickle by half a dozen types
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} is damaged or holds more than tensors, and is not read: {first}") from error
    return memory


def _pair(content: object, replicate: int) -> tuple[Tensor, Tensor]:
    if isinstance(content, dict) and "data" in content:
        images, labels = content["data"][replicate][:2]
    elif isinstance(content, dict):
        images, labels = content["images"], content["labels"]
    else:
        images, labels = content[:2]
    return images, labels
