"""Command lines to flags: tyro parses them, `--help` shows a box for each group, and a mistake becomes one line."""

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import Field, field, fields, make_dataclass
from inspect import get_annotations
from itertools import dropwhile, pairwise, takewhile
from typing import Annotated, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from harness.core.flags import spelling
from search_spaces.names import unknown

Config = TypeVar("Config")

# Decoration around tyro's words: frames (only horizontal lines where stdout is not UTF-8) and colours.
FRAME = re.compile(r"^[\W_]*?[│|╭+]|[│|╮+]\s*$|[─-]{3,}|\x1b\[[\d;]*m")
PLAINER = (
    (
        re.compile(r"no type matching INT .* from \[(.*)\]\.?|invalid literal for int\(\) with base 10: (.*)"),
        r"\1\2 is no whole number",
    ),
    (re.compile(r"could not convert string to float: (.*)"), r"\1 is no number"),
    (re.compile(r", 'None'|'None', "), ""),  # the default of a flag that is not given is no choice to offer
)
CHOICES = re.compile(r"Expected one of \(([^)]*)\)")


def parse(config_type: type[Config], arguments: Sequence[str], prog: str, description: str) -> Config:
    """The flags that a command line gives.

    Raises:
        ValueError: an unknown flag, or a value that does not fit its flag; one line says which.
        SystemExit: `--help` was asked for, and has been printed.
    """
    _check_values(config_type, arguments, prog)
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            boxes, left = tyro.cli(
                _boxed(config_type),
                prog=prog,
                description=description,
                args=arguments,
                return_unknown_args=True,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone),
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise ValueError(_in_order(config_type, _one_line(said.getvalue()))) from None
    if left:
        raise _unknown(config_type, left[0])
    return config_type(**{name: value for box in vars(boxes).values() for name, value in vars(box).items()})


def _check_values(config_type: type, arguments: Sequence[str], prog: str) -> None:
    """Raise ValueError for a flag without a value: an unset shell variable must not silently choose the default."""
    valued = {spelling(one) for one in fields(config_type) if not isinstance(one.default, bool)}
    for given, following in pairwise([prog, *arguments, "--"]):
        name, equals, value = given.partition("=")
        absent = not value if equals else following.startswith("--")
        if not following or (absent and name.replace("_", "-") in valued):
            raise ValueError(f"there is no value after {name}: give one, or leave it out")


def _unknown(config_type: type, argument: str) -> ValueError:
    given, hints = argument.partition("=")[0], get_type_hints(config_type, include_extras=True)
    nameless = [spelling(one) for one in fields(config_type) if tyro.conf.Positional in get_args(hints[one.name])]
    if given in nameless:
        return ValueError(f"{given} is no flag here: give {given.strip('-')} alone, without its name, before all flags")
    if argument.startswith("-"):
        return unknown("flag", given, [name for name in map(spelling, fields(config_type)) if name not in nameless])
    return ValueError(
        f"{argument!r} belongs to no flag: leave it out, or see --help for flags that take several values"
    )


def _one_line(said: str) -> str:
    """What tyro says in a box: the first paragraph under the title."""
    lines = [FRAME.sub("", line).strip() for line in said.splitlines()[1:]]
    text = " ".join(takewhile(bool, dropwhile(lambda line: not line, lines)))
    for pattern, plainer in PLAINER:
        text = pattern.sub(plainer, text)
    return text.removeprefix("Error parsing ") or "the command line does not fit its flags: see --help"


def _in_order(config_type: type, said: str) -> str:
    """The message with its choices in the order of their declaration: tyro keeps some in a set, whose order varies."""
    found = CHOICES.search(said)
    given = set(found[1].split(", ")) if found else set()
    for choices in filter(None, map(_choices, get_type_hints(config_type).values())):
        if given == {repr(str(choice)) for choice in choices}:
            return CHOICES.sub(f"Expected one of {tuple(map(str, choices))}", said)
    return said


def _choices(hint: object) -> tuple[object, ...]:
    """The values of a `Literal`, wherever it stands in an annotation."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    return next(filter(None, map(_choices, get_args(hint))), ())


def _boxed(config_type: type) -> type:
    """The same flags as a dataclass of dataclasses, one for each group: tyro draws a box around each."""
    hints, boxes = get_type_hints(config_type, include_extras=True), {}
    for owner in config_type.__mro__:
        for one in fields(config_type):
            if _owner(config_type, one.name) is owner:
                boxes.setdefault(owner.box, []).append((one.name, _described(one, hints[one.name]), one.default))
    return make_dataclass(config_type.__name__, [_box(title, flags) for title, flags in boxes.items()])


def _owner(config_type: type, name: str) -> type:
    """The group that declares a flag first, even if a subclass declares it again with another default."""
    return [base for base in config_type.__mro__ if name in get_annotations(base)][-1]


def _described(one: Field, hint: type) -> type:
    # Print "(default: ...)" only where it tells a reader something.
    return Annotated[
        hint,
        tyro.conf.arg(
            help=one.metadata["text"],
            help_behavior_hint="" if one.default in (None, ()) or one.default is False else "(default: {})".format,
        ),
    ]


def _box(title: str, flags: list[tuple[str, type, object]]) -> tuple[str, type, Field]:
    box = make_dataclass(title.replace(" ", "_"), flags)
    return title.replace(" ", "_"), Annotated[box, tyro.conf.arg(name=title)], field(default_factory=box)
