"""Every method: its paper, its equation and where it stands, derived from the registry and from tables.

A method is a module. Its docstring holds the equation; its presets are condensers, and terms that can be added to other
recipes. A new method appears as soon as it is registered.
"""

import inspect
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType

import pandas as pd

from condensers import registry
from condensers.core.recipe import Condenser
from condensers.core.terms import Term
from harness.core.listing import traits_of
from harness.core.paths import ROOT
from harness.evidence.commands import Making
from harness.evidence.published import FILE, published_of
from harness.report.content import Figure, Found, Section, Source, drawn, percent, slug
from harness.report.leagues import POINT

# What lines of one method may differ in, and the title of its column.
APART = {"iterations": "iterations", "condensed on": "condensed on", "trained": "scored on", "scored on": "images"}
LEAGUE = [*POINT, "league", "decoded per stored"]
CORE = "condensers.core."  # modules there are shared by methods, so they do not say which method it is


@dataclass(frozen=True)
class Preset:
    """A condenser of a method, or a term of it that can be added to others.

    Attributes:
        name: as it is typed.
        text: its line in lists.
        traits: what follows from how a condenser is made, its league first; empty for a term.
    """

    name: str
    text: str
    traits: tuple[str, ...] = ()


@dataclass
class Method:
    """A module of methods.

    Attributes:
        id: unique on the page, for links.
        title: the first line of its docstring.
        blocks: the rest of it, each paragraph or equation with its kind: `text`, `equation` or `verbatim`.
        papers: the papers of its presets.
        presets: condensers and terms.
        figures: its places in tables, and published numbers.
    """

    id: str
    title: str
    blocks: list[tuple[str, str]] = field(default_factory=list)
    papers: list[str] = field(default_factory=list)
    presets: list[Preset] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its title up to the colon."""
        return self.title.partition(":")[0].replace("`", "")


def section(found: Found) -> Section:
    """An article for each method, in the order of the registry."""
    methods, problems = _methods(), []
    for method in methods.values():
        names = [preset.name for preset in method.presets]
        standing, damaged = drawn(found, "table.csv", partial(_standing, method, names))
        method.figures += [*standing, *_published(method, names)]
        problems += damaged
    intro = (
        "What each method minimises, in the words of its file, and where it stands in the tables above. Leagues follow "
        "from how a method works: nobody assigns them."
    )
    return Section("methods", "Methods", intro, extra={"methods": list(methods.values())}, problems=problems)


def anchors(section: Section) -> dict[str, str]:
    """The id of the article that a preset's name leads to."""
    return {preset.name: method.id for method in section.extra.get("methods", ()) for preset in method.presets}


def article_of(name: str, anchors: dict[str, str]) -> str | None:
    """The article of a condenser as tables name it: a sum, such as `dm+ridge:30`, leads to its last term's."""
    base, *terms = re.sub(r":[^+]*", "", name).split("+")
    wanted = [f"+{term}" for term in reversed(terms)] + [registry.ALIASES.get(base, base)]
    return next((anchors[one] for one in wanted if one in anchors), None)


def _methods() -> dict[str, Method]:
    methods: dict[str, Method] = {}
    for name, made in registry.CONDENSERS.items():
        method = _of(methods, _module_of(made), name)
        method.presets.append(Preset(name, made.description, tuple(traits_of(made))))
        if made.paper and made.paper not in method.papers:
            method.papers.append(made.paper)
    for name, (terms, text) in registry.PLUS.items():
        _of(methods, _module_of_term(terms[0]), name).presets.append(
            Preset(f"+{name}", f"term that can be added to a recipe: {text}")
        )
    return methods


def _several(statistic: object) -> Sequence[object]:
    return statistic if isinstance(statistic, tuple) else (statistic,)


def _of(methods: dict[str, Method], module: ModuleType | None, name: str) -> Method:
    """The method of a module; a preset whose module is not known is a method by itself."""
    key = module.__name__ if module else name
    if key not in methods:
        title, blocks = _said(inspect.getdoc(module) or "") if module else ("", [])
        methods[key] = Method(slug("method", key.rpartition(".")[2]), title or name, blocks)
    return methods[key]


def _module_of(made: Condenser) -> ModuleType | None:
    """The module that lists a condenser, this project's or a plugin's."""
    for module in list(sys.modules.values()):
        listed = vars(module).get("CONDENSERS") if isinstance(module, ModuleType) else None
        if isinstance(listed, tuple | list) and any(one is made for one in listed):
            return module
    return None


def _module_of_term(term: Term) -> ModuleType | None:
    """The module of the condenser that a term is a part of, or else the one that its functions are written in."""
    users = (made for made in registry.CONDENSERS.values() if term in getattr(made, "terms", ()))
    if (user := next(users, None)) is not None:
        return _module_of(user)
    names = (getattr(part, "__module__", "") for part in (term.distance, *_several(term.statistic)))
    return next((sys.modules[name] for name in names if name in sys.modules and not name.startswith(CORE)), None)


def _said(docstring: str) -> tuple[str, list[tuple[str, str]]]:
    """The first line of a docstring, and its further paragraphs with their kinds."""
    title, *paragraphs = re.split(r"\n\s*\n", docstring.strip())
    return " ".join(title.split()), [_block(text) for text in paragraphs]


def _block(text: str) -> tuple[str, str]:
    lines = text.splitlines()
    if all(line.startswith("    ") for line in lines):
        return "equation", inspect.cleandoc("\n" + text)
    return ("verbatim", text) if lines[0].startswith(("|", "-", "*")) else ("text", " ".join(text.split()))


def _standing(method: Method, names: Sequence[str], source: Source) -> list[Figure]:
    anchored = dict.fromkeys(names, method.id)
    rows = source.frame.assign(
        place=source.frame.groupby(LEAGUE)["accuracy"].rank(ascending=False, method="min"),
        of=source.frame.groupby(LEAGUE)["accuracy"].transform("size"),
    )
    own = rows[[_leads_here(name, anchored) for name in rows["condenser"]]]
    return [_places(method, source, own)] if len(own) else []


def _leads_here(name: str, anchored: dict[str, str]) -> bool:
    """Whether a table's condenser is one of these presets, or a sum that ends with one of these terms."""
    terms = re.sub(r":[^+]*", "", name).split("+")
    wanted = f"+{terms[-1]}" if len(terms) > 1 else registry.ALIASES.get(name, name)
    return wanted in anchored


def _places(method: Method, source: Source, rows: pd.DataFrame) -> Figure:
    numbers = pd.DataFrame(
        {
            "condenser": rows["condenser"],
            "data set": rows["dataset"],
            "images per class": rows["images per class"].astype(int),
            "league": rows["league"],
            **{title: rows[name] for name, title in APART.items() if name in rows and rows[name].nunique() > 1},
            **percent(rows),
            "place": rows["place"].astype(int),
            "of": rows["of"].astype(int),
            "time (s)": rows["seconds"],
            "operations (FLOP)": rows["flop"],
        }
    )
    title = f"{method.name}: where it stands in {source.path.parent}"
    note = f"Places by mean accuracy within a league; intervals often overlap. Protocol {rows['protocol'].iloc[0]}."
    return Figure(slug(method.id, source.path.parent), title, note, "", (source,), numbers, kind="table")


def _published(method: Method, names: Sequence[str]) -> list[Figure]:
    lines = [line for name in names for line in published_of(name)]
    if not lines:
        return []
    numbers = pd.DataFrame(
        {
            "condenser": [line["condenser"] for line in lines],
            "data set": [line["dataset"] for line in lines],
            "images per class": [int(line["ipc"]) for line in lines],
            "condensed on": [line["trained_on"] for line in lines],
            "scored on": [line["tested_on"] for line in lines],
            "published (%)": [float(line["value"]) for line in lines],
            "deviation (%)": [float(line["deviation"] or "nan") for line in lines],
            "where": [f"{line['source']}, table {line['table']}" for line in lines],
            "comparable": ["yes" if line["comparable"] == "True" else "no" for line in lines],
        }
    )
    note = "As their papers print them, on test images. What is not comparable comes from another evaluation."
    # Relative to the project, because a page that is passed on should not show folders of this machine.
    source = Source(FILE.resolve().relative_to(ROOT), FILE.name, numbers, Making())
    return [
        Figure(
            slug(method.id, "published"),
            f"{method.name}: published numbers",
            note,
            "",
            (source,),
            numbers,
            kind="table",
        )
    ]
