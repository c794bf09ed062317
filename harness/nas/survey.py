"""A survey of a search space: its flags resolved into numbers, checked before hours are spent on them."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from condensers import registry
from condensers.core.recipe import Schedule
from condensers.core.sampling import check_enough
from condensers.device.files import require_writable
from condensers.device.images import LabelledImages
from condensers.device.training import Training
from harness.core.flags import CONDENSING, refuse, refuse_bf16
from harness.core.progress import say
from harness.core.protocols import BASELINES, EARLY, SURVEYS, WHOLE, WHOLE_TRAININGS, Protocol, WholeTraining, marked
from harness.core.queue import Sharing
from harness.core.records import Records
from harness.core.rows import NetworkRow
from harness.core.scoring import drawn_network
from harness.core.seeds import seed_of
from harness.core.settings import Setup, announced, place_of, settle
from harness.core.stored import Stored
from harness.evidence.ranking import FEWEST
from harness.nas import tables
from harness.nas.flags import Nas
from harness.nas.proxies import is_file, read_file
from scenarios.datasets import Dataset, load
from search_spaces.names import unknown
from search_spaces.registry import build
from search_spaces.spaces import Architecture, Space, largest_space, space

# Flags that a search refuses: it samples from the whole space, and trains one network per architecture, on a proxy's
# first memory.
SURVEYS_ONLY = ("subset", "replicates", "memories", "merge")
SEARCHES_ONLY = ("train_winner", "trials", "searches")
DEFAULTS = {
    "digits": "digits and a part of its space, as quick has it; CIFAR-10 and all 720 are --protocol paper",
    "cifar10": "CIFAR-10 and its whole space, as paper has it; digits and a part of a smaller one are --protocol quick",
}


@dataclass(frozen=True)
class Survey:
    """A survey with every default resolved.

    Attributes:
        dataset: on the CPU; its `train` is what proxies are made from, its `test` the validation split.
        test: the data set's own test images, which nothing is chosen on.
        checksum: checksum of the data set before the split.
        validation: images per class of the validation split.
        architectures: in the order in which they are trained.
        proxies: names, in the order of the flags.
        files: the memory files among them.
        training: how networks are trained on a proxy.
        whole: how networks are trained on the whole set.
        whole_name: name of the whole-set training in the column `recipe`.
        table: where whole-set accuracies are kept for further surveys.
        sharing: who does the work.
    """

    dataset: Dataset
    test: LabelledImages
    checksum: str
    validation: int
    space: Space
    architectures: tuple[Architecture, ...]
    proxies: tuple[str, ...]
    files: tuple[Stored, ...]
    ipc: int
    replicates: int
    memory_replicates: int
    whole_replicates: int
    schedule: Schedule
    training: Training
    whole: Training
    whole_name: str
    seed: int
    protocol: str
    precision: str
    store: str
    device: torch.device
    table: tables.Table
    out: Path
    sharing: Sharing

    @cached_property
    def on_device(self) -> Dataset:
        """The split data set where the work is done."""
        return self.dataset.to(self.device)

    @cached_property
    def test_on_device(self) -> LabelledImages:
        """The test images where the work is done."""
        return self.test.to(self.device)

    @cached_property
    def records(self) -> tables.Table:
        """The CSV of the survey."""
        return Records(self.out / "results.csv", NetworkRow)

    @property
    def condensers(self) -> tuple[str, ...]:
        """The proxies that are condensed here."""
        elsewhere = {*BASELINES, *WHOLE_TRAININGS, *(file.name for file in self.files)}
        return tuple(name for name in self.proxies if name not in elsewhere)

    def memory_seed(self, replicate: int) -> int:
        """The seed of all draws for one memory replicate, the same as in `harness.condense`."""
        return seed_of(self.dataset.identity, self.seed, "memory", replicate)

    def network_seed(self, architecture: Architecture, source: str, memory: int, replicate: int) -> int:
        """The seed of all draws for one network: the same for all proxies, another for the whole set."""
        own = ("nas", source, memory, architecture.name, "network", replicate)
        return seed_of(self.dataset.identity, self.seed, *own)

    def new_network(self, architecture: Architecture, seed: int) -> nn.Module:
        """An untrained network, with initial weights drawn from `seed`."""
        return drawn_network(architecture.name, self.dataset, self.device, seed)


def prepare(config: Nas) -> Survey:
    """Resolve every default and check every name. Raises ValueError for whatever a user can get wrong."""
    device, protocol = place_of(config)
    if config.search:
        _check_search(config)
    else:
        refuse(config, SEARCHES_ONLY, "is for a --search: give one, or leave it out")
    survey = _resolve(config, protocol, device)
    _check(survey)
    _check_read(config, survey)
    survey.sharing.check()
    tables.check(survey.table, survey.dataset, survey.whole_name)
    for path in config.merge:
        tables.check_foreign(path, survey.dataset, survey.whole_name, survey.proxies)
    for folder in (survey.out, survey.table.path.parent):
        require_writable(folder)
    _announce(config, survey)
    return survey


def _check_search(config: Nas) -> None:
    """Raise ValueError for flags that a search cannot have."""
    if name := next((name for name in config.proxy if name in (WHOLE, *WHOLE_TRAININGS)), None):
        raise ValueError(f"--search spares the training on the whole set: leave out --proxy {name}")
    refuse(config, SURVEYS_ONLY, "is for surveys, not for a --search: leave it out")


def _check_read(config: Nas, survey: Survey) -> None:
    """Raise ValueError for flags that would have no effect, because none of the given proxies uses them."""
    if survey.condensers:
        return
    refuse(config, (*CONDENSING, "network"), "is for condensing, and no --proxy is condensed here: leave it out")
    refuse_bf16(config)
    if set(survey.proxies) == {WHOLE}:
        refuse(config, ("replicates",), f"is not for --proxy {WHOLE}: give --whole-replicates")
    if EARLY in survey.proxies:
        return
    refuse(config, ("memories",), "is for condensers, and no --proxy is one: leave it out")
    if survey.files:
        refuse(config, ("ipc",), "is for condensers, and memory files have a size of their own: leave it out")
    else:
        refuse(config, ("epochs",), "is for memories and early, and no --proxy is one: leave it out")


def _resolve(config: Nas, protocol: Protocol, device: torch.device) -> Survey:
    settled = settle(config, SURVEYS[protocol.name], protocol)
    # Names are checked before data are loaded.
    named, whole = _named(config.proxy), _whole_training(settled.recipe)
    asked = space(config.space) if config.space else None
    full = load(settled.dataset, config.data_root, config.resolution)
    split, surveyed = full.hold_out(settled.validation), asked or largest_space(full.shape[1])
    files = tuple(read_file(Path(source), split, settled.validation) for source in named.values() if is_file(source))
    if files and config.ipc is None:
        settled = replace(settled, ipc=min(file.memory.per_class for file in files))
    out = config.out or Path("out", "nas", full.identity)
    _check_side(split.shape[1], surveyed)
    architectures = _architectures(config, settled, surveyed)
    largest = max(architectures, key=lambda architecture: architecture.activations(split.shape)).name
    setup = Setup(config, protocol, device, split)
    return Survey(
        dataset=split,
        test=full.test,
        checksum=full.checksum,
        validation=settled.validation,
        space=surveyed,
        architectures=architectures,
        proxies=tuple(named),
        files=files,
        ipc=settled.ipc,
        replicates=config.replicates,
        memory_replicates=config.memories,
        whole_replicates=config.whole_replicates,
        schedule=setup.schedule(),
        training=replace(setup.training(largest), epochs=settled.epochs),
        whole=setup.whole_training(whole, largest),
        whole_name=whole.name,
        seed=config.seed,
        protocol=marked(setup.label),  # cut at the `+`: rows have a column of epochs
        precision=config.precision,
        store=config.store,
        device=device,
        table=tables.open_table(config.whole_table, out, full.identity),
        out=out,
        sharing=Sharing(config.storage, config.workers),
    )


def _named(given: tuple[str, ...]) -> dict[str, str]:
    """Condenser, baseline or path of every proxy, by the name that its rows carry."""
    if not given:
        raise ValueError("no proxies: name at least one with --proxy")
    named: dict[str, str] = {}
    for text in given:
        if is_file(text):
            name, source = Path(text).stem, text
            if name in BASELINES or name in WHOLE_TRAININGS:
                raise ValueError(f"{text} would be called {name}, which is not a memory: rename the file")
        else:
            # An alias becomes the condenser's own name, so that it is not compared with itself.
            name = source = text if text in BASELINES or text in WHOLE_TRAININGS else _condenser(text)
        if named.setdefault(name, source) != source:
            raise ValueError(f"two proxies would be called {name}: rename a memory file")
    return named


def _condenser(text: str) -> str:
    base = text.partition("+")[0]
    if base not in registry.CONDENSERS and base not in registry.ALIASES:
        raise unknown("proxy", text, [*BASELINES, *WHOLE_TRAININGS, *registry.CONDENSERS, *registry.ALIASES])
    return registry.condenser(text).name


def _whole_training(name: str) -> WholeTraining:
    if name not in WHOLE_TRAININGS:
        raise unknown("whole-set training", name, WHOLE_TRAININGS)
    return WHOLE_TRAININGS[name]


def _architectures(config: Nas, settled: Nas, surveyed: Space) -> tuple[Architecture, ...]:
    """As many as --subset, or else the default or all of a smaller space; a search has the whole space."""
    every = len(surveyed)
    usual = every if config.search else min(settled.subset or every, every)
    return tuple(surveyed.subset(usual if config.subset is None else config.subset))


def _check(survey: Survey) -> None:
    """Raise ValueError for what would only fail after hours."""
    if WHOLE in survey.proxies and survey.whole_replicates < 2:
        raise ValueError("--proxy whole is the whole set's second replicate: give --whole-replicates 2")
    if survey.whole_name in survey.proxies:
        raise ValueError(f"the whole set is trained by {survey.whole_name} already: --proxy {WHOLE} does so once more")
    if len(survey.architectures) < FEWEST:
        raise ValueError(f"{len(survey.architectures)} architectures have no rank correlation: give --subset {FEWEST}")
    _check_ipc(survey)
    for name in survey.condensers:
        registry.condenser(name).check(survey.schedule)
    build(survey.schedule.network, survey.dataset.classes, survey.dataset.shape)
    for records in (survey.records, tables.published(survey.dataset.identity)):
        tables.read_networks(records)


def _check_side(side: int, surveyed: Space) -> None:
    if side < surveyed.least_side:
        raise ValueError(
            f"{surveyed.name} pools images of {side} px away: give --space {largest_space(side).name}, "
            f"or --resolution {surveyed.least_side}"
        )


def _check_ipc(survey: Survey) -> None:
    if survey.condensers or EARLY in survey.proxies:
        check_enough(survey.dataset.train.labels.bincount().tolist(), survey.ipc)


def _announce(config: Nas, survey: Survey) -> None:
    if config.dataset is None:
        full = "; a search is of all the space" if config.search else ""
        say(f"no --dataset: {DEFAULTS[survey.dataset.name]}{full}")
    split = f"{survey.validation} images per class of {survey.dataset.name} held out to choose on"
    say(
        f"{announced(survey.protocol, survey.device)}; {split}; "
        f"{len(survey.architectures)} of the {len(survey.space)} architectures of {survey.space.name}"
    )
