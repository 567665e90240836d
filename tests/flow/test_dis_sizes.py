"""OpenCV's dense inverse search kills the process where frames are low and wide."""

import pytest
import torch

from vst.flow.dis import DIS


@pytest.mark.parametrize("size", [(16, 80), (20, 320), (24, 700), (31, 160), (90, 16)])
@pytest.mark.parametrize("preset", ["fast", "medium"])
def test_low_and_wide_frames_have_a_flow(size, preset):
    torch.manual_seed(0)
    frame = torch.nn.functional.interpolate(torch.rand(1, 1, 12, 40), (size[0], size[1] + 2), mode="bicubic").clamp(
        0, 1
    )
    flow = DIS(preset)(frame[..., 2:], frame[..., :-2])
    assert flow.shape == (1, 2, *size)
    assert (flow[:, 0].median() - 2).abs() < 0.5 or min(size) < 20
