"""A transport of colours for frames of bytes does what its definition in torch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vst.networks import ColourTransport
from vst.networks.transport import BEND
from vst.runtime.transport import ByteTransport

SIZES = ((96, 128), (180, 320), (37, 53))  # one strip, several with a rest, and less than a strip


@pytest.fixture(scope="module")
def tone() -> ColourTransport:
    torch.manual_seed(0)
    made = ColourTransport().eval()
    made.set_style([torch.rand(3, 64, 64) ** torch.tensor([3.0, 2.0, 0.5])[:, None, None]])
    return made


def picture(height: int, width: int, power: float = 1.0) -> np.ndarray:
    """Noise of three channels that have to do with each other: half of it bright, less by a higher power."""
    rng = np.random.default_rng(height)
    noise = rng.random((height, width, 3))
    noise = (0.5 + np.sign(noise - 0.5) * np.abs(2 * noise - 1) ** 0.2 / 2) ** power @ [
        [0.8, 0.2, 0.1],
        [0.1, 0.6, 0.2],
        [0.0, 0.1, 0.7],
    ]
    return np.rint(255 * noise.clip(0, 1)).astype(np.uint8)


def tensor(frame: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frame).permute(2, 0, 1)[None]


@pytest.mark.parametrize("size", SIZES)
def test_statistics_are_those_of_the_definition(tone: ColourTransport, size: tuple[int, int]) -> None:
    frame = picture(*size)
    torch.testing.assert_close(ByteTransport(tone).observe(frame), tone.observe(tensor(frame), 255), atol=1e-3, rtol=0)


@pytest.mark.parametrize("power", [1, 20])
def test_pictures_are_those_of_the_definition(tone: ColourTransport, power: float) -> None:
    bytewise = ByteTransport(tone)
    for size in SIZES:  # one after the other, so room that one leaves does not show in the next
        frame, out = picture(*size, power), np.empty((*size, 3), np.uint8)
        film = tone.follow(tone.observe(tensor(frame), 255), None)
        bytewise.paint(frame, film, out)
        expected = tone.paint(tensor(frame) / 255, film)[0].permute(1, 2, 0).mul(255).round().numpy()
        assert np.abs(expected - out).max() <= 1
        assert (expected != out).mean() < 1e-3
    scale, shift, *_ = tone.coefficients(film)
    assert bool((scale - shift).max() > BEND) == (power > 1)  # with and without colours beyond the bend


@pytest.mark.parametrize("level", [0, 7, 200])
def test_a_flat_frame_becomes_what_the_definition_makes_of_it(tone: ColourTransport, level: int) -> None:
    frame, bytewise = np.full((64, 64, 3), level, np.uint8), ByteTransport(tone)
    film, expected = (tone.follow(seen, None) for seen in (bytewise.observe(frame), tone.observe(tensor(frame), 255)))
    out = np.empty_like(frame)
    bytewise.paint(frame, film, out)
    assert np.abs(tone.paint(tensor(frame) / 255, expected)[0].permute(1, 2, 0).mul(255).numpy() - out).max() <= 1
