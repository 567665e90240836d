"""Temporal metrics against closed forms and an independent implementation in plain numpy."""

import cv2
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from vst.metrics.temporal import (
    Pair,
    Reference,
    change,
    detail,
    e_stab,
    ewarp_l2,
    ewarp_mean,
    farneback,
    flicker,
    pair_ewarp,
    rmse_rerevst,
    temporal_scores,
    tof,
    warp_errors,
)

HEIGHT, WIDTH = 96, 128


def texture(seed=0, height=HEIGHT + 40, width=WIDTH + 40):
    noise = np.random.default_rng(seed).normal(size=(height, width, 3))
    smooth = gaussian_filter(noise, (2, 2, 0))
    return np.clip(128 + 60 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def panned(length=6, dx=2, dy=1, noise=3.0, still_rows=0):
    """A camera that moves over a texture by whole pixels; sensor noise; the last rows stand still."""
    picture, rng = texture(), np.random.default_rng(1)
    frames = np.stack([picture[t * dy : t * dy + HEIGHT, t * dx : t * dx + WIDTH] for t in range(length)])
    if still_rows:
        frames[:, -still_rows:] = frames[:1, -still_rows:]
    return np.clip(frames + rng.normal(scale=noise, size=frames.shape), 0, 255).astype(np.uint8)


def exact_pairs(length, dx, dy):
    """Frame t+1 shows at (x, y) what frame t shows at (x + dx, y + dy)."""
    flow = torch.tensor([-dx, -dy], dtype=torch.float32)[:, None, None].expand(2, HEIGHT, WIDTH).clone()
    valid = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    valid[max(0, dy) : HEIGHT + min(0, dy), max(0, dx) : WIDTH + min(0, dx)] = True
    return [Pair(t, t + 1, flow, valid) for t in range(length - 1)]


def numpy_scores(video, source):
    """Everything once more without torch: OpenCV's flow, scipy's interpolation, Sundaram's rule written out."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    greys = [np.ascontiguousarray(cv2.cvtColor(np.ascontiguousarray(f), cv2.COLOR_RGB2GRAY)) for f in source]
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)

    def sample(image, at_x, at_y):
        channels = [map_coordinates(c, [at_y, at_x], order=1, mode="nearest") for c in np.moveaxis(image, -1, 0)]
        return np.stack(channels, -1)

    outs, ins, sums, stills = [], [], [], []
    for t in range(len(source) - 1):
        flow = dis.calc(greys[t], greys[t + 1], None).astype(np.float64)
        back = dis.calc(greys[t + 1], greys[t], None).astype(np.float64)
        at_x, at_y = x + flow[..., 0], y + flow[..., 1]
        back = sample(back, at_x, at_y)
        length = np.square(flow).sum(-1)
        good = np.square(flow + back).sum(-1) <= 0.01 * (length + np.square(back).sum(-1)) + 0.5
        gradients = sum(np.square(g) for c in (0, 1) for g in np.gradient(flow[..., c]))
        good &= gradients <= 0.01 * length + 0.002
        good &= (at_x >= 0) & (at_y >= 0) & (at_x <= WIDTH - 1) & (at_y <= HEIGHT - 1)
        assert good.mean() > 0.05
        errors = [
            np.square(frames[t] / 255 - sample(frames[t + 1] / 255, at_x, at_y)).sum(-1)[good]
            for frames in (video, source)
        ]
        outs.append(errors[0].mean() / 3)
        ins.append(errors[1].mean() / 3)
        sums.append(errors[0].sum())
        still = good & (np.sqrt(length) < 0.3)
        if still.mean() > 0.02:
            stills.append([np.square(f[t][still] / 255 - f[t + 1][still] / 255).mean() for f in (video, source)])
    pixels = HEIGHT * WIDTH
    flick = np.mean(stills, 0) if stills else None
    return {
        "ewarp_mean@1": np.mean(outs),
        "ewarp_l2@1": 3 * np.mean(outs),
        "ewarp_in@1": np.mean(ins),
        "ratio": np.mean(outs) / np.mean(ins),
        "e_stab": np.sqrt(np.mean(np.array(sums) / pixels)),
        "rmse_rerevst@1": np.mean(np.sqrt(np.array(sums) / (3 * pixels))),
        "change": np.mean(np.abs(video.astype(float) - source)) / 255,
        "flicker": flick[0] / flick[1],
    }


def test_scores_agree_with_an_independent_implementation():
    source = panned(still_rows=40)
    rng = np.random.default_rng(2)
    video = np.clip(255 - 0.8 * source + rng.normal(scale=6, size=source.shape), 0, 255).astype(np.uint8)
    scores, expected = temporal_scores(video, Reference.of(source)), numpy_scores(video, source)
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, rel=0.01), name
    assert scores["ratio"] > 2, "noise was added to the video"
    assert scores["per_detail"] == pytest.approx(scores["ratio"] / scores["detail"])


def test_a_constant_video_has_no_error():
    errors = warp_errors(np.full((4, HEIGHT, WIDTH, 3), 77, np.uint8), exact_pairs(4, 3, 1))
    for value in (ewarp_mean(errors), ewarp_l2(errors), e_stab(errors) ** 2, rmse_rerevst(errors) ** 2):
        assert value == pytest.approx(0, abs=1e-14)
    assert pair_ewarp(errors) == pytest.approx([0, 0, 0], abs=1e-14)


def test_a_shift_with_its_exact_motion_has_no_error_and_another_motion_has():
    video = panned(noise=0)
    assert ewarp_mean(warp_errors(video, exact_pairs(6, 2, 1))) < 1e-12
    assert ewarp_mean(warp_errors(video, exact_pairs(6, -2, -1))) > 1e-3


def test_normalisations_on_a_known_error():
    """Frames that differ by 51 = 0.2 everywhere, half of the pixels trusted."""
    video = np.full((3, HEIGHT, WIDTH, 3), 51, np.uint8)
    video[1] = 102
    valid = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    valid[: HEIGHT // 2] = True
    errors = warp_errors(video, [Pair(t, t + 1, torch.zeros(2, HEIGHT, WIDTH), valid) for t in range(2)])
    assert ewarp_mean(errors) == pytest.approx(0.04, rel=1e-4)
    assert ewarp_l2(errors) == pytest.approx(0.12, rel=1e-4)
    assert e_stab(errors) == pytest.approx(np.sqrt(0.12 / 2), rel=1e-4), "all pixels count, RGB is summed"
    assert rmse_rerevst(errors) == pytest.approx(np.sqrt(0.04 / 2), rel=1e-4), "all pixels and channels count"


def test_pairs_with_little_trusted_motion_are_left_out():
    video = np.full((3, HEIGHT, WIDTH, 3), 51, np.uint8)
    video[2] = 255
    none, all_ = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool), torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    flow = torch.zeros(2, HEIGHT, WIDTH)
    errors = warp_errors(video, [Pair(0, 1, flow, all_), Pair(1, 2, flow, none)])
    assert ewarp_mean(errors) == pytest.approx(0, abs=1e-14) and pair_ewarp(errors)[1] is None
    assert ewarp_mean(warp_errors(video, [Pair(1, 2, flow, none)])) is None


def test_flicker_is_the_ratio_of_variances_on_a_still():
    rng = np.random.default_rng(3)
    still = texture()[:HEIGHT, :WIDTH].clip(60, 190).astype(float)
    own, more = (np.stack([still + rng.normal(scale=s, size=still.shape) for _ in range(6)]) for s in (4, 8))
    own, more = (np.rint(v).clip(0, 255).astype(np.uint8) for v in (own, more))
    flow, valid = torch.zeros(2, HEIGHT, WIDTH), torch.ones(HEIGHT, WIDTH, dtype=torch.bool)
    pairs = [Pair(t, t + 1, flow, valid) for t in range(5)]
    assert flicker(more, own, pairs) == pytest.approx((64 + 1 / 12) / (16 + 1 / 12), rel=0.03)
    assert flicker(own, own, pairs) == 1
    assert flicker(more, own, [Pair(p.first, p.second, flow + 5, valid) for p in pairs]) is None


def test_detail_falls_with_blur_and_change_is_zero_for_the_identity():
    source = panned(noise=0)
    blurred = np.stack([cv2.GaussianBlur(f, (0, 0), 2) for f in source])
    assert detail(source, source) == 1 and change(source, source) == 0
    assert detail(blurred, source) < 0.6
    half = (source // 2).astype(np.uint8)
    assert detail(half, source) == pytest.approx(0.25, rel=0.03), "an energy: half the contrast, a quarter"
    assert change((source.clip(0, 200) + 10).astype(np.uint8), source.clip(0, 200)) == pytest.approx(10 / 255)


def test_tof_is_the_difference_of_motions():
    slow, fast = panned(dx=1, dy=0, noise=0), panned(dx=3, dy=0, noise=0)
    assert tof(farneback(slow), farneback(slow)) == 0
    assert tof(farneback(fast), farneback(slow)) == pytest.approx(2, rel=0.15)


def test_a_reference_of_fewer_frames_equals_one_made_of_them():
    source = panned(length=14, dx=1, dy=0)
    video = 255 - source
    whole, cut = Reference.of(source).first(12), Reference.of(source[:12])
    a, b = temporal_scores(video[:12], whole), temporal_scores(video[:12], cut)
    assert a == {name: value if value is None else pytest.approx(value, rel=1e-9) for name, value in b.items()}
    assert a["ewarp_mean@10"] is not None
    assert temporal_scores(video[:5], whole.first(5))["ewarp_mean@10"] is None, "too short for pairs over ten frames"
