"""The README and the pages in docs/: their Python runs as printed, their commands parse, their links lead somewhere,
and their numbers are measured.
"""

import importlib
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core.parsing import parse

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def run(*arguments: str, cwd: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "covariance.py"
    block, network = blocks("docs/methods.md", "python")
    path.write_text(block)
    (path.parent / "small.py").write_text(network)
    assert len(block.splitlines()) <= 40
    return path


def test_the_library_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for page in ("docs/condensing.md", "docs/continual.md"):  # the second one reads what the first one has made
        for block in blocks(page, "python"):
            exec(block, names)
    assert len(names["buffer"].buffer) == 50
    assert (tmp_path / "ours.safetensors").exists()
    assert names["from_condensed"] > 0.9
    assert names["with_replay"] > 0.85


def test_all_python_is_run():
    assert {page.name for page in PAGES if "```python" in page.read_text()} == {
        *("condensing.md", "continual.md", "methods.md")
    }


def command_lines() -> list[tuple[str, str]]:
    """The page and the words of each command of ours, in a block or in a table."""
    found = []
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        shells = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
        lines = re.findall(r"python -m (harness\.\w+[^#\n]*)", shells) + re.findall(
            r"`python -m (harness\.\w+[^`]*)`", text
        )
        found += [(page.name, line.strip()) for line in lines]
    return found


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_every_command_is_one(page, line):
    name, *arguments = shlex.split(line)
    command = name.removeprefix("harness.")
    flags = getattr(importlib.import_module(f"harness.{command}.flags"), command.capitalize())
    assert parse(flags, arguments, f"python -m {name}", "") is not None


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CHANGELOG.md", *(ROOT / "results").glob("*.md")], ids=lambda page: page.name
)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https:"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads], target


def test_the_readme_fits_two_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 100


def test_what_methods_md_quotes_is_what_is_measured():
    page = ROOT / "docs" / "methods.md"
    make = runpy.run_path(str(ROOT / "docs" / "measured.py"))["page"]
    assert page.read_text() == make(page.read_text()), "run `make docs`"
    with pytest.raises(ValueError, match="no lines"):
        make("nothing generated here")


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "methods.md"], ids=lambda page: page.name)
def test_every_interval_stands_beside_its_command_in_results(page):
    """Of methods.md it is the CSV that holds the numbers, in the test above."""
    measured = " ".join((ROOT / "results" / "README.md").read_text().split())
    ends = set(re.findall(r"\[-?[\d.]+, -?[\d.]+\]", measured))
    text = " ".join(page.read_text().split())
    said = re.findall(r"\[-?[\d.]+, -?[\d.]+\]", text)
    assert [interval for interval in said if interval not in ends] == []


def test_the_contract_suite_runs_over_the_new_condenser(plugin):
    asked = ["tests/condensers/test_contract.py", "--plugin", str(plugin), "-q", "-k", "coral or cov"]
    said = run("pytest", *asked, cwd=ROOT)
    assert int(re.search(r"(\d+) passed", said)[1]) >= 16
    assert "failed" not in said


def test_a_network_of_a_plugin_is_condensed_on_and_trained(plugin, tmp_path):
    own = ["--plugin", "small.py", "--network", "Small", "--out", str(tmp_path)]
    short = "--dataset digits --condensers readout --ipc 2 --memories 1 --networks 1 --iterations 2 --epochs 2"
    assert "readout" in run("harness.table", *short.split(), *own, cwd=plugin.parent)


def test_every_command_knows_the_new_condenser(plugin, tmp_path):
    def call(command: str, flags: str, *files: str) -> str:
        own = ["--plugin", plugin.name, *flags.split()]
        return run(f"harness.{command}", *files, *own, cwd=plugin.parent)

    call("condense", f"--condensers dm coral ours+cov --ipc 2 --iterations 2 --out {tmp_path}/made")
    files = sorted(map(str, (tmp_path / "made").glob("*.safetensors")))
    assert len(files) == 3
    assert "coral" in call("evaluate", f"--epochs 2 --networks 1 --out {tmp_path}/scores", *files)
    quick = "--epochs 2 --iterations 2"
    assert "coral" in call("continual", f"--condensers coral --memory-per-class 2 {quick} --out {tmp_path}/stream")
    assert "ours+cov" in call("nas", f"--proxy ours+cov --subset 5 --ipc 2 {quick} --out {tmp_path}/nas")
    assert "covariance of features" in call("speed", "--list")
