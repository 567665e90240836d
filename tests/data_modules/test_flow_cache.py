"""Flow from the cache is the flow of the whole frames: cut, flipped, and estimated once."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from data_modules.flow_cache import FlowCache, _decode, _encode
from data_modules.video import VideoDataModule, _segments
from data_modules.video_cache import CacheError, TrainingVideo
from tests import media
from tests.data_modules.cases import Grey
from vst.cache import cache_folder
from vst.errors import UserError
from vst.flow import DIS, LucasKanade, occlusion_mask, warp
from vst.video.clips import read_clip

SETTINGS = {
    "clip_length": 3, "crop": 32, "margin": 8, "batch_size": 2, "steps_per_epoch": 2, "num_workers": 0,
    "seed": 0, "short_side": 64, "backend": "pyav", "flow_cache": True,
}  # fmt: skip


class Counting(DIS):
    """Counts the pairs that it is asked for."""

    def __init__(self, preset: str = "medium") -> None:
        super().__init__(preset)
        self.pairs = 0

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        self.pairs += len(a)
        return super().__call__(a, b)


def module(root: Path, **settings) -> VideoDataModule:
    return VideoDataModule(Grey(), root=root, **{**SETTINGS, **settings})


def scenery(n: int, seed: int = 0) -> np.ndarray:
    """A moving picture without the number, whose cells do not move."""
    frames = media.pattern_frames(n, width=128, height=96, seed=seed)
    frames[:, :24] = frames[:, 24:48]
    return frames


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    media.make_video(tmp_path / "one.mp4", frames=scenery(20))
    return tmp_path


def whole_frames(video: TrainingVideo, numbers: list[int]) -> Tensor:
    frames = np.concatenate([read_clip(video.index, number, 1, 1, video.size) for number in numbers])
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize(("stride", "estimator"), [(1, DIS()), (3, LucasKanade())], ids=["dis", "lucas_kanade"])
def test_a_clip_has_the_flow_of_the_whole_frames_cut_and_flipped(folder: Path, stride: int, estimator) -> None:
    """Against the estimator itself on the frames that the source names, cut by hand; the place is found by eye."""
    source = module(folder, stride=stride, flow=estimator).train_source()
    (segment,) = source.segments
    flips, places = set(), set()
    for seed in range(10):
        clip = source.sample(np.random.default_rng(seed))
        start = int(clip.source.split(":")[1])
        frames = whole_frames(segment.video, [start + k * stride for k in range(3)])
        flow = estimator(frames[1:], frames[:-1])
        valid = occlusion_mask(flow, estimator(frames[:-1], frames[1:]))
        top, left, flipped = locate(clip.frames, frames)
        flow, valid = (x[..., top : top + 48, left : left + 48] for x in (flow, valid))
        if flipped:
            flow, valid = flow.flip(-1), valid.flip(-1)
            flow = torch.stack([-flow[:, 0], flow[:, 1]], dim=1)
        assert (clip.flow - flow).abs().max() <= 1 / 128 + 1e-6
        # Where rounding decides whether a pixel comes from inside of the square, either answer is right.
        x, y = (flow[:, i] + torch.arange(48.0).view((1, 48) if i == 0 else (48, 1)) for i in (0, 1))
        inside = ((x - 23.5).abs() < 23.5 - 0.01) & ((y - 23.5).abs() < 23.5 - 0.01)
        outside = ((x - 23.5).abs() > 23.5 + 0.01) | ((y - 23.5).abs() > 23.5 + 0.01)
        assert torch.equal(clip.valid[:, 0][inside], valid[:, 0][inside])
        assert clip.valid[:, 0][outside].eq(0).all() and outside.any()
        flips.add(flipped)
        places.add((top, left))
    assert flips == {False, True} and len(places) > 4


def locate(square: Tensor, frames: Tensor) -> tuple[int, int, bool]:
    """Top, left and orientation at which the clip `square` lies in `frames`."""
    found = []
    for flipped in (False, True):
        wanted = square.flip(-1) if flipped else square
        for top in range(frames.shape[2] - 47):
            for left in range(frames.shape[3] - 47):
                if torch.equal(frames[0, :, top, left : left + 48], wanted[0, :, 0]):
                    found.append((top, left, flipped))
    (place,) = found
    return place


@pytest.mark.parametrize("flipped", [False, True])
def test_the_cached_flow_leads_back_to_the_frame_before(folder: Path, flipped: bool) -> None:
    source = module(folder).train_source()
    for seed in range(30):
        clip = source.sample(np.random.default_rng(seed))
        u = clip.flow[:, 0][clip.valid[:, 0] == 1].median()
        if (u > 0) != flipped:
            continue
        warped, inside = warp(clip.frames[:-1], clip.flow)
        assert ((inside == 0) & (clip.valid == 1)).sum() == 0 and clip.valid.mean() > 0.4
        before = ((clip.frames[:-1] - clip.frames[1:]).abs() * clip.valid).mean()
        assert ((warped - clip.frames[1:]).abs() * clip.valid).mean() < 0.5 * before
        return
    pytest.fail("30 clips and none of this orientation")


def test_frames_and_draws_do_not_depend_on_the_cache(folder: Path) -> None:
    cached, fly = (module(folder, flow_cache=kept).train_source() for kept in (True, False))
    for seed in range(4):
        one, other = (source.sample(np.random.default_rng(seed)) for source in (cached, fly))
        assert one.source == other.source and torch.equal(one.frames, other.frames)
        assert (one.flow.shape, one.valid.shape) == (other.flow.shape, other.valid.shape)
        both = (one.valid * other.valid).bool().expand(-1, 2, -1, -1)
        assert (one.flow - other.flow)[both].abs().median() < 0.3


def test_on_the_fly_the_flow_is_that_of_the_square(folder: Path) -> None:
    clip = module(folder, flow_cache=False).train_source().sample(np.random.default_rng(0))
    estimate = DIS()
    assert torch.equal(clip.flow, estimate(clip.frames[1:], clip.frames[:-1]))
    assert torch.equal(clip.valid, occlusion_mask(clip.flow, estimate(clip.frames[:-1], clip.frames[1:])))


def test_what_is_there_is_not_estimated_again(folder: Path) -> None:
    def estimated(**settings) -> int:
        counting = Counting(settings.pop("preset", "medium"))
        data = module(folder, flow=counting, **settings)
        data.setup()
        data.train_source().sample(np.random.default_rng(0))
        return counting.pairs

    assert estimated() == 2 * 19, "every pair both ways"
    assert estimated() == 0
    assert estimated(preset="fast") == 2 * 19, "another estimator"
    assert estimated(stride=2) == 2 * 18, "another stride"
    assert estimated(short_side=72) == 2 * 19, "another size"
    assert estimated() == 0, "the first is still there"
    (folder / "two.mp4").write_bytes((folder / "one.mp4").read_bytes())
    assert estimated() == 0, "the same content under another name"
    (folder / "two.mp4").unlink()
    media.make_video(folder / "one.mp4", frames=scenery(20, seed=1))
    assert estimated() == 2 * 19, "another video under the same name"


def test_an_interrupted_preparation_goes_on_where_it_was(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("data_modules.flow_cache.SHARD", 8)
    media.make_video(tmp_path / "one.mp4", frames=scenery(30))

    class Interrupted(Counting):
        def __call__(self, a: Tensor, b: Tensor) -> Tensor:
            if self.pairs >= 2 * 20:
                raise KeyboardInterrupt
            return super().__call__(a, b)

    with pytest.raises(KeyboardInterrupt):
        module(tmp_path, flow=Interrupted()).setup()
    files = sorted(path.name for path in next(cache_folder("videos").glob("*.flow*")).iterdir())
    assert files == ["00000000.zip", "00000008.zip"], "whole files only"
    counting = Counting()
    module(tmp_path, flow=counting).setup()
    assert counting.pairs == 2 * (29 - 16)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-30])])
def test_damaged_files_are_made_again(folder: Path, damage) -> None:
    source = module(folder).train_source()
    clip = source.sample(np.random.default_rng(0))
    damage(next(cache_folder("videos").glob("*.flow*/00000000.zip")))
    again = module(folder).train_source().sample(np.random.default_rng(0))
    assert torch.equal(clip.flow, again.flow)


def test_no_pair_crosses_a_cut_and_clips_span_files(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("data_modules.flow_cache.SHARD", 4)
    frames = np.concatenate([media.pattern_frames(11, seed=s, first=11 * s) for s in range(2)])
    media.make_video(tmp_path / "cuts.mp4", frames=frames)
    data = module(tmp_path, stride=2)
    (video,) = data._scanned().videos
    assert video.cuts == (11,)
    assert data.prepare_flow() == 18
    cache = FlowCache(data.estimator.key, 2)
    names = []
    for path in sorted(cache.folder(video).iterdir()):
        with zipfile.ZipFile(path) as file:
            names += file.namelist()
    assert names == [str(i) for i in [*range(9), *range(11, 20)]]
    for segment in _segments(video):
        flow, valid = cache.read(video, segment.first, 5, (0, 0, 48, False))
        assert flow.shape == (4, 2, 48, 48) and valid.shape == (4, 1, 48, 48)


def test_a_clip_of_one_frame_has_no_flow(folder: Path) -> None:
    clip = module(folder, clip_length=1).train_source().sample(np.random.default_rng(0))
    assert clip.flow.shape == (0, 2, 48, 48) and clip.valid.shape == (0, 1, 48, 48)


@pytest.mark.parametrize("largest", [0.0, 3.0, 511.0, 900.0])
def test_rounding_stays_within_its_bound(largest: float) -> None:
    rng = np.random.default_rng(0)
    flow = (largest * rng.uniform(-1, 1, (2, 11, 13))).astype(np.float32)
    flow[0, 0, 0] = largest
    mask = rng.random((11, 13)) < 0.5
    again, valid = _decode(_encode(flow, mask.astype(np.float32)), (13, 11))
    assert np.abs(again - flow).max() <= max(1 / 128, largest / 65534) + 1e-4 * (largest > 511)
    assert np.array_equal(valid, mask[None]) and again.dtype == valid.dtype == np.float32


def test_a_source_with_cached_flow_can_be_sent_to_a_worker(folder: Path) -> None:
    source = module(folder).train_source()
    one, other = (s.sample(np.random.default_rng(3)) for s in (source, pickle.loads(pickle.dumps(source))))
    assert torch.equal(one.flow, other.flow)
    assert len(pickle.dumps(source)) < 20_000


def test_the_log_says_so_and_mistakes_are_one_line(folder: Path, monkeypatch) -> None:
    assert "with its flow" in module(folder).train_source().describe()
    assert "with its flow" not in module(folder, flow_cache=False).train_source().describe()
    with pytest.raises(UserError, match=r"data\.flow_weights belongs to data\.flow=raft"):
        module(folder, flow=DIS(), flow_weights="x.pth")

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("data_modules.flow_cache.zipfile.ZipFile.writestr", full)
    with pytest.raises(CacheError, match=r"No space left.*data\.flow_cache=false") as raised:
        module(folder, flow="lucas_kanade").setup()
    assert "\n" not in str(raised.value)
    assert not list(cache_folder("videos").glob("*lucas*/*")), "nothing half done stays"
