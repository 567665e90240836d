"""Looks over time: the values between key frames, the fading of styles, and one line for what cannot be read."""

import re

import pytest

from vst.errors import UserError
from vst.painting import Look
from vst.painting.timeline import read_look, read_numbers, read_styles

STEADY = {
    **{"use": None, "strength": 1.0, "calm": 0.0, "preserve_color": 0.0},
    **{"palette": [], "palette_strength": 0.0, "stroke": 1.0},
}


@pytest.mark.parametrize(
    "given",
    ["0:0,2:1,5:0.3", "0:0 2:1 5:0.3", ["0:0", "2:1", "5:0.3"], [[0, 0], [2, 1.0], [5, 0.3]], [(0, 0), "2:1", "5:.3"]],
)
def test_numbers_run_straight_between_key_frames_and_are_held_outside(given) -> None:
    number = read_numbers("strength", given)
    expected = {-1: 0, 0: 0, 0.5: 0.25, 2: 1, 3: 1 - 0.7 / 3, 5: 0.3, 100: 0.3}
    assert {t: number(t) for t in expected} == pytest.approx(expected)


def test_a_plain_number_is_one_at_all_times() -> None:
    assert [read_numbers("calm", 0.4)(t) for t in (0, 7)] == [0.4, 0.4]


@pytest.mark.parametrize(
    "given",
    [
        "scream,5:wave:2,9:scream",
        ["scream", "5:wave:2", "9:scream"],
        [{"style": "scream"}, {"at": 5, "style": "wave", "fade": 2}, {"at": 9, "style": "scream"}],
    ],
)
def test_styles_fade_into_each_other(given) -> None:
    styles = read_styles(given, ["scream", "wave"])
    assert styles(0) == styles(4.99) == ("scream", None)
    assert styles(5) == ("scream", ("wave", 0))
    assert styles(6) == ("scream", ("wave", 0.5))
    assert styles(7) == styles(8.9) == ("wave", None)
    assert styles(9) == styles(1000) == ("scream", None)


def test_a_look_changes_only_where_it_is_asked_to() -> None:
    look, timeline = read_look(STEADY | {"palette": [[1, 2, 3]], "stroke": 2}, ["a"])
    assert timeline is None and look == Look(palette=((1, 2, 3),), stroke=2)
    look, timeline = read_look(STEADY | {"strength": "0:0,2:1", "calm": 0.3, "use": "a,1:b:1"}, ["a", "b"])
    assert look == timeline(0) == Look(style="a", strength=0, calm=0.3)
    assert timeline(1.5) == Look(style="a", blend=("b", 0.5), strength=0.75, calm=0.3)
    assert timeline(9) == Look(style="b", calm=0.3)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"strength": "0:0,2"}, "strength: 2 is no key frame; give a number, or times"),
        ({"strength": "0:0,2:x"}, "strength: 2:x is no key frame"),
        ({"strength": "high"}, "strength: high is no key frame"),
        ({"strength": None}, "strength: None is no key frame"),
        ({"strength": []}, "strength=[]: give a number"),
        ({"strength": "0:0,2:1.5"}, "strength=1.5: give a number from 0 to 1"),
        ({"calm": "2:0,1:1"}, "calm: its times 2, 1 do not rise from 0 s on"),
        ({"calm": "-2:0,1:1"}, "calm: its times -2, 1 do not rise from 0 s on"),
        ({"stroke": 9}, "stroke=9: give a number from 0.25 to 4"),
        ({"stroke": "0:1,2:.5"}, "stroke=0:1,2:.5: give a number from 0.25 to 4"),
        ({"palette": ["red"]}, "palette: red is no colour"),
        ({"use": "screem"}, "use=screem: no such style (did you mean 'scream'?); styles: scream, wave"),
        ({"use": "scream,5:waves:1"}, "use=waves: no such style (did you mean 'wave'?)"),
        ({"use": "scream,wave"}, "use: wave cannot be read; give a name, or names from times on"),
        ({"use": "scream,5:wave:-1"}, "use: 5:wave:-1 cannot be read"),
        ({"use": "scream,5:wave:1:2"}, "use: 5:wave:1:2 cannot be read"),
        ({"use": [{"at": 3}]}, "use: {'at': 3} cannot be read"),
        ({"use": "scream,5:wave:3,7:scream"}, "use: what fades in at 5 s over 3 s is not whole at 7 s"),
        ({"use": "scream,5:wave,5:scream"}, "use: its times 0, 5, 5 do not rise"),
    ],
)
def test_what_cannot_be_read_is_one_line(change: dict, line: str) -> None:
    with pytest.raises(UserError, match=f"^{re.escape(line)}") as caught:
        read_look(STEADY | change, ["scream", "wave"])
    assert "\n" not in str(caught.value)
