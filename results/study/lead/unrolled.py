"""Readings of the unrolled window, on trial for the lead recipe: `--plugin results/study/lead/unrolled.py`."""

from dataclasses import replace

from condensers.core.optimizers import Adam
from condensers.core.pools import PartlyTrained
from condensers.methods import bptt

(BPTT,) = bptt.CONDENSERS
CONDENSERS = (
    replace(BPTT, name="bptt-lr01", optimizer=Adam(0.01)),
    replace(BPTT, name="bptt-lr1", optimizer=Adam(0.1)),
    replace(BPTT, name="bptt-w20", window=20),
    replace(BPTT, name="bptt-w20-old", window=20, networks=PartlyTrained(60)),
    replace(BPTT, name="bptt-fast", lr=0.03),
)
