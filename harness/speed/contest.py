"""The measurements of `harness.speed`: which competitors take turns, and the run that records and reports them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import ceil

import torch

from condensers.device.chunks import chunk_of
from condensers.device.files import require_writable
from condensers.device.training import Training
from harness.core.cells import Cell, run_cells, unfinished
from harness.core.devices import name_of, resolve_device, set_precision
from harness.core.estimates import duration
from harness.core.flags import check_bounds
from harness.core.progress import bar, say
from harness.core.records import Records
from harness.core.rows import TurnRow
from harness.speed import plain
from harness.speed.competitors import AS_IT_COMES, READINGS, SHAPES, Contestant, recipes_of
from harness.speed.flags import Speed
from harness.speed.measuring import WARM_UP, alternate
from harness.speed.objectives import OBJECTIVES
from harness.speed.report import report
from harness.speed.rows import (
    ALONE,
    CONVOLUTIONS,
    CORE,
    EVALUATION,
    ONE_IMAGE,
    PLAIN,
    PLAIN_KEPT,
    SIDE_BY_SIDE,
    TOGETHER,
    Contest,
    check_turns,
    machine,
)
from search_spaces.names import unknown
from search_spaces.registry import build, default_depth, full_name

MINIBATCHES = {"cpu": 8, "cuda": 512}  # per timed step of training: enough that the start of a training does not matter
LOCKSTEP_IPC = 10
SCORING_NETWORKS = 20  # networks that score one memory


def run(config: Speed) -> None:
    """Measure what is not in the records yet, then report. Raises ValueError for whatever a user can get wrong."""
    device = resolve_device(config.device)
    wanted, records = cells(config, device), Records(config.out / "speed.csv", TurnRow)
    check_turns(records, {cell.key: cell.shown["competitors"] for cell in wanted}, config.repeats)
    left = unfinished(wanted, records)
    if config.dry_run:
        return _print_left(config, left)
    require_writable(config.out)
    say(f"{len(wanted)} measurements, {len(left)} to be made, on {name_of(device)} ({machine()})")
    run_cells(wanted, records, "measuring")
    return report(records, {cell.key for cell in wanted}, config.out)


def _print_left(config: Speed, left: Sequence[Cell]) -> None:
    for cell in left:
        say(", ".join(f"{name} {value}" for name, value in cell.shown.items()))
    turns = sum(cell.shown["competitors"] for cell in left) * (config.repeats + WARM_UP)
    say(
        f"{len(left)} measurements to be made: {duration(turns * config.seconds)}, more if a step is longer than a turn"
    )


def cells(config: Speed, device: torch.device) -> list[Cell]:
    """A cell for every contest. Raises ValueError for flags that fit nothing."""
    return [_cell(config, contest) for contest in contests(config, device)]


def _cell(config: Speed, contest: Contest) -> Cell:
    key, competitors = contest.key(config.repeats, config.seconds), contest.competitors
    shown = {"what": contest.what, "dataset": contest.dataset, "method": contest.method, "IPC": competitors[0].ipc}
    return Cell(key, shown | {"competitors": len(competitors)}, partial(_make, config, contest, key))


def _make(config: Speed, contest: Contest, key: str) -> list[TurnRow]:
    with bar(len(contest.competitors) * (config.repeats + 1), str(contest), "turns") as shown:
        repeats = alternate(contest.competitors, config.repeats, config.seconds, shown.update)
    say(f"measured {contest}")
    return contest.rows(key, repeats)


def contests(config: Speed, device: torch.device) -> list[Contest]:
    """Every measurement asked for, in the order of the flags. Raises ValueError for flags that fit nothing."""
    _check(config, device)
    made = {"condense": _condense, "train": _train, "lockstep": _lockstep, "linear": _linear}
    return [contest for what in dict.fromkeys(config.what) for contest in made[what](config, device)]


def _condense(config: Speed, device: torch.device) -> Iterator[Contest]:
    for dataset, method, ipc in _sizes(config):
        base = _contestant(config, device, dataset, method, ipc)
        core = []
        for precision in _precisions(config, device):
            own = replace(base, precision=precision)
            core.append(own)
            if ipc > 1:
                core.append(replace(own, label=ONE_IMAGE, ipc=1))
            core.append(replace(own, label=CONVOLUTIONS, kind="convolutions"))
        yield Contest("condense", dataset, method, (*_plains(base, "plain condensing", device), *core))


def _train(config: Speed, device: torch.device) -> Iterator[Contest]:
    for dataset in config.datasets:
        for ipc in config.ipc:
            base = _contestant(config, device, dataset, EVALUATION, ipc)
            minibatches = ceil(base.classes * ipc / Training.batch)
            # At least two epochs: the rate falls after half of them.
            epochs = max(2, ceil(MINIBATCHES[device.type] / minibatches))
            base = replace(base, kind="training", epochs=epochs)
            # Not bf16, which is for the real branch of condensing.
            core = [replace(base, precision=name) for name in _precisions(config, device) if name != "bf16"]
            if networks := _networks(config, device):
                core += [replace(one, label=SIDE_BY_SIDE, networks=networks) for one in core]
            yield Contest("train", dataset, EVALUATION, (*_plains(base, "plain training", device), *core))


def _lockstep(config: Speed, device: torch.device) -> Iterator[Contest]:
    ipc = LOCKSTEP_IPC if LOCKSTEP_IPC in config.ipc else config.ipc[0]
    alone = _contestant(config, device, config.datasets[0], "dm", ipc)
    both = replace(alone, label=ALONE), replace(alone, label=TOGETHER, method=READINGS)
    yield Contest("lockstep", config.datasets[0], "dm", both)


def _linear(config: Speed, device: torch.device) -> Iterator[Contest]:
    most = max(config.ipc)
    for dataset in config.datasets:
        classes = SHAPES[dataset].classes
        for method in _methods(config):
            base = _contestant(config, device, dataset, method, most)
            by_classes = [replace(base, classes=part) for part in (classes // 10, classes // 2)]
            by_ipc = [replace(base, ipc=ipc) for ipc in config.ipc]
            yield Contest("linear", dataset, method, (*by_classes, *by_ipc))


def _sizes(config: Speed) -> Iterator[tuple[str, str, int]]:
    for dataset in config.datasets:
        for method in _methods(config):
            for ipc in config.ipc:
                yield dataset, method, ipc


def _methods(config: Speed) -> list[str]:
    # By the recipe's own name, so that an alias is not measured again.
    return list(dict.fromkeys(recipes_of(method)[0].name for method in config.methods))


def _contestant(config: Speed, device: torch.device, dataset: str, method: str, ipc: int) -> Contestant:
    """The core as a contestant, at the first of the precisions."""
    shape = SHAPES[dataset]
    network = full_name(config.network or f"ConvNet-W128-D{default_depth(shape.side)}-IN-ReLU-Avg")
    return Contestant(
        label=CORE,
        kind="condensing",
        method=method,
        shape=shape,
        classes=shape.classes,
        ipc=ipc,
        network=network,
        real_batch=config.real_batch,
        chunk=config.chunk or chunk_of(device, network, shape.classes, shape.image),
        precision=_precisions(config, device)[0],
        device=str(device),
    )


def _plains(base: Contestant, kind: str, device: torch.device) -> list[Contestant]:
    """The plain loop in fp32; on CUDA also with torch's defaults, on a CPU also with `keep_freed_memory`."""
    plain_loop = replace(base, label=PLAIN, kind=kind, precision="fp32", keep_memory=False)
    if device.type == "cpu":
        return [plain_loop, replace(plain_loop, label=PLAIN_KEPT, keep_memory=True)]
    return [plain_loop, replace(plain_loop, precision=AS_IT_COMES)]


def _precisions(config: Speed, device: torch.device) -> tuple[str, ...]:
    return config.precisions or (("fp32",) if device.type == "cpu" else ("fp32", "tf32", "bf16"))


def _networks(config: Speed, device: torch.device) -> int:
    """Networks to train side by side; 0 for no such measurement."""
    return (0 if device.type == "cpu" else SCORING_NETWORKS) if config.networks is None else config.networks


def _check(config: Speed, device: torch.device) -> None:
    """Raise ValueError for what would only fail after the first measurements."""
    check_bounds(config)
    for precision in config.precisions:
        set_precision(precision, device)
    for method in config.methods:
        if recipes_of(method)[0].name not in OBJECTIVES:
            raise ValueError(f"there is no plain loop of {method}: choose {' or '.join(OBJECTIVES)}")
    for dataset in config.datasets:
        if dataset not in SHAPES:
            raise unknown("shape", dataset, SHAPES)
        _check_shape(config, dataset)


def _check_shape(config: Speed, dataset: str) -> None:
    shape = SHAPES[dataset]
    for ipc in config.ipc:
        if not 1 <= ipc <= shape.per_class:
            raise ValueError(f"{ipc} images per class asked for, but a class of {dataset} has {shape.per_class}")
    if config.network:
        build(config.network, shape.classes, shape.image)
        plain.network_of(config.network, shape.classes, shape.image)
