"""Real clips and photographs in motion in one batch."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data_modules.flow_cache import FlowCache
from data_modules.mixed import MixedClips, MixedDataModule
from tests import media
from tests.data_modules.cases import Grey, make_videos
from vst.batch import Clip
from vst.errors import UserError
from vst.flow import warp

SETTINGS = {
    "clip_length": 3, "crop": 32, "margin": 8, "batch_size": 4, "steps_per_epoch": 8, "num_workers": 0, "seed": 0,
    "short_side": 64,
}  # fmt: skip


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_videos(tmp_path_factory.mktemp("videos"), 3)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for seed in range(4):
        Image.fromarray(media.pattern_frames(1, width=160, height=120, seed=seed)[0]).save(root / f"{seed}.png")
    return root


def module(root: Path, **changes) -> MixedDataModule:
    data = MixedDataModule(Grey(), root=root, **(SETTINGS | changes))
    data.setup()
    return data


def is_video(source: str) -> bool:
    return ".mp4:" in source


def test_a_batch_holds_both_with_their_flow(videos: Path, photos: Path) -> None:
    data = module(videos, photos=photos, val_clips=12)
    batches = list(data.train_dataloader())
    for batch in batches:
        assert batch.frames.shape == (4, 3, 3, 48, 48)
        assert batch.flow.shape == (4, 2, 2, 48, 48) and batch.valid.shape == (4, 2, 1, 48, 48)
        for frames, flow, valid in zip(batch.frames, batch.flow, batch.valid, strict=True):
            warped, inside = warp(frames[:-1], flow)
            seen = valid * inside
            assert seen.mean() > 0.3
            assert ((warped - frames[1:]).abs() * seen).sum() / (3 * seen.sum()) < 0.04
    kinds = [{is_video(source) for source in batch.source} for batch in batches]
    assert {True, False} in kinds
    assert all(is_video(s) or s.endswith(".png") for batch in batches for s in batch.source)
    assert {is_video(s) for batch in data.val_dataloader() for s in batch.source} == {True, False}


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def sample(self, rng: np.random.Generator, length: int | None = None) -> Clip:
        return Clip(torch.from_numpy(rng.random((1, 3, 2, 2), dtype=np.float32)), self.name)

    def describe(self) -> str:
        return self.name


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_the_shares_are_those_asked_for(share: float) -> None:
    clips = MixedClips(Named("a"), Named("b"), share)
    drawn = [clips.sample(np.random.default_rng([1, index])).source for index in range(2000)]
    assert drawn.count("a") / 2000 == pytest.approx(share, abs=3.5 * (share * (1 - share) / 2000) ** 0.5)
    assert clips.describe() == f"{100 * share:g} % from a; {100 - 100 * share:g} % from b"


def test_an_item_depends_on_its_generator_alone(videos: Path) -> None:
    source = module(videos).train_source()
    again = pickle.loads(pickle.dumps(source))
    for seed in range(6):
        one, other = (s.sample(np.random.default_rng(seed)) for s in (source, again))
        assert one.source == other.source and torch.equal(one.frames, other.frames)
        assert torch.equal(one.flow, other.flow) and torch.equal(one.valid, other.valid)


def test_bundled_photographs_are_the_default_and_no_held_out_one_is_trained_on(videos: Path) -> None:
    data = module(videos, steps_per_epoch=20, clip_length=1, val_clips=20)
    assert "50 % from 4 photographs of scikit-image in synthetic motion" in data.describe()
    trained = {s for batch in data.train_dataloader() for s in batch.source if not is_video(s)}
    held_out = {s for batch in data.val_dataloader() for s in batch.source if not is_video(s)}
    assert len(trained) == 4 and held_out == {"scikit-image/chelsea.png"}


def test_the_camera_is_that_of_both_kinds_and_leaves_flow_and_validation_alone(videos: Path, photos: Path) -> None:
    clean, noisy = (module(videos, photos=photos, clip_length=2, noise=noise) for noise in ([0, 0], [0.1, 0.1]))
    seen = set()
    for seed in range(12):
        one, other = (data._sources[0].sample(np.random.default_rng(seed)) for data in (clean, noisy))
        assert one.source == other.source
        assert torch.equal(one.flow, other.flow) and torch.equal(one.valid, other.valid)
        inner = (one.frames - 0.5).abs() < 0.15
        assert (other.frames - one.frames)[inner].std() == pytest.approx(0.1, rel=0.1)
        seen.add(is_video(one.source))
    assert seen == {True, False}
    for one, other in zip(clean.val_dataloader(), noisy.val_dataloader(), strict=True):
        assert torch.equal(one.frames, other.frames)


def test_the_speed_is_that_of_the_photographs(videos: Path, photos: Path) -> None:
    source = module(videos, photos=photos, speed=0.0).train_source()
    still = [source.photos.sample(np.random.default_rng(seed)).flow for seed in range(10)]
    assert torch.stack(still).abs().max() < 1e-4
    assert source.videos.sample(np.random.default_rng(0)).flow.abs().median() > 0.5


def test_flow_from_the_cache(videos: Path, photos: Path) -> None:
    data = module(videos, photos=photos, flow_cache=True)
    assert isinstance(data._sources[0].videos.flow, FlowCache)
    items = [item for batch in data.train_dataloader() for item in zip(batch.source, batch.flow, strict=True)]
    assert {is_video(source) for source, _ in items} == {True, False}
    assert all(flow.abs().median() > 0.1 for source, flow in items if is_video(source))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"video_share": 0.0}, "data=images"),
        ({"video_share": 1.5}, r"data\.video_share is 1\.5"),
        ({"flow": "none"}, r"data\.flow=none"),
        ({"photos": "nowhere"}, "data.photos=nowhere: no such folder"),
        ({"speed": -1.0}, r"data\.speed is -1\.0"),
        ({"speed": 99.0}, "between 0 and 32"),
    ],
)
def test_mistakes_are_one_line(videos: Path, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        module(videos, **options)
    assert "\n" not in str(error.value)


def test_a_damaged_photograph_is_named_with_its_option(videos: Path, photos: Path, tmp_path: Path, caplog) -> None:
    for path in photos.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "bad.png").write_bytes(b"no")
    with caplog.at_level(logging.WARNING):
        module(videos, photos=tmp_path)
    assert any(message.startswith(f"data.photos={tmp_path}: left out 1 of 5") for message in caplog.messages)
