"""A memory has one name in the rows: two of them in one command, or another one later, are told and not lost."""

import pandas as pd
import pytest
import torch

from condensers.memory import load_memory
from harness.condense.__main__ import main as condense
from harness.condense.flags import Condense
from harness.evaluate.__main__ import main
from harness.evaluate.flags import Evaluate

FLAGS = {"dataset": "digits", "network": "ConvNet-W4-D1", "networks": 1, "epochs": 1}


@pytest.fixture(scope="module")
def unmoved(tmp_path_factory):
    """Memories of two condensers whose pixels are still where they start from."""
    out = tmp_path_factory.mktemp("unmoved")
    condense(Condense(condensers=("dm", "ours"), ipc=1, iterations=0, network=FLAGS["network"], out=out))
    return sorted(out.glob("*.safetensors"))


def names(out):
    return set(pd.read_csv(out / "results.csv")["condenser"])


def test_equal_pixels_of_two_condensers_are_refused_before_any_work(unmoved, tmp_path):
    with pytest.raises(ValueError, match=r"dm-.* and .*ours-.* hold the same memory .*: leave one out") as caught:
        main(Evaluate(memories=tuple(unmoved), out=tmp_path / "out", **FLAGS))
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_pixels_that_are_in_the_rows_under_another_name_are_refused(unmoved, tmp_path):
    dm, ours = unmoved
    main(Evaluate(memories=(dm,), out=tmp_path, **FLAGS))
    with pytest.raises(ValueError, match=r"ours-.* is in .*results.csv as dm, not as ours: call the file dm again"):
        main(Evaluate(memories=(ours,), out=tmp_path, **FLAGS))
    main(Evaluate(memories=(ours,), out=tmp_path / "other", **FLAGS))
    assert (names(tmp_path), names(tmp_path / "other")) == ({"dm"}, {"ours"})


def test_a_renamed_file_is_told_and_has_its_new_name_once_its_rows_are_deleted(unmoved, tmp_path, digits):
    memory = load_memory(unmoved[0], digits.train)
    old, new = tmp_path / "old.pt", tmp_path / "new.pt"
    torch.save([memory.images, memory.labels], old)
    main(Evaluate(memories=(old,), out=tmp_path, **FLAGS))
    old.rename(new)
    with pytest.raises(ValueError, match="as old, not as new") as caught:
        main(Evaluate(memories=(new,), out=tmp_path, **FLAGS))
    cell = str(caught.value).partition("delete the rows of cell ")[2].split()[0]
    path = tmp_path / "results.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if cell not in line))
    main(Evaluate(memories=(new,), out=tmp_path, **FLAGS))
    assert names(tmp_path) == {"new"}


def test_a_copy_under_another_path_is_the_same_memory(unmoved, tmp_path):
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(unmoved[0].read_bytes())
    main(Evaluate(memories=(unmoved[0], copy), out=tmp_path, **FLAGS))
    assert len(pd.read_csv(tmp_path / "results.csv")) == 1
