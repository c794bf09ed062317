"""The rows that a single command writes. They are here because reports on all results read them, too.

`ScoreRow`, which several commands write, is in `harness.core.schema`.
"""

from dataclasses import dataclass

from harness.core.schema import Amount, Fraction, FractionOrNan, Provenance


@dataclass(frozen=True, kw_only=True)
class NetworkRow:
    """One network of a survey of `harness.nas`.

    Attributes:
        cell: its key.
        dataset: name of the data set.
        dataset_checksum: of the split of it that `validation` leaves.
        validation: images per class that no proxy has seen.
        space: name of the search space.
        architecture: name of the network.
        index: its place in the space.
        width: channels of every block.
        depth: blocks.
        norm: of every block, and so are activation and pooling.
        activation: see there.
        pooling: see there.
        parameters: trained values.
        macs: multiply-accumulates of an image's forward pass.
        proxy: what it was trained on.
        memory_replicate: which draw of a memory.
        memory_checksum: of the memory's pixels and labels; empty for the whole set.
        config: key of all that decides the accuracies but architecture and network replicate.
        recipe: name of its training.
        epochs: of its training.
        steps: of the optimiser.
        ipc_stored: images per class that are kept.
        ipc_decoded: images per class that are trained on.
        stored_images: that are kept, of all classes.
        stored_bytes: that they take.
        network_replicate: which network of its architecture.
        validation_accuracy: a fraction; nan if the network diverged.
        test_accuracy: likewise.
        status: ok or diverged.
        seconds: of training.
        origin: where the row comes from.
    """

    cell: str
    dataset: str
    dataset_checksum: str
    validation: int
    space: str
    architecture: str
    index: int
    width: int
    depth: int
    norm: str
    activation: str
    pooling: str
    parameters: int
    macs: int
    proxy: str
    memory_replicate: int
    memory_checksum: str
    config: str
    recipe: str
    epochs: int
    steps: int
    ipc_stored: int
    ipc_decoded: int
    stored_images: int
    stored_bytes: int
    network_replicate: int
    validation_accuracy: float
    test_accuracy: float
    status: str
    seconds: float
    origin: Provenance


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One trial of an architecture search of `harness.nas`.

    Attributes:
        cell: key of the search.
        dataset: name of the data set.
        dataset_checksum: of the split of it that `validation` leaves.
        validation: images per class that a search chooses on.
        space: name of the search space.
        proxy: what networks are trained on.
        memory_checksum: of the memory's pixels and labels; empty for the whole set.
        config: key of all that decides accuracies but architecture and network replicate.
        recipe: name of the training.
        epochs: of a training that is not stopped early.
        sampler: that suggests the trials.
        search_replicate: which search of its sampler.
        trial: number in its search, from 0.
        architecture: that was tried.
        status: complete, pruned, diverged or repeated.
        validation_accuracy: a fraction, of a pruned trial the last one looked at; nan if the network diverged.
        epochs_trained: 0 for what was tried before.
        seconds: of the trial.
        best: the architecture that the search would end with now, if there is one.
        origin: where the row comes from.
    """

    cell: str
    dataset: str
    dataset_checksum: str
    validation: int
    space: str
    proxy: str
    memory_checksum: str
    config: str
    recipe: str
    epochs: int
    sampler: str
    search_replicate: int
    trial: int
    architecture: str
    status: str
    validation_accuracy: float
    epochs_trained: int
    seconds: float
    best: str | None
    origin: Provenance


@dataclass(frozen=True, kw_only=True)
class TurnRow:
    """One turn of one competitor in `harness.speed`.

    Attributes:
        cell: key of those that took turns, on this machine at this code.
        what: they are compared for: condense, train, lockstep or linear.
        dataset: whose shape the images have.
        method: that condenses, or evaluation.
        classes: of the memory.
        ipc: images per class of the memory.
        network: name of the networks.
        real_batch: real images per class and iteration; none where networks are trained.
        networks: trained side by side; none where images are condensed.
        competitor: who had the turn.
        precision: of its arithmetic.
        repeat: number of the turn, from 0.
        unit: iteration, or image that is trained on.
        units: done in the turn.
        seconds: that it took.
        cpu_seconds: of all threads.
        units_per_second: the speed.
        ratio: to the baseline's speed in equal arithmetic.
        ratio_default: to the baseline's speed in its own arithmetic.
        flop_per_second: of the operations that the mathematics asks for.
        share_of_convolutions: of what the convolutions alone achieve.
        real_branch_over_convolutions: upper bound of the real images' time, in that of their convolutions.
        peak_bytes: most memory so far.
        chunk: images that the core puts through a network at once.
        machine: processor and cores.
        device: on which it ran.
        threads: of torch on the CPU.
        backend: library behind the convolutions.
        commit: of this code.
        versions: of Python and packages.
    """

    cell: str
    what: str
    dataset: str
    method: str
    classes: int
    ipc: int
    network: str
    real_batch: int | None
    networks: int | None
    competitor: str
    precision: str
    repeat: int
    unit: str
    units: int
    seconds: float
    cpu_seconds: float
    units_per_second: float
    ratio: float | None
    ratio_default: float | None
    flop_per_second: float | None
    share_of_convolutions: float | None
    real_branch_over_convolutions: float | None
    peak_bytes: int | None
    chunk: int | None
    machine: str
    device: str
    threads: int
    backend: str
    commit: str
    versions: str


@dataclass(frozen=True, kw_only=True)
class RungRow:
    """One look at the memory of a trial in a search of `harness.ablate`.

    Attributes:
        cell: key of the trial.
        search: key of the search.
        dataset: name of the data set.
        dataset_checksum: of the split of it that `validation` leaves.
        validation: held-out training images per class.
        trial: number in its search, from 0.
        condenser: name of the recipe that was tried.
        parameters: what was chosen, as JSON: factors of the weights that the search started from, and readings.
        ipc_stored: images per class that the memory keeps.
        condensed_on: network that was matched on.
        network: that was trained on the memory.
        status: of the trial in the end: complete, pruned or diverged.
        iteration: after which it was looked at.
        iterations: of a whole condensation.
        networks: that were trained on the memory and averaged.
        accuracy: on the held-out images; nan if the memory diverged.
        seconds: of training and testing all these networks.
        protocol: set of defaults, with a `+` where a flag overrode one, then what was given of training and seed.
        origin: where the row comes from.
        memory_checksum: of the memory's pixels and labels.
    """

    cell: str
    search: str
    dataset: str
    dataset_checksum: str
    validation: int
    trial: int
    condenser: str
    parameters: str
    ipc_stored: int
    condensed_on: str
    network: str
    status: str
    iteration: int
    iterations: int
    networks: int
    accuracy: FractionOrNan
    seconds: Amount
    protocol: str
    origin: Provenance
    memory_checksum: str


@dataclass(frozen=True, kw_only=True)
class SubmissionRow:
    """One memory that somebody entered into the leaderboard by `harness.submit`.

    Attributes:
        cell: key of its score, whose rows stand in `results.csv` beside.
        method: name of what made it.
        paper: authors, title, where and when, as stated; may be empty.
        league: strict or open, as derived from what follows.
        dataset: name of the data set.
        dataset_checksum: of its images and labels.
        file: name of the memory file.
        memory_checksum: of the memory's pixels and labels.
        memory_replicate: number of the memory among those of its method, from 0.
        ipc_stored: images per class that the memory keeps.
        ipc_decoded: images per class that networks were trained on.
        soft_labels: whether its labels are probabilities.
        trained_on_real: whether networks trained on real labels made it, as the file or the submitter says.
        cost_minutes: what it took to make it, as stated.
        hardware: on what, as stated; may be empty.
        network: that was trained on it.
        networks: how many were trained.
        accuracy: on the test set, averaged over them.
        command: that scored it.
        protocol: set of defaults that it was scored by.
        origin: where the row comes from.
    """

    cell: str
    method: str
    paper: str
    league: str
    dataset: str
    dataset_checksum: str
    file: str
    memory_checksum: str
    memory_replicate: int
    ipc_stored: int
    ipc_decoded: int
    soft_labels: bool
    trained_on_real: bool
    cost_minutes: float | None
    hardware: str
    network: str
    networks: int
    accuracy: Fraction
    command: str
    protocol: str
    origin: Provenance


@dataclass(frozen=True)
class MeasureRow:
    """One number that `harness.analyse` measured of a memory.

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
        protocol: set of defaults, with a `+` where a flag overrode one, then what was given of training and seed.
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
