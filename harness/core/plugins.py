"""Users' own condensers, terms, networks, search spaces and data sets, without a change to this code.

`--plugin` imports a FILE.py or a MODULE and registers what it defines; an installed package does the same by an
entry point in the group `condensed_memories`. A plugin defines any of

    CONDENSERS = (Recipe(...), Selection(...))      what makes memories
    PLUS = {"name": ((Term(...),), "text")}         terms that can be added to any recipe
    GRIDS = (Grid(...),)                            variants that harness.ablate compares
    READINGS = (("name", "other"),)                 terms of PLUS that its search may put in each other's place
    NETWORKS = {"Name": function(classes, shape)}   networks to condense on and to train
    SPACES = {"name": Space(...)}                   search spaces
    DATASETS = {"name": Source(...)}                data sets

Keys name functions and classes of a plugin with a digest of the file that defines them. The digest does not cover
further files that the plugin imports: after a change in one of those, give the condenser another name.
"""

import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

from condensers.device.files import require_file

LARGEST = 2**24  # bytes of a file of code
GROUP = "condensed_memories"
NAMES = ("CONDENSERS", "PLUS", "GRIDS", "READINGS", "NETWORKS", "SPACES", "DATASETS")
FILES: set[str | None] = set()  # of the plugins that are loaded


def load(named: Sequence[str]) -> None:
    """Import the plugins named on the command line and those of installed packages, and register what they define.

    Raises:
        ValueError: a plugin that cannot be found or imported, that defines nothing, or whose names are taken.
    """
    for text in named:
        path = Path(text)
        load_it = partial(_from_file, path) if path.suffix == ".py" else partial(importlib.import_module, text)
        _register(_imported(text, load_it), text)
    for entry in importlib.metadata.entry_points(group=GROUP):
        _register(_imported(entry.name, entry.load), entry.name)


def _imported(text: str, load_it: Callable[[], ModuleType]) -> ModuleType:
    try:
        return load_it()
    except (Exception, SystemExit) as error:  # whatever a user's module may raise
        raise ValueError(f"cannot import the plugin {text}: {type(error).__name__}: {error}") from error


def place_in_plugin(error: BaseException) -> str | None:
    """File and line of a plugin where an error was raised, or through which it went last; None if through none."""
    calls = traceback.extract_tb(error.__traceback__)
    return next((f"{call.filename}, line {call.lineno}" for call in reversed(calls) if call.filename in FILES), None)


def _from_file(path: Path) -> ModuleType:
    if path.stem in sys.modules or _is_elsewhere(path):
        raise ImportError(f"there is another module {path.stem!r} already: give the file another name")
    if path.exists():
        require_file(path, LARGEST)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    # In sys.modules, where keys look up the module of a function or class, for the digest of the module's file.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _is_elsewhere(path: Path) -> bool:
    """Whether another module of the file's name can be imported; this file would then take that module's place."""
    found = importlib.util.find_spec(path.stem) if path.stem.isidentifier() else None
    return found is not None and found.origin is not None and Path(found.origin).resolve() != path.resolve()


def _register(module: ModuleType, text: str) -> None:
    from condensers import registry as condensers
    from scenarios import datasets
    from search_spaces import registry as networks
    from search_spaces import spaces

    if not any(hasattr(module, name) for name in NAMES):
        raise ValueError(f"the plugin {text} defines none of {', '.join(NAMES)}")
    FILES.add(getattr(module, "__file__", None))
    for name in ("CONDENSERS", "GRIDS", "READINGS"):
        if not isinstance(getattr(module, name, ()), tuple | list):
            raise ValueError(f"{name} of the plugin {text} is no tuple: write {name} = (...,), with a comma")
    try:
        condensers.add(*(getattr(module, name, ()) for name in ("CONDENSERS", "PLUS", "GRIDS", "READINGS")))
        networks.add(getattr(module, "NETWORKS", {}), getattr(module, "__name__", None))
        spaces.add(getattr(module, "SPACES", {}))
        datasets.add(getattr(module, "DATASETS", {}))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"the plugin {text} cannot be registered: {error}") from error
