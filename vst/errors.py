"""The one exception that a user's mistake raises, and what its line is made of."""

from collections.abc import Iterable
from difflib import SequenceMatcher


class UserError(ValueError):
    """A mistake of the user: one line that says what was given, what is allowed and what to do.

    The command line prints the message without a traceback and exits with code 1. Broken internal
    invariants are asserts, never this.
    """


def suggest(name: str, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the nearest of `choices`, or an empty string when none is near.

    Near are two thirds of the letters in their order: one slip in a word of three letters, two in one of six.
    """

    def likeness(choice: str) -> tuple[float, bool, bool]:
        """Of equals, letters that have changed places are the smallest slip, and few get the first letter wrong."""
        ratio = SequenceMatcher(None, choice, name).ratio()
        return ratio, sorted(choice) == sorted(name), choice[:1] == name[:1]

    nearest = max(choices, key=likeness, default=None)
    if nearest is None:
        return ""
    ratio, same_letters, _ = likeness(nearest)
    # A slip in a word of two letters leaves half of them.
    least = 0.5 if same_letters or len(name) <= 2 else 0.65
    return f" (did you mean '{nearest}'?)" if ratio >= least else ""


def reason_of(error: BaseException) -> str:
    """One line on what the system or a library says of its failure; the kind of the error where it says nothing."""
    said = (getattr(error, "strerror", None) or str(error)).strip().splitlines()
    return said[0] if said else type(error).__name__
