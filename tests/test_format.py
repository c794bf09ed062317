"""results/FORMAT.md says of every file what the code says, and nothing else."""

import csv
import importlib
import pkgutil
import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import torch

import harness
from condensers import schema
from condensers.core.cost import Cost
from condensers.memory import SCHEMA, STORES, UNDIGESTED, Memory, load_memory, save_memory
from harness.core.schema import KINDS, columns
from harness.evidence.intervals import Interval

RESULTS = Path(__file__).parents[1] / "results"
PAGE = (RESULTS / "FORMAT.md").read_text()
SECTIONS = {
    title.strip("`"): text for title, text in re.findall(r"^##+ (.*?)\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)
}


def table(section: str) -> list[tuple[str, ...]]:
    """The cells of a section's table, without its head; names without their quotes."""
    lines = [line.strip("| ").split(" | ") for line in SECTIONS[section].splitlines() if line.startswith("|")]
    return [(line[0].strip("`"), *line[1:]) for line in lines[2:]]


def row_types() -> dict[str, type]:
    """Every dataclass of the harness that is a row: it has a cell, and its docstring the columns."""
    found = {}
    for module in pkgutil.walk_packages(harness.__path__, "harness."):
        if not module.name.endswith("__main__"):
            found |= vars(importlib.import_module(module.name))
    return {name: kind for name, kind in found.items() if name.endswith("Row") and is_dataclass(kind)}


def meanings(row_type: type) -> dict[str, str]:
    """What its docstring says of each field, and those of the dataclasses in it of theirs."""
    text = row_type.__doc__.partition("Attributes:\n")[2]
    said = dict(re.findall(r"^        (\w+): (.*(?:\n {12}.*)*)", text, re.MULTILINE))
    inner = [kind for kind in map(_type_of, row_type.__dataclass_fields__.values()) if is_dataclass(kind)]
    own = {name: " ".join(meaning.split()) for name, meaning in said.items()}
    return own | {name: meaning for kind in inner for name, meaning in meanings(kind).items()}


def _type_of(field: object) -> object:
    return field.type


def test_every_kind_of_row_has_a_section():
    assert {"ScoreRow", "NetworkRow", "TrialRow", "TurnRow"} <= set(row_types())
    assert {title for title in SECTIONS if title.endswith("Row")} == set(row_types())


@pytest.mark.parametrize("name", row_types())
def test_every_column_stands_there_with_its_kind_unit_and_meaning(name):
    row_type, said = row_types()[name], table(name)
    expected = [
        (
            column.name,
            KINDS[column.kind]
            + (f", {column.within}" if column.kind is float and column.within else "")
            + (", or empty" if column.optional else ""),
            meanings(row_type)[column.name],
        )
        for column in columns(row_type)
    ]
    assert [(column, kind, meaning) for column, kind, _, meaning in said] == expected
    numbers = {column.name for column in columns(row_type) if column.kind in (int, float)}
    assert {column for column, _, unit, _ in said if unit != "-"} == numbers


def test_every_tensor_and_every_field_of_the_metadata_stands_there():
    tensors = {name: (types, int(dimensions)) for name, types, dimensions, _ in table("Tensors")}
    assert tensors == {name: (", ".join(types), number) for name, (types, number) in schema.TENSORS.items()}
    fields = table("Metadata")
    assert [(name, kind) for name, kind, _ in fields] == [(name, kind.said) for name, kind in schema.FIELDS.items()]
    assert all(len(meaning) > 5 for *_, meaning in fields)
    costs = next(meaning for name, _, meaning in fields if name == "cost")
    assert set(Cost.__dataclass_fields__) <= set(
        re.findall(r"\w+", costs.replace("FLOP", "flop").replace("bytes", "bytes"))
    )


@pytest.mark.parametrize("store", STORES)
def test_a_file_has_the_header_and_the_fields_that_stand_there(store, digits, tmp_path):
    from safetensors import safe_open

    memory = Memory(digits.train.normalise(digits.train.images[:9]), torch.arange(9), {}, torch.arange(9))
    save_memory(memory, tmp_path / "x.safetensors", store)
    with safe_open(tmp_path / "x.safetensors", framework="pt") as file:
        header, tensors = file.metadata(), set(file.keys())
    assert set(header) == {key for key, _ in table("Header")}
    assert tensors <= {name for name, *_ in table("Tensors")}
    assert f"`{SCHEMA}`; `{UNDIGESTED}`" in SECTIONS["Header"]
    assert all(f"`{store}`" in SECTIONS["Tensors"] for store in STORES)


def test_uint8_decodes_as_it_stands_there(tmp_path):
    from safetensors.torch import load_file

    memory = Memory(torch.randn(4, 3, 8, 8), torch.arange(4), {})
    save_memory(memory, tmp_path / "x.safetensors", "uint8")
    stored = load_file(tmp_path / "x.safetensors")
    scale, offset = (stored[name].view(-1, 1, 1, 1) for name in ("scale", "offset"))
    read = load_memory(tmp_path / "x.safetensors").images
    assert torch.equal(read, stored["images"].float() * scale + offset)
    assert ((read - memory.images).abs() <= scale / 2 + 1e-6).all()
    assert (stored["images"].amin((1, 2, 3)).tolist(), stored["images"].amax((1, 2, 3)).tolist()) == (
        [0] * 4,
        [255] * 4,
    )


@pytest.mark.parametrize(
    "name",
    [
        *(
            "summary.csv",
            "search_summary.csv",
            "search_winners.csv",
            "table.csv",
            "differences.csv",
            "ablate.csv",
            "trials.csv",
        ),
        *("analysis.csv", "drift.csv", "tsne.csv", "correlations.csv", "targets.csv"),
    ],
)
def test_every_column_of_a_committed_summary_stands_there(name):
    ends = "|".join(f"_{end}" for end in ("low", "high", "n") if end in Interval.__dataclass_fields__)
    patterns = {
        column: re.compile(column.replace("SIDE", "(proxy|whole)").replace("_K", r"_\d+") + f"({ends})?")
        for column, *_ in table(name)
    }
    found = set()
    for path in RESULTS.rglob(name):
        with path.open(newline="") as file:
            found |= set(next(csv.reader(file)))
    assert [column for column in found if not any(own.fullmatch(column) for own in patterns.values())] == []
    assert [column for column, own in patterns.items() if not any(map(own.fullmatch, found))] == []


def test_memories_know_the_names_of_their_classes(digits, tmp_path):
    from harness.condense import __main__ as condense
    from harness.condense.flags import Condense

    condense.main(Condense(condensers=("random",), ipc=1, out=tmp_path))
    memory = load_memory(next(tmp_path.glob("*.safetensors")), digits.train)
    assert memory.metadata["class_names"] == list("0123456789")
    assert set(memory.metadata) <= {name for name, *_ in table("Metadata")}
