"""What a continual experiment reports from its rows: forgetting, a figure, differences, and a table on the terminal."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from condensers import registry
from harness.core.checks import check_cells, damage
from harness.core.progress import say
from harness.core.protocols import WHOLE, marked
from harness.core.records import Records
from harness.core.schema import ScoreRow
from harness.core.seeds import config_key
from harness.evidence.curves import continual_curve, title_of
from harness.evidence.differences import FILE, MEASURED, OTHER, differences, write
from harness.evidence.intervals import MEMORY, NO_MEMORY, format_table, interval, league_of_rows, summary
from scenarios.strategies import forgetting

AVERAGE = "average_incremental_accuracy"
HISTORY = frozenset({"forgetting", AVERAGE})
PAIRED = ("accuracy", *sorted(HISTORY))  # metrics in differences.csv
ABOUT = ["dataset", "steps", "protocol", "metric", "step", "classes_seen"]  # lines are compared if these are equal

if TYPE_CHECKING:
    import pandas as pd

    from harness.continual.experiment import Experiment


def add_history(records: Records[ScoreRow], cells: Sequence[str]) -> None:
    """Add the metrics that need all steps of one memory, as a further cell: forgetting, and mean accuracy over steps.

    Args:
        records: where the score cells are.
        cells: their keys, in the order of the steps.
    """
    key = config_key({"history": list(cells)})
    if key in records.finished():
        return
    frame = records.read()
    own = frame[frame["cell"].isin(cells)]
    check(own, own["network_replicate"].nunique(), records.path)
    rows = records.rows(cells)
    replicates = sorted({row.network_replicate for row in rows})
    records.append([row for replicate in replicates for row in _history(rows, replicate, key)])


def _history(rows: Sequence[ScoreRow], replicate: int, key: str) -> list[ScoreRow]:
    """Rows of one network replicate at the last step."""
    own = sorted((row for row in rows if row.network_replicate == replicate), key=lambda row: row.step)
    values = {
        "forgetting": forgetting(_accuracies(own)),
        AVERAGE: np.mean([row.value for row in own if row.metric == "accuracy"]),
    }
    last = replace(own[-1], cell=key, seconds=0.0)
    return [replace(last, metric=metric, value=value) for metric, value in values.items()]


def _accuracies(network: Sequence[ScoreRow]) -> list[list[float]]:
    """Accuracy on the classes of each step (second index) after each step (first index)."""
    by_step = {(row.step, row.metric): row.value for row in network}
    steps = range(1, network[-1].step + 1)
    return [[by_step[now, f"accuracy_on_step_{then}"] for then in range(1, now + 1)] for now in steps]


def check(frame: "pd.DataFrame", networks: int, where: object) -> None:
    """Raise ValueError unless every cell, of a step or of a history, has all its rows.

    Args:
        frame: score rows, of whole cells.
        networks: how many were trained in each cell.
        where: the file, for the message.
    """
    check_cells(frame, networks, (), where)
    for cell, own in frame.groupby("cell"):
        found, wanted = set(own["metric"]), _metrics(own["metric"], own["step"].iloc[0])
        if found != wanted:
            odd = min(found ^ wanted)
            raise damage(where, cell, f"{'lacks' if odd in wanted else 'holds'} the metric {odd!a}")


def _metrics(found: Collection[str], step: int) -> set[str]:
    """The metrics that a cell must hold, given those found: of a history (`add_history`), or of a step."""
    history = not HISTORY.isdisjoint(found)
    steps = [f"accuracy_on_step_{number}" for number in range(1, step + 1)]
    ours = HISTORY if history else {"accuracy", *steps}
    # Older rows hold most metrics twice, once as Avalanche measured them.
    theirs = {f"avalanche_{name}" for name in ours - {AVERAGE}}
    return {*ours, *(set() if theirs.isdisjoint(found) else theirs)}


def report(experiment: "Experiment", configs: set[str]) -> None:
    """Write the figure and the differences, and print the table, of the experiment's own rows.

    Args:
        experiment: what was run.
        configs: values of the `config` column that belong to it; the file may hold others.
    """
    how, frame = settings(experiment), experiment.records.read()
    frame = frame[frame["config"].isin(configs) & (frame["class_order"] < experiment.orders)]
    # All these rows were trained alike (same config), but older ones end in a bare `+` and newer ones say more behind
    # it. Cut to one label; `how` gives the details.
    frame = frame.assign(protocol=marked(experiment.protocol))
    check(frame, experiment.networks, experiment.records.path)
    bound, compared = frame[frame["condenser"] == WHOLE], frame[frame["condenser"] != WHOLE]
    if len(compared):
        about = f"{title_of(compared)}, protocol {compared['protocol'].iloc[0]}"
        say(f"{about}\n{format_table(summary(compared))}\n{how}")
        continual_curve(compared, experiment.out / "accuracy.png", how)
    if len(bound):
        final = bound[(bound["step"] == experiment.steps) & (bound["metric"] == "accuracy")]
        say(f"all real data, {experiment.whole.epochs} epochs: {interval(final)}")
    if experiment.files and experiment.orders > 1:
        say("memory files serve every order alike: intervals are over class orders, not over memories")
    say(f"rows: {experiment.records.path}  figure: {experiment.out / 'accuracy.png'}")
    if every_two := write(experiment.out / FILE, _differences(compared.assign(protocol=experiment.protocol))):
        say(every_two)


def _differences(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Paired differences between every two lines of an experiment, for each metric and step.

    Lines are compared within their league; a strategy without a memory is compared in every league.
    """
    import pandas as pd

    leagues = frame["condenser"].map({name: league_of_rows(own) for name, own in frame.groupby("condenser")})
    rows = []
    for league in sorted(set(leagues) - {NO_MEMORY}, reverse=True):
        compared = frame[frame["metric"].isin(PAIRED) & leagues.isin([league, NO_MEMORY])]
        for about, own in compared.groupby(ABOUT, sort=False):
            values = [({"condenser": name}, one.set_index(MEMORY)["value"]) for name, one in own.groupby("condenser")]
            rows += [dict(zip(ABOUT, about, strict=True)) | {"league": league} | row for row in differences(values)]
    found = pd.DataFrame(rows, columns=[*ABOUT, "league", "condenser", f"{OTHER}condenser", *MEASURED])
    return found.rename(columns={"classes_seen": "classes seen"})


def settings(experiment: "Experiment") -> str:
    """How networks are trained and memories condensed, in one line: in rows this is only part of a hash."""
    made = _condensed(experiment, [name for name in experiment.names if name != WHOLE])
    return "; ".join(filter(None, (trained(experiment), made)))


def trained(experiment: "Experiment") -> str:
    """Which networks are trained, and how long."""
    from harness.continual.experiment import GDUMB, RETRAIN

    anew = {RETRAIN, GDUMB} & set(experiment.strategies)
    epochs = {"on a memory": experiment.training.epochs} if anew else {}
    if len(anew) < len(experiment.strategies):
        epochs["on each step's images"] = experiment.whole.epochs
    said = " and ".join(f"{number} epochs {what}" for what, number in epochs.items())
    return f"{experiment.network}, {said}{', augmented' if experiment.augment else ''}"


def _condensed(experiment: "Experiment", names: Sequence[str]) -> str:
    """How the condensers that make pixels were run; empty if all of them pick real images."""
    making = [one for one in map(registry.condenser, names) if one.makes_pixels]
    base, sizes = experiment.schedule, {group.ipc for group in experiment.groups(0)}
    schedules = [one.schedule(base, ipc) for one in making for ipc in sizes]
    if not schedules:
        return ""
    iterations = _span([one.iterations for one in schedules])
    images = _span([one.real_batch for one in schedules])
    return f"condensed on {base.network}, {iterations} iterations, {images} real images per class"


def _span(numbers: Collection[int]) -> str:
    least, most = min(numbers), max(numbers)
    return f"{least}" if least == most else f"{least} to {most}"
