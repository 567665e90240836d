"""Keys and lines change the look; mistakes change nothing."""

import logging
import os
import time

import pytest

from vst.errors import UserError
from vst.live.controls import Controls
from vst.painting import Look


@pytest.fixture
def controls() -> Controls:
    return Controls(("wave", "scream"), Look(strength=0.5))


def test_keys(controls: Controls) -> None:
    for key in "2+++cccCpx9":
        controls.press(key)
    assert controls.look == Look(style="scream", strength=0.8, calm=0.2, preserve_color=1.0)
    for key in ["p", "1", "o", *"-" * 12]:
        controls.press(key)
    assert controls.look == Look(style="wave", strength=0.0, calm=0.2) and not controls.overlay
    assert not controls.stop.is_set()
    controls.press("Escape")
    assert controls.stop.is_set()


def test_lines(controls: Controls) -> None:
    for line in (
        "style scream",
        "strength=0.25",
        " calm 0.5 ",
        "preserve_color 1",
        "stroke 2",
        "overlay off",
        "",
        "+",
    ):
        controls.command(line)
    assert controls.look == Look("scream", strength=0.35, calm=0.5, preserve_color=1, stroke=2)
    assert not controls.overlay
    controls.command("quit")
    assert controls.stop.is_set()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("style scram", "did you mean 'scream'"),
        ("strength 2", "from 0 to 1"),
        ("strength nan", "from 0 to 1"),
        ("strength lots", "give a number"),
        ("strenth 1", "did you mean 'strength'"),
        ("overlay maybe", "no such command"),
    ],
)
def test_mistakes_leave_the_look_as_it_is(controls: Controls, line: str, said: str) -> None:
    before = controls.look
    with pytest.raises(UserError, match=said):
        controls.command(line)
    assert controls.look == before


def test_lines_of_a_pipe_are_obeyed_as_they_come(controls: Controls, caplog: pytest.LogCaptureFixture) -> None:
    reading, writing = os.pipe()
    controls.listen(reading)
    with caplog.at_level(logging.WARNING):
        os.write(writing, b"strength 0.1\nnonsense\nca")
        wait_until(lambda: controls.look.strength == 0.1 and caplog.records)
        assert "nonsense" in caplog.text and controls.look.calm == 0
        os.write(writing, b"lm 0.4\nquit")
        os.close(writing)
        wait_until(controls.stop.is_set)
    assert controls.look.calm == 0.4
    os.close(reading)


def wait_until(condition) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
