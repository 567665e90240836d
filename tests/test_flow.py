"""Warping against independent samplers, occlusion in a scene that knows it, DIS against a known shift."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vst.flow import dis_flow, occlusion_mask, warp


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def smooth_picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    coarse = noise(1, 3, height // 8 + 2, width // 8 + 2, seed=seed)
    return F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True).clamp(0, 1)


def constant_flow(dx: float, dy: float, height: int, width: int, batch: int = 1) -> torch.Tensor:
    return torch.tensor([dx, dy]).view(1, 2, 1, 1).expand(batch, 2, height, width).contiguous()


@pytest.mark.parametrize("size", [(16, 16), (33, 50), (120, 250), (1, 7)])
def test_zero_flow_is_the_identity(size):
    image = noise(2, 3, *size)
    warped, inside = warp(image, torch.zeros(2, 2, *size))
    assert (warped - image).abs().max() <= 1e-6
    assert warped.dtype == torch.float32 and inside.shape == (2, 1, *size) and inside.eq(1).all()


@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, 2), (-4, 0), (0, -5), (3, -2)])
def test_integer_shift_is_a_slice(dx, dy):
    image = noise(1, 3, 24, 31)
    warped, inside = warp(image, constant_flow(dx, dy, 24, 31))
    rows = slice(max(0, -dy), 24 - max(0, dy))
    columns = slice(max(0, -dx), 31 - max(0, dx))
    source = image[..., rows.start + dy : rows.stop + dy, columns.start + dx : columns.stop + dx]
    torch.testing.assert_close(warped[..., rows, columns], source, atol=1e-6, rtol=0)
    expected = torch.zeros(24, 31)
    expected[rows, columns] = 1
    assert torch.equal(inside[0, 0], expected)


def test_no_pairs_warp_to_nothing():
    """Clips of one frame have no pair of frames."""
    warped, inside = warp(torch.zeros(0, 3, 8, 8), torch.zeros(0, 2, 8, 8))
    assert warped.shape == (0, 3, 8, 8) and inside.shape == (0, 1, 8, 8)


def test_each_item_of_a_batch_has_its_own_flow():
    image = noise(2, 1, 20, 20)
    flow = torch.cat([constant_flow(1, 0, 20, 20), constant_flow(0, 1, 20, 20)])
    warped, _ = warp(image, flow)
    torch.testing.assert_close(warped[0, :, :, :-1], image[0, :, :, 1:], atol=1e-6, rtol=0)
    torch.testing.assert_close(warped[1, :, :-1], image[1, :, 1:], atol=1e-6, rtol=0)


def test_agrees_with_grid_sample_and_opencv():
    height, width = 30, 41
    image = smooth_picture(height, width)
    flow = 6 * (noise(1, 2, height, width, seed=1) - 0.5)
    warped, _ = warp(image, flow)

    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x, y = columns + flow[0, 0], rows + flow[0, 1]
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)[None]
    oracle = F.grid_sample(image, grid, mode="bilinear", padding_mode="border", align_corners=True)
    torch.testing.assert_close(warped, oracle, atol=2e-5, rtol=0)

    pixels = image[0].permute(1, 2, 0).contiguous().numpy()
    by_opencv = cv2.remap(pixels, x.numpy(), y.numpy(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # OpenCV may round coordinates to 1/32 pixel.
    assert np.abs(by_opencv - warped[0].permute(1, 2, 0).numpy()).max() < 0.02


def test_gradient_flows_to_image_and_flow():
    image = smooth_picture(16, 16).requires_grad_()
    flow = constant_flow(0.5, 0.25, 16, 16).requires_grad_()
    warped, _ = warp(image, flow)
    warped[..., 5, 5].sum().backward()
    # The four bilinear weights of the sampled point, and nothing elsewhere.
    weights = image.grad[0, 0, 5:7, 5:7]
    torch.testing.assert_close(weights, torch.tensor([[0.375, 0.375], [0.125, 0.125]]), atol=1e-6, rtol=0)
    assert image.grad.count_nonzero() == 3 * 4
    assert flow.grad[0, :, 5, 5].abs().min() > 0


def test_coordinates_stay_exact_in_bfloat16():
    width = 600
    ramp = (torch.arange(width) / width).expand(1, 1, 4, width).contiguous()
    flow = constant_flow(0.5, 0, 4, width)
    expected = (ramp + 0.5 / width)[..., :-1]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        warped, inside = warp(ramp, flow)
    assert warped.dtype == torch.float32 and inside.dtype == torch.float32
    torch.testing.assert_close(warped[..., :-1], expected, atol=1e-6, rtol=0)
    low = warp(ramp.bfloat16(), flow)[0]
    assert low.dtype == torch.bfloat16
    # Half a unit in the last place of a number below 1, for the input and for the output.
    assert (low.float()[..., :-1] - expected).abs().max() <= 2 * 2**-9


def moving_square(step: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A square moves right over a still ground: flow a -> b, flow b -> a, and what of a is covered in b."""
    forward, backward = torch.zeros(1, 2, 40, 48), torch.zeros(1, 2, 40, 48)
    forward[:, 0, 12:28, 10:26] = step
    backward[:, 0, 12:28, 10 + step : 26 + step] = -step
    covered = torch.zeros(40, 48, dtype=torch.bool)
    covered[12:28, 26 : 26 + step] = True
    return forward, backward, covered


def test_occlusion_of_a_moving_square_is_found():
    forward, backward, covered = moving_square()
    valid = occlusion_mask(forward, backward)[0, 0]
    assert valid[covered].eq(0).all()
    inner_square, far_ground = valid[14:26, 12:24], valid[:, 36:]
    assert inner_square.eq(1).all() and far_ground.eq(1).all()
    motion_edge = valid[12:28, 9:11]
    assert motion_edge.eq(0).all()
    # Nothing but the covered strip and the outline (one pixel on either side) is rejected.
    outline = F.max_pool2d(forward[:, :1] / 6, 3, 1, 1) + F.max_pool2d(-forward[:, :1] / 6, 3, 1, 1)
    allowed = covered | outline[0, 0].bool()
    assert valid[~allowed].eq(1).all()


def test_occlusion_constants_are_squared_pixels():
    still = torch.zeros(1, 2, 20, 20)
    assert occlusion_mask(still, constant_flow(0.7, 0, 20, 20)).eq(1).all()
    assert occlusion_mask(still, constant_flow(0.72, 0, 20, 20)).eq(0).all()


def test_out_of_frame_is_occluded():
    valid = occlusion_mask(constant_flow(5, 0, 20, 30), constant_flow(-5, 0, 20, 30))[0, 0]
    assert valid[:, :25].eq(1).all() and valid[:, 25:].eq(0).all()


@pytest.mark.parametrize(("dx", "dy"), [(3.0, -2.0), (-1.5, 4.0)])
def test_dis_finds_a_known_shift(dx, dy):
    texture = cv2.GaussianBlur(np.random.default_rng(0).random((120, 150, 3)).astype(np.float32), (0, 0), 1.5)
    texture = (texture - texture.min()) / np.ptp(texture)
    moved = cv2.warpAffine(texture, np.float32([[1, 0, dx], [0, 1, dy]]), (150, 120), flags=cv2.INTER_CUBIC)
    a, b = (torch.from_numpy(np.clip(p[10:-10, 10:-10].transpose(2, 0, 1), 0, 1)) for p in (texture, moved))
    flow = dis_flow(a, b)
    assert flow.shape == (2, 100, 130) and flow.dtype == torch.float32
    error = (flow - torch.tensor([dx, dy]).view(2, 1, 1)).norm(dim=0)[8:-8, 8:-8]
    assert error.mean() < 0.3
    # The flow lies on the grid of a: warping b by it gives a.
    warped, inside = warp(b[None], flow[None])
    assert ((warped - a)[0].abs() * inside[0]).mean() < 0.2 * (b - a).abs().mean()
