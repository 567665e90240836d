"""Looks say what is wrong with them."""

import re
from dataclasses import replace

import pytest

from vst.errors import UserError
from vst.painting import Look


def test_the_default_look_is_the_painting_itself() -> None:
    assert Look().checked() == Look()
    assert (Look().strength, Look().stroke, Look().calm, Look().preserve_color, Look().blend) == (1, 1, 0, 0, None)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"strength": 1.2}, "strength=1.2: give a number from 0 to 1"),
        ({"strength": "high"}, "strength=high: give a number from 0 to 1"),
        ({"strength": float("nan")}, "strength=nan: give a number from 0 to 1"),
        ({"calm": True}, "calm=True: give a number from 0 to 1"),
        ({"preserve_color": -0.1}, "preserve_color=-0.1: give a number from 0 to 1"),
        ({"palette_strength": None}, "palette_strength=None: give a number from 0 to 1"),
        ({"stroke": 0.1}, "stroke=0.1: give a number from 0.25 to 4"),
        ({"blend": ("wave", 2)}, "blend=2: give a number from 0 to 1"),
        ({"palette": ((0, 0, 300),)}, "palette: (0, 0, 300) is no colour"),
        ({"palette": ((0, 0),)}, "palette: (0, 0) is no colour"),
        ({"palette": ("red",)}, "palette: red is no colour"),
        ({"style": "screem"}, "style=screem: no such style (did you mean 'scream'?); styles: scream, wave"),
        ({"blend": ("waves", 0.5)}, "style=waves: no such style (did you mean 'wave'?); styles: scream, wave"),
    ],
)
def test_mistakes_are_one_line(change: dict, line: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(line)}") as caught:
        replace(Look(), **change).checked(["scream", "wave"])
    assert "\n" not in str(caught.value)
