"""The rows of an analysis."""

from dataclasses import dataclass

from harness.core.schema import Amount, Provenance


@dataclass(frozen=True)
class MeasureRow:
    """One number that was measured of a memory.

    Attributes:
        cell: key of what ran as one.
        dataset: name of the data set.
        dataset_checksum: of its images and labels.
        condenser: that made the memory, `real` for a sample of real images, or the name of a memory file.
        config: key of all that decides the value but replicates.
        ipc_stored: images per class that the memory keeps.
        ipc_decoded: images per class that were looked at.
        memory_replicate: which draw of the memory, or of the real images.
        network_replicate: which network looked, or was trained.
        network: its name; empty where none was needed.
        metric: what `value` is.
        value: in the metric's unit; nan where it is not defined, such as the diversity of one image.
        seconds: of looking or training, per network.
        protocol: set of defaults, with a `+` where a flag overrode one.
        origin: where the row comes from.
        memory_checksum: of the memory's pixels and labels.
    """

    cell: str
    dataset: str
    dataset_checksum: str
    condenser: str
    config: str
    ipc_stored: int
    ipc_decoded: int
    memory_replicate: int
    network_replicate: int
    network: str
    metric: str
    value: float
    seconds: Amount
    protocol: str
    origin: Provenance
    memory_checksum: str
