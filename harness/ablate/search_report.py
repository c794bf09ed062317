"""What a search has found: trials.csv, the best trials, and how to check the one that won."""

import pandas as pd

from harness.ablate.search import Search
from harness.ablate.trials import OBJECTIVE, Trial, best
from harness.core.estimates import Part, print_estimate
from harness.core.progress import say
from harness.core.records import write_csv
from harness.core.work import NONE, Work
from search_spaces.forward import forward_pass

SHOWN = 5  # trials on the terminal


def report(search: Search) -> None:
    """Print the best trials and the one that won, and write trials.csv."""
    trials = list(search.finished().values())
    path, won = search.out / "trials.csv", best(trials)
    frame = pd.DataFrame([_line(trial, trial is won) for trial in trials])
    write_csv(path, frame)
    counts = ", ".join(f"{count} {status}" for status, count in frame["status"].value_counts().items())
    say(f"{len(trials)} trials by {OBJECTIVE}: {counts}")
    if won:
        say(f"{_shown(frame)}\n")
        _say_winner(search, won)
    else:
        say("no trial was condensed to the end with finite pixels: start from smaller weights")
    say(f"rows: {search.records.path}   trials: {path}   memories: {search.plan_of(()).folder}")


def print_left(search: Search) -> None:
    """Print the most work that is left, for `--dry-run`: it will be less, because trials are pruned."""
    left = max(0, search.trials - len(search.finished()))
    say(f"trials     {left} to condense, {search.batch} in lockstep, none of them pruned")
    say(f"rungs      {' '.join(map(str, search.rungs))} of {search.iterations} iterations")
    scoring = search.point.scoring
    names = sorted({search.point.condensed_on, scoring.network})
    work = sum((_work(search, min(search.batch, left - first)) for first in range(0, left, search.batch)), NONE)
    print_estimate([Part(work, names, scoring.dataset, scoring.training)], scoring.device)


def _work(search: Search, trials: int) -> Work:
    """The work of a batch if none of its trials is pruned."""
    scoring, dataset = search.point.scoring, search.point.dataset
    looks = trials * (scoring.networks + len(search.rungs))
    images = search.point.ipc * dataset.classes * search.recipe.decoded
    trained = looks * scoring.training.epochs * images
    flop = forward_pass(scoring.network, dataset.classes, dataset.shape).flops
    plan = search.plan_of(search.space.names(trials))
    return plan.work() + Work.of(flop, forward=looks * len(dataset.test), trained=trained)


def _line(trial: Trial, won: bool) -> dict[str, object]:
    last = trial.rows[-1]
    return {
        "trial": trial.number,
        "condenser": trial.name,
        "status": trial.status,
        "accuracy": trial.accuracy,
        "networks": last.networks,
        "iteration": last.iteration,
        "iterations": last.iterations,
        "dataset": last.dataset,
        "validation": last.validation,
        "images per class": last.ipc_stored,
        "condensed on": last.condensed_on,
        "trained": last.network,
        "protocol": last.protocol,
        "won": won,
    }


def _shown(frame: pd.DataFrame) -> str:
    complete = frame[frame["status"] == "complete"].sort_values("accuracy", ascending=False, kind="stable")
    shown = complete.head(SHOWN)[["trial", "condenser", "accuracy"]]
    return shown.assign(accuracy=[f"{100 * value:.1f}" for value in shown["accuracy"]]).to_string(index=False)


def _say_winner(search: Search, won: Trial) -> None:
    started = search.finished()[search.start]
    reached = f"{100 * started.accuracy:.1f} %".replace("nan %", "what diverged")
    before = "" if started.name == won.name else f"; it started from {reached}, {started.name}"
    say(f"won by {OBJECTIVE}: {won.name}, {100 * won.accuracy:.1f} %{before}")
    say(
        f"it was chosen on these {search.held_out} held-out images per class, with the draws of one memory, so its "
        "accuracy flatters it; score it once on the test set, with other draws and this command's further flags:"
    )
    dataset, ipc, names = search.point.dataset.name, search.point.ipc, dict.fromkeys((started.name, won.name))
    asked = f"--dataset {dataset} --ipc {ipc} --condensers {' '.join(names)} --seed {search.seed + 1}"
    say(f"  python -m harness.table {asked}")
