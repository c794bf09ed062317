"""The digest of a memory file and the schema of its metadata: whatever was changed is told in one line."""

import json
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from condensers import schema
from condensers.memory import STORES, UNDIGESTED, Memory, load_memory, read_metadata, save_memory

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "memory.safetensors"


@pytest.fixture(scope="module")
def memory(digits):
    """Two real images of each class, as `random` leaves them."""
    order = digits.train.labels.argsort(stable=True)
    chosen = order[torch.cat([(digits.train.labels[order] == label).nonzero()[:2, 0] for label in range(10)])]
    statistics = {"mean": list(digits.train.mean), "std": list(digits.train.std)}
    metadata = {"condenser": "random", "seed": 3, "config": {"groups": [[list(range(10)), 2]]}} | statistics
    return Memory(digits.train.normalise(digits.train.images[chosen]), digits.train.labels[chosen], metadata, chosen)


def rewrite(path, tensors=lambda x: x, header=lambda x: x):
    with safe_open(path, "pt") as file:
        found, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(tensors(found), path, header(metadata))


def complaint(path, source=None):
    with pytest.raises(ValueError, match=r"\S") as caught:
        load_memory(path, source)
    assert len(str(caught.value).splitlines()) == 1
    assert path.name in str(caught.value)
    return str(caught.value)


def said(**changes):
    """A change of the header that says something else of the memory."""
    return lambda header: header | {"memory": json.dumps(json.loads(header["memory"]) | changes, sort_keys=True)}


@pytest.mark.parametrize("store", STORES)
def test_whatever_is_read_is_held_to_the_digest(memory, digits, path, store):
    for change in (
        said(condenser="herding"),
        said(seed=4),
        said(decoded_per_class=8),
        lambda header: header | {"digest": "0" * 64},
        lambda header: {name: text for name, text in header.items() if name != "digest"},
        lambda header: header | {"schema": UNDIGESTED},
    ):
        save_memory(memory, path, store)
        rewrite(path, header=change)
        assert "digest does not fit" in complaint(path, digits.train)
    for change in (
        lambda tensors: tensors | {"indices": tensors["indices"].flip(0)},
        lambda tensors: {name: each for name, each in tensors.items() if name != "indices"},
        lambda tensors: tensors | {"soft_labels": torch.eye(10)[tensors["labels"]]},
    ):
        save_memory(memory, path, store)
        rewrite(path, tensors=change)
        complaint(path, digits.train)


@pytest.mark.parametrize("store", ["float32", "float16", "uint8"])
def test_the_same_bytes_in_another_shape_are_noticed(memory, path, store):
    save_memory(memory, path, store)
    rewrite(path, lambda tensors: tensors | {"images": tensors["images"].reshape(20, 1, 4, 16)})
    assert "digest does not fit" in complaint(path)


def test_one_changed_index_is_noticed(memory, digits, path):
    other = (digits.train.labels == memory.labels[7]).nonzero()[9, 0]
    save_memory(memory, path, "indices")
    rewrite(
        path,
        lambda tensors: {
            "labels": tensors["labels"],
            "indices": tensors["indices"].index_fill(0, torch.tensor(7), other),
        },
    )
    assert "digest does not fit" in complaint(path, digits.train)


def test_indices_are_held_to_the_pixels_they_stand_for(memory, digits, path):
    save_memory(memory, path, "indices")
    load_memory(path, digits.train)
    # Rounding of another device is no other image, one grey level of one pixel is.
    rounded = replace(memory, images=memory.images * (1 + 3e-7))
    save_memory(rounded, path, "indices")
    load_memory(path, digits.train)
    changed = digits.train.images.clone()
    changed[memory.indices[7], 0, 3, 3] ^= 1
    assert "are not those it was made of" in complaint(path, replace(digits.train, images=changed))
    assert "are not those it was made of" in complaint(path, replace(digits.train, mean=(0.3,)))


@pytest.mark.parametrize("path", sorted(RESULTS.rglob("*.safetensors")), ids=lambda path: path.stem)
def test_committed_memories_stay_readable(path, digits):
    metadata = read_metadata(path)
    if metadata["store"] != "indices":
        assert load_memory(path).checksum == metadata["checksum"]
    elif metadata["dataset"] == "digits":
        for source in (digits, digits.hold_out(30)):
            if source.checksum == metadata["dataset_checksum"]:
                assert load_memory(path, source.train).checksum == metadata["checksum"]


BAD = {
    "seed": [-1, 1.0, "3", True, None, [], 2**63],
    "condenser": [3, None, {}, "a\nb", "\x1b[31m", "x" * 5000],
    "decoded_per_class": [0, -1, "2", 1.5, False],
    "class_order": ["0", 0.5, -1, None],
    "memory_replicate": ["0", 0.5, -1, {}],
    "separable": [0, "yes", None],
    "trained_on_real": [1, "no"],
    "dataset": [1, ["digits"]],
    "mean": [0.5, [], ["a"], [True]],
    "classes": ["01", [-1], [0.5]],
    "class_names": ["ab", [], [1], ["a\x1b[2J"], {"0": "a"}],
    "config": [[], "dm", 3, {"groups": 3}, {"groups": [[0, 1]]}, {"groups": [[[0], 0]]}, {"groups": [[["0"], 1]]}],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in BAD.items() for value in values])
def test_metadata_of_another_kind_is_told_by_its_field(memory, path, field, value):
    wrong = replace(memory, metadata=memory.metadata | {field: value})
    with pytest.raises(ValueError, match="that must be "):
        save_memory(wrong, path)
    save_memory(memory, path)
    rewrite(path, header=said(**{field: value}))
    text = complaint(path)
    assert field in text or "groups" in text
    assert "that must be " in text
    assert len(text) < 300 + len(str(path))
    assert text.isprintable()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested more than 32 deep"),
        (json.dumps({"note": json.loads("[" * 40 + "]" * 40)}), "nested more than 32 deep"),
        ('{"note": NaN}', "NaN, which is not JSON"),
        ('{"seed": ' + "9" * 5000 + "}", "cannot read"),
    ],
)
def test_metadata_that_no_json_writer_leaves(memory, path, text, words):
    save_memory(memory, path)
    rewrite(path, header=lambda header: header | {"memory": text})
    assert words in complaint(path)
    with pytest.raises(ValueError, match="cannot read"):
        read_metadata(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t | {"indices": t["indices"].float()}, "indices are float32"),
        (lambda t: t | {"indices": t["indices"].int()}, "indices are int32"),
        (lambda t: t | {"labels": t["labels"].bool()}, "labels are bool"),
        (lambda t: t | {"labels": t["labels"][:, None]}, "must be int64 of 1 dimensions"),
        (lambda t: t | {"images": t["images"].double()}, "images are float64"),
        (lambda t: t | {"pixels": t["images"].clone()}, "a tensor 'pixels'"),
    ],
)
def test_tensors_of_another_kind_are_told_by_name(memory, digits, path, change, words):
    save_memory(memory, path)
    rewrite(path, change)
    assert words in complaint(path, digits.train)


def test_what_a_condenser_says_keeps_to_the_schema(digits):
    from condensers import registry
    from condensers.condense import Group, condense
    from condensers.core.matching import Schedule

    schedule = Schedule(iterations=1, real_batch=4, network="ConvNet-W8-D2", augmentation=digits.augmentation)
    makers = [registry.condenser(name) for name in ("random", "dm")]
    for memory in condense(makers, digits.train, [Group((0, 1), 2)], schedule, seed=0).values():
        schema.check(memory.metadata)
        assert {"condenser", "seed", "separable", "decoded_per_class", "config"} <= set(schema.FIELDS) & set(
            memory.metadata
        )


@pytest.mark.parametrize("store", STORES)
def test_five_hundred_mutations_end_in_one_line_or_change_nothing(memory, digits, path, store):
    save_memory(memory, path, store)
    whole, before = path.read_bytes(), load_memory(path, digits.train)
    generator, refused = random.Random(store), []
    for _ in range(500):
        content = bytearray(whole)
        for _ in range(generator.choice((1, 1, 1, 8))):
            content[generator.randrange(len(content))] = generator.randrange(256)
        path.write_bytes(content)
        try:
            after = load_memory(path, digits.train)
        except ValueError as error:
            refused.append(str(error))
        else:
            assert (after.checksum, after.metadata) == (before.checksum, before.metadata)
            assert torch.equal(after.indices, before.indices)
    assert len(refused) > 450
    assert all(text.isprintable() for text in refused)


def test_a_pipe_is_not_waited_for(path):
    os.mkfifo(path)
    assert "there is no such file" in complaint(path)
