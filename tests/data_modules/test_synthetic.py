"""The default data: bundled photographs in motion, without a download."""

import socket

import numpy as np
import pytest
import torch

from data_modules import motion, synthetic
from data_modules.synthetic import BundledPhotos, PhotoClips, SyntheticDataModule
from tests.data_modules.cases import Grey
from vst.errors import UserError


def module(**changes) -> SyntheticDataModule:
    options = dict(clip_length=3, crop=32, margin=4, batch_size=2, steps_per_epoch=4, num_workers=0, seed=3)
    data = SyntheticDataModule(Grey(), **(options | changes))
    data.setup()
    return data


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def test_batches_have_the_promised_form():
    batches = list(module().train_dataloader())
    assert len(batches) == 4
    for batch in batches:
        assert batch.frames.shape == (2, 3, 3, 40, 40) and batch.style.shape == (2, 3, 8, 8)
        assert batch.flow.shape == (2, 2, 2, 40, 40) and batch.valid.shape == (2, 2, 1, 40, 40)
        assert 0 <= batch.frames.min() and batch.frames.max() <= 1
        assert batch.frames.std() > 0.02, "not a picture"
    assert len({name for batch in batches for name in batch.source}) > 1


def test_validation_sees_other_photographs_than_training():
    data = module(steps_per_epoch=20, crop=16, margin=0, clip_length=1)
    train = {name for batch in data.train_dataloader() for name in batch.source}
    val = {name for batch in data.val_dataloader() for name in batch.source}
    assert len(train) == len(synthetic.TRAIN_PHOTOS) and len(val) == len(synthetic.VAL_PHOTOS)
    assert not train & val


def test_describe_names_the_origin():
    text = module().describe()
    assert "4 photographs of scikit-image in synthetic motion" in text
    assert "1 held-out photograph of scikit-image" in text and "grey" in text and "\n" not in text


def test_bundled_photographs_are_in_colour():
    for index in range(len(photos := BundledPhotos(synthetic.TRAIN_PHOTOS + synthetic.VAL_PHOTOS))):
        pixels, name = photos.load(index)
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        assert min(pixels.shape[:2]) >= 300, name
        assert np.ptp(pixels.astype(int), axis=2).mean() > 5, f"{name} is grey"


def test_a_missing_photograph_is_explained(monkeypatch):
    monkeypatch.setattr(synthetic, "TRAIN_PHOTOS", ("vanished.png",))
    with pytest.raises(UserError, match=r"lacks vanished\.png; .*data=images"):
        module()


class TwoPlainPhotos:
    place = "nothing"

    def __len__(self) -> int:
        return 2

    def load(self, index: int) -> tuple[np.ndarray, str]:
        pixels = np.full((120, 120, 3), 20, np.uint8)
        pixels[..., index] = 230
        return pixels, f"photo {index}"


def test_objects_come_from_the_same_or_another_photograph(monkeypatch):
    monkeypatch.setattr(motion, "HUE_TURN", 0)  # the photographs are told apart by their colour
    clips = PhotoClips(TwoPlainPhotos(), length=2, size=48)
    colours = []
    for seed in range(40):
        clip = clips.sample(np.random.default_rng(seed))
        background = int(clip.source[-1])
        dominant = clip.frames.argmax(dim=1)
        assert (dominant == background).float().mean() > 0.1
        colours.append(len(dominant.unique()))
    assert {1, 2} == set(colours)
    assert clips.describe() == "2 photographs of nothing in synthetic motion"


def test_previews_are_long_large_and_without_objects():
    clips, again = (module().preview_clips(3, length=8, size=64) for _ in range(2))
    assert [tuple(clip.frames.shape) for clip in clips] == [(8, 3, 64, 64)] * 3
    assert len({clip.source for clip in clips}) == 3 and clips[0].source.endswith("chelsea.png")
    assert all(torch.equal(a.frames, b.frames) for a, b in zip(clips, again, strict=True))
    plain = PhotoClips(TwoPlainPhotos(), 2, 48, camera_only=True)
    for seed in range(20):
        clip = plain.sample(np.random.default_rng(seed))
        assert len(clip.frames.argmax(dim=1).unique()) == 1, "an object cut from the other photograph"
