"""What goes into a key: whole values, never a bare name, and the same keys as the rows that are committed."""

import inspect
import pkgutil
from dataclasses import dataclass, replace
from functools import partial, wraps
from importlib import import_module

import pytest

import condensers
from condensers import registry
from condensers.condense import Group, config
from condensers.core.identity import changed, identity
from condensers.core.recipe import SGD, Recipe, Schedule, Selection
from condensers.core.terms import Term, mean_activation, squared
from condensers.methods.readouts import Pooled
from harness.core.seeds import config_key
from search_spaces.sources import digest_of

SCHEDULE = Schedule(100, 64, "ConvNet-W32-D3-IN-ReLU-Avg")


@dataclass(frozen=True)
class Scaled:
    """A distance with a constant."""

    factor: float = 1.0

    def __call__(self, real, synthetic):
        return self.factor * squared(real, synthetic)


@dataclass
class Thawed:
    """Not frozen."""

    factor: float = 1.0


def made_by_a_factory(factor):
    def distance(real, synthetic):
        return factor * squared(real, synthetic)

    return distance


def scaled(factor):
    def decorate(function):
        @wraps(function)
        def wrapper(*arguments):
            return factor * function(*arguments)

        return wrapper

    return decorate


@scaled(2.0)
def held_by_its_name(real, synthetic):
    return squared(real, synthetic)


@dataclass(frozen=True)
class Named:
    """With a field where the name of its class would be kept."""

    name: str = "x"


class Doubled(Term):
    """With the fields of a term, but another value."""

    def value(self, real, synthetic):
        return 2 * super().value(real, synthetic)


@dataclass(frozen=True)
class Power(SGD):
    """With a field more."""

    power: float = 1.0


def test_a_subclass_is_not_taken_for_its_base():
    term = Term(mean_activation, squared)
    assert Doubled(mean_activation, squared).describe() != term.describe()
    assert SGD().describe() != Power().describe() != Power(power=2.0).describe()
    for base, fields in ((Recipe, {"terms": (term,)}), (Selection, {"select": registry.condenser("random").select})):
        other = type("Other", (base,), {"__module__": __name__})
        assert other("x", **fields).describe(SCHEDULE) != base("x", **fields).describe(SCHEDULE)


def test_functions_are_their_names_and_dataclasses_all_their_fields():
    assert identity(squared) == "squared"
    assert identity((mean_activation, squared)) == ["mean_activation", "squared"]
    assert identity(Pooled(2)) == {"name": "Pooled", "side": 2}
    assert identity(Scaled(2.0)) == {"name": f"{__name__}:Scaled@{digest_of(__name__)}", "factor": 2.0}
    assert identity(held_by_its_name) == f"{__name__}:held_by_its_name@{digest_of(__name__)}"
    assert identity(made_by_a_factory) == f"{__name__}:made_by_a_factory@{digest_of(__name__)}"


@pytest.mark.parametrize(
    "value",
    [
        made_by_a_factory(1),
        scaled(2.0)(squared),
        lambda x: x,
        partial(squared),
        Thawed(),
        object(),
        [squared],
        Scaled,
        sum,
    ],
)
def test_what_hides_its_state_has_no_identity(value):
    with pytest.raises(TypeError, match="has no identity"):
        identity(value)


def test_a_field_does_not_take_the_place_of_the_name_of_its_class():
    with pytest.raises(TypeError, match="a field called name"):
        identity(Named())


def test_two_distances_of_one_kind_with_other_constants_are_two():
    first, second = (Recipe("x", (Term(mean_activation, Scaled(factor)),)).describe(SCHEDULE) for factor in (1.0, 2.0))
    assert config_key(first) != config_key(second)


@pytest.mark.parametrize(
    "other",
    [{"version": 3}, {"blocks": "inner"}, {"decay": 0.9}, {"layers": "mean"}, {"tap": "act"}, {"weight": 2.0}],
)
def test_every_field_of_a_term_is_in_the_key(other):
    term = Term(mean_activation, squared)
    assert replace(term, **other).describe() != term.describe()
    assert set(inspect.signature(Term).parameters) - {"statistic", "distance"} >= set(other)


def test_every_field_of_a_recipe_that_decides_its_memory_is_in_the_key():
    recipe = registry.condenser("m3d")
    others = {
        "terms": registry.condenser("dm").terms,
        "networks": registry.condenser("dm-self").networks,
        "pixels": registry.condenser("dm").pixels,
        "optimizer": SGD(average=0.5),
    }
    for name, value in others.items():
        assert replace(recipe, **{name: value}).describe(SCHEDULE) != recipe.describe(SCHEDULE), name


def test_a_field_that_stands_at_its_default_changes_no_key():
    assert changed(SGD(fall="cosine")) == {"fall": "cosine"}
    assert registry.condenser("dm").describe(SCHEDULE).keys() == {
        "terms",
        "pixel_lr",
        "momentum",
        *SCHEDULE.describe(),
    }


def test_names_within_the_package_are_unique():
    owners = {}
    for module in pkgutil.walk_packages(condensers.__path__, "condensers."):
        for name, thing in vars(import_module(module.name)).items():
            if getattr(thing, "__module__", None) == module.name and name.isidentifier() and not name.startswith("_"):
                owners.setdefault(name, set()).add(module.name)
    relevant = {identity_name(part) for term in all_terms() for part in parts_of(term)}
    assert relevant
    assert {name: owners[name] for name in relevant if len(owners[name]) > 1} == {}


def all_terms():
    recipes = [made for made in registry.CONDENSERS.values() if made.takes_terms]
    return [term for recipe in recipes for term in recipe.terms] + [
        term for terms, _ in registry.PLUS.values() for term in terms
    ]


def parts_of(term):
    return [*(statistic for _, statistic in term.reads), term.distance]


def identity_name(part):
    found = identity(part)
    return found if isinstance(found, str) else found["name"]


# The keys of memories that are committed, and of every other condenser: a change here makes them anew everywhere.
GOLDEN = {
    "random": "03b01c3456be4ed7",
    "herding": "86bb37eaf96c51a8",
    "herding-trained": "37d0e92f9ffa0e27",
    "dm": "8e391022b7c2e214",
    "ours": "44f22754b83c4e75",
    "ddm-paper": "5980c58e29194848",
    "ddm-code": "f10052f467e60c72",
    "m3d": "934b7de0df44661b",
    "m3d-f1": "3d60f884fa5bb61d",
    "dm-self": "cce167fee8895a6b",
    "dc": "2d6ed73593af5d19",
    "dsa": "97e22a1c31469bf8",
    "bptt": "aa3f07ad41d0b4b1",
    "ddm": "44f22754b83c4e75",
    "dm+mm": "eb1064b2847ea1a1",
    "dm+cm": "fccad0d0bc0211f3",
    "dm+sm": "8cfd92df7af3ccbc",
    "dm+icd": "e805eb411a87bbb5",
    "dm+ridge": "2dd57ece042c8fcd",
    "dm+blocks": "75849343c9aa0fa5",
    "ddm-released": "598e94e7c14d0a35",
    "hdd": "658342a8bb8a937c",
    "cf": "d30d26a03edf342c",
    "dsdm": "3487609fb0089b34",
    "kcenter": "b03e7c154c3c6fc3",
    "forgetting": "f5e3cf3ff479f064",
    "idm": "a81d7a0c3c23cbac",
    "datadam": "3d8885da7848060a",
    "datadam-code": "277388272d4811af",
    "iid": "ceede0bf463cc10e",
    "iid-idm": "9620281d6afcc707",
    "dm+blocks-entropy": "0616dad9e8f4e872",
    "dm+whiten": "91c0b27a627011dd",
    "cafe": "f9fc182a6c9f3307",
    "cafe-dsa": "d311a6e6a1187da9",
    "dm+mm-paper": "c3aaf111c40a0df5",
    "dm+mm-code": "f990ac28df70aaf7",
    "dm+cm-paper": "9a802e106b011a9f",
    "dm+icd-paper": "bbc99d178aebf018",
    "dm+icd-code": "409202446fce471f",
    "dm+icd-k0.1": "35cae1f42baae80a",
    "dm+icd-k0.3": "5963d7dbfd83a25e",
    "dm+icd-k0.4": "9fe3a97474f304c6",
    "dm+icd-k0.5": "e556e2c254e63556",
    "dm+icd-k0.6": "196aee1a20475aeb",
    "dm+icd-k0.7": "dbe311548a24f506",
    "dm+icd-k0.8": "7902125a19c86bbc",
    "dm+icd-k0.9": "1995b40132113f96",
    "dm+icd-k1": "cbf0975fb38aecab",
    "dm+sm-block1": "4a16e53ce14a40e8",
    "dm+sm-block2": "6d39d6b29ba7875c",
    "dm+sm-block3": "f19d8823e9bd19c1",
    "dm+ridge-r0.001": "97c53c047b38651c",
    "dm+ridge-r0.01": "6774e9909383b578",
    "dm+ridge-r1": "f43761d45da91149",
    "dm+ridge-unit": "fc5ff8985499b891",
    "dm+ridge-reverse": "86df57bbdd33e59c",
    "datadam-p1": "93c43f4ddadf1aec",
    "datadam-p2": "24cfbf0ebf2cb977",
    "datadam-p8": "4820ddd5fc8440f7",
    "readout": "1ef55ac60775bae6",
    "blockwise": "7930b702b94eba63",
    "readout-views": "bbf5683ae65967d5",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_keys(name):
    made = registry.condenser(name)
    assert config_key(config(made, [Group((0, 1), 10)], SCHEDULE, seed=1)) == GOLDEN[name]


def test_fields_of_a_schedule_are_all_in_the_key_but_those_that_only_round():
    augmented = replace(SCHEDULE, shared_augmentation=True, views=2)
    assert set(inspect.signature(Schedule).parameters) - set(augmented.describe()) == {"chunk", "given"}
    # Keys of memories from before these fields existed stay what they are.
    assert not {"shared_augmentation", "views"} & set(SCHEDULE.describe())
