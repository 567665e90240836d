"""The one exception that a user's mistake raises, and what its line is made of."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake of the user: one line that says what was given, what is allowed and what to do.

    The command line prints the message without a traceback and exits with code 1. Broken internal
    invariants are asserts, never this.
    """


def suggest(name: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest of `choices`, or an empty string when none is near."""
    near = get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f" (did you mean '{near[0]}'?)" if near else ""


def reason_of(error: BaseException) -> str:
    """One line on what the system or a library says of its failure; the kind of the error where it says nothing."""
    said = (getattr(error, "strerror", None) or str(error)).strip().splitlines()
    return said[0] if said else type(error).__name__
