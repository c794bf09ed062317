"""What a survey will cost, before it starts: counted work, and time measured on a little of it."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import nnls
from tqdm import tqdm

from condensers.device.training import train
from harness.core.progress import say
from harness.nas import tables
from harness.nas.candidates import cells, memory_plans, new_network, proxies
from harness.nas.survey import Survey
from search_spaces.spaces import Architecture

FLOPS = 6  # of training per multiplication: it and an addition, forward and twice back
SAMPLED = 6  # architectures; the order of a survey is stratified from its beginning

# An architecture that is to be trained, and how many images go through it.
Work = tuple[Architecture, int]


def print_plan(survey: Survey) -> None:
    """Print memories, networks, images, FLOPs, and the expected time of training on the survey's device."""
    missing = [name for plan in memory_plans(survey) for name in plan.missing()]
    work = unfinished(survey) + _on_missing(survey, len(missing))
    flops = sum(FLOPS * _macs(survey, architecture) * images for architecture, images in work)
    say(f"memories   {len(missing)} to condense {' '.join(missing)}".rstrip())
    say(f"networks   {len(work)} to train")
    say(f"images     {sum(images for _, images in work):,} forward and back")
    say(f"work       {flops:.3g} FLOP")
    if work:
        seconds = tqdm.format_interval(_seconds(survey, work))
        say(f"time       about {seconds} on {survey.device}, condensing and tests not counted")


def unfinished(survey: Survey) -> list[Work]:
    """What is in no table yet, of the whole set and of the memories that are there."""
    known = (survey.records, survey.table, tables.published(survey.dataset.identity))
    finished = set().union(*(records.finished() for records in known))
    left = [cell for cell in cells(survey, proxies(survey)) if cell.key not in finished]
    return [(cell.architecture, cell.proxy.training.epochs * cell.proxy.images) for cell in left]


def _on_missing(survey: Survey, memories: int) -> list[Work]:
    images = survey.training.epochs * survey.ipc * survey.dataset.classes
    return [(architecture, images) for architecture in survey.architectures] * memories * survey.replicates


def _macs(survey: Survey, architecture: Architecture) -> int:
    return architecture.macs(survey.dataset.shape, survey.dataset.classes)


def _seconds(survey: Survey, work: Sequence[Work]) -> float:
    """A time per image and one per multiplication, fitted to a step of each of the first architectures."""
    sample = survey.architectures[:SAMPLED]
    costs = np.array([(1.0, _macs(survey, architecture)) for architecture in sample])
    fitted, _ = nnls(costs, np.array([_seconds_per_image(survey, architecture) for architecture in sample]))
    return float(sum(images * fitted @ (1.0, _macs(survey, architecture)) for architecture, images in work))


def _seconds_per_image(survey: Survey, architecture: Architecture) -> float:
    """Of one step, after another that warms up."""
    network, size = new_network(survey, architecture, seed=0), min(survey.whole.chunk, survey.whole.batch)
    images = torch.randn(size, *survey.dataset.shape, device=survey.device)
    labels = torch.zeros(size, dtype=torch.long, device=survey.device)
    for _ in range(2):
        started = time.perf_counter()
        train(network, images, labels, replace(survey.whole, epochs=1), seed=0)
        next(network.parameters()).sum().item()  # waits for the device
    return (time.perf_counter() - started) / size
