"""Names that users type: one look-up, one way to say that a name is unknown."""

from collections.abc import Iterable
from difflib import get_close_matches


def unknown(kind: str, name: str, choices: Iterable[str]) -> ValueError:
    """The error for an unknown `name`: the nearest choice if there is one, then all of them."""
    known = sorted(choices)
    # Without leading dashes, which would make all flags look similar to each other.
    folded = {choice.lower().lstrip("-"): choice for choice in known}
    close = get_close_matches(name.lower().lstrip("-"), folded, n=1, cutoff=0.5)
    hint = f" Did you mean {folded[close[0]]!r}?" if close else ""
    return ValueError(f"unknown {kind} {name!r}.{hint} Choices: {', '.join(known)}")
