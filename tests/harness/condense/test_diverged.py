"""A condenser whose pixels diverge is named, and costs nothing of what was condensed beside it."""

import pytest

from condensers import registry
from condensers.core.optimizers import SGD
from condensers.core.recipe import Recipe
from condensers.memory import load_memory
from condensers.methods.dm import MEAN_MATCH
from harness.condense import __main__ as condense
from harness.condense.flags import Condense


@pytest.mark.parametrize("store", ["float32", "uint8"])
def test_a_memory_that_diverges_is_named_and_not_written(tmp_path, monkeypatch, store):
    wild = Recipe("wild", (MEAN_MATCH,), optimizer=SGD(lr=1e38))
    monkeypatch.setitem(registry.CONDENSERS, wild.name, wild)
    flags = Condense(
        dataset="digits",
        condensers=("wild", "dm"),
        ipc=1,
        iterations=4,
        network="ConvNet-W8-D2",
        store=store,
        out=tmp_path,
    )
    with pytest.raises(ValueError, match=r"^wild diverged to NaN or infinite pixels"):
        condense.main(flags)
    (written,) = tmp_path.glob("*.safetensors")
    assert written.name.startswith("dm-")
    assert load_memory(written).images.isfinite().all()
