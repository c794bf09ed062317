"""Condensed sets as other projects publish them: `.pt` files, read without running what they carry.

| layout | used by |
|---|---|
| `{"data": [[images, labels], ...]}` | DC, DSA, DM |
| `[[images, labels], ...]`, `(images, labels)`, `{"images": images, "labels": labels}` | many |
| images alone in `images*.pt`, with `labels*.pt` beside | MTT and what was built on it |

Labels are classes, or a matrix of probabilities (soft labels). Pixels are normalised floats, but the file does not say
by which mean and deviation: `doubt` tells when they look wrong, `renormalise` corrects them.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from condensers.device.images import LabelledImages
from condensers.memory import Memory, check

SUFFIXES = (".pt", ".pth")
# Files of DC, DSA and DM also hold accuracies as NumPy numbers, so these types may be read; they cannot run code.
_HARMLESS = [
    np.dtype,
    np.ndarray,
    np._core.multiarray.scalar,
    np._core.multiarray._reconstruct,
    *{type(np.dtype(name)) for name in ("float64", "float32", "int64", "int32")},
]
_FAR = 3  # Condensed pixels may leave the range of real ones; beyond this factor the normalisation must be another.


def import_published(path: Path, replicate: int = 0) -> Memory:
    """Read a published set in one of the layouts above.

    Such files do not say what made them, so the metadata holds the file name, and for soft labels that they come from
    training on real data.

    Args:
        path: a file written by `torch.save`.
        replicate: which of several sets in the file, counted from 0.

    Raises:
        ValueError: the file is unreadable, holds more than tensors and numbers, has no such replicate, or is not a
            memory; the message is one line.
    """
    content = _load(path)
    try:
        images, labels = _pair(content, path, replicate)
        memory = Memory(_pixels(images), **_labels(labels), metadata={"imported_from": path.name})
        check(memory)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        layouts = "{'data': [[images, labels], ...]}, [[images, labels], ...], {'images', 'labels'} or a pair"
        raise ValueError(f"{path} has no set {replicate} in a layout that is read: {layouts}") from error
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path} is not read: {_first_line(str(error))}") from error
    soft = {} if memory.soft_labels is None else {"trained_on_real": True}
    number = {"memory_replicate": replicate} if replicate else {}
    return replace(memory, metadata=memory.metadata | soft | number)


def sets_in(path: Path) -> int:
    """How many sets `import_published` finds in a file. Files of DC, DSA and DM hold the sets of several runs."""
    return _sets_of(_load(path))


def renormalise(memory: Memory, mean: Sequence[float], std: Sequence[float], like: LabelledImages) -> Memory:
    """A memory whose pixels were normalised by `mean` and `std`, normalised as `like` is.

    Args:
        memory: with pixels (raw - mean) / std, raw from 0 to 1.
        mean: one number, or one for each channel.
        std: one number, or one for each channel; above 0.
        like: images whose normalisation the result gets.

    Raises:
        ValueError: another number of means or deviations, one that is not finite, or a `std` that is not above 0.
    """
    channels = memory.images.shape[1]
    if not (len(mean) in (1, channels) and len(std) in (1, channels)):
        raise ValueError(f"{len(mean)} means and {len(std)} deviations: give one of each, or {channels}, one a channel")
    if not all(np.isfinite([*mean, *std])) or min(std) <= 0:
        raise ValueError(f"means {list(mean)} and deviations {list(std)}: must be finite, deviations above 0")
    old_mean, old_std, new_mean, new_std = (torch.tensor(x).view(-1, 1, 1) for x in (mean, std, like.mean, like.std))
    images = (memory.images * old_std + old_mean - new_mean) / new_std
    return replace(memory, images=images, metadata=memory.metadata | {"mean": list(like.mean), "std": list(like.std)})


def doubt(memory: Memory, like: LabelledImages) -> str | None:
    """What is odd about the pixels of a memory that should be normalised as `like` is; None if nothing is."""
    black, white = (
        like.normalise(torch.full((len(like.mean), 1, 1), level, dtype=torch.uint8, device=like.images.device))
        for level in (0, 255)
    )
    least, most = black.min().item(), white.max().item()
    low, high = (x.item() for x in memory.images.aminmax())
    if low >= 0 > least or low < _FAR * least or high > _FAR * most:
        return (
            f"its pixels go from {low:.4g} to {high:.4g}, normalised ones here from {least:.4g} to {most:.4g}: "
            "say how they were normalised with --mean and --std (0 and 1 for pixels from 0 to 1, 0 and 0.00392157 for "
            "pixels from 0 to 255)"
        )
    return None


def _load(path: Path) -> object:
    try:
        _check_size(path)
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"cannot read {path} as a published condensed set: {error}") from error
    except Exception as error:  # torch names a refused or damaged pickle by half a dozen types
        # Cut off torch's advice to load the file nevertheless, which would run code from it.
        reason = _first_line(str(error).rpartition("WeightsUnpickler error: ")[2]).partition(". ")[0]
        reason = "it is no file of torch.save" if reason.isdigit() else reason  # the byte that is no pickle operation
        raise ValueError(f"{path} is damaged or holds more than tensors, and is not read: {reason}") from error


def _check_size(path: Path) -> None:
    """Refuse a file that unpacks to more than its size: `torch.save` never compresses, so it would fill the memory."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > path.stat().st_size:
            raise ValueError(f"it unpacks to {unpacked} bytes, more than it has")


def _pair(content: object, path: Path, replicate: int) -> tuple[object, object]:
    """Images and labels as the file has them."""
    if replicate not in range(sets := _sets_of(content)):
        raise ValueError(f"there is no set {replicate}, for it holds {sets}, counted from 0")
    if isinstance(content, Tensor):
        return content, _load(_labels_beside(path))
    if isinstance(content, dict) and "data" not in content:
        return content["images"], content["labels"]
    sets = content["data"] if isinstance(content, dict) else content
    one = sets if isinstance(sets[0], Tensor) else sets[replicate]
    return one[0], one[1]


def _sets_of(content: object) -> int:
    sets = content.get("data", ()) if isinstance(content, dict) else content
    nested = isinstance(sets, list | tuple) and len(sets) > 0 and isinstance(sets[0], list | tuple)
    return len(sets) if nested else 1


def _labels_beside(path: Path) -> Path:
    labels = path.with_name(path.name.replace("images", "labels"))
    if labels == path or not labels.is_file():
        raise ValueError(f"it holds images alone: there must be labels beside, images*{path.suffix} and labels*")
    return labels


def _pixels(images: Tensor) -> Tensor:
    _require_plain("images", images)
    if images.dim() != 4:
        raise ValueError(f"its images are of shape {list(images.shape)}: must be [n, channels, height, width]")
    return images.detach().float()


def _labels(given: object) -> dict[str, Tensor]:
    """`labels`, and `soft_labels` too if the file gives probabilities that are not one-hot."""
    labels = given if isinstance(given, Tensor) else torch.as_tensor(given)
    _require_plain("labels", labels)
    labels = labels.detach()
    if labels.dim() not in (1, 2):
        raise ValueError(f"its labels are of shape {list(labels.shape)}: must be [n], or [n, classes]")
    if labels.dim() == 2:
        classes, soft = labels.argmax(1), labels.float()
        one_hot = torch.equal(soft, torch.nn.functional.one_hot(classes, soft.shape[1]).float())
        return {"labels": classes} if one_hot else {"labels": classes, "soft_labels": soft}
    if labels.is_floating_point() and not torch.equal(labels, labels.round()):
        raise ValueError("its labels are fractions, no classes")
    return {"labels": labels.long()}


def _require_plain(name: str, tensor: Tensor) -> None:
    """Raise ValueError unless this is a dense tensor of real numbers, each of them in the file (no expanded view)."""
    if tensor.is_complex() or tensor.is_quantized or tensor.dtype == torch.bool:
        raise ValueError(f"its {name} are {str(tensor.dtype).removeprefix('torch.')}: must be real numbers")
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        raise ValueError(f"its {name} are {tensor.layout} on {tensor.device}: must be a dense tensor")
    needed, held = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
    if needed > held:
        raise ValueError(f"its {name} are an expanded view, {needed} bytes out of {held}: save them with .contiguous()")


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "no reason is given")
