"""Flow and validity of synthetic clips against what the pictures themselves show."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from data_modules import motion
from data_modules.motion import (
    MAX_SPEED,
    Scene,
    Step,
    Texture,
    camera_path,
    cut_texture,
    draw_scene,
    render,
    synthesise_clip,
)
from data_modules.sensor import Sensor
from vst.flow import dis_flow, warp

SIZE = 96
MIDDLE = (SIZE - 1) / 2


@pytest.fixture(autouse=True)
def colours_stay(monkeypatch):
    """Layers are told apart by their colour here, so no hue is turned."""
    monkeypatch.setattr(motion, "HUE_TURN", 0)


def smooth_photo(seed: int = 0, height: int = 300, width: int = 380) -> np.ndarray:
    coarse = np.random.default_rng(seed).random((height // 20, width // 20, 3), dtype=np.float32)
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (255 * fine.clip(0, 1)).astype(np.uint8)


def textured_photo(seed: int = 0) -> np.ndarray:
    grain = np.random.default_rng(seed).random((400, 500, 3), dtype=np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), 2)
    return (255 * (grain - grain.min()) / np.ptp(grain)).astype(np.uint8)


def plain_photo(*colour: int) -> np.ndarray:
    return np.full((300, 380, 3), colour, np.uint8)


def scene_of(seed: int, length: int = 3, photo: np.ndarray | None = None) -> Scene:
    photo = smooth_photo() if photo is None else photo
    return draw_scene(photo, np.random.default_rng(seed), length, SIZE, lambda rng: smooth_photo(seed=1))


def tensors(scene: Scene) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    images, flow, valid = render(scene)
    frames = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    return frames, torch.from_numpy(flow), torch.from_numpy(valid)


def warp_error(frames: torch.Tensor, flow: torch.Tensor, valid: torch.Tensor) -> float:
    warped, inside = warp(frames[:-1], flow)
    weight = valid * inside
    return float(((warped - frames[1:]).abs() * weight).sum() / (3 * weight.sum()))


def test_flow_leads_each_frame_to_the_next():
    checked = 0
    for seed in range(40):
        frames, flow, valid = tensors(scene_of(seed, length=4))
        right, wrong = warp_error(frames, flow, valid), warp_error(frames, -flow, valid)
        assert right < 4e-3, seed
        if flow.norm(dim=1).mean() > 2:
            assert wrong > 20 * right, seed
            checked += 1
    assert checked >= 5


def test_flow_is_exact_for_each_layer():
    """Colours that are linear in position leave no error of interpolation, only that of the flow."""
    ramp = np.empty((200, 200, 3), np.float32)
    ramp[..., 0], ramp[..., 1], ramp[..., 2] = np.arange(200), np.arange(200)[:, None], 0
    behind, before = Texture(ramp, 1.0, np.full(2, 50.0)), Texture(ramp, 1.0, np.full(2, 80.0))
    scenes = [s for s in map(scene_of, range(100)) if len(s.cutouts) == 2 and len(s.steps[0].waves)]
    assert len(scenes) >= 3
    for scene in scenes:
        cutouts = [replace(cutout, texture=before) for cutout in scene.cutouts]
        frames, flow, valid = tensors(replace(scene, background=behind, cutouts=cutouts))
        assert frames.max() < 198, "reflected at the end of the ramp"
        warped, _ = warp(frames[:-1], flow)
        # In pixels, since the ramp rises by one per pixel. OpenCV 4 rounds coordinates to 1/32 pixel.
        assert ((warped - frames[1:]).abs() * valid).max() < 0.04


def seen_layers(images: np.ndarray) -> np.ndarray:
    return images.argmax(axis=-1)


def plain_scene(seed: int) -> Scene:
    """Red ground, a green and a blue object: the colour of a pixel tells its layer."""
    objects = iter([plain_photo(10, 240, 10), plain_photo(10, 10, 240)])
    rng = np.random.default_rng(seed)
    return draw_scene(plain_photo(240, 10, 10), rng, 3, SIZE, lambda rng: next(objects))


def around(mask: np.ndarray, radius: int) -> np.ndarray:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * radius + 1, 2 * radius + 1))).astype(bool)


def is_mixed(scene: Scene, image: np.ndarray) -> np.ndarray:
    """Pixels that have the colour of no layer: those of soft outlines."""
    colours = [texture.pixels[0, 0] for texture in (scene.background, *(c.texture for c in scene.cutouts))]
    return np.min([np.abs(image - colour).max(axis=-1) for colour in colours], axis=0) > 1e-5


def is_outline(layers: np.ndarray) -> np.ndarray:
    """Pixels next to another layer."""
    low, high = (f(layers.astype(np.uint8), np.ones((3, 3))) for f in (cv2.erode, cv2.dilate))
    return low != high


def test_invalid_pixels_are_those_that_came_from_another_layer_or_from_outside():
    hidden_in_all = 0  # keeps the test from passing on clips where nothing is hidden
    for seed in range(60):
        scene = plain_scene(seed)
        images, flow, valid = render(scene)
        layers = seen_layers(images)
        for t in range(2):
            here, there = layers[t + 1], layers[t]
            x, y = np.arange(SIZE) + flow[t, 0], np.arange(SIZE)[:, None] + flow[t, 1]
            outside = np.maximum(np.abs(x - MIDDLE), np.abs(y - MIDDLE)) > MIDDLE
            nearest = np.clip(np.rint([y, x]).astype(int), 0, SIZE - 1)
            hidden = there[tuple(nearest)] != here
            from_outline = (around(is_mixed(scene, images[t]), 1) | is_outline(there))[tuple(nearest)]
            mixed = is_mixed(scene, images[t + 1])
            ok = valid[t, 0] == 1
            assert not (ok & (outside | hidden | mixed)).any(), seed
            assert not (~ok & ~(outside | hidden | mixed | from_outline)).any(), seed
            hidden_in_all += int(hidden.sum())
    assert hidden_in_all > 1000


def test_valid_pixels_are_one_pure_colour_in_both_frames():
    for seed in range(30):
        frames, flow, valid = tensors(plain_scene(seed))
        warped, _ = warp(frames[:-1], flow)
        assert ((warped - frames[1:]).abs() * valid).max() < 1e-4


def test_without_objects_only_pixels_from_outside_are_invalid():
    scenes = [s for s in map(scene_of, range(40)) if not s.cutouts]
    assert len(scenes) >= 5
    for scene in scenes:
        frames, flow, valid = tensors(scene)
        _, inside = warp(frames[:-1], flow)
        assert (inside != valid).float().mean() < 1e-3
        if not np.any(flow.numpy()):
            assert valid.eq(1).all()


def test_estimated_flow_agrees():
    errors = []
    for seed in range(12):
        frames, flow, valid = tensors(scene_of(seed, photo=textured_photo()))
        estimate = dis_flow(frames[1], frames[0])
        trusted = valid[0, 0, 8:-8, 8:-8].bool()
        errors.append((estimate - flow[0]).norm(dim=0)[8:-8, 8:-8][trusted].median().item())
    assert np.median(errors) < 0.1 and max(errors) < 0.5


def test_clip_is_a_function_of_the_generator():
    photo = textured_photo()
    one, again, other = (synthesise_clip(photo, np.random.default_rng(s), 3, SIZE) for s in (5, 5, 6))
    for name in ("frames", "flow", "valid"):
        assert torch.equal(getattr(one, name), getattr(again, name))
    assert not torch.equal(one.frames, other.frames)
    assert one.frames.shape == (3, 3, SIZE, SIZE) and one.frames.is_contiguous()
    assert one.flow.shape == (2, 2, SIZE, SIZE) and one.valid.shape == (2, 1, SIZE, SIZE)
    assert {t.dtype for t in (one.frames, one.flow, one.valid)} == {torch.float32}
    assert one.frames.min() >= 0 and one.frames.max() <= 1
    assert set(one.valid.unique().tolist()) <= {0.0, 1.0}


def test_a_single_frame_has_no_motion():
    clip = synthesise_clip(textured_photo(), np.random.default_rng(0), 1, SIZE)
    assert clip.frames.shape == (1, 3, SIZE, SIZE)
    assert clip.flow.shape == (0, 2, SIZE, SIZE) and clip.valid.shape == (0, 1, SIZE, SIZE)


@pytest.mark.parametrize("shape", [(64, 64), (40, 300), (1200, 900)])
def test_no_black_borders_whatever_the_photo(shape):
    bright = np.full((*shape, 3), 250, np.uint8)
    for seed in range(25):
        frames = synthesise_clip(bright, np.random.default_rng(seed), 4, SIZE).frames
        assert frames.min() > 0.6, seed


def is_still(step: Step) -> bool:
    return not len(step.waves) and np.array_equal(step.matrix, np.eye(3))


def test_camera_is_often_still_mostly_slow_and_sometimes_fast():
    still, speeds = 0, []
    for seed in range(400):
        steps = camera_path(np.random.default_rng(seed), 4, SIZE)
        still += all(map(is_still, steps))
        shift = steps[0].matrix[:2] @ [MIDDLE, MIDDLE, 1] - MIDDLE
        speeds.append(np.hypot(*shift))
    assert 0.18 < still / 400 < 0.32
    assert max(speeds) <= MAX_SPEED + 1e-6
    assert np.median(speeds) < 2 and np.mean(np.array(speeds) > 4) > 0.05


def test_motion_goes_in_proportion_to_the_speed():
    """Of the same draws: every step of every layer, so turns, zoom and elasticity too, grows with the speed."""

    def shifts(speed: float) -> np.ndarray:
        scenes = [draw_scene(smooth_photo(), np.random.default_rng(seed), 3, SIZE, None, speed) for seed in range(30)]
        return np.stack([render(scene)[1] for scene in scenes])

    still, slow, usual, fast = (shifts(speed) for speed in (0.0, MAX_SPEED / 100, MAX_SPEED, 2 * MAX_SPEED))
    assert not still.any()
    assert np.abs(usual).max() > 5
    assert np.abs(100 * slow - usual).max() < 0.1 * np.abs(usual).max(), "up to a camera's finite turn"
    assert np.abs(fast - 2 * usual).max() < 0.1 * np.abs(fast).max()


def test_without_motion_and_sensor_all_frames_are_the_same_picture(monkeypatch):
    """So crop, flip, turn of hue and other recolouring are those of the clip and not of the frame."""
    monkeypatch.setattr(motion, "HUE_TURN", 1)
    first = []
    for seed in range(30):
        clip = synthesise_clip(textured_photo(), np.random.default_rng(seed), 4, SIZE, speed=0.0, sensor=Sensor())
        assert torch.equal(clip.frames, clip.frames[:1].expand_as(clip.frames))
        assert clip.flow.abs().max() < 1e-4
        first.append(clip.frames[0])
    assert (torch.stack(first).flatten(1).std(0) > 0.02).float().mean() > 0.99, "clips differ"


def test_still_camera_with_objects_moves_only_the_objects():
    scenes = [s for s in map(plain_scene, range(60)) if s.cutouts and is_still(s.steps[0])]
    assert len(scenes) >= 3
    for scene in scenes:
        images, flow, _ = render(scene)
        ground = ~around(seen_layers(images)[1] != 0, 2)
        assert np.all(flow[0][:, ground] == 0)


@pytest.mark.parametrize(("photo_side", "most"), [(1000, 0.02), (390, 0.05), (290, 0.12)])
def test_reduction_does_not_alias(photo_side, most):
    stripes = np.zeros((photo_side, photo_side, 3), np.uint8)
    stripes[:, ::2] = 255
    extent = 190.0
    texture = cut_texture(stripes, np.random.default_rng(0), np.zeros(2), np.full(2, extent), (1.0, 1.0))
    y, x = np.mgrid[5:185, 5:185].astype(np.float32)
    assert texture.sample((x + 0.25, y)).std() < most
    assert stripes.std() > 127, "sampling pixel by pixel would keep the stripes, or turn them into others"


def test_a_texture_spans_the_part_of_the_photo_that_it_should():
    """Ramps in x and y: the sampled colours have to be linear, over the whole range, at any reduction."""
    x, y = np.meshgrid(np.arange(1000), np.arange(800))
    photo = np.stack([x / 4, y / 4, np.full_like(x, 128)], axis=-1).round().astype(np.uint8)
    for seed, share in enumerate((0.2, 0.35, 0.6, 1.0)):
        rng = np.random.default_rng(seed)
        texture = cut_texture(photo, rng, np.full(2, -10.0), np.full(2, 130.0), (share, share))
        v, u = np.mgrid[-10:131, -10:131].astype(np.float32)
        sampled = texture.sample((u, v))
        design = np.stack([u.ravel(), v.ravel(), np.ones(u.size)], axis=1)
        for channel, axis in ((0, 0), (1, 1)):
            fit, *_ = np.linalg.lstsq(design, sampled[..., channel].ravel(), rcond=None)
            assert np.abs(design @ fit - sampled[..., channel].ravel()).max() < 1.5 / 255
            assert abs(fit[1 - axis]) < 0.25 * abs(fit[axis])
            span = abs(fit[axis]) * 140 * 255
            assert span == pytest.approx(share * 800 / 4, rel=0.45)


def test_nothing_is_enlarged_by_more_than_a_quarter():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        texture = cut_texture(smooth_photo(), rng, np.zeros(2), np.full(2, 200.0), (0.35, 1))
        assert texture.scale >= 0.8


def test_a_turn_of_hue_keeps_greys_and_permutes_colours():
    np.testing.assert_allclose(motion._turn_of_hue(1.0) @ [0.4, 0.4, 0.4], [0.4, 0.4, 0.4])
    np.testing.assert_allclose(motion._turn_of_hue(2 * np.pi / 3) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
