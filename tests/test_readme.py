"""The README's Python runs as printed."""

import re
from pathlib import Path

import pytest

from condensers import registry
from condensers.condense import Group, condense
from condensers.core.matching import Schedule

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.usefixtures("unchecked")
def test_the_library_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(BLOCKS[0], names)
    assert len(names["buffer"].buffer) == 50
    assert (tmp_path / "ours.safetensors").exists()


def test_the_new_condenser_runs_beside_dm(digits, monkeypatch):
    names = {}
    exec(BLOCKS[1], names)
    monkeypatch.setitem(registry.PLUS, "cov", ((names["COVARIANCE"],), "covariance of features"))
    recipes = [registry.condenser(name) for name in ("dm", "dm+cov")]
    schedule = Schedule(iterations=2, real_batch=8, network="ConvNet-W8-D2", augmentation=digits.augmentation)
    made = condense(recipes, digits.train, [Group((0, 1), 3)], schedule, seed=0)
    assert not made["dm"].images.equal(made["dm+cov"].images)
