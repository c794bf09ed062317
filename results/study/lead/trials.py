"""Readings of a readout beside DM, on trial for the lead recipe: a plugin, `--plugin results/study/lead/trials.py`."""

from condensers.core.pools import OnSynthetic
from condensers.core.recipe import SGD, Recipe
from condensers.methods.dm import MEAN_MATCH
from condensers.methods.readouts import of_blocks

BLOCKS = of_blocks(weight=76.0)
ENTROPY = of_blocks(weight=18.0, loss="entropy")
BOTH_WAYS = (of_blocks(weight=50.0), of_blocks(weight=16.0, direction="reverse"))
STEPS = {
    "lr03": SGD(0.3),
    "lr3": SGD(3.0),
    "cos": SGD(fall="cosine"),
    "avg": SGD(average=0.3),
    "lr3-cos": SGD(3.0, fall="cosine"),
    "lr3-avg": SGD(3.0, average=0.3),
    "lr10-cos": SGD(10.0, fall="cosine"),
    "m9-cos": SGD(momentum=0.9, fall="cosine"),
}
POOLS = {"self": OnSynthetic(), "self-young": OnSynthetic(most=3), "self-old": OnSynthetic(epochs=5, most=20)}

CONDENSERS = (
    Recipe("b4", (MEAN_MATCH, BLOCKS)),
    Recipe("b4ce", (MEAN_MATCH, ENTROPY)),
    Recipe("b4rev", (MEAN_MATCH, *BOTH_WAYS)),
    *(Recipe(f"b4-{name}", (MEAN_MATCH, BLOCKS), optimizer=steps) for name, steps in STEPS.items()),
    *(Recipe(f"b4ce-{name}", (MEAN_MATCH, ENTROPY), optimizer=STEPS[name]) for name in ("cos", "lr3-cos")),
    Recipe("b4rev-lr3-cos", (MEAN_MATCH, *BOTH_WAYS), optimizer=STEPS["lr3-cos"]),
    Recipe("b4only-lr3-cos", (BLOCKS,), optimizer=STEPS["lr3-cos"]),
    *(Recipe(f"b4-{name}", (MEAN_MATCH, BLOCKS), networks=pool) for name, pool in POOLS.items()),
)
