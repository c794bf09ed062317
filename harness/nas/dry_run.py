"""What `--dry-run` prints: what is left of a survey or of searches, and what that is expected to take."""

from collections.abc import Sequence
from dataclasses import replace

from condensers import registry
from harness.core.cells import unfinished
from harness.core.estimates import Part, print_estimate
from harness.core.progress import say
from harness.core.work import NONE, Work
from harness.nas import search, tables
from harness.nas.candidates import candidates, cells, memory_plans, proxies, work_of
from harness.nas.survey import Survey

SAMPLED = 6  # architectures that are timed: the first few, because the order of a survey is balanced from its beginning


def print_left(survey: Survey) -> None:
    """Print memories and networks that are in no table yet, and what they are expected to take."""
    missing, images = _missing(survey), survey.training.epochs * survey.ipc * survey.dataset.classes
    left = cells(survey, candidates(survey, proxies(survey)))
    for records in (survey.records, survey.table, tables.published(survey.dataset.identity)):
        left = unfinished(left, records)
    # A network on a memory that is not made yet has no key, so it is counted separately.
    decoded = [images * registry.condenser(name).decoded for name in missing]
    later = [work_of(survey, one, own) for own in decoded for one in survey.architectures] * survey.replicates
    say(f"networks   {len(left) + len(later)} to train")
    _print_estimate(survey, [*(cell.work for cell in left), *later])


def print_searches(survey: Survey, samplers: Sequence[str], trials: int, replicates: int) -> None:
    """Print memories to make and searches to run, and what they are expected to take at most."""
    known, missing = search.whole_accuracies(survey), _missing(survey)
    there = replace(survey, proxies=tuple(name for name in survey.proxies if name not in missing))
    every = search.cells(there, search.searches(there, samplers, trials, replicates))
    left = unfinished(every, search.records_of(survey))
    images = survey.training.epochs * survey.ipc * survey.dataset.classes
    decoded = [images * registry.condenser(name).decoded for name in missing]
    later = [search.work_of(survey, own, trials) for own in decoded] * len(set(samplers)) * replicates
    say(f"searches   {len(left) + len(later)} of {trials} trials, none of them stopped early or tried before")
    say(f"known      {len(known)} of the {len(survey.space)} whole-set accuracies that regret rests on")
    _print_estimate(survey, [*(cell.work for cell in left), *later])


def _missing(survey: Survey) -> list[str]:
    """Print and return the memories that have no file yet: a condenser's name for each missing replicate."""
    missing = [name for plan in memory_plans(survey) for name in plan.missing()]
    say(f"memories   {len(missing)} to condense {' '.join(missing)}".rstrip())
    return missing


def _print_estimate(survey: Survey, counted: Sequence[Work]) -> None:
    """The estimate for this work together with that of condensing."""
    memories = [plan.work() for plan in memory_plans(survey)]
    largest = max(survey.architectures, key=lambda one: one.activations(survey.dataset.shape))
    sample = dict.fromkeys(one.name for one in (*survey.architectures[:SAMPLED], largest))
    work = sum([*counted, *memories], NONE)
    print_estimate([Part(work, list(sample), survey.dataset, survey.training)], survey.device)
