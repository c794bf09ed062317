"""A folder of images through the commands: one data set, one memory and one file name, however its path is spelled."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.condense import __main__ as condense
from harness.condense.flags import Condense
from harness.continual.experiment import prepare
from harness.continual.flags import Continual
from harness.core.records import Records
from harness.core.schema import ScoreRow
from harness.evaluate import __main__ as evaluate
from harness.evaluate.flags import Evaluate


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with two classes of ten random images in `pictures`."""
    generator = np.random.default_rng(0)
    for name in ("ant", "bee"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_spellings_make_one_memory_and_one_score(here):
    spellings = [f"folder:{path}" for path in ("pictures", "./pictures/", here / "pictures")]
    flags = {"resolution": 8, "network": "ConvNet-W8-D2"}
    for name in spellings:
        condense.main(Condense(dataset=name, condensers=("random",), ipc=2, out=Path("memories"), **flags))
    (path,) = here.glob("memories/*.safetensors")
    assert path.name.startswith("random-folder-")
    assert not [name for name in here.rglob("*") if ":" in name.name]
    for name in spellings:
        evaluate.main(Evaluate(memories=(path,), dataset=name, networks=2, epochs=1, out=Path("scores"), **flags))
    rows = Records(here / "scores" / "results.csv", ScoreRow).read()
    assert rows["network_replicate"].tolist() == [0, 1]
    assert rows["dataset"].unique().tolist() == spellings[:1]


def test_output_folders_hold_no_colon_and_draws_no_path(here):
    flags = {"steps": 1, "resolution": 8, "memory_per_class": 2}
    one, other = (prepare(Continual(dataset=f"folder:{path}", **flags)) for path in ("pictures", here / "pictures"))
    assert one.out == other.out
    assert ":" not in str(one.out)
    assert one.memory_seed(0) == other.memory_seed(0)
