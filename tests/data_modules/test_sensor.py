"""A camera changes the colours of a clip frame by frame, alike for all pixels, and adds noise."""

import numpy as np
import pytest

from data_modules.sensor import CAMERA, Sensor
from vst.config import compose_or_explain
from vst.errors import UserError
from vst.schema import TrainConfig


def ramp(length: int = 4) -> np.ndarray:
    """Frames that are all alike and hold every value from 0 to 1."""
    frame = np.linspace(0, 1, 3 * 40 * 40, dtype=np.float32).reshape(3, 40, 40)
    return np.stack([frame] * length)


def test_without_options_nothing_changes_and_nothing_is_drawn():
    rng, untouched = np.random.default_rng(0), np.random.default_rng(0)
    frames = ramp()
    assert np.array_equal(Sensor()(frames, rng), frames)
    assert rng.random() == untouched.random()


def test_noise_is_new_in_each_frame_and_of_a_size_between_the_two():
    grey = np.full((3, 3, 64, 64), 0.5, np.float32)
    camera, sigmas = Sensor(noise=(0.01, 0.03)), []
    for seed in range(40):
        noise = camera(grey, np.random.default_rng(seed)) - 0.5
        sigmas.append(noise.std())
        assert abs(noise.mean()) < 1e-3
        for a, b in ((noise[0], noise[1]), (noise[1], noise[2]), (noise[0, 0], noise[0, 1])):
            assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.07
    assert 0.0098 < min(sigmas) < 0.013 and 0.027 < max(sigmas) < 0.0306


def test_coarse_noise_is_shared_by_neighbours_and_new_in_each_frame():
    grey = np.full((3, 3, 64, 64), 0.5, np.float32)
    sigmas, neighbours, channels = [], [], []
    for seed in range(80):
        noise = Sensor(coarse=0.1)(grey, np.random.default_rng(seed)) - 0.5
        sigmas.append(noise.std())
        neighbours.append(np.corrcoef(noise[..., 1:].ravel(), noise[..., :-1].ravel())[0, 1])
        channels.append(np.corrcoef(noise[:, 0].ravel(), noise[:, 1].ravel())[0, 1])
    assert 0.04 < np.mean(sigmas) < 0.06 and max(sigmas) < 0.13, "uniform from 0 to 0.1"
    assert min(neighbours) > 0.45 and max(neighbours) > 0.95, "white noise has 0"
    assert 0.3 < np.mean(np.array(channels) > 0.99) < 0.7, "grey every other time"
    frames = np.concatenate(
        [Sensor(coarse=0.1)(grey, np.random.default_rng(s))[:2].reshape(2, -1) for s in range(40)], 1
    )
    assert abs(np.corrcoef(frames - 0.5)[0, 1]) < 0.1


@pytest.mark.parametrize("options", [{"gain": 0.3}, {"gamma": 0.3}, {"gain": 0.2, "gamma": 0.2}])
def test_exposure_wavers_by_one_map_for_all_pixels_of_a_frame(options):
    """What a frame shows is gain * v ** gamma, with numbers that a fit of two of its pixels gives."""
    frames, found = ramp(6), []
    inner = (frames[0] > 0.05) & (frames[0] < 0.6)
    for seed in range(30):
        exposed = Sensor(**options)(frames, np.random.default_rng(seed))
        for frame in exposed:
            x, y = np.log(frames[0][inner]), np.log(frame[inner])
            gamma = (y[-1] - y[0]) / (x[-1] - x[0])
            gain = np.exp(y[0] - gamma * x[0])
            assert np.abs(gain * frames[0][inner] ** gamma - frame[inner]).max() < 1e-5
            found.append((gain, gamma))
        assert exposed.min() >= 0 and exposed.max() <= 1
    gains, gammas = np.abs(np.array(found).reshape(30, 6, 2) - 1).transpose(2, 0, 1)
    for measured, most in ((gains, options.get("gain", 0)), (gammas, options.get("gamma", 0))):
        assert measured.max() <= most + 1e-3 and measured.max() >= 0.7 * most
        assert most == 0 or measured.std(axis=1).mean() > 0.02 * most, "it changes during a clip"


def test_two_clips_in_three_are_blurred_and_alike_in_all_of_its_frames():
    dots = np.zeros((3, 3, 41, 41), np.float32)
    dots[:, :, 20, 20] = 1
    deviations = []
    for seed in range(60):
        seen = Sensor(blur=2.0)(dots, np.random.default_rng(seed))
        assert np.array_equal(seen[0], seen[2]) and abs(seen[0, 0].sum() - 1) < 1e-4
        x = np.arange(41) - 20
        deviations.append(np.sqrt((seen[0, 0] * x**2).sum()))
    sharp = np.array(deviations) == 0
    assert 0.3 < sharp.mean() < 0.6
    assert 1.6 < max(deviations) <= 2.05 and np.ptp(np.array(deviations)[~sharp]) > 1


def test_values_beyond_the_range_are_cut_before_the_tone_curve():
    frames = ramp() * 3 - 1
    exposed = Sensor(gamma=0.3)(frames, np.random.default_rng(1))
    assert np.array_equal(exposed == 0, frames <= 0) and np.all(exposed[frames > 1] == 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": [0.1]}, r"data\.noise is \[0\.1\]"),
        ({"noise": [0.02, 0.01]}, r"data\.noise"),
        ({"noise": [-0.1, 0.01]}, r"data\.noise"),
        ({"noise": [0, 3]}, r"between 0 and 0\.5"),
        ({"coarse": 0.6}, r"data\.coarse is 0\.6"),
        ({"gain": -0.1}, r"data\.gain is -0\.1"),
        ({"gamma": 1.0}, r"data\.gamma is 1\.0"),
        ({"blur": -1.0}, r"data\.blur is -1\.0, it has to lie between 0 and 16 pixels"),
    ],
)
def test_numbers_out_of_range_are_one_line(options, message):
    with pytest.raises(UserError, match=message) as error:
        Sensor(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("choice", [["data=synthetic"], ["data=mixed", "data.root=films"]], ids=lambda c: c[0])
def test_the_yaml_of_photographs_has_the_camera_that_validation_has(choice):
    data = compose_or_explain("train", choice, TrainConfig).data
    assert vars(Sensor(data.noise, data.coarse, data.gain, data.gamma, data.blur)) == vars(CAMERA)
