"""Memory files in a stream: scored as what they were condensed to, and refused where rows would say something else."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from condensers.memory import load_memory, save_memory
from harness.continual.__main__ import main
from harness.continual.experiment import prepare
from harness.continual.flags import Continual
from harness.core.flags import COMPARED
from harness.core.records import Records
from harness.core.schema import ScoreRow

SMALL = Continual(condensers=("random", "dm"), memory_per_class=3, orders=2, networks=2, iterations=3, epochs=4)
FILES = replace(SMALL, condensers=COMPARED, iterations=None)  # without what says how to condense


def rows(out: Path):
    return Records(out / "results.csv", ScoreRow).read().sort_values(["step", "network_replicate", "metric"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A stream of one class order, and its memories."""
    out = tmp_path_factory.mktemp("continual")
    main(replace(SMALL, orders=1, out=out))
    return out


def test_memory_files_are_streamed(finished, tmp_path):
    path = next((finished / "memories").glob("dm-order0*.safetensors"))
    main(replace(FILES, memory=(path,), orders=1, out=tmp_path))
    streamed = rows(tmp_path).query("metric == 'accuracy'")["value"].tolist()
    condensed = (
        rows(finished).query("metric == 'accuracy' and condenser == 'dm' and class_order == 0")["value"].tolist()
    )
    assert streamed == condensed


def test_a_published_file_is_streamed_if_its_classes_were_condensed_by_themselves(finished, tmp_path):
    own = load_memory(next((finished / "memories").glob("dm-order0*")))
    path = tmp_path / "theirs.pt"
    torch.save({"data": [[own.images, own.labels]]}, path)
    files = replace(FILES, memory=(path,), orders=1, networks=1, out=tmp_path)
    with pytest.raises(ValueError, match=r"theirs does not say which .* may leak: .* by itself, give --separable$"):
        prepare(files)
    assert prepare(replace(files, steps=1)).steps == 1  # no later step could leak
    main(replace(files, separable=True))
    found = rows(tmp_path).query("metric == 'accuracy'")
    first = rows(finished).query("metric == 'accuracy' and condenser == 'dm' and network_replicate == 0")
    assert found["value"].tolist() == first["value"].tolist()
    assert set(found["protocol"]) == {"quick-1+epochs=4"}
    assert found["trained_on_real"].isna().all()
    main(replace(files, separable=True, trained_on_real="no", out=tmp_path / "said"))
    assert rows(tmp_path / "said")["trained_on_real"].eq(False).all()
    with pytest.raises(ValueError, match=r"^--separable is for --memory files"):
        prepare(replace(SMALL, separable=True, out=tmp_path))
    with pytest.raises(ValueError, match=r"^--mean and --std are for published"):
        prepare(replace(SMALL, mean=(0.0,), std=(1.0,), out=tmp_path))


def test_files_of_the_same_pixels_that_decode_otherwise_are_not_taken_for_each_other(finished, tmp_path):
    mosaic = load_memory(next((finished / "memories").glob("dm-order0*")))
    for folder, decoding in (("raw", None), ("mosaic", {"name": "Factor", "factor": 2, "clamp": True})):
        (tmp_path / folder).mkdir()
        save_memory(
            replace(mosaic, metadata=mosaic.metadata | {"decoding": decoding}), tmp_path / folder / "x.safetensors"
        )
        main(replace(FILES, memory=(tmp_path / folder / "x.safetensors",), orders=1, networks=1, out=tmp_path / "out"))
    found = rows(tmp_path / "out").query("metric == 'accuracy'")
    assert sorted(found["ipc_decoded"].unique()) == [3, 12]
    assert found["cell"].nunique() == 10


def test_the_upper_bound_is_the_same_whatever_memories_hold(tmp_path):
    for size in (3, 4):
        own = replace(SMALL, condensers=("random",), orders=1, networks=1, steps=2, upper_bound=True, out=tmp_path)
        main(replace(own, memory_per_class=size))
    assert rows(tmp_path).groupby("condenser")["cell"].nunique().to_dict() == {"random": 6, "whole": 3}


def test_memory_files_of_one_name_are_refused(finished, tmp_path):
    """Rows have nothing but the name to tell them apart: the second would never be trained on."""
    paths = []
    for folder, condenser in (("one", "dm"), ("other", "random")):
        paths.append(tmp_path / folder / "made.safetensors")
        paths[-1].parent.mkdir()
        paths[-1].write_bytes(next((finished / "memories").glob(f"{condenser}-order0*")).read_bytes())
    with pytest.raises(ValueError, match=r"^2 memory files are called made, and so would the rows of each be: rename"):
        prepare(replace(FILES, memory=tuple(paths), out=tmp_path))
    assert len(prepare(replace(FILES, memory=(paths[0], paths[0]), out=tmp_path)).files) == 1


def test_memory_files_that_would_pass_for_something_else_are_refused(finished, tmp_path):
    dm = next((finished / "memories").glob("dm-order0*"))
    for name in ("other", "random"):
        (tmp_path / f"{name}.safetensors").write_bytes(dm.read_bytes())
    with pytest.raises(ValueError, match=r"dm-order0\S+ and \S+other.safetensors hold the same memory: name one of"):
        prepare(replace(FILES, memory=(dm, tmp_path / "other.safetensors"), out=tmp_path))
    with pytest.raises(ValueError, match=r"random.safetensors is by dm, and random is what others are compared with"):
        prepare(replace(FILES, memory=(tmp_path / "random.safetensors",), out=tmp_path))
    own = next((finished / "memories").glob("random-order0*"))
    (tmp_path / "random.safetensors").write_bytes(own.read_bytes())
    config = replace(FILES, memory=(dm, tmp_path / "random.safetensors"), out=tmp_path)
    assert [file.name for file in prepare(config).files] == [dm.stem, "random"]
    with pytest.raises(ValueError, match=r"^--memory and --condensers exclude each other"):
        prepare(replace(config, condensers=("dm",)))


def test_what_memory_files_lack_is_said_before_any_work(finished, tmp_path):
    path = next((finished / "memories").glob("dm-order0*.safetensors"))
    with pytest.raises(ValueError, match=r"^--memory-per-class is 4; give at most 3, which dm-order0-\w+ holds$"):
        prepare(replace(FILES, memory=(path,), memory_per_class=4, out=tmp_path))
    main(replace(SMALL, condensers=("random",), memory_per_class=None, memory_size=20, orders=1, out=tmp_path))
    shrinking = next((tmp_path / "memories").glob("random-order0*.safetensors"))
    budget = replace(FILES, memory=(shrinking,), memory_per_class=None, memory_size=20, out=tmp_path)
    assert prepare(replace(budget, orders=1)).orders == 1
    with pytest.raises(ValueError, match=r"^after step 1 there would be \d to 10 images of a class, by memory"):
        prepare(replace(budget, orders=2))


def test_memory_that_couples_classes_across_steps_is_refused(tmp_path):
    main(replace(SMALL, condensers=("dm+ridge",), orders=1, steps=2, out=tmp_path))
    path = next((tmp_path / "memories").glob("*.safetensors"))
    files = replace(FILES, memory=(path,), out=tmp_path)
    advice = r"order 0 shows in different steps, and dm\+ridge couples .*\(harness.condense --steps 5 --order 0\)$"
    with pytest.raises(ValueError, match=advice):
        prepare(replace(files, steps=5))
    assert prepare(replace(files, orders=1, steps=2)).orders == 1
    advice = r"class order 1 shows .*\(harness.condense --steps 2 --order 1\), or give --orders 1$"
    with pytest.raises(ValueError, match=advice):
        prepare(replace(files, orders=2, steps=2))


def test_flags_that_say_how_to_condense_are_refused_beside_files_and_would_mark_the_protocol(finished, tmp_path):
    (path,) = (finished / "memories").glob("dm-order0*.safetensors")
    files = replace(FILES, memory=(path,), memory_per_class=None, epochs=None, out=tmp_path)
    for changed in ({"iterations": 7}, {"real_batch": 3}, {"store": "uint8"}):
        with pytest.raises(ValueError, match=r"^--[a-z-]+ is for condensing, and --memory files are condensed already"):
            prepare(replace(files, **changed))
    with pytest.raises(ValueError, match=r"^--precision bf16 is for the real images of condensing"):
        prepare(replace(files, precision="bf16"))
    assert prepare(files).protocol == "quick-1"
