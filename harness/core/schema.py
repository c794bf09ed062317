"""What a row of a CSV is: a frozen dataclass, whose fields are the columns in file order, annotated with their kinds.

A field is text (`str`), a whole number (`int`), a number (`float`) or a truth value (`bool`); with `| None` it may be
empty. A field that is itself a dataclass stands for its own columns, such as the provenance of every row.

Each value has one spelling; any other spelling is refused, because no command wrote it. A text that a spreadsheet would
take for a formula stands behind an apostrophe. Whole numbers are not negative; a number has the bounds of its
annotation, `Annotated[float, Within(...)]`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from math import inf, isnan
from types import NoneType, UnionType
from typing import Annotated, Any, Protocol, TypeVar, get_args, get_origin, get_type_hints

KINDS = {str: "text", int: "whole number", float: "number", bool: "truth value"}
# First letters that a spreadsheet takes for a formula; such texts get an apostrophe in front. The apostrophe is in the
# list so that removing it again is unambiguous.
FORMULA = tuple("=+-@'")


@dataclass(frozen=True)
class Within:
    """Inclusive bounds of a number; infinity is never allowed, nan only if `nan`."""

    least: float
    most: float
    nan: bool = False

    def __contains__(self, value: float) -> bool:
        return value < inf if self.least <= value <= self.most else self.nan and isnan(value)

    def __str__(self) -> str:
        said = f"at least {self.least}" if self.most == inf else f"from {self.least} to {self.most}"
        return said + ", or nan" * self.nan


NATURAL = Within(0, 2**63 - 1)
Fraction = Annotated[float, Within(0, 1)]
FractionOrNan = Annotated[float, Within(0, 1, nan=True)]
Amount = Annotated[float, Within(0, inf)]


class Row(Protocol):
    """Any row: a frozen dataclass that names the cell it belongs to."""

    @property
    def cell(self) -> str:
        """Key of the cell that the row belongs to."""


AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where a row comes from.

    Attributes:
        device: the work ran on, e.g. `cpu` or `cuda NVIDIA H200`.
        precision: of the networks' arithmetic: fp32, tf32 or bf16.
        backend: library behind the convolutions.
        threads: of torch on the CPU.
        chunk: images that went through a network at once.
        commit: of this code; `-dirty` if it had changes that were not committed.
        versions: of Python and the packages that decide values.
    """

    device: str
    precision: str
    backend: str
    threads: int
    chunk: int
    commit: str
    versions: str


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One metric of one network that was trained on a memory.

    Attributes:
        cell: key of what ran as one.
        dataset: name of the data set.
        dataset_checksum: of its images and labels.
        condenser: that made the memory, or the name of a memory file.
        config: key of all that decides the value but class order and replicates.
        ipc_stored: images per class that the memory keeps.
        ipc_decoded: images per class that the network was trained on.
        trained_on_real: whether networks trained on real labels made the memory; empty if its file does not say.
        steps: of the stream; 1 is all classes at once.
        class_order: number of the order in which classes come.
        memory_replicate: which draw of the memory.
        network_replicate: which network trained on it.
        step: after which it was tested, from 1.
        classes_seen: until then.
        metric: what `value` is.
        value: a fraction, from 0 to 1 for accuracies.
        seconds: of training and testing, per network.
        protocol: set of defaults, with a `+` where a flag overrode one, then what was given of training and seed.
        origin: where the row comes from.
        memory_checksum: of the memory's pixels and labels.
    """

    cell: str
    dataset: str
    dataset_checksum: str
    condenser: str
    config: str
    ipc_stored: int
    ipc_decoded: int
    trained_on_real: bool | None
    steps: int
    class_order: int
    memory_replicate: int
    network_replicate: int
    step: int
    classes_seen: int
    metric: str
    value: float
    seconds: Amount
    protocol: str
    origin: Provenance
    memory_checksum: str


@dataclass(frozen=True)
class Column:
    """One column of a file.

    Attributes:
        name: as it stands in the file's first line.
        kind: a key of KINDS.
        optional: whether a field may be empty, which stands for None.
        within: bounds of a number; None for a number without bounds, and for other kinds.
    """

    name: str
    kind: type
    optional: bool
    within: Within | None = None

    def text(self, value: object) -> str:
        """The text that stands for a value in the file; floats are exact. NumPy and torch scalars are converted.

        Raises:
            TypeError: the value is not of the column's kind.
            ValueError: text with a line break, or another letter that cannot be printed; a number out of bounds.
        """
        value = value.item() if hasattr(value, "item") else value
        if value is None and self.optional:
            return ""
        if type(value) is not self.kind and not (self.kind is float and type(value) is int):
            raise TypeError(f"column {self.name!r} cannot hold {value!r}, which is no {KINDS[self.kind]}")
        text = repr(float(value)) if self.kind is float else str(value)
        # One line per row, so that damage can be named by its line and lines can be counted.
        if not text.isprintable():
            raise ValueError(f"column {self.name!r} cannot hold a line break or a control byte: {text!a}")
        if self.within and value not in self.within:
            raise ValueError(f"its {self.name} is {text}, which is not {self.within}")
        return escaped(text) if self.kind is str else text

    def value(self, text: str) -> Any:
        """What a field of the file stands for. Raises ValueError for what `text` would not write."""
        if self.optional and not text:
            return None
        try:
            value = _READERS[self.kind](text)
            if self.optional and value != value:  # nan is damage here, because a missing value is an empty field
                raise ValueError
        except ValueError as error:
            raise ValueError(f"its {self.name} is {text!a}, which is no {KINDS[self.kind]}") from error
        if self.text(value) != text:
            raise ValueError(f"its {self.name} is {text!a}, which no command writes")
        return value


def escaped(text: str) -> str:
    """A text as a CSV holds it: one that a spreadsheet would take for a formula stands behind an apostrophe."""
    return f"'{text}" if text.startswith(FORMULA) else text


def unescaped(text: str) -> str:
    """The text that `escaped` was given."""
    return text.removeprefix("'")


@cache
def columns(row_type: type) -> tuple[Column, ...]:
    """The columns of a row type in file order.

    Raises:
        TypeError: a field is of a kind that no column has.
    """
    found: list[Column] = []
    for name, hint in _hints(row_type).items():
        found += columns(hint) if is_dataclass(hint) else [_column(name, hint)]
    return tuple(found)


def values(row: Any) -> list[object]:
    """The values of a row in the order of its columns."""
    found: list[object] = []
    for name in _hints(type(row)):
        value = getattr(row, name)
        found += values(value) if is_dataclass(value) else [value]
    return found


def parse(row_type: type[AnyRow], texts: Sequence[str]) -> AnyRow:
    """A row from the fields of a line. Raises ValueError for a field that is not of its column's kind."""
    return _build(row_type, {own.name: own.value(text) for own, text in zip(columns(row_type), texts, strict=True)})


def _build(row_type: type, named: Mapping[str, object]) -> Any:
    hints = _hints(row_type).items()
    return row_type(**{name: _build(hint, named) if is_dataclass(hint) else named[name] for name, hint in hints})


@cache
def _hints(row_type: type) -> dict[str, Any]:
    """The annotations of the fields, in their order."""
    hints = get_type_hints(row_type, include_extras=True)
    return {field.name: hints[field.name] for field in fields(row_type)}


def _column(name: str, hint: Any) -> Column:
    kinds = set(get_args(hint)) if isinstance(hint, UnionType) else {hint}
    optional = NoneType in kinds
    kinds -= {NoneType}
    kind, within = _bounded(kinds.pop())
    if kinds or kind not in KINDS:
        raise TypeError(f"column {name!r} is of no kind that a file holds: {hint}")
    return Column(name, kind, optional, within)


def _bounded(hint: Any) -> tuple[Any, Within | None]:
    """A kind, and the bounds that its annotation gives it or that its kind has."""
    if get_origin(hint) is Annotated:
        return get_args(hint)
    return hint, NATURAL if hint is int else None


def _truth(text: str) -> bool:
    return bool(("False", "True").index(text))


# Python's float is exact; pandas' own parser only in some versions or behind a deprecated option.
_READERS = {str: unescaped, int: int, float: float, bool: _truth}
