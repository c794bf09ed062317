"""A plugin with a mistake is refused in one line when it is loaded, and leaves nothing registered."""

import re
import subprocess
import sys

import pytest

from condensers import registry
from condensers.core.terms import Term, mean_activation, squared
from harness.core.paths import ROOT
from harness.core.plugins import load
from search_spaces import registry as networks

# Users do not run with the tests' shape checks, which would refuse some of these mistakes first.
pytestmark = pytest.mark.usefixtures("unchecked")

IMPORTS = """
from condensers.core.pixels import Raw
from condensers.core.recipe import Recipe
from condensers.core.terms import Term, mean_activation, squared
TERM = Term(mean_activation, squared)
class Own(Raw):
    pass
"""
BAD = {
    "def f(:": "cannot import the plugin .*SyntaxError",
    "raise SystemExit(0)": "cannot import the plugin .*SystemExit",
    "x = 1": "defines none of CONDENSERS",
    "CONDENSERS = (3,)": "3 is no condenser: give a Recipe, a Selection",
    "CONDENSERS = Recipe('mine', (TERM,))": r"CONDENSERS of the plugin .* is no tuple: write CONDENSERS = \(\.\.\.,\)",
    "CONDENSERS = (Recipe('dm', (TERM,)),)": "the name 'dm' is taken",
    "CONDENSERS = (Recipe('mine', (TERM,)), Recipe('mine', (TERM, TERM)))": "the name 'mine' is taken",
    "CONDENSERS = (Recipe('mine', (TERM,), pixels=Own()),)": "unknown kind of pixels",
    "PLUS = {'mine': TERM}": "give a tuple of terms, and a text",
    "PLUS = {'mine': (TERM, 'text')}": "give a tuple of terms, and a text",
    "PLUS = {'mine': ((), 'text')}": "give a tuple of terms, and a text",
    "PLUS = {'mine': ((Term(lambda x: x.mean(1), squared),), 'text')}": "has no identity",
    "GRIDS = (3,)": "cannot be registered",
    "READINGS = (('mm', 'mine'),)": "unknown term 'mine'",
    "NETWORKS = {'Mine': 3}": "give a function of classes and shape",
    "NETWORKS = ['Mine']": "cannot be registered",
    "DATASETS = {'mine': 3}": "give a scenarios.datasets.Source",
    "SPACES = {'mine': 3}": "the search space 'mine' is 3; give a Space",
    "NETWORKS = {'ConvNet-Mine': Own}": "the network 'ConvNet-Mine' is there already, or begins like one of ConvNet",
}


@pytest.mark.parametrize("text", BAD)
def test_a_mistake_is_said_in_one_line(tmp_path, monkeypatch, text):
    monkeypatch.delitem(sys.modules, "with_a_mistake", raising=False)
    path = tmp_path / "with_a_mistake.py"
    path.write_text(IMPORTS + text)
    with pytest.raises(ValueError, match=BAD[text]):
        load([str(path)])
    assert "mine" not in [*registry.CONDENSERS, *registry.PLUS]


@pytest.mark.parametrize("name", ["random", "torch", "condensers", "mailbox"])
def test_a_file_does_not_take_the_place_of_another_module(tmp_path, name):
    path = tmp_path / f"{name}.py"
    path.write_text(IMPORTS + "CONDENSERS = ()")
    with pytest.raises(ValueError, match=f"there is another module '{name}'"):
        load([str(path)])


def test_a_network_that_lacks_what_networks_need_is_refused(monkeypatch):
    monkeypatch.setattr(networks, "ADDED", {"Mine": lambda classes, shape: networks.nn.Flatten()})
    with pytest.raises(ValueError, match="the network Mine has no features, embedding_size, TAPS, classifier"):
        networks.build("Mine", 10, (1, 8, 8))


def test_the_identity_of_a_network_holds_the_plugin_that_names_it(tmp_path, monkeypatch):
    """Of a partial too, whose own module is functools."""
    text = "from functools import partial\ndef small(classes, shape, width): ..."
    text += "\nNETWORKS = {NAME: partial(small, width=4)}"
    found = {}
    for name, own in {"one": text, "same": text, "wider": text.replace("width=4", "width=64")}.items():
        monkeypatch.setattr(networks, "ADDED", {})
        path = tmp_path / f"network_{name}.py"
        path.write_text(own.replace("NAME", "'Partial'"))
        load([str(path)])
        found[name] = networks.identity_of("Partial")
        monkeypatch.delitem(sys.modules, path.stem)
    assert found["one"] == found["same"] != found["wider"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "return x.mean(1, 2, 3)",
            r"error: \S+mistaken.py, line 7: TypeError: .*\(with HARNESS_TRACEBACK=1",
        ),
        (
            "return x.sum()",
            r"error: the statistic mistaken:seen\S+ makes \[\] of activations .* give a tensor whose first",
        ),
    ],
)
def test_a_mistake_in_a_term_is_one_line_that_names_it(tmp_path, body, message):
    text = IMPORTS.replace("class Own(Raw):\n    pass\n", "") + f"def seen(x):\n    {body}\n"
    path = tmp_path / "mistaken.py"
    path.write_text(text + "CONDENSERS = (Recipe('mistaken', (Term(seen, squared),)),)\n")
    flags = f"--plugin {path} --condensers mistaken --ipc 1 --iterations 1 --out {tmp_path}".split()
    command = [sys.executable, "-m", "harness.condense", *flags]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search(message, done.stderr.splitlines()[-1])
    assert "Traceback" not in done.stderr


def test_a_network_of_other_arguments_is_one_line(monkeypatch):
    monkeypatch.setattr(networks, "ADDED", {"Swap": lambda shape: shape})
    with pytest.raises(ValueError, match=r"^the network Swap of a plugin is not built from \(classes, shape\)"):
        networks.build("Swap", 10, (1, 8, 8))


def test_a_weight_is_a_number():
    with pytest.raises(ValueError, match=r"^weight is 'big': give a number"):
        Term(mean_activation, squared, weight="big")
