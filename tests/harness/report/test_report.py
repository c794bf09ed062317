"""The page: drawn from committed results and from rows made here, with no number that is in no CSV."""

import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean

import pandas as pd
import pytest

from condensers import registry
from harness.continual.__main__ import main as continual
from harness.continual.flags import Continual
from harness.evidence.sources import read_folders
from harness.report.__main__ import main
from harness.report.content import cell, heads, shown
from harness.report.flags import Report
from harness.table.__main__ import main as table
from harness.table.flags import Table

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "results"
MOST = 5_000_000  # bytes
SMALL = {"network": ("ConvNet-W4-D1",), "iterations": (2,), "real_batch": 8, "epochs": 3}
WITHIN = ("th", "td", "figcaption", "p", "li", "summary", "h1", "h2", "h3", "span", "a")


class Page(HTMLParser):
    """What a page says and asks for: texts that are not quoted, addresses, ids, images, charts and their labels."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts, self.addresses, self.ids, self.links = [], [], [], []
        self.alts, self.labels, self.specs = [], [], []
        self._open: list[tuple[str, bool]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        own = dict(attrs)
        self.addresses += [own[name] for name in ("src", "data", "poster", "action") if own.get(name)]
        if tag == "link":
            self.addresses.append(own["href"])
        if tag == "a":
            self.links.append(own["href"])
        if tag == "img":
            self.alts.append(own.get("alt"))
        if "id" in own:
            self.ids.append(own["id"])
        if "chart" in (own.get("class") or "").split():
            self.labels.append(own["aria-label"])
        if tag not in ("img", "meta", "link", "br", "input"):
            quoted = tag in ("style", "script", "code", "pre") or "data-quoted" in own
            self._open.append((own.get("type") or tag, quoted))

    def handle_endtag(self, tag):
        self._open.pop()

    def handle_data(self, data):
        if self._open and self._open[-1][0] == "application/json":
            self.specs.append(json.loads(data))
        elif not any(quoted for _, quoted in self._open):
            self.texts.append(data)


def draw(out: Path, *folders: Path, **more) -> tuple[Page, pd.DataFrame, str]:
    main(Report(folders=folders, out=out, data_root=out / "no data", **more))
    text = (out / "index.html").read_text()
    return Page(text), pd.read_csv(out / "numbers.csv", keep_default_na=False), text


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """The page of the committed results."""
    return draw(tmp_path_factory.mktemp("report"), RESULTS)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders with what two commands make of digits in seconds, and a survey that took minutes."""
    out = tmp_path_factory.mktemp("made")
    table(Table(condensers=("random", "dm", "m3d"), ipc=(2,), memories=2, networks=2, out=out / "table", **SMALL))
    stream = {"condensers": ("random", "dm"), "orders": 2, "networks": 1, "memory_per_class": 2}
    continual(Continual(**stream, out=out / "stream", **SMALL | {"network": "ConvNet-W4-D1", "iterations": 2}))
    shutil.copytree(RESULTS / "nas" / "digits-recipes", out / "nas")
    return out


@pytest.fixture(scope="module")
def fresh(made, tmp_path_factory):
    return draw(tmp_path_factory.mktemp("fresh"), made)


@pytest.fixture(params=["committed", "fresh"])
def page(request):
    return request.getfixturevalue(request.param)


def numbers_in(texts: list[str]) -> set[str]:
    return set(re.findall(r"(?<![\w.])-?\d(?:[\d,]*\d)?(?:\.\d+)?(?:e-?\d+)?(?![\w])", " ".join(texts)))


def test_every_number_on_the_page_is_in_a_csv(page):
    found, numbers, _ = page
    pairs = zip(numbers["column"], numbers["value"], strict=True)
    written = {spelling for column, value in pairs for spelling in said(column, value)}
    assert len(written) > 50
    assert numbers_in(found.texts) - written - {"95"} == set()  # 95 % is what intervals are of
    decimals = {number for number in numbers_in(found.labels) if "." in number}
    assert decimals - written == set()


def said(column: str, value: str) -> list[str]:
    """How the page may write a value: as a whole number, or with the digits of its column."""
    try:
        number = float(value)
    except ValueError:
        return [value]
    return [shown(number, column), *([shown(int(number), column)] if number.is_integer() else [])]


def test_every_value_that_is_drawn_is_in_a_csv(page):
    found, numbers, _ = page
    written = set(pd.to_numeric(numbers["value"], errors="coerce").dropna())
    names = {"mean", "low", "high", "flop", "on_proxy", "on_whole"}
    assert found.specs
    drawn = [row for spec in found.specs for row in values_of(spec)]
    assert {row[name] for row in drawn for name in names & set(row) if row[name] is not None} <= written


def values_of(spec: object) -> list[dict]:
    if isinstance(spec, dict):
        own = spec.get("values", [])
        own = own if own and isinstance(own[0], dict) else []
        return own + [row for part in spec.values() for row in values_of(part)]
    return [row for part in spec for row in values_of(part)] if isinstance(spec, list) else []


def test_numbers_are_those_of_the_rows(committed):
    _, numbers, _ = committed
    rows = pd.read_csv(RESULTS / "tables/digits-quick/table.csv")
    own = numbers[numbers["rows"].str.endswith("digits-quick/table.csv") & (numbers["column"] == "accuracy (%)")]
    assert sorted(set(map(float, own["value"]))) == pytest.approx(sorted(set(100 * rows["accuracy"])))
    rows = pd.read_csv(RESULTS / "study/cifar10-test/results.csv")
    means = rows.groupby(["condenser", "memory_replicate"])["value"].agg(fmean).groupby("condenser").mean()
    own = numbers[numbers["rows"].str.endswith("cifar10-test/results.csv")]
    found = own[own["figure"].str.startswith("accuracy")].pivot(index="line", columns="column", values="value")
    assert dict(zip(found["condenser"], map(float, found["accuracy (%)"]), strict=True)) == pytest.approx(
        dict(100 * means)
    )
    differences = own[own["figure"].str.startswith("difference")].pivot(index="line", columns="column", values="value")
    expected = 100 * (means - means["dm"]).drop("dm")
    assert dict(zip(differences["condenser"], map(float, differences["difference (points)"]), strict=True)) == (
        pytest.approx(dict(expected))
    )


def test_the_page_asks_for_nothing_and_is_small(page):
    found, _, text = page
    assert len(text.encode()) < MOST
    assert all(address.startswith("data:image/png;base64,") for address in found.addresses)
    assert "default-src 'none'" in text
    assert not re.search(r"@import|url\(", text.partition("</style>")[0])


def test_links_lead_somewhere_and_ids_are_there_once(page):
    found, _, _ = page
    assert len(found.ids) == len(set(found.ids))
    assert {link.removeprefix("#") for link in found.links} - {*found.ids} == set()


def test_every_figure_names_rows_command_and_what_it_shows(committed):
    found, _, text = committed
    figures = re.findall(r"<figure id=.*?</figure>", text, re.DOTALL)
    assert len(figures) > 50
    for figure in figures:
        assert re.search(r"Rows: <code>\S+\.csv</code>", figure)
        assert "<summary>Command</summary>" in figure or "published.csv" in figure
        assert "<summary>Numbers</summary>" in figure or "<table" in figure
    assert len(found.labels) == len(found.specs) > 20
    assert all(len(label) > 40 for label in found.labels)
    assert None not in found.alts


def test_commands_are_those_of_the_readme(committed):
    *_, text = committed
    asked = "python -m harness.continual --protocol quick --dataset cifar100 --steps 5 --orders 3"
    assert f"{asked} \\\n  --condensers random herding dm ours blockwise --store uint8" in text
    read = {str(source.path.relative_to(RESULTS)): source.making for source in read_folders([RESULTS]).sources}
    assert "--subset 405" in read["nas/whole_digits.csv"].command
    assert "--subset 30 " in read["nas/whole_cifar10.csv"].command
    assert read["study/lead-sizes/results.csv"].about.startswith("a readout from every block")


def test_all_that_is_committed_is_read(committed):
    found = read_folders([RESULTS])
    assert found.problems == []
    assert {source.path for source in found.sources} == {*RESULTS.rglob("*.csv")} - {*(RESULTS / "report").rglob("*")}
    assert "Not on this page" not in committed[2]


def test_every_method_is_there_with_its_paper_and_equation(committed):
    found, _, text = committed
    names = set(re.findall(r"<dt><code>(.*?)</code></dt>", text))
    assert names == {*registry.CONDENSERS, *(f"+{name}" for name in registry.PLUS)}
    assert "min_S  sum over classes of || mean f(A(T_c)) - mean f(A(S_c)) ||^2," in text
    assert {"method-dm", "method-ddm", "method-readouts"} <= set(found.ids)
    for made in registry.CONDENSERS.values():
        assert made.paper.replace("'", "&#39;") in text


def test_images_of_digits_have_real_ones_below(fresh):
    found, _, text = fresh
    assert "random: the start" in text
    assert "dm: 0" in found.alts
    assert "the real image of 0 nearest to that of dm" in found.alts


def test_a_number_stands_with_its_own_interval():
    row = {"proxy": "dm", "Spearman": 0.5, "low": -1.0, "high": 0.75, "regret (points)": 2.0, "low (s)": 1.0}
    assert heads(pd.DataFrame([row])) == ["proxy", "Spearman", "regret (points)"]
    assert [cell(row, column) for column in ("Spearman", "regret (points)")] == ["0.50 [-1.00, 0.75]", "2.0"]
    row = {"final accuracy (%)": 50.0, "final accuracy low (%)": 49.0, "final accuracy high (%)": 51.0, "memories": 3}
    assert [cell(row, column) for column in row] == ["50.0 [49.0, 51.0]", "49.0", "51.0", "3"]


def test_tables_that_hold_published_numbers_against_measured_ones_come_first(committed):
    _, numbers, _ = committed
    first, second, *_ = dict.fromkeys(name for name in numbers["figure"] if name.startswith("table-"))
    assert "tables-cifar10-ipc1-bench-" in first
    assert "tables-cifar10-bench-" in second


def test_leagues_are_never_in_one_table(fresh):
    _, numbers, _ = fresh
    tables = numbers[numbers["figure"].str.startswith("table-") & (numbers["column"] == "condenser")]
    assert tables.groupby("figure", sort=False)["value"].agg(set).tolist() == [{"random", "dm"}, {"m3d"}]


def test_a_plugin_appears_by_itself(made, tmp_path):
    (tmp_path / "mine.py").write_text(
        '"""Mine: a method of tests.\n\n    L = || a - b ||\n\nNothing departs."""\n'
        "from condensers.core.recipe import Recipe\nfrom condensers.methods.dm import MEAN_MATCH\n"
        'CONDENSERS = (Recipe("mine-of-tests", (MEAN_MATCH,), description="tried", paper="Me, 2026"),)\n'
    )
    command = [sys.executable, "-m", "harness.report", str(made / "table"), "--out", "page", "--plugin", "mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "page" / "index.html").read_text()
    assert '<pre class="equation" tabindex="0">L = || a - b ||</pre>' in text
    assert "Me, 2026" in text


def test_what_is_empty_or_broken_is_a_line(made, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    broken = tmp_path / "broken"
    shutil.copytree(made, broken)
    cut = broken / "stream" / "results.csv"
    cut.write_bytes(cut.read_bytes()[:-40])
    (broken / "table" / "table.csv").write_text("dataset,condenser\ndigits,dm\n")
    (broken / "nas" / "summary.csv").write_bytes(b"\xff\0")
    (broken / "other.csv").write_text("a,b\n1,2\n")
    memory = next((broken / "table" / "memories").glob("dm-*.safetensors"))
    memory.write_bytes(memory.read_bytes()[:100])
    for name in (b"no\xff.csv", b"\x1b[2J.csv", b"no\xff.safetensors"):
        Path(os.fsdecode(os.fsencode(broken) + b"/" + name)).write_bytes(b"")
    found, *_ = draw(tmp_path / "out", tmp_path / "nothing", broken)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out: ")]
    for words in (
        f"{tmp_path / 'nothing'} holds no rows and no memories",
        f"{cut} is damaged at line",
        f"{broken / 'table' / 'table.csv'} is damaged: it lacks the columns",
        f"{broken / 'nas' / 'summary.csv'}",
        f"{broken / 'other.csv'} has columns that no command writes",
        f"cannot read the memory {memory}",
    ):
        assert len([line for line in said if words in line]) == 1
    assert len([line for line in said if "has a name that cannot be written down: rename it" in line]) == 3
    assert len(said) == 9
    assert all(line.isprintable() for line in said)
    assert any(name.startswith("scatter-") for name in found.ids)


def test_names_in_rows_are_text_on_the_page(made, tmp_path):
    folder = tmp_path / "hostile"
    folder.mkdir()
    name = "<img src=x onerror=alert(1)></script>"
    rows = pd.read_csv(made / "table" / "results.csv")
    rows.assign(condenser=name).to_csv(folder / "results.csv", index=False, lineterminator="\n")
    found, _, text = draw(tmp_path / "out", folder)
    assert name not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert name in {row["name"] for spec in found.specs for row in values_of(spec) if "name" in row}


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="there is no folder") as caught:
        main(Report(folders=(tmp_path / "nowhere",), out=tmp_path / "out"))
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_of_a_data_set_and_size_the_draw_of_most_memories_is_shown(made, tmp_path):
    folder = tmp_path / "in" / "memories"
    shutil.copytree(made / "table" / "memories", folder)
    next(folder.glob("dm-*-replicate0-*.safetensors")).unlink()
    _, _, text = draw(tmp_path / "out", folder.parent)
    (gallery,) = re.findall(r'<figure class="gallery">.*?</figure>', text, re.DOTALL)
    assert sorted(re.findall(r"(\w+)-digits-ipc2-(\w+)-", gallery)) == [
        (name, "replicate1") for name in ("dm", "m3d", "random")
    ]


def test_memories_of_several_lengths_say_theirs_and_stand_in_their_order(tmp_path):
    lengths = SMALL | {"iterations": (3, 11), "networks": 1, "memories": 1}
    table(Table(dataset=("digits",), ipc=(1,), condensers=("dm", "random"), out=tmp_path / "in", **lengths))
    _, _, text = draw(tmp_path / "out", tmp_path / "in")
    (gallery,) = re.findall(r'<figure class="gallery">.*?</figure>', text, re.DOTALL)
    found = [gallery.index(heading) for heading in ("random: the start", "dm, 3 iterations", "dm, 11 iterations")]
    assert found == sorted(found)
