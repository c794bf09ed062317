"""What a function or a frozen dataclass *is*, as JSON values: the part of a key that distinguishes objectives.

A function is identified by its name, a frozen dataclass by its name and all its fields, so two distances with different
constants have different keys. Names from a user's own module carry a digest of its source, but not of the modules that
it imports. A closure, a lambda, a `partial`, or an object that its module does not hold under its name may hide
constants, so it has no identity and is refused: a memory made with other constants would be reused by mistake.
"""

import sys
from dataclasses import fields, is_dataclass
from operator import attrgetter
from types import FunctionType
from typing import Any

from search_spaces.sources import digest_of

OWN = "condensers"  # names in this package are unique (tested); others get their module and a digest of its source


def identity(value: object) -> Any:
    """The value as JSON values.

    Raises:
        TypeError: a closure, a lambda, a `partial`, a dataclass that is not frozen or has a field called `name`, or
            anything else without identity.
    """
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, tuple):
        return [identity(item) for item in value]
    if isinstance(value, FunctionType) and _is_held(value):
        return _name(value)
    if _is_frozen(value) and _is_held(type(value)):
        own = {field.name: identity(getattr(value, field.name)) for field in fields(value)}
        if "name" in own:
            raise TypeError(f"{value!r} has a field called name, where the class's own name is kept: call it otherwise")
        return {"name": _name(type(value))} | own
    raise TypeError(
        f"{value!r} has no identity: use a function of a module, or a frozen dataclass with __call__ whose fields are "
        "its constants"
    )


def changed(value: object) -> dict[str, Any]:
    """The fields of a frozen dataclass that are not at their defaults: adding a field to its class changes no key."""
    return {
        field.name: identity(getattr(value, field.name))
        for field in fields(value)
        if getattr(value, field.name) != field.default
    }


def beyond(value: object, base: type) -> dict[str, Any]:
    """The name and the further fields of a subclass of `base`, which describes its own fields; empty for `base`."""
    if type(value) is base:
        return {}
    further = {field.name for field in fields(value)} - {field.name for field in fields(base)}
    return {"kind": {"name": _name(type(value))} | {name: identity(getattr(value, name)) for name in sorted(further)}}


def _is_frozen(value: object) -> bool:
    return is_dataclass(value) and not isinstance(value, type) and value.__dataclass_params__.frozen


def _is_held(thing: FunctionType | type) -> bool:
    """Whether its module holds it under its name; False for a wrapper that took its name from the wrapped function."""
    try:
        return attrgetter(thing.__qualname__)(sys.modules[thing.__module__]) is thing
    except (KeyError, AttributeError):
        return False


def _name(thing: FunctionType | type) -> str:
    own = thing.__module__.partition(".")[0] == OWN
    if own:
        return thing.__qualname__
    return f"{thing.__module__}:{thing.__qualname__}@{digest_of(thing.__module__)}"
