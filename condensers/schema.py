"""The metadata fields and tensors that a memory file may hold, checked before any of them is used.

Other fields may hold any JSON that is not nested beyond `DEPTH`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from torch import Tensor

DEPTH = 32
_LONGEST = 4096  # characters of a text: as many as a path may have
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class Kind:
    """What a field holds, in words and as a test."""

    said: str
    holds: Callable[[Any], bool]


def _whole(value: object, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= _LARGEST


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _all(value: object, holds: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(holds, value))


def _group(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and _all(value[0], _whole) and _whole(value[1], 1)


TEXT = Kind(
    f"printable text of at most {_LONGEST} characters",
    lambda value: isinstance(value, str) and len(value) <= _LONGEST and value.isprintable(),
)
NATURAL = Kind("a whole number from 0 to 2^63 - 1", _whole)
COUNT = Kind("a whole number from 1 to 2^63 - 1", lambda value: _whole(value, 1))
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
NUMBERS = Kind("a list of finite numbers", lambda value: _all(value, _number))
NAMES = Kind("a list of printable texts", lambda value: _all(value, TEXT.holds))
LABELS = Kind("a list of whole numbers", lambda value: _all(value, _whole))
TABLE = Kind("a table", lambda value: isinstance(value, dict))
DECODING = Kind("a table, or null", lambda value: value is None or isinstance(value, dict))
COST = Kind("a table of numbers", lambda value: isinstance(value, dict) and all(map(_number, value.values())))
LEAGUE = Kind("strict or open", lambda value: value in ("strict", "open"))
GROUPS = Kind("a list of [classes, images per class]", lambda value: value is None or _all(value, _group))

FIELDS = {
    **dict.fromkeys(("condenser", "dataset", "dataset_checksum", "store", "checksum", "pixels", "pool"), TEXT),
    **dict.fromkeys(("commit", "versions", "device", "precision", "backend", "imported_from"), TEXT),
    **dict.fromkeys(("seed", "experiment_seed", "class_order", "memory_replicate"), NATURAL),
    **dict.fromkeys(("iterations", "stored_bytes"), NATURAL),
    **dict.fromkeys(("stored_per_class", "decoded_per_class", "chunk", "threads", "ranks"), COUNT),
    **dict.fromkeys(("separable", "trained_on_real"), TRUTH),
    **dict.fromkeys(("mean", "std"), NUMBERS),
    "classes": LABELS,
    "class_names": NAMES,
    "config": TABLE,
    "decoding": DECODING,
    "cost": COST,
    "league": LEAGUE,
}
# Types and number of dimensions.
TENSORS = {
    "images": (("float32", "float16", "uint8"), 4),
    "scale": (("float32",), 1),
    "offset": (("float32",), 1),
    "labels": (("int64",), 1),
    "indices": (("int64",), 1),
    "soft_labels": (("float32",), 2),
}


def parse(text: str) -> dict[str, Any]:
    """Metadata from the JSON of a file. Raises ValueError if it is not JSON, or not as `check` wants it."""
    try:
        metadata = json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError(f"its metadata is nested more than {DEPTH} deep") from error
    if not isinstance(metadata, dict):
        raise ValueError("its metadata is not a table")
    check(metadata)
    return metadata


def check(metadata: Mapping[str, Any]) -> None:
    """Raise ValueError, in one line, for a known field of the wrong kind, or for nesting beyond `DEPTH`."""
    if _deeper(metadata, DEPTH):
        raise ValueError(f"its metadata is nested more than {DEPTH} deep")
    for name, kind in FIELDS.items():
        if name in metadata:
            _require(name, metadata[name], kind)
    _require("groups", metadata.get("config", {}).get("groups"), GROUPS)


def check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError for a tensor that no memory has, or one of another type or number of dimensions."""
    for name, tensor in tensors.items():
        if name not in TENSORS:
            raise ValueError(f"it holds a tensor {_shown(name)}; a memory holds {', '.join(TENSORS)}")
        types, dimensions = TENSORS[name]
        found = str(tensor.dtype).removeprefix("torch.")
        if found not in types or tensor.dim() != dimensions:
            wanted = f"{' or '.join(types)} of {dimensions} dimensions"
            raise ValueError(f"its {name} are {found} of shape {list(tensor.shape)}: they must be {wanted}")


def _require(name: str, value: object, kind: Kind) -> None:
    if not kind.holds(value):
        raise ValueError(f"its metadata says {name} = {_shown(value)}; that must be {kind.said}")


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _deeper(value: object, allowed: int) -> bool:
    if not isinstance(value, Mapping | list | tuple):
        return False
    inner = value.values() if isinstance(value, Mapping) else value
    return allowed == 0 or any(_deeper(each, allowed - 1) for each in inner)


def _no_constant(name: str) -> None:
    raise ValueError(f"its metadata holds {name}, which is not JSON")
