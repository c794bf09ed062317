"""Seeds and keys hashed from names, so that a cell gives the same rows whatever ran before it and wherever it runs."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from hashlib import blake2b
from typing import Any


def seed_of(*names: str | int) -> int:
    """A seed of 63 bits, the same in every process and on every machine.

    `seed_of("network", 1, 2)` and `seed_of("network", 12)` differ, and so do `1` and `"1"`.
    Leave the condenser out of the names to keep comparisons paired.

    Args:
        names: what the seed is for, from the general to the particular.

    Returns:
        0 to 2**63 - 1: fits `torch.Generator.manual_seed` and `numpy.random.default_rng`.

    Raises:
        TypeError: a name is neither text nor a whole number.
    """
    for name in names:
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise TypeError(f"a seed is named by text and whole numbers, not by {name!r}")
    digest = blake2b(json.dumps(names).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def config_key(config: Any) -> str:
    """The identity of a resolved config: equal configs have equal keys, whatever the order of their fields.

    Floats count exactly, and `1` is not `1.0`: in doubt a cell runs again rather than reuse a stale row.

    Args:
        config: a mapping or dataclass of JSON values (nested mappings, dataclasses, lists and tuples).

    Returns:
        16 hexadecimal digits.

    Raises:
        TypeError: something in the config is not JSON: a path, a tensor, nan, a key that is not text.
    """
    if not isinstance(config, Mapping) and not _is_dataclass_instance(config):
        raise TypeError(f"a config is a mapping or a dataclass, not {config!r}")
    canonical = json.dumps(_plain(config), sort_keys=True, separators=(",", ":"))
    return blake2b(canonical.encode(), digest_size=8).hexdigest()


def _plain(value: Any) -> Any:
    if _is_dataclass_instance(value):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    # json would write nan and infinity as words that are not JSON.
    if value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise TypeError(f"a config holds {value!r}, a {type(value).__name__}, which is not JSON")


def _text(key: Any) -> str:
    # json would write the keys 1 and "1" the same.
    if not isinstance(key, str):
        raise TypeError(f"a config has the key {key!r}; keys are text")
    return key


def _is_dataclass_instance(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)
