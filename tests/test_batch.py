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


def test_a_spliced_clip_goes_on_with_its_neighbour():
    whole = ClipBatch(
        frames=torch.rand(3, 4, 3, 5, 6),
        style=torch.rand(3, 3, 4, 4),
        source=["a", "b", "c"],
        flow=torch.rand(3, 3, 2, 5, 6),
        valid=torch.ones(3, 3, 1, 5, 6),
    )
    out = whole.spliced(torch.tensor([2, 4, 1]))  # the second one stays whole
    assert torch.equal(out.frames[0], torch.cat([whole.frames[0, :2], whole.frames[2, 2:]]))
    assert torch.equal(out.frames[1], whole.frames[1]) and torch.equal(out.flow[1], whole.flow[1])
    assert torch.equal(out.frames[2], torch.cat([whole.frames[2, :1], whole.frames[1, 1:]]))
    assert out.cut.tolist() == [[False, True, False], [False] * 3, [True, False, False]]
    assert torch.equal(out.valid[:, :, 0, 0, 0], (~out.cut).float())
    assert torch.equal(out.flow[0, 2], whole.flow[2, 2]) and torch.equal(out.flow[2, 1:], whole.flow[1, 1:])
    assert torch.equal(out.first(2).cut, out.cut[:, :1]) and out.interior(1).cut is out.cut
    assert ClipBatch(whole.frames, whole.style, whole.source).spliced(torch.tensor([4, 4, 4])).flow is None


def test_changes_across_a_cut_do_not_count():
    whole = ClipBatch(torch.rand(2, 3, 3, 4, 4), torch.rand(2, 3, 4, 4), ["a", "b"])
    changes = torch.rand(2, 2, 3, 4, 4)
    assert torch.equal(whole.within_scenes(changes), changes.mean())
    cut = whole.spliced(torch.tensor([1, 2]))
    expected = torch.stack([changes[0, 1], changes[1, 0]]).mean()
    torch.testing.assert_close(cut.within_scenes(changes), expected)
    short = ClipBatch(whole.frames[:, :2], whole.style, whole.source).spliced(torch.tensor([1, 1]))
    assert short.within_scenes(changes[:, :1]) == 0
