"""Flags: settled against a protocol, marked where they override it, and told in `--help`."""

import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from condensers.device.chunks import CPU_PIXELS, CUDA_PIXELS
from harness.ablate.flags import Ablate
from harness.analyse.flags import Analyse
from harness.condense.flags import Condense
from harness.continual.flags import Continual
from harness.core.flags import Common, DeviceFlags, check_bounds, spelling
from harness.core.parsing import parse
from harness.core.protocols import BENCH, PAPER, QUICK, SURVEYS, SurveyDefaults
from harness.core.settings import Setup, label_of, settle
from harness.evaluate.flags import Evaluate
from harness.export.flags import Export
from harness.nas.flags import Nas
from harness.report.flags import Report
from harness.speed.flags import Speed
from harness.submit.flags import Submit
from harness.table.flags import Table
from harness.targets.flags import Targets

COMMANDS = (Ablate, Analyse, Condense, Continual, Evaluate, Export, Nas, Report, Speed, Submit, Table, Targets)
POSITIONAL = (
    *(("memories", own) for own in (Analyse, Evaluate, Export, Submit)),
    *(("folders", own) for own in (Report, Targets)),
)


def read(command: type, *arguments: str) -> object:
    return parse(command, arguments, "prog", "What it does.")


@pytest.fixture(scope="module")
def helps() -> dict[type, str]:
    def text(command: type) -> str:
        name = command.__name__.lower()
        answer = subprocess.run([sys.executable, "-m", f"harness.{name}", "--help"], capture_output=True, text=True)
        return answer.stdout.partition("╭")[2]

    return {command: text(command) for command in COMMANDS}


def flat(text: str) -> str:
    """Without the lines that texts are broken into."""
    return re.sub(r"[\s│]+", " ", text)


def test_a_shortened_name_of_a_network_is_no_other_network(digits):
    short, full = (Condense(network=name) for name in ("ConvNet-W8-D2", "ConvNet-W8-D2-IN-ReLU-Avg"))
    one, other = (Setup(flags, QUICK, torch.device("cpu"), digits) for flags in (short, full))
    assert one.network == other.network == full.network
    assert one.schedule() == other.schedule()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_line_without_flags_is_the_dataclass_without_arguments(command):
    assert read(command) == command()


def test_a_command_line_sets_the_fields_of_its_flags():
    flags = (
        "--proxy dm x.pt --epochs=3 --whole_replicates 1 --no-dry-run --list --search tpe random --out a/b --seed -2"
    )
    assert read(Nas, *flags.split()) == Nas(
        proxy=("dm", "x.pt"),
        epochs=3,
        whole_replicates=1,
        list_names=True,
        search=("tpe", "random"),
        out=Path("a/b"),
        seed=-2,
    )
    assert read(Evaluate, "a.pt", "b.pt", "--networks", "2") == Evaluate(
        memories=(Path("a.pt"), Path("b.pt")), networks=2
    )
    # Workers repeat a command line with flags of their own: the last counts.
    assert read(Continual, "--workers", "3", "--workers", "1").workers == 1


@pytest.mark.parametrize("protocol", [PAPER, BENCH, QUICK])
def test_flags_go_before_the_protocol(protocol):
    settled = settle(Continual(epochs=7), protocol)
    assert settled.epochs == 7
    for name in ("iterations", "real_batch", "memory_per_class", "orders", "networks"):
        assert getattr(settled, name) == getattr(protocol, name)


@pytest.mark.parametrize(("protocol", "matched", "trained"), [(PAPER, 128, 128), (BENCH, 64, 128), (QUICK, 32, 32)])
def test_a_protocol_says_which_networks_are_matched_on_and_which_are_trained(protocol, matched, trained, digits):
    setup = Setup(Condense(), protocol, torch.device("cpu"), digits)
    assert setup.schedule().network == setup.matched_network == f"ConvNet-W{matched}-D2-IN-ReLU-Avg"
    assert setup.network == f"ConvNet-W{trained}-D2-IN-ReLU-Avg"
    asked = replace(setup, flags=Condense(network="AlexNet"))
    assert asked.schedule().network == asked.network == "AlexNet"


def test_a_survey_s_own_defaults_go_before_its_protocol():
    paper: SurveyDefaults = SURVEYS[PAPER.name]
    settled = settle(Nas(), paper, PAPER)
    assert (settled.epochs, settled.ipc, settled.recipe) == (paper.epochs, paper.ipc, paper.recipe)
    assert settled.iterations == PAPER.iterations
    assert settle(Condense(), PAPER, ipc=3).ipc == 3
    assert settle(Condense(ipc=4), PAPER, ipc=3).ipc == 4


def test_a_default_that_is_spelled_out_settles_to_the_same_and_is_marked():
    usual, spelled = Condense(), Condense(iterations=QUICK.iterations, real_batch=QUICK.real_batch)
    assert settle(usual, QUICK) == settle(spelled, QUICK)
    assert (label_of(usual, QUICK), label_of(spelled, QUICK)) == (QUICK.name, f"{QUICK.name}+")


@pytest.mark.parametrize(
    ("marked", "flags"),
    [
        (True, Condense(ipc=3)),
        (True, Condense(network="ResNet18")),
        (True, Continual(memory_per_class=3)),
        (True, Continual(memory_size=30)),
        (True, Continual(epochs=3)),
        (True, Continual(whole_epochs=3)),
        (True, Continual(augment=True)),
        (True, Evaluate(epochs=3)),
        (True, Nas(ipc=3)),
        (True, Nas(epochs=3)),
        (True, Nas(real_batch=3)),
        (False, Continual(orders=3, networks=2, chunk=4, precision="bf16", dataset="svhn", resolution=9)),
        (False, Evaluate(networks=2, validation=3)),
        (False, Nas(subset=9, validation=9, recipe="short-1", replicates=2, memories=3)),
        (False, Condense(steps=5, order=1, validation=3, replicate=2, store="uint8")),
    ],
)
def test_what_a_protocol_says_of_a_cell_is_marked_and_nothing_else(marked, flags: Common):
    assert label_of(flags, QUICK).partition("+")[:2] == (QUICK.name, "+" * marked)


@pytest.mark.parametrize(
    ("said", "flags"),
    [
        ("epochs=3", Continual(epochs=3, iterations=5, memory_per_class=2)),
        ("network=ResNet18+epochs=3", Evaluate(epochs=3, network="ResNet18")),
        ("network=ResNet18", Evaluate(network="ResNet18-IN")),
        ("network=ConvNet-W8-D2-IN-ReLU-Avg", Evaluate(network="ConvNet-W8-D2")),
        ("whole_epochs=3", Continual(whole_epochs=3)),
        ("augment=True", Continual(augment=True)),
        ("seed=7", Continual(seed=7)),
        ("epochs=3+seed=7", Evaluate(seed=7, epochs=3)),
        ("", Continual(iterations=5)),
    ],
)
def test_how_networks_are_trained_and_which_draws_they_have_stands_behind_the_mark(said, flags: Common):
    assert label_of(flags, QUICK) == f"{QUICK.name}+{said}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_bound_is_kept_by_the_default_and_named_when_broken(command):
    check_bounds(command())
    for one in fields(command):
        if one.metadata["least"] is not None and not isinstance(one.default, tuple):
            with pytest.raises(ValueError, match=f"^{spelling(one)} is .*; give at least {one.metadata['least']}$"):
                check_bounds(command(**{one.name: one.metadata["least"] - 1}))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_every_flag_once_and_nothing_of_none(command, helps):
    for one in fields(command):
        if (one.name, command) not in POSITIONAL:
            assert len(re.findall(rf"^│ {spelling(one)}[ ,]", helps[command], re.MULTILINE)) == 1
    assert "None" not in helps[command]
    assert "{}" not in helps[command]


@pytest.mark.parametrize(
    ("command", "boxes"),
    [
        (Ablate, "grids search condensing training sharing-work data protocol computing output"),
        (Analyse, "analysing published-files training data protocol computing output"),
        (Condense, "memory condensing data protocol computing output"),
        (Continual, "stream condensing published-files training sharing-work data protocol computing output"),
        (Evaluate, "scoring published-files training data protocol computing output"),
        (Export, "exporting published-files data output"),
        (Report, "report output"),
        (Nas, "survey whole-set search condensing training sharing-work data protocol computing output"),
        (Submit, "submission published-files training data protocol computing output"),
        (Table, "grid condensing training sharing-work data protocol computing output"),
        (Speed, "measuring computing output"),
    ],
)
def test_help_shows_flags_in_groups(command, boxes, helps):
    found = re.findall(r"╭─ (\w[\w ]*) options ─", helps[command])
    assert found == [box.replace("-", " ") for box in boxes.split()]


@pytest.mark.parametrize("command", [command for command in COMMANDS if issubclass(command, DeviceFlags)])
def test_help_says_the_chunks_that_the_core_chooses(command, helps):
    pixels = 32 * 32
    assert f"at 32 px: {CPU_PIXELS // pixels} on a CPU, {CUDA_PIXELS // pixels} on CUDA" in flat(helps[command])


def test_help_says_what_the_protocols_say(helps):
    of_all = {"paper": PAPER, "bench": BENCH, "quick": QUICK}
    orders, ipc = (
        ", ".join(f"{value(protocol)} under {key}" for key, protocol in of_all.items())
        for value in (lambda protocol: protocol.orders, lambda protocol: SURVEYS[protocol.name].ipc)
    )
    assert f"default: {orders}" in flat(helps[Continual])
    assert f"default: {ipc}" in flat(helps[Nas])
    assert "(default: 10.0)" in flat(helps[Speed])


def test_the_list_of_commands_is_light():
    heavy = "{'torch', 'tyro', 'pandas'}"
    code = f"import sys, harness.__main__ as m; m.commands(); sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
