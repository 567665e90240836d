"""Warping against independent samplers, resizing and chaining against motions with a closed form."""

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vst.flow import compose_flow, resize_flow, warp


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


def affine_flow(height: int, width: int, matrix: torch.Tensor, shift: tuple[float, float]) -> torch.Tensor:
    """(1, 2, H, W): flow of p -> matrix @ (p - centre) + centre + shift, in pixel coordinates (x, y)."""
    rows, columns = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    points = torch.stack([columns - (width - 1) / 2, rows - (height - 1) / 2])
    moved = torch.einsum("ij,jhw->ihw", matrix, points) + torch.tensor(shift).view(2, 1, 1)
    return (moved - points)[None]


@pytest.mark.parametrize("size", [(20, 60), (80, 30), (41, 59), (40, 50)])
def test_a_resized_flow_is_the_same_motion_in_other_pixels(size):
    """p -> A p + s seen in pixels that are wider and higher: p' = S p with S = diag(w'/w, h'/h)."""
    matrix, shift = torch.tensor([[1.05, 0.03], [-0.02, 0.98]]), (3.0, -2.0)
    flow = affine_flow(40, 50, matrix, shift)
    scale = torch.tensor([size[1] / 50, size[0] / 40])
    expected = affine_flow(
        *size, scale.diag() @ matrix @ (1 / scale).diag(), tuple((scale * torch.tensor(shift)).tolist())
    )
    resized = resize_flow(flow, size)
    assert resized.shape == (1, 2, *size)
    # At the border the interpolation repeats the outermost vectors.
    torch.testing.assert_close(resized[..., 4:-4, 4:-4], expected[..., 4:-4, 4:-4], atol=5e-3, rtol=0)


def test_resizing_to_the_same_size_changes_nothing():
    flow = 5 * noise(2, 2, 17, 23)
    torch.testing.assert_close(resize_flow(flow, (17, 23)), flow, atol=1e-6, rtol=0)


def test_chained_flows_are_the_product_of_their_motions():
    one, other = torch.tensor([[1.02, 0.05], [-0.05, 1.02]]), torch.tensor([[0.97, 0.0], [0.04, 1.03]])
    ab, bc = affine_flow(40, 50, one, (2.0, 1.0)), affine_flow(40, 50, other, (-1.0, 0.5))
    expected = affine_flow(
        40, 50, other @ one, tuple((other @ torch.tensor([2.0, 1.0]) + torch.tensor([-1.0, 0.5])).tolist())
    )
    inside = warp(bc, ab)[1].bool().expand(-1, 2, -1, -1)
    assert inside.float().mean() > 0.8
    torch.testing.assert_close(compose_flow(ab, bc)[inside], expected[inside], atol=1e-4, rtol=0)


def test_chaining_follows_the_first_flow_to_read_the_second():
    """The two flows live on different grids: their plain sum is wrong where the second one varies."""
    ab, bc = constant_flow(4, 0, 10, 30), torch.zeros(1, 2, 10, 30)
    bc[:, 1, :, 20:] = 1
    chained = compose_flow(ab, bc)
    assert chained[0, 0].eq(4).all()
    assert chained[0, 1, :, :16].abs().max() < 1e-6 and (chained[0, 1, :, 16:] - 1).abs().max() < 1e-6
