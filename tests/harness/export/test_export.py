"""Memories as folders and files of other tools: what is written is read back, and what was lost is what is said."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from condensers.memory import Memory, load_memory, save_memory
from condensers.published import import_published
from harness.condense import __main__ as condense
from harness.condense.flags import Condense
from harness.export import __main__ as command
from harness.export.flags import Export
from harness.export.pictures import folder_names, pictures_of
from scenarios.datasets import load

NAMES = ["bird", "cat", "dog"]


@pytest.fixture
def memory():
    """Two coloured images of each of three classes; every channel has values beyond black and white."""
    images = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    metadata = {"condenser": "dm", "mean": [0.4, 0.5, 0.6], "std": [0.3, 0.2, 0.1], "class_names": NAMES}
    metadata["league"] = "strict"
    return Memory(images, torch.tensor([2, 0, 1, 1, 0, 2]), metadata)


@pytest.fixture
def saved(memory, tmp_path):
    save_memory(memory, tmp_path / "birds.safetensors")
    return tmp_path / "birds.safetensors"


def raw_of(memory):
    mean, std = (torch.tensor(memory.metadata[name]).view(-1, 1, 1) for name in ("mean", "std"))
    return memory.images * std + mean


def read_pictures(folder):
    """Levels `[n, channels, height, width]` and class folders, in order of name."""
    paths = sorted(folder.glob("*/*.png"))
    pixels = [np.array(Image.open(path)) for path in paths]
    pixels = [image[..., None] if image.ndim == 2 else image for image in pixels]
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2), [path.parent.name for path in paths]


@pytest.mark.parametrize("form", ["folder", "huggingface"])
def test_pictures_are_the_pixels_but_for_clamping_and_rounding(memory, saved, tmp_path, capsys, form):
    command.main(Export(memories=(saved,), format=form, out=tmp_path / "out"))
    inside = tmp_path / "out" / "birds" / ("data" if form == "huggingface" else "")
    levels, names = read_pictures(inside / "train")
    order = memory.labels.argsort(stable=True)
    raw = raw_of(memory)[order]
    assert names == [NAMES[label] for label in memory.labels[order]]
    assert ((levels / 255 - raw.clamp(0, 1)).abs() <= 0.5 / 255 + 1e-6).all()
    share = ((255 * raw).round() != levels).float().mean().item()
    assert 0.01 < share < 0.5
    said = capsys.readouterr().out
    assert f"{share:.1%} of the pixel values were clamped" in said
    assert f"they went from {raw.min():.2f} to {raw.max():.2f}" in said
    about = json.loads((tmp_path / "out" / "birds" / "memory.json").read_text())
    assert about["condenser"] == "dm"
    assert f"{share:.1%}" in about["exported"]
    assert about["folders"] == {str(label): name for label, name in enumerate(NAMES)}


def test_a_folder_with_test_images_is_a_data_set(tmp_path, digits, capsys):
    condense.main(Condense(condensers=("random",), ipc=3, out=tmp_path / "made"))
    (path,) = (tmp_path / "made").glob("*.safetensors")
    for form in ("folder", "huggingface"):
        command.main(Export(memories=(path,), format=form, test=True, out=tmp_path / form))
        advised = re.search(r"--dataset (folder:.*) --resolution (\d+)", capsys.readouterr().out)
        again = load(advised[1], tmp_path, int(advised[2]))
        memory = load_memory(path, digits.train)
        order = memory.labels.argsort(stable=True)
        # Real images come back to the bit, grey in each of three colours.
        assert torch.equal(again.train.images, digits.train.images[memory.indices[order]].expand(-1, 3, -1, -1))
        assert torch.equal(again.train.labels, memory.labels[order])
        held = digits.test.labels.argsort(stable=True)
        assert torch.equal(again.test.images, digits.test.images[held].expand(-1, 3, -1, -1))
        assert again.class_names == digits.class_names


def test_a_pt_file_is_the_memory_itself_with_soft_labels(memory, tmp_path):
    soft = torch.nn.functional.one_hot(memory.labels, 3) * 0.7 + 0.1
    for name, one in (("hard", memory), ("soft", replace(memory, soft_labels=soft))):
        save_memory(one, tmp_path / f"{name}.safetensors")
        command.main(Export(memories=(tmp_path / f"{name}.safetensors",), format="pt", out=tmp_path / "out"))
        again = import_published(tmp_path / "out" / f"{name}.pt")
        assert torch.equal(again.images, memory.images)
        assert torch.equal(again.targets, one.targets)


def test_mosaics_are_written_as_the_images_that_networks_see(memory, tmp_path):
    mosaic = replace(memory, metadata=memory.metadata | {"decoding": {"name": "Factor", "factor": 2, "clamp": True}})
    save_memory(mosaic, tmp_path / "x.safetensors")
    command.main(Export(memories=(tmp_path / "x.safetensors",), out=tmp_path / "out"))
    levels, names = read_pictures(tmp_path / "out" / "x" / "train")
    assert len(levels) == 24
    assert names.count("cat") == 8
    first = pictures_of(mosaic, mosaic.metadata["mean"], mosaic.metadata["std"]).levels[mosaic.decoded().labels == 0]
    assert torch.equal(levels[:8], first)


def test_a_published_set_needs_its_normalisation(memory, tmp_path):
    torch.save([memory.images, memory.labels], tmp_path / "theirs.pt")
    config = Export(memories=(tmp_path / "theirs.pt",), out=tmp_path / "out")
    with pytest.raises(ValueError, match="give --mean and --std, or --dataset"):
        command.main(config)
    for mean, std in ((0.5, 0.0), (0.5, -1.0), (float("nan"), 1.0), (0.5, float("inf"))):
        with pytest.raises(ValueError, match="--mean and --std must be finite, and --std above 0"):
            command.main(replace(config, mean=(mean,), std=(std,)))
    command.main(replace(config, mean=(0.4, 0.5, 0.6), std=(0.3, 0.2, 0.1)))
    levels, names = read_pictures(tmp_path / "out" / "theirs" / "train")
    assert set(names) == {"0", "1", "2"}
    order = memory.labels.argsort(stable=True)
    assert torch.equal(levels, (255 * raw_of(memory)[order]).round().clamp(0, 255).byte())


def test_each_set_of_a_published_file_can_be_exported(memory, saved, tmp_path):
    path = tmp_path / "five.pt"
    torch.save({"data": [[memory.images + shift, memory.labels] for shift in (0.0, 0.25)]}, path)
    config = Export(memories=(path,), out=tmp_path / "out", format="pt", set=1)
    command.main(config)
    again = import_published(tmp_path / "out" / "five.pt")
    assert torch.equal(again.images, memory.images + 0.25)
    with pytest.raises(ValueError, match=r"--set is for published \.pt files; a \.safetensors holds one set"):
        command.main(replace(config, memories=(saved,)))


def test_what_is_there_is_not_overwritten_and_nothing_is_half_written(memory, saved, tmp_path):
    out = tmp_path / "out"
    (out / "birds").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"birds is there already: remove it, or choose another --out"):
        command.main(Export(memories=(saved,), out=out))
    assert list(out.rglob("*")) == [out / "birds"]
    save_memory(replace(memory, soft_labels=torch.eye(3)[memory.labels]), tmp_path / "soft.safetensors")
    with pytest.raises(ValueError, match=r"soft\.safetensors: it has soft labels.*--format pt"):
        command.main(Export(memories=(saved, tmp_path / "soft.safetensors"), out=tmp_path / "other"))
    assert not (tmp_path / "other").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write"):
        command.main(Export(memories=(saved,), out=tmp_path / "file"))


def test_pictures_have_one_channel_or_three(memory):
    with pytest.raises(ValueError, match=r"2 channels.*--format pt"):
        pictures_of(replace(memory, images=memory.images[:, :2]), (0,), (1,))
    with pytest.raises(ValueError, match="2 means and 1 deviations"):
        pictures_of(memory, (0, 0), (1,))


UNUSABLE = (
    ["a", "../b", "c"],
    ["a", "A", "c"],
    ["a", "", "c"],
    [".a", "b", "c"],
    ["/etc", "b", "c"],
    ["a", "b", "é" * 101],
)


@pytest.mark.parametrize("names", [None, *UNUSABLE])
def test_names_that_name_no_folder_of_their_own_become_numbers(names):
    assert folder_names([0, 1, 2], names) == {0: "0", 1: "1", 2: "2"}
    assert folder_names([2, 10], None) == {2: "02", 10: "10"}


def test_the_card_is_what_the_hub_reads(saved, tmp_path):
    command.main(Export(memories=(saved,), format="huggingface", out=tmp_path / "out"))
    head, _, text = (tmp_path / "out" / "birds" / "README.md").read_text().removeprefix("---\n").partition("\n---\n")
    assert "  - split: train\n    path: data/train/**" in head
    assert "split: test" not in head
    assert "- image-classification" in head
    assert "- n<1K" in head
    assert "were clamped to black or white" in text
    assert "- league: `strict` (as many images decoded as stored" in text
    assert "0 is `bird`, 1 is `cat`, 2 is `dog`" in text
