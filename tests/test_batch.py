import torch
from torch.utils.data import DataLoader

from vst.batch import ClipBatch


def batch():
    return ClipBatch(
        frames=torch.rand(2, 3, 3, 8, 10),
        style=torch.rand(2, 3, 4, 4),
        source=["a", "b"],
        flow=torch.rand(2, 2, 2, 8, 10),
        valid=torch.ones(2, 2, 1, 8, 10),
    )


def test_interior_cuts_frames_flow_and_valid_and_leaves_the_style():
    whole = batch()
    inner = whole.interior(2)
    assert torch.equal(inner.frames, whole.frames[..., 2:-2, 2:-2])
    assert torch.equal(inner.flow, whole.flow[..., 2:-2, 2:-2])
    assert inner.valid.shape == (2, 2, 1, 4, 6)
    assert inner.style is whole.style and whole.interior(0) is whole


def test_first_keeps_the_flow_between_the_frames_that_stay():
    whole = batch()
    assert torch.equal(whole.first(2).flow, whole.flow[:, :1])
    assert whole.first(1).frames.shape[1] == 1 and whole.first(1).flow.shape[1] == 0
    without = ClipBatch(whole.frames, whole.style, whole.source)
    assert without.first(2).flow is None


def test_a_loader_hands_batches_through():
    (out,) = DataLoader([batch()], batch_size=None, collate_fn=lambda x: x)
    assert isinstance(out, ClipBatch)
