"""The nearest valid name: found for a slip, and not guessed."""

import pytest

from tests.test_config import only
from vst.errors import suggest


@pytest.mark.parametrize(
    ("name", "choices", "nearest"),
    [
        ("grian", ["trainer", "train", "grain"], "grain"),
        ("grian", ["groan", "grain", "brain"], "grain"),
        ("tw", ["tv", "fdb"], "tv"),
        ("vt", ["tv", "fdb"], "tv"),
        ("max_epoch", ["max_steps", "max_epochs"], "max_epochs"),
        ("convgru_tny", ["convgru", "convgru_tiny"], "convgru_tiny"),
        ("marign", ["mask", "margin"], "margin"),
        ("grian", ["trainer", "train", "margin"], None),
        ("size", ["seed", "style"], None),
        ("x", ["crf", "codec"], None),
        ("grian", [], None),
    ],
)
def test_a_slip_has_its_word_and_another_word_none(name: str, choices: list[str], nearest: str | None) -> None:
    assert suggest(name, choices) == (f" (did you mean '{nearest}'?)" if nearest else "")


def test_a_key_that_a_command_lacks_is_not_guessed() -> None:
    assert "did you mean" not in only("grian=1") and "did you mean" not in only("grian=1", name="benchmark")
    paths = ["checkpoint=a", "input=b", "output=c"]
    assert only(*paths, "grian=1", name="stylize").startswith("grian: no such key (did you mean 'grain'?)")
