"""Occlusion in scenes that know it, and against the rule written out once more in numpy."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vst.flow import occlusion_mask, resize_flow


def constant_flow(dx: float, dy: float, height: int, width: int) -> torch.Tensor:
    return torch.tensor([float(dx), float(dy)]).view(1, 2, 1, 1).expand(1, 2, height, width).contiguous()


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


def by_the_book(flow: np.ndarray, reverse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sundaram et al. 2010, pixel by pixel; flows (2, H, W). Valid, and how near any decision was to its threshold."""
    _, height, width = flow.shape
    valid = np.ones((height, width), bool)
    slack = np.full((height, width), np.inf)
    for y in range(height):
        for x in range(width):
            u, v = flow[:, y, x]
            px, py = x + u, y + v
            if not (0 <= px <= width - 1 and 0 <= py <= height - 1):
                valid[y, x] = False
                continue
            x0, y0 = min(int(px), width - 2), min(int(py), height - 2)
            ax, ay = px - x0, py - y0
            top = (1 - ax) * reverse[:, y0, x0] + ax * reverse[:, y0, x0 + 1]
            bottom = (1 - ax) * reverse[:, y0 + 1, x0] + ax * reverse[:, y0 + 1, x0 + 1]
            ub, vb = (1 - ay) * top + ay * bottom
            round_trip = (u + ub) ** 2 + (v + vb) ** 2 - (0.01 * (u**2 + v**2 + ub**2 + vb**2) + 0.5)
            left, right = flow[:, y, max(x - 1, 0)], flow[:, y, min(x + 1, width - 1)]
            above, below = flow[:, max(y - 1, 0), x], flow[:, min(y + 1, height - 1), x]
            steepness = (((right - left) / 2) ** 2).sum() + (((below - above) / 2) ** 2).sum()
            edge = steepness - (0.01 * (u**2 + v**2) + 0.002)
            valid[y, x] = round_trip <= 0 and edge <= 0
            slack[y, x] = min(abs(round_trip), abs(edge))
    return valid, slack


@pytest.mark.parametrize("size", [(24, 32), (48, 32), (12, 40)])
def test_agrees_with_the_rule_pixel_by_pixel(size):
    """On random smooth motion that fails all three tests somewhere; also at other resolutions than the flow's own."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.normal(size=(2, 2, 3, 4)).astype(np.float32))
    forward, error = F.interpolate(coarse, (24, 32), mode="bicubic", align_corners=True).split(1)
    forward = 0.8 * forward + torch.tensor([3.0, 1.0]).view(2, 1, 1)
    flow, reverse = (resize_flow(f, size) for f in (forward, -forward + 0.8 * error))
    valid = occlusion_mask(flow, reverse)[0, 0].bool().numpy()
    expected, slack = by_the_book(flow[0].double().numpy(), reverse[0].double().numpy())
    assert 0.1 < expected.mean() < 0.9
    clear = slack > 1e-5
    assert clear.mean() > 0.99 and np.array_equal(valid[clear], expected[clear])


def test_the_mask_of_a_resized_flow_needs_its_vectors_resized_too():
    """A round trip that misses by 1 pixel at full size misses by half a pixel at half size, which is allowed."""
    forward, reverse = constant_flow(2, 0, 40, 60), constant_flow(-1, 0, 40, 60)
    assert occlusion_mask(forward, reverse).eq(0).all()
    half = occlusion_mask(resize_flow(forward, (20, 30)), resize_flow(reverse, (20, 30)))
    assert half[..., :29].eq(1).all()
