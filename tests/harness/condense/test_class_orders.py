"""Memories of one class order of a stream, condensed step by step: the order names their draws, and they say it."""

from condensers.memory import load_memory
from harness.condense.__main__ import main
from harness.condense.flags import Condense
from harness.continual.experiment import prepare
from harness.continual.flags import Continual


def test_memories_of_two_class_orders_share_no_draws(tmp_path):
    """Coupled ones pass for replicates of each other, as in an interval of `harness.evaluate`."""
    usual = Condense(condensers=("cafe",), ipc=2, iterations=1, real_batch=8, network="ConvNet-W4-D2", steps=5)
    for order in (0, 1):
        main(Condense(**vars(usual) | {"order": order, "out": tmp_path / str(order)}))
    paths = [next((tmp_path / str(order)).glob("*.safetensors")) for order in (0, 1)]
    first, second = (load_memory(path).metadata for path in paths)
    assert (first["class_order"], second["class_order"]) == (0, 1)
    assert first["seed"] != second["seed"]
    stream = prepare(Continual(steps=5, orders=2))
    assert [stream.memory_seed(order) for order in (0, 1)] == [first["seed"], second["seed"]]
    assert first["experiment_seed"] == second["experiment_seed"] == 0
