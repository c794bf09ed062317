"""The digest of a user's own source file, which keys add to the name of everything that the file defines."""

import hashlib
import inspect
import sys
from functools import cache


@cache
def digest_of(module: str) -> str:
    """8 hex digits over the source of an imported module; `nofile` for one without a file, such as a prompt."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, TypeError):
        return "nofile"
    return hashlib.blake2b(source.encode(), digest_size=4).hexdigest()
