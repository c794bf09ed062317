"""What `harness.export` does: all memories are read before the first is written; each appears whole or not at all."""

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from condensers.device.files import atomic_write, one_line_errors
from condensers.memory import Memory, read_metadata
from condensers.published import SUFFIXES
from harness.core.flags import check_bounds
from harness.core.progress import say
from harness.core.stored import read
from harness.export.card import card
from harness.export.flags import Export
from harness.export.pictures import Pictures, folder_names, pictures_of, write_pictures
from scenarios.datasets import Dataset, load


@dataclass(frozen=True)
class Exported:
    """A memory with what it takes to undo its normalisation, and its data set where that is needed."""

    path: Path
    memory: Memory
    mean: Sequence[float]
    std: Sequence[float]
    dataset: Dataset | None

    @property
    def class_names(self) -> Sequence[str] | None:
        """The names of the classes, if they are known."""
        return self.memory.metadata.get("class_names") or (self.dataset and self.dataset.class_names)


def export(config: Export) -> None:
    """Write every memory in the format asked for. Raises ValueError for whatever a user can get wrong."""
    _check(config)
    sources = {_target(config, path): _read(config, path) for path in dict.fromkeys(config.memories)}
    if config.format == "pt":
        for target, source in sources.items():
            _write_tensors(target, source.memory)
        return
    prepared = {target: _pictures(source) for target, source in sources.items()}
    for target, source in sources.items():
        _write_folder(config, target, source, prepared[target])


def _check(config: Export) -> None:
    check_bounds(config)
    if not config.memories:
        raise ValueError("no memories given: name at least one file")
    if bool(config.mean) != bool(config.std):
        raise ValueError("--mean and --std go together: give both")
    if not all(map(math.isfinite, (*config.mean, *config.std))) or any(std <= 0 for std in config.std):
        raise ValueError("--mean and --std must be finite, and --std above 0")
    if config.format == "pt" and (config.test or config.mean):
        raise ValueError("--test, --mean and --std are for pictures: a .pt file holds a memory alone, as it is")
    stems = [path.stem for path in dict.fromkeys(config.memories)]
    if twice := next((stem for stem in stems if stems.count(stem) > 1), None):
        raise ValueError(f"two memories are called {twice!r}: export them apart, to another --out each")
    for path in config.memories:
        if (target := _target(config, path)).exists():
            raise ValueError(f"{target} is there already: remove it, or choose another --out")


def _target(config: Export, path: Path) -> Path:
    return config.out / (f"{path.stem}.pt" if config.format == "pt" else path.stem)


def _read(config: Export, path: Path) -> Exported:
    published = path.suffix in SUFFIXES
    metadata = {} if published else read_metadata(path)
    needed = config.dataset or config.test or metadata.get("store") == "indices"
    dataset = _dataset(config, path, metadata.get("dataset")) if needed else None
    memory = read(path, dataset, soft=True, number=config.set).memory
    if config.mean and not published:
        raise ValueError("--mean and --std are for published .pt files; .safetensors say how they were normalised")
    if config.set and not published:
        raise ValueError("--set is for published .pt files; a .safetensors holds one set")
    mean, std = _normalisation(config, path, memory, dataset)
    return Exported(path, memory, mean, std, dataset)


def _dataset(config: Export, path: Path, made_from: str | None) -> Dataset:
    name = config.dataset or made_from
    if name is None:
        raise ValueError(f"{path} does not say what it was made from: give --dataset")
    return _loaded(name, config.data_root, config.resolution, config.validation)


@cache
def _loaded(name: str, root: Path, resolution: int | None, validation: int) -> Dataset:
    dataset = load(name, root, resolution)
    return dataset.hold_out(validation) if validation else dataset


def _normalisation(
    config: Export, path: Path, memory: Memory, dataset: Dataset | None
) -> tuple[Sequence[float], Sequence[float]]:
    if config.mean:
        return config.mean, config.std
    if {"mean", "std"} <= memory.metadata.keys():
        return memory.metadata["mean"], memory.metadata["std"]
    if dataset:
        return dataset.train.mean, dataset.train.std
    if config.format == "pt":
        return (), ()
    raise ValueError(f"{path} does not say how its pixels were normalised: give --mean and --std, or --dataset")


def _write_tensors(target: Path, memory: Memory) -> None:
    decoded, content = memory.decoded(), io.BytesIO()
    torch.save([decoded.images.contiguous().clone(), decoded.targets.contiguous().clone()], content)
    atomic_write(target, content.getvalue())
    say(f"{target}: {len(decoded)} images and their labels, normalised as networks see them")


def _pictures(source: Exported) -> Pictures:
    try:
        return pictures_of(source.memory, source.mean, source.std)
    except ValueError as error:
        raise ValueError(f"{source.path}: {error}") from error


def _write_folder(config: Export, target: Path, source: Exported, pictures: Pictures) -> None:
    """Write a memory's folder, under a temporary name until it is whole: a kill leaves nothing like a data set."""
    names = folder_names(source.memory.classes, source.class_names)
    inside = Path("data") if config.format == "huggingface" else Path()
    test = source.dataset.test if config.test else None
    with one_line_errors("write", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=target.parent, prefix=".export-") as scratch:
            folder = Path(scratch) / target.name
            write_pictures(folder / inside / "train", pictures.levels, pictures.labels, names)
            if test:
                write_pictures(folder / inside / "test", test.images, test.labels, names)
            about = source.memory.metadata | {"exported": pictures.loss, "folders": names}
            (folder / "memory.json").write_text(json.dumps(about, indent=1, sort_keys=True))
            if config.format == "huggingface":
                text = card(target.name, source.memory, pictures, names, len(test) if test else 0)
                (folder / "README.md").write_text(text, encoding="utf-8")
            folder.rename(target)
    say(f"{target}: {len(pictures.labels)} images of {len(names)} classes; {pictures.loss}")
    if test:
        say(f"as a data set, in colour: --dataset folder:{target / inside} --resolution {pictures.levels.shape[-1]}")
