"""The cells of an analysis: one for each memory, and one for each drift of one memory's style to another's."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from condensers import registry
from condensers.core.recipe import Recipe
from condensers.device.training import accuracy, train
from harness.analyse import drift, measures, subjects
from harness.analyse.accuracies import accuracies
from harness.analyse.checking import rows_of
from harness.analyse.flags import Analyse
from harness.analyse.subjects import Subject
from harness.core.cells import Cell, run_cells
from harness.core.flags import check_bounds, refuse_bf16
from harness.core.makings import check_apart, check_makings, check_recorded, names_of
from harness.core.progress import bar
from harness.core.reading import read_all
from harness.core.records import Records
from harness.core.rows import MeasureRow
from harness.core.scoring import Scoring, scoring_of
from harness.core.seeds import config_key, seed_of
from harness.core.settings import Setup, place_of
from harness.core.stored import Stored, content_of, made_from
from scenarios.datasets import load
from search_spaces.registry import build, identity_of

OBJECTIVES = ("dm", "ours", "readout")
STYLE_GAP, DIVERSITY = "style gap", "diversity"
TEXTURE = ("GLCM dissimilarity", "GLCM entropy")
VERSION = 1  # of the measures; raised when one of them changes


def loss_of(name: str) -> str:
    """The metric that holds the loss of an objective."""
    return f"loss of {name}"


def drifted(ratio: float) -> str:
    """The metric that holds the accuracy at a drift ratio."""
    return f"accuracy at drift {ratio:g}"


@dataclass(frozen=True)
class Analysis(Scoring):
    """An analysis with every default resolved.

    Attributes:
        subjects: memories in the order in which they were named, then real samples.
        base: the memory whose style drifts, or None.
    """

    subjects: tuple[Subject, ...]
    base: Subject | None
    scores: tuple[Path, ...]
    out: Path

    @cached_property
    def records(self) -> Records[MeasureRow]:
        """The CSV of the analysis."""
        return Records(self.out / "results.csv", MeasureRow)

    @cached_property
    def accuracies(self) -> pd.Series:
        """Mean accuracy of each memory's networks, by the memory's checksum."""
        return accuracies(self.scores, self.dataset.checksum, {one.memory.checksum for one in self.subjects})

    @cached_property
    def reference(self) -> Tensor:
        """Real images that all subjects are compared with, `[C, n, ch, h, w]`."""
        return subjects.reference(self.dataset, self.seed).to(self.device)

    @cached_property
    def objectives(self) -> list[Recipe]:
        """The recipes whose losses are measured."""
        return [registry.condenser(name) for name in OBJECTIVES]

    def seeds(self, *names: str | int) -> list[int]:
        """The seed of each network's draws; `names` say what the networks are for."""
        own = ("analysis", *names, "network")
        return [seed_of(self.dataset.identity, self.seed, *own, number) for number in range(self.networks)]

    def measuring(self) -> dict[str, object]:
        """All that decides the measured values, except the memory, as JSON values."""
        return {
            "dataset": self.dataset.checksum,
            "network": identity_of(self.network),
            "networks": self.networks,
            "seed": self.seed,
            "precision": self.precision,
            "version": VERSION,
        }


def prepare(config: Analyse) -> Analysis:
    """Resolve every default and read every file. Raises ValueError for whatever a user can get wrong."""
    if not config.memories:
        raise ValueError("no memories given: name at least one file")
    refuse_bf16(config)
    device, protocol = place_of(config)
    check_bounds(config)
    dataset = load(config.dataset or made_from(config.memories[0]), config.data_root, config.resolution)
    drifting = [config.drift_from] if config.drift_from else []
    stored = read_all(config, [*config.memories, *drifting], dataset, soft=False)
    check_makings(stored)
    names = names_of(stored, sizes=False)
    named = {one.path: subjects.of_file(one, name, dataset) for one, name in zip(stored, names, strict=True)}
    own = [named[path] for path in dict.fromkeys(config.memories)]
    analysis = Analysis(
        **vars(scoring_of(Setup(config, protocol, device, dataset))),
        subjects=(*own, *subjects.real_samples(dataset, [one.images.shape[1] for one in own], config.seed)),
        base=named.get(config.drift_from) if config.drift_from else None,
        scores=config.scores,
        out=config.out,
    )
    _check(analysis, stored, [cell_key(analysis, named[one.path], {}) for one in stored])
    if analysis.scores:
        _one_size(own)
        _ = analysis.accuracies  # read now, so that a mistake is said before any work
    return analysis


def _check(analysis: Analysis, stored: Sequence[Stored], keys: Sequence[str]) -> None:
    """Raise ValueError for what would only fail once work has begun."""
    built = build(analysis.network, analysis.dataset.classes, analysis.dataset.shape)
    if analysis.base:
        drift.Drifting(built, analysis.base.images.flatten(0, 1), 0.0)
    check_apart(stored, [one.memory.checksum for one in stored])
    known: dict[str, Stored] = {}
    for one in stored:
        same = known.setdefault(one.memory.checksum, one)
        if content_of(same.memory) != content_of(one.memory):
            raise ValueError(f"{same.path} and {one.path} hold the same pixels, decoded in two ways: leave one out")
    check_recorded(stored, keys, analysis.records.read(), analysis.records.path)


def _one_size(memories: Sequence[Subject]) -> None:
    sizes = sorted({one.images.shape[1] for one in memories})
    if len(sizes) > 1:
        raise ValueError(
            f"the memories have {' and '.join(map(str, sizes))} images per class: with --scores give those of one "
            "size, for more images have both a smaller loss and a higher accuracy"
        )


def run(analysis: Analysis) -> None:
    """Run every cell that is not in the records."""
    run_cells(cells(analysis), analysis.records, "analyse")


def cells(analysis: Analysis) -> list[Cell]:
    """All cells in order: first the measures, memory by memory, then the drifts."""
    measured = [_cell(analysis, one, {}, partial(_measured, analysis, one)) for one in analysis.subjects]
    if analysis.base is None:
        return measured
    base, seen = analysis.base, {analysis.base.memory.checksum: analysis.base}
    targets = seen | {one.memory.checksum: one for one in analysis.subjects if one.name != subjects.REAL}
    return measured + [
        _cell(analysis, target, drift_of(analysis, ratio), partial(_drifted, analysis, base, target, ratio))
        for target in targets.values()
        for ratio in drift.RATIOS
    ]


def drift_of(analysis: Analysis, ratio: float) -> dict[str, object]:
    """What decides the accuracies of a drift, except its target and what `measuring` holds."""
    training = analysis.training.describe()
    return {"base": content_of(analysis.base.memory), "ratio": ratio, "training": training}


def cell_key(analysis: Analysis, subject: Subject, about: dict[str, object]) -> str:
    """The key of a cell; `about` is empty for measures."""
    return config_key({"memory": content_of(subject.memory), **about, **analysis.measuring()})


Values = Iterable[tuple[int, str, str, float]]  # network replicate, network, metric, value


def measured(analysis: Analysis) -> pd.DataFrame:
    """The rows of all measures. Raises ValueError if they are damaged."""
    cells = {cell_key(analysis, one, {}): one for one in analysis.subjects}
    seen = [(STYLE_GAP, False), (DIVERSITY, True), *((loss_of(name), True) for name in OBJECTIVES)]
    networks = range(analysis.networks)
    values = {(number, analysis.network, metric): unknown for number in networks for metric, unknown in seen}
    values |= {(0, "", metric): False for metric in TEXTURE}
    return rows_of(analysis.records.read(), cells, values, analysis.records.path)


def drifts(analysis: Analysis) -> pd.DataFrame:
    """The rows of all drifts. Raises ValueError if they are damaged."""
    rows, where = analysis.records.read(), analysis.records.path
    targets = [analysis.base, *(one for one in analysis.subjects if one.name != subjects.REAL)]
    parts = []
    for ratio in drift.RATIOS:
        about = drift_of(analysis, ratio)
        cells = {cell_key(analysis, one, about): one for one in targets}
        values = {(number, analysis.network, drifted(ratio)): False for number in range(analysis.networks)}
        parts.append(rows_of(rows, cells, values, where))
    return pd.concat(parts, ignore_index=True)


def _cell(analysis: Analysis, subject: Subject, about: dict[str, object], values: Callable[[], Values]) -> Cell:
    key = cell_key(analysis, subject, about)
    shown = {"condenser": subject.shown, "replicate": subject.replicate} | {
        name: value for name, value in about.items() if name == "ratio"
    }
    return Cell(key, shown, partial(_rows, analysis, subject, about, key, values))


def _rows(
    analysis: Analysis, subject: Subject, about: dict[str, object], key: str, values: Callable[[], Values]
) -> Sequence[MeasureRow]:
    started = time.perf_counter()
    found = list(values())
    row = partial(
        MeasureRow,
        cell=key,
        dataset=analysis.dataset.name,
        dataset_checksum=analysis.dataset.checksum,
        condenser=subject.name,
        config=config_key(about | analysis.measuring()),
        ipc_stored=subject.memory.per_class,
        ipc_decoded=subject.images.shape[1],
        memory_replicate=subject.replicate,
        seconds=(time.perf_counter() - started) / analysis.networks,
        protocol=analysis.protocol,
        origin=analysis.origin,
        memory_checksum=subject.memory.checksum,
    )
    return [
        row(network_replicate=number, network=network, metric=metric, value=value)
        for number, network, metric, value in found
    ]


def _measured(analysis: Analysis, subject: Subject) -> Values:
    pixels = (analysis.dataset.train.denormalise(subject.images) * 255).round().to(torch.uint8)
    yield from ((0, "", *one) for one in zip(TEXTURE, measures.texture(pixels.flatten(0, 1)), strict=True))
    for number, seed in enumerate(analysis.seeds("measures")):
        for metric, value in _seen(analysis, subject, analysis.new_network(seed)).items():
            yield number, analysis.network, metric, value


def _seen(analysis: Analysis, subject: Subject, network: torch.nn.Module) -> dict[str, float]:
    network.requires_grad_(False)
    labels = torch.arange(analysis.dataset.classes, device=analysis.device)
    memory, real = (
        measures.see(network, images, analysis.objectives, labels, analysis.training.chunk)
        for images in (subject.images.to(analysis.device), analysis.reference)
    )
    return {
        STYLE_GAP: measures.style_gap(memory, real),
        DIVERSITY: measures.diversity(memory, real),
        **{loss_of(one.name): measures.loss(one, memory, real) for one in analysis.objectives},
    }


def sights_of(analysis: Analysis, images: dict[str, Tensor]) -> dict[str, dict[str, np.ndarray]]:
    """First-layer styles and embeddings of images of one class, by measure and name, as the first network sees them."""
    network, label = analysis.new_network(analysis.seeds("measures")[0]), torch.zeros(1, dtype=torch.int64)
    device, chunk = analysis.device, analysis.training.chunk
    seen = {
        name: measures.see(network, own[None].to(device), [], label.to(device), chunk) for name, own in images.items()
    }
    return {
        STYLE_GAP: {name: own.style[0].cpu().numpy() for name, own in seen.items()},
        DIVERSITY: {name: own.embedding[0].cpu().numpy() for name, own in seen.items()},
    }


def _drifted(analysis: Analysis, base: Subject, target: Subject, ratio: float) -> Values:
    device, labels = analysis.device, torch.arange(analysis.dataset.classes).repeat_interleave(base.images.shape[1])
    images, style = (one.images.flatten(0, 1).to(device) for one in (base, target))
    test = analysis.dataset.test.to(device)
    seeds = analysis.seeds("drift", str(base.memory.metadata.get("seed", "published")))
    text = f"{base.shown} drifts {ratio:g} to {target.shown}"
    with bar(analysis.networks * analysis.training.epochs, text) as shown:
        for number, seed in enumerate(seeds):
            network = analysis.new_network(seed)
            train(
                drift.Drifting(network, style, ratio), images, labels.to(device), analysis.training, seed, shown.update
            )
            yield number, analysis.network, drifted(ratio), accuracy(network, test, analysis.training.chunk)
