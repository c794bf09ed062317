"""The card of a Hugging Face image folder: what the hub reads at its head, and what people should know."""

from collections.abc import Mapping

from condensers.core.leagues import LEAGUES
from condensers.memory import Memory
from harness.export.pictures import Pictures

SIZES = {"n<1K": 10**3, "1K<n<10K": 10**4, "10K<n<100K": 10**5, "100K<n<1M": 10**6}
SAID = ("condenser", "dataset", "dataset_checksum", "seed", "commit", "versions", "store", "league")


def card(name: str, memory: Memory, pictures: Pictures, names: Mapping[int, str], test: int) -> str:
    """README.md of an exported memory.

    Args:
        name: of the memory.
        memory: as stored.
        pictures: as exported.
        names: the folder of each class.
        test: number of test images beside; 0 for none.
    """
    splits = ["train", "test"] if test else ["train"]
    count = len(pictures.labels)
    size = next((size for size, most in SIZES.items() if count + test < most), "n>1M")
    files = "\n".join(f"  - split: {split}\n    path: data/{split}/**" for split in splits)
    said = "\n".join(_said(field, memory.metadata[field]) for field in SAID if field in memory.metadata)
    return f"""---
task_categories:
- image-classification
size_categories:
- {size}
tags:
- dataset-condensation
configs:
- config_name: default
  data_files:
{files}
---

# {name}

A condensed memory: {count} images of {len(names)} classes to train on instead of a whole data set{_beside(test)}.

{said}

Networks are trained on normalised pixels that no picture can hold: {pictures.loss}.
A score on these pictures need not be that of the memory itself.

Labels follow the folders in order of name. In the numbering of the data set: {_numbering(names)}.

The licence is that of the images it was made from. What its fields mean is in `memory.json` and in the project's
`results/FORMAT.md`.
"""


def _said(field: str, value: object) -> str:
    return f"- {field}: `{value}`" + (f" ({LEAGUES[value]})" if field == "league" else "")


def _beside(test: int) -> str:
    return f", and the {test} test images of that set" if test else ""


def _numbering(names: Mapping[int, str]) -> str:
    return ", ".join(f"{label} is `{name}`" for label, name in names.items())
