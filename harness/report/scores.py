"""Scores of memories: curves over a stream of classes, and comparisons on all classes at once."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from condensers.core.leagues import NOT_SAID
from harness.core.checks import check_cells, leagues_of
from harness.core.protocols import MARK, NAIVE, WHOLE
from harness.core.rows import SubmissionRow
from harness.core.schema import ScoreRow
from harness.evidence.intervals import (
    MEMORY,
    SAME,
    Interval,
    base_of,
    interval,
    paired_difference,
    served_by_one,
    summary,
)
from harness.report import charts
from harness.report.content import Figure, Found, Section, Source, drawn, slug

REFERENCES = ("dm", "random")  # what others are compared with: the first of these that is there
APART = {"open": "open league: ", NOT_SAID: "league not said: "}
SCORE = "accuracy"
FURTHER = " #"  # between a name and a number, for a second config of that name


def streams(found: Found) -> Section:
    """Class-incremental streams: a curve, the last step and differences, for each experiment and league."""
    figures, problems = drawn(found, ScoreRow.__name__, lambda source: _streams(_checked(source)))
    intro = (
        "Classes come in steps, and networks are trained on what is remembered. Bands and brackets are 95 % intervals "
        "over memories; differences are paired by class order."
    )
    return Section("continual", "Continual learning", intro, figures, problems=problems)


def studies(found: Found) -> Section:
    """Memories of all classes: accuracies and differences, for each network, size and league."""
    tables = {source.path.parent for kind in ("table.csv", SubmissionRow.__name__) for source in found.of(kind)}

    def draw(source: Source) -> list[Figure]:
        return [] if source.path.parent in tables else list(_studies(_checked(source)))

    figures, problems = drawn(found, ScoreRow.__name__, draw)
    intro = (
        "Comparisons that settled a question: whole memories, scored by fresh networks. Lines of one name and another "
        "number differ in how their memories were made or scored; the section of the command says how."
    )
    return Section("studies", "Studies", intro, figures, problems=problems)


def _checked(source: Source) -> Source:
    """The source, if all cells of a config have the same number of networks and hold possible scores.

    Raises ValueError, in one line, if they do not.
    """
    for _, own in source.frame.groupby("config", sort=False):
        check_cells(own, own["network_replicate"].nunique(), (), source.path)
    return source


def _streams(source: Source) -> Iterator[Figure]:
    rows = _bounded(source.frame[source.frame["steps"] > 1])
    for key, own in rows.groupby(SAME, sort=False):
        for size, sized in _sizes(own):
            for league, frame in _leagues(_labelled(sized)):
                about = f"{own['dataset'].iloc[0]} in {key[SAME.index('steps')]} steps{size}"
                name = _title(source, league, about)
                one_for_all = served_by_one(frame)
                yield _over_orders(_curve(source, name, frame, key), one_for_all)
                for figure in _differences(source, name, frame, SCORE, int(frame["steps"].iloc[0]), key):
                    yield _over_orders(figure, one_for_all)
                yield _over_orders(_last_step(source, name, frame, key), one_for_all)


def _over_orders(figure: Figure, one_for_all: list[str]) -> Figure:
    """The figure, which says so if some condensers have one memory for all class orders: those are no replicates."""
    if not one_for_all:
        return figure
    said = f" One memory of {', '.join(one_for_all)} serves all class orders: intervals are over these, not memories."
    return replace(figure, note=figure.note + said)


def _bounded(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, with memory size 0 for `whole` (training on all real images).

    It is no memory, so the others need not have its size.
    """
    held = ["ipc_stored", "ipc_decoded"]
    return rows.assign(**{name: rows[name].where(rows["condenser"] != WHOLE, 0) for name in held})


def _sizes(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each memory size, with words for it if there are several; rows without a memory go with each size.

    Under a total budget the images per class shrink from step to step. Memories are of one size if they have the same
    number of images per class at every step.
    """
    held = rows[rows["ipc_stored"] > 0].groupby("config", sort=False)
    shares = {config: dict(zip(own["step"], own["ipc_stored"], strict=True)) for config, own in held}
    sizes: dict[str, list[str]] = {}
    # Configs with most steps first: an unfinished stream belongs to the size that agrees with its steps so far.
    for config, own in sorted(shares.items(), key=lambda item: -len(item[1])):
        same = next((first for first in sizes if own.items() <= shares[first].items()), config)
        sizes.setdefault(same, []).append(config)
    if len(sizes) < 2:
        return [("", rows)]
    beside = ~rows["config"].isin(shares)
    called = {first: f", {_span(shares[first])} per class" for first in sizes}
    return [(called[first], rows[beside | rows["config"].isin(own)]) for first, own in sizes.items()]


def _span(shares: dict[int, int]) -> str:
    most, least = max(shares.values()), min(shares.values())
    return f"{most}" if most == least else f"{most} down to {least}"


def _studies(source: Source) -> Iterator[Figure]:
    rows = _apart(source.frame[source.frame["steps"] == 1])
    for key, own in rows.groupby([*SAME, "ipc_stored", "metric"], sort=False):
        for league, frame in _leagues(_labelled(own)):
            first = own.iloc[0]
            name = _title(source, league, f"{first['dataset']}, {first['ipc_stored']} per class")
            yield _accuracies(source, name, frame, key)
            yield from _differences(source, name, frame, first["metric"], 1, key)


def _apart(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, with another `config` for each memory if several have the same config, class order and replicate.

    Such memories come from other code or another machine with the same seed, or from older rows, which do not say their
    class order or seed. They are not replicates, and rows do not say which of them belong together.
    """
    memories = rows.groupby(["config", "protocol", *MEMORY])["memory_checksum"].transform("nunique")
    return rows.assign(config=rows["config"].where(memories < 2, rows["config"] + rows["memory_checksum"]))


def _title(source: Source, league: str, about: str) -> str:
    return f"{APART.get(league, '')}{source.path.parent.name}: {about}"


def _leagues(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each league; what has no memory goes with the strict one."""
    found = leagues_of(rows)
    parts = ((league, rows[found == league]) for league in ("strict", "open", NOT_SAID))
    return [(league, part) for league, part in parts if len(part)]


def _labelled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, with one name for each config: `dm`, and `dm #2` for the next one of `dm` in the file."""
    makings = rows[["condenser", "config"]].drop_duplicates()
    numbers = makings.groupby("condenser").cumcount() + 1
    names = [
        name if number == 1 else f"{name}{FURTHER}{number}"
        for name, number in zip(makings["condenser"], numbers, strict=True)
    ]
    by_making = dict(zip(makings.itertuples(index=False, name=None), names, strict=True))
    return rows.assign(condenser=[by_making[key] for key in zip(rows["condenser"], rows["config"], strict=True)])


def _curve(source: Source, name: str, rows: pd.DataFrame, key: tuple) -> Figure:
    own = rows[rows["metric"] == SCORE]
    points = [
        {"condenser": who, "classes seen": int(seen), **_ends(interval(part), "accuracy (%)")}
        for (who, seen), part in own.groupby(["condenser", "classes_seen"], sort=False)
    ]
    numbers = pd.DataFrame(points)
    frame = numbers.set_axis(["line", "x", "mean", "low", "high", "n"], axis=1)
    bases = [who.partition(" (") for who in frame["line"]]
    frame = frame.assign(name=[base for base, *_ in bases], style=[rest.rstrip(")") or base for base, _, rest in bases])
    if not any(rest for *_, rest in bases):
        frame["style"] = ""
    names = list(dict.fromkeys(frame["name"]))
    alt = f"{name}: accuracy against classes seen, {len(names)} lines. " + _ranking(
        "After the last step", numbers[numbers["classes seen"] == numbers["classes seen"].max()]
    )
    return Figure(
        slug("curve", source.path.parent, name, *key),
        f"{name}: accuracy as classes come",
        f"{_about(source)}Protocol {rows['protocol'].iloc[0]}. A line without a band rests on one memory."
        + _overridden(key),
        alt,
        (source,),
        numbers,
        charts.curves(frame, alt, "classes seen", "accuracy (%)", names),
    )


def _last_step(source: Source, name: str, rows: pd.DataFrame, key: tuple) -> Figure:
    """The summary that the command prints."""
    columns = {
        "accuracy": "final accuracy (%)",
        "average_accuracy": "average over steps (%)",
        "forgetting": "forgetting (%)",
        "above_random": "above random (points)",
    }
    lines = []
    for row in summary(rows).to_dict("records"):
        line: dict[str, object] = {"condenser": row["condenser"]}
        for column, title in columns.items():
            alone = column == "above_random" and FURTHER in row["condenser"]  # as in `_references`
            if isinstance(row.get(column), Interval) and not alone:
                line |= _ends(row[column], title, counted=False, prefix=title.partition(" (")[0] + " ")
        lines.append(line | {"memories": row["memories"], "networks": row["networks"]})
    return Figure(
        slug("last", source.path.parent, name, *key),
        f"{name}: after the last step",
        "Averages are over all steps; forgetting is what was known of earlier steps and is not any more."
        + _overridden(key),
        "",
        (source,),
        pd.DataFrame(lines),
        kind="table",
    )


def _accuracies(source: Source, name: str, rows: pd.DataFrame, key: tuple) -> Figure:
    lines = [
        {"condenser": who, **_ends(interval(own), "accuracy (%)")} for who, own in rows.groupby("condenser", sort=False)
    ]
    numbers = pd.DataFrame(lines).sort_values("accuracy (%)", ascending=False)
    alt = f"{name}: " + _ranking("accuracy by condenser", numbers)
    return Figure(
        slug("accuracy", source.path.parent, name, *key),
        name,
        f"{_about(source)}Scored by {rows['metric'].iloc[0].removeprefix('accuracy of ')}, protocol "
        f"{rows['protocol'].iloc[0]}. A dot without a line rests on one memory." + _overridden(key),
        alt,
        (source,),
        numbers,
        charts.intervals(_named(numbers), alt, "accuracy (%)"),
    )


def _differences(source: Source, name: str, rows: pd.DataFrame, metric: str, step: int, key: tuple) -> Iterator[Figure]:
    """Figures of how far others are above a reference, paired by memory; a single pair of memories is left out."""
    known = list(dict.fromkeys(rows["condenser"]))
    for reference, others in _references(known):
        found = [(who, paired_difference(rows, metric, who, reference, step=step)) for who in others]
        lines = [{"condenser": who, **_ends(own, "difference (points)")} for who, own in found if own.n > 1]
        if lines:
            numbers = pd.DataFrame(lines).sort_values("difference (points)", ascending=False)
            yield _difference(source, name, reference, numbers, key)


def _difference(source: Source, name: str, reference: str, numbers: pd.DataFrame, key: tuple) -> Figure:
    further = numbers["condenser"].str.contains(FURTHER, regex=False).all()
    title = f"{name}: {'further makings ' if further else ''}above {reference}"
    alt = f"{title}, in points: " + _ranking("difference by condenser", numbers)
    return Figure(
        slug("difference", source.path.parent, name, reference, *key),
        title,
        "Paired: memories of one draw are compared with each other, so the luck of the draw is in both. An interval "
        "that holds zero does not tell the two apart." + _overridden(key),
        alt,
        (source,),
        numbers,
        charts.intervals(_named(numbers), alt, f"above {reference} (points)", reference=0.0),
    )


def _references(known: list[str]) -> list[tuple[str, list[str]]]:
    """The references, and what is compared with each, for each strategy.

    The reference is `dm`, or else `random`; under another strategy than retrain it is `random`, or else `dm`. A second
    config of a name (`dm #2`) is compared only with the first one: from others it differs in more than the condenser.
    """
    found, first = [], [name for name in known if FURTHER not in name]
    for suffix in dict.fromkeys(base_of(name)[1] for name in first):
        wanted = REFERENCES if not suffix else REFERENCES[::-1]
        for reference in [name + suffix for name in wanted if name + suffix in first][:1]:
            others = [who for who in first if who not in (reference, NAIVE) and base_of(who)[1] == suffix]
            found.append((reference, others))
    further = {name: [who for who in known if who.partition(FURTHER)[0] == name and who != name] for name in first}
    return [*found, *((name, others) for name, others in further.items() if others)]


def _ends(own: Interval, title: str, counted: bool = True, prefix: str = "") -> dict[str, object]:
    unit = title.rpartition(" ")[2]
    ends = {f"{prefix}{end} {unit}": 100 * getattr(own, end) for end in ("low", "high")}
    return {title: 100 * own.mean, **ends, **({"memories": own.n} if counted else {})}


def _named(numbers: pd.DataFrame) -> pd.DataFrame:
    return numbers.iloc[:, :4].set_axis(["name", "mean", "low", "high"], axis=1)


def _ranking(what: str, numbers: pd.DataFrame) -> str:
    """The best and the last in words, for readers who cannot see the chart."""
    column = next(name for name in numbers if name.endswith((" (%)", " (points)")))
    ranked = numbers.sort_values(column, ascending=False)
    ends = [f"{row['condenser']} {row[column]:z.1f}" for _, row in ranked.iloc[[0, -1]].iterrows()]
    return f"{what}, from {ends[0]} to {ends[1]}."


def _overridden(key: tuple) -> str:
    """What a `+` behind the protocol of a figure's rows leaves open."""
    if MARK not in key[SAME.index("protocol")]:
        return ""
    return (
        " The + says that flags overrode the protocol. Which, beside those named, rows do not say: lines of several "
        "commands may differ in them, too."
    )


def _about(source: Source) -> str:
    about = source.making.about
    return f"{about[:1].upper()}{about[1:]}. " if about else ""
