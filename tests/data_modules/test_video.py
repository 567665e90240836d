"""Clips of videos: exact frames, one crop and flip per clip, no clip across a cut, a split by content."""

from __future__ import annotations

import builtins
import gc
import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from data_modules import video as module
from data_modules.video import VideoClips, VideoDataModule, choose_reader, split
from data_modules.video_cache import TrainingVideo
from tests import media
from tests.data_modules.cases import Grey, make_videos
from vst.errors import UserError
from vst.flow import warp
from vst.video.clips import FrameIndex

SETTINGS = {
    "clip_length": 4, "crop": 32, "margin": 8, "batch_size": 2, "steps_per_epoch": 3, "num_workers": 0,
    "seed": 0, "short_side": 64,
}  # fmt: skip


def _module(root: Path, **settings) -> VideoDataModule:
    data = VideoDataModule(Grey(), root=root, **{**SETTINGS, **settings})
    data.setup()
    return data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("videos"), 6)


def _names(source: VideoClips) -> set[str]:
    return {segment.video.name for segment in source.segments}


@pytest.mark.parametrize("backend", ["decord", "pyav"])
def test_a_batch_has_the_shapes_of_the_contract(folder: Path, backend: str) -> None:
    if backend == "decord":
        pytest.importorskip("decord")
    data = _module(folder, backend=backend)
    batch = next(iter(data.train_dataloader()))
    assert batch.frames.shape == (2, 4, 3, 48, 48) and batch.frames.dtype == torch.float32
    assert 0 <= batch.frames.min() and batch.frames.max() <= 1 and batch.frames.std() > 0.1
    assert batch.flow.shape == (2, 3, 2, 48, 48) and batch.valid.shape == (2, 3, 1, 48, 48)
    assert set(batch.valid.unique().tolist()) <= {0.0, 1.0}
    assert all(name.split(":")[0] in {f"clip{i}.mp4" for i in range(6)} for name in batch.source)
    assert next(iter(data.val_dataloader())).frames.shape[1:] == (4, 3, 48, 48)


def test_both_backends_give_the_same_item(folder: Path) -> None:
    pytest.importorskip("decord")
    one, other = (
        _module(folder, backend=backend).train_source().sample(np.random.default_rng(4))
        for backend in ("decord", "pyav")
    )
    assert one.source == other.source
    assert torch.equal(one.frames, other.frames)


def test_an_item_is_the_frames_it_says_with_one_crop_and_one_flip(tmp_path: Path) -> None:
    """The item is found, pixel for pixel, at one place of the frames that its source names."""
    media.make_video(tmp_path / "one.mp4", n=40, bframes=2)
    data = _module(tmp_path, stride=3, flow="none", backend="pyav", cache=False)
    source = data.train_source()
    oracle = np.stack(media.decode_sequentially(tmp_path / "one.mp4"))
    flips = set()
    places = set()
    for seed in range(12):
        clip = source.sample(np.random.default_rng(seed))
        start = int(clip.source.split(":")[1])
        item = (clip.frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        found = _find(item, oracle[start : start + 10 : 3])
        assert len(found) == 1
        places.add(found[0][:2])
        flips.add(found[0][2])
    assert flips == {False, True} and len(places) > 6


def _find(item: np.ndarray, frames: np.ndarray) -> list[tuple[int, int, bool]]:
    """Every (top, left, flipped) at which the clip `item` lies in the clip `frames`."""
    found = []
    for flipped in (False, True):
        wanted = item[:, :, ::-1] if flipped else item
        windows = np.lib.stride_tricks.sliding_window_view(frames[0, :, :, 0], item.shape[1:3])
        corners = (windows[..., ::8, ::8] == wanted[0, ::8, ::8, 0]).all(axis=(2, 3))
        for top, left in np.argwhere(corners).tolist():
            if np.array_equal(frames[:, top : top + item.shape[1], left : left + item.shape[2]], wanted):
                found.append((top, left, flipped))
    return found


@pytest.mark.parametrize("flipped", [False, True])
def test_the_flow_leads_back_to_the_frame_before(tmp_path: Path, flipped: bool) -> None:
    frames = media.pattern_frames(24, width=128, height=96)
    frames[:, :24] = frames[:, 24:48]  # no number: its cells do not move
    media.make_video(tmp_path / "one.mp4", frames=frames)
    source = _module(tmp_path, short_side=96).train_source()
    down, right = media.STEP
    for seed in range(30):
        rng = np.random.default_rng(seed)
        clip = source.sample(rng)
        u = clip.flow[:, 0][clip.valid[:, 0] == 1].median()
        if (u > 0) != flipped:
            continue
        assert abs(abs(u) - right) < 0.5
        assert abs(clip.flow[:, 1][clip.valid[:, 0] == 1].median() + down) < 0.5
        warped, _ = warp(clip.frames[:-1], clip.flow)
        error = ((warped - clip.frames[1:]).abs() * clip.valid).mean()
        assert clip.valid.mean() > 0.5
        assert error < 0.5 * ((clip.frames[:-1] - clip.frames[1:]).abs() * clip.valid).mean()
        return
    pytest.fail("30 clips and none of this orientation")


def test_flow_none_leaves_the_motion_unknown(folder: Path) -> None:
    batch = next(iter(_module(folder, flow="none").train_dataloader()))
    assert batch.flow is None and batch.valid is None


def test_no_clip_crosses_a_cut_and_every_start_is_drawn(tmp_path: Path) -> None:
    scenes = [media.pattern_frames(11, seed=s, first=11 * s) for s in range(3)]
    media.make_video(tmp_path / "cuts.mp4", frames=np.concatenate(scenes))
    data = _module(tmp_path, stride=2, flow="none")
    (video,) = data._scanned().videos
    assert video.cuts == (11, 22)
    clips = VideoClips(module._segments(video), 4, 2, 48, "pyav", None, "")
    starts = {clips.draw(np.random.default_rng(seed))[1] for seed in range(300)}
    assert starts == {scene + offset for scene in (0, 11, 22) for offset in range(5)}


def test_the_split_follows_content_and_not_order(folder: Path, tmp_path: Path) -> None:
    def sides(root: Path) -> tuple[set[bytes], set[bytes]]:
        data = _module(root, val_fraction=0.3)
        return tuple(
            {(root / name).read_bytes() for name in _names(source)}
            for source in (data.train_source(), data.val_source())
        )

    train, val = sides(folder)
    assert len(train) + len(val) == 6 and train and val and not train & val
    for number, path in enumerate(sorted(folder.glob("*.mp4"), reverse=True)):
        (tmp_path / f"{number}.mp4").write_bytes(path.read_bytes())
    assert sides(tmp_path) == (train, val)


def _fake(digest: float, frames: int = 20, cuts: tuple[int, ...] = ()) -> TrainingVideo:
    index = FrameIndex("x", 0, frames, 64, 64, 0, (), ())
    return TrainingVideo(str(digest), f"{int(digest * 16**12):012x}", index, (64, 64), cuts, True, None)


@pytest.mark.parametrize(
    ("digests", "held_out"),
    [
        ([0.05, 0.5, 0.9], {"0.05"}),
        ([0.5, 0.7, 0.9], {"0.5"}),
        ([0.01, 0.02], {"0.01"}),
        ([0.01, 0.05, 0.08, 0.5], {"0.01", "0.05", "0.08"}),
    ],
)
def test_each_side_of_the_split_has_a_file(digests: list[float], held_out: set[str]) -> None:
    videos = [_fake(digest) for digest in digests]
    train, val = split(videos, 0.1, 4)
    assert {s.video.name for s in val} == held_out
    assert {s.video.name for s in train} == {v.name for v in videos} - held_out


def test_a_single_file_is_split_by_time() -> None:
    def ranges(video: TrainingVideo, fraction: float, span: int) -> list[list[tuple[int, int]]]:
        return [[(s.first, s.end) for s in side] for side in split([video], fraction, span)]

    assert ranges(_fake(0.5, 100), 0.1, 4) == [[(0, 90)], [(90, 100)]]
    assert ranges(_fake(0.5, 100, (50, 95)), 0.2, 4) == [[(0, 50), (50, 80)], [(80, 95), (95, 100)]]
    assert ranges(_fake(0.5, 20), 0.1, 8) == [[(0, 12)], [(12, 20)]], "validation has room for one clip"
    assert ranges(_fake(0.5, 10), 0.1, 8) == [[(0, 10)], [(0, 10)]], "no room for both"


def test_videos_too_short_or_too_small_are_named(folder: Path, tmp_path: Path, caplog) -> None:
    for path in folder.glob("clip[0-2].mp4"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    media.make_video(tmp_path / "short.mp4", n=3)
    media.make_video(tmp_path / "small.mp4", n=12, width=64, height=40)
    (tmp_path / "empty.mp4").touch()
    with caplog.at_level(logging.WARNING):
        data = _module(tmp_path)
    (message,) = caplog.messages
    for expected in (
        "empty.mp4: ",
        "short.mp4: 3 frames",
        "small.mp4: 64 x 40",
        "3 of 6 video files skipped",
    ):
        assert expected in message
    assert "(3 files skipped)" in data.describe()


def test_none_that_fits_is_an_error_with_the_number_needed(folder: Path) -> None:
    with pytest.raises(UserError, match="no video has 16 frames without a cut") as raised:
        _module(folder, stride=5)
    assert "\n" not in str(raised.value)
    with pytest.raises(UserError, match="136 x 136 pixels"):
        _module(folder, crop=120, short_side=None)


def test_the_line_for_the_log(folder: Path) -> None:
    line = _module(folder, backend="pyav").describe()
    assert "72 frames" not in line, "validation frames are not counted as training frames"
    assert "cached at 64 px, read by PyAV; validation: " in line
    data = _module(folder, backend="auto", cache=False)
    assert "not cached and therefore read by PyAV" in data.describe()
    assert data.reader == "pyav"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "decrod"}, "did you mean 'decord'"),
        ({"flow": "raff"}, r"data\.flow=raff is not one of dis, .*none \(did you mean 'raft'"),
        ({"flow": "raft"}, "flow_weights=torchvision"),
        ({"flow": "exact"}, "data=synthetic"),
        ({"flow": "none", "flow_weights": "x.pth"}, "flow_weights"),
        ({"flow": "none", "flow_cache": True}, r"data\.flow_cache=true"),
        ({"flow_cache": True, "cache": False}, r"data\.cache=true"),
        ({"stride": 0}, r"data\.stride is 0"),
        ({"val_fraction": 1.0}, r"data\.val_fraction is 1\.0"),
        ({"short_side": 40}, "at least .* 48"),
    ],
)
def test_mistakes_are_errors_of_one_line(folder: Path, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        _module(folder, **settings)
    assert "\n" not in str(raised.value)


def test_decord_is_optional(monkeypatch) -> None:
    real = builtins.__import__

    def without_decord(name: str, *args, **kwargs):
        if name == "decord":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_decord)
    assert choose_reader("auto", cache=True) == "pyav"
    with pytest.raises(UserError, match="pip install decord"):
        choose_reader("decord", cache=True)


def test_decord_never_reads_a_source(tmp_path: Path) -> None:
    media.make_video(tmp_path / "a.mp4", n=8)
    data = _module(tmp_path, cache=False, backend="decord")
    assert data.reader == "pyav"
    with pytest.raises(AssertionError, match="cache files only"):
        module.read_frames(data._scanned().videos[0], 0, 4, 1, "decord")


class _OpenFiles(Dataset[int]):
    """Draws a clip in the worker and counts the video files that are still open after it."""

    def __init__(self, source: VideoClips, folder: Path) -> None:
        self.source, self.folder = source, str(folder)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        self.source.sample(np.random.default_rng(index))
        links = Path("/proc/self/fd").iterdir()
        return sum(os.readlink(link).startswith(self.folder) for link in links if link.is_symlink())


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files through /proc")
@pytest.mark.parametrize("backend", ["decord", "pyav"])
def test_workers_close_their_readers(folder: Path, backend: str) -> None:
    if backend == "decord":
        pytest.importorskip("decord")
    source = _module(folder, backend=backend, flow="none").train_source()
    gc.disable()
    try:
        counts = list(DataLoader(_OpenFiles(source, folder), num_workers=2, batch_size=None))
    finally:
        gc.enable()
    assert counts == [0, 0, 0, 0]


def test_two_workers_give_the_data_of_none(folder: Path) -> None:
    here, there = (_module(folder, num_workers=workers) for workers in (0, 2))
    for one, other in zip(here.train_dataloader(), there.train_dataloader(), strict=True):
        assert one.source == other.source
        assert torch.equal(one.frames, other.frames)
        assert torch.equal(one.flow, other.flow)


def test_a_source_can_be_sent_to_a_spawned_worker(folder: Path) -> None:
    source = _module(folder, flow="none").train_source()
    again = pickle.loads(pickle.dumps(source))
    one, other = (s.sample(np.random.default_rng(3)) for s in (source, again))
    assert torch.equal(one.frames, other.frames)


def test_previews_are_runs_of_held_out_frames_of_one_size(folder: Path) -> None:
    data = _module(folder)
    clips = data.preview_clips(2, length=100, size=48)
    assert [tuple(clip.frames.shape) for clip in clips] == [(12, 3, 48, 48)] * 2
    assert {clip.source.split(":")[0] for clip in clips} <= _names(data.val_source())
    assert data.preview_clips(1, length=5, size=10**4)[0].frames.shape == (5, 3, 64, 64)
