"""A folder of photographs of every kind, good and bad."""

import logging
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from data_modules import images
from data_modules.images import FolderPhotos, ImagesDataModule, read_photo, readable_photos, split_names
from tests.data_modules.cases import Grey
from vst.errors import UserError


def picture(seed: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def save(path: Path, seed: int = 0, **shape: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, **shape)).save(path)


def damage(path: Path) -> None:
    """Leaves the header whole, so that only decoding finds out."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def module(root: Path, **changes) -> ImagesDataModule:
    options = dict(clip_length=2, crop=32, margin=4, batch_size=2, steps_per_epoch=3, num_workers=0, seed=3)
    return ImagesDataModule(Grey(), root=str(root), **(options | changes))


@pytest.fixture
def folder(tmp_path) -> Path:
    for i in range(12):
        save(tmp_path / "train" / f"{i:02}.png", seed=i)
    return tmp_path


def test_finds_pictures_at_any_depth_and_nothing_else(tmp_path):
    for name in ("a.jpg", "b/c.JPEG", "b/d/e.png", "f.webp"):
        save(tmp_path / name)
    for name in (".hidden.png", ".cache/g.png"):
        save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    assert readable_photos(tmp_path) == ["a.jpg", "b/c.JPEG", "b/d/e.png", "f.webp"]


def test_batches_with_and_without_workers(folder):
    data, parallel = module(folder), module(folder, num_workers=2)
    data.setup()
    parallel.setup()
    for one, other in zip(data.train_dataloader(), parallel.train_dataloader(), strict=True):
        assert one.frames.shape == (2, 2, 3, 40, 40) and one.flow.shape == (2, 1, 2, 40, 40)
        assert torch.equal(one.frames, other.frames) and one.source == other.source
    held_out = {name for batch in data.val_dataloader() for name in batch.source}
    trained = {name for batch in data.train_dataloader() for name in batch.source}
    assert held_out and trained and not held_out & trained
    description = data.describe()
    assert f"11 photographs of {folder} in synthetic motion" in description
    assert f"validation: 1 held-out photograph of {folder}" in description


def test_broken_pictures_are_left_out_and_named_once(folder, caplog):
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    save(folder / "tiny.png", height=20, width=40)
    with caplog.at_level(logging.WARNING):
        data = module(folder)
        data.setup()
    (record,) = caplog.records
    message = record.getMessage()
    assert "left out 3 of 15 photographs" in message and "\n" not in message
    assert all(name in message for name in ("empty.jpg", "text.png", "tiny.png (smaller than 32 pixels)"))
    assert len(list(data.train_dataloader())) == 3


def test_many_broken_pictures_still_make_one_short_line(folder, caplog):
    for i in range(30):
        (folder / f"bad{i:02}.jpg").write_bytes(b"bad")
    with caplog.at_level(logging.WARNING):
        readable_photos(folder)
    (record,) = caplog.records
    assert "30 of 42" in record.getMessage() and record.getMessage().endswith("and 25 more")


def test_a_picture_damaged_inside_is_replaced_by_the_next(tmp_path, caplog):
    names = [f"{i}.png" for i in range(3)]
    for i, name in enumerate(names):
        save(tmp_path / name, seed=i)
    damage(tmp_path / "1.png")
    assert readable_photos(tmp_path) == names
    photos = FolderPhotos(tmp_path, names, short_side=200)
    with caplog.at_level(logging.WARNING):
        first = photos.load(1)
        again = photos.load(1)
    assert first[1] == again[1] == "2.png" and np.array_equal(first[0], picture(2))
    assert len(caplog.records) == 1 and "1.png is damaged" in caplog.text
    for name in names:
        damage(tmp_path / name)
    with pytest.raises(UserError, match="not one of its 3 photographs can be decoded"):
        FolderPhotos(tmp_path, names, short_side=200).load(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root / "absent", "no such folder"),
        (lambda root: (root / "file.jpg").write_text("x") and root / "file.jpg", "is a file"),
        (lambda root: root, r"holds no photographs \(\.jpg"),
        (lambda root: (root / "bad.jpg").write_text("x") and root, r"none is usable, 1 of 1 .*bad\.jpg"),
    ],
    ids=["missing", "file", "empty", "unreadable"],
)
def test_a_wrong_root_is_explained_in_one_line(tmp_path, make, message):
    with pytest.raises(UserError, match=message) as error:
        module(make(tmp_path)).setup()
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_split_is_by_name_and_stays_when_files_are_added():
    names = [f"{i:05}.jpg" for i in range(2000)]
    train, val = split_names(names)
    assert not set(train) & set(val) and sorted(train + val) == names
    assert 60 < len(val) < 140
    more_train, more_val = split_names([*names, *(f"new{i}.jpg" for i in range(500))])
    assert set(val) <= set(more_val) and set(train) <= set(more_train)
    assert split_names(names[::-1]) == (train, val)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_split_of_few_photographs_leaves_none_empty(count):
    for start in range(0, 400, count):
        train, val = split_names([f"{i}.jpg" for i in range(start, start + count)])
        assert train and val and not set(train) & set(val) and len(train) + len(val) == count


def test_folders_named_train_and_val_are_the_split(tmp_path):
    """As in COCO; what lies outside of them is neither trained nor validated on."""
    for name in ("images/train2017/a.png", "images/train2017/b.png", "images/val2017/c.png", "test2017/d.png", "e.png"):
        save(tmp_path / name, seed=len(name))
    data = module(tmp_path, steps_per_epoch=10, clip_length=1)
    data.setup()
    trained = {name for batch in data.train_dataloader() for name in batch.source}
    held_out = {name for batch in data.val_dataloader() for name in batch.source}
    assert trained == {"images/train2017/a.png", "images/train2017/b.png"}
    assert held_out == {"images/val2017/c.png"}
    assert f"2 photographs of {tmp_path} (train2017)" in data.describe()
    assert f"1 held-out photograph of {tmp_path} (val2017)" in data.describe()
    assert data.preview_clips(2, length=2, size=48)[1].source == "images/val2017/c.png"


@pytest.mark.parametrize("folders", [("train2017", "other"), ("trains", "valley"), ("val", "test")])
def test_other_folders_are_no_split(tmp_path, folders):
    names = [f"{folder}/{i}.png" for folder in folders for i in range(5)]
    for i, name in enumerate(names):
        save(tmp_path / name, seed=i)
    train, val = images.folder_photos(tmp_path, 32)
    assert sorted(train.names + val.names) == sorted(names)
    assert (train.names, val.names) == split_names(names)


def test_a_single_photograph_serves_both_and_says_so(tmp_path, caplog):
    save(tmp_path / "only.png")
    with caplog.at_level(logging.WARNING):
        data = module(tmp_path)
        data.setup()
    assert "single photograph" in caplog.text
    assert next(iter(data.val_dataloader())).source[0] == "only.png"


def test_orientation_tag_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: turn clockwise to view
    upright = picture(height=64, width=48)
    Image.fromarray(np.rot90(upright)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_photo(tmp_path / "a.png", 500), upright)


def test_every_kind_of_pixel_becomes_rgb(tmp_path):
    colour = picture()
    grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
    opaque_left = np.zeros_like(grey)
    opaque_left[:, :32] = 255
    on_white = colour.copy()
    on_white[:, 32:] = 255
    grey_on_white = np.where(opaque_left > 0, grey, 255)
    rgb = Image.fromarray(colour)

    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "grey16.png")
    Image.fromarray(np.dstack([colour, opaque_left])).save(tmp_path / "alpha.png")
    Image.fromarray(np.dstack([grey, opaque_left])).save(tmp_path / "grey_alpha.png")
    cv2.imwrite(str(tmp_path / "colour16.png"), colour[..., ::-1].astype(np.uint16) * 257)
    rgb.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    rgb.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png", transparency=0)
    rgb.save(tmp_path / "lossless.webp", lossless=True)

    exact = {
        "grey.png": np.dstack([grey] * 3),
        "grey16.png": np.dstack([grey] * 3),
        "alpha.png": on_white,
        "grey_alpha.png": np.dstack([grey_on_white] * 3),
        "colour16.png": colour,
        "lossless.webp": colour,
    }
    for name, expected in exact.items():
        found = read_photo(tmp_path / name, 500)
        assert found.dtype == np.uint8 and np.abs(found.astype(int) - expected).max() <= 1, name
    assert np.abs(read_photo(tmp_path / "cmyk.jpg", 500).astype(int) - colour).mean() < 4
    assert read_photo(tmp_path / "palette.png", 500).shape == colour.shape


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_large_photographs_are_reduced(tmp_path, suffix):
    path = tmp_path / f"large.{suffix}"
    large = picture(height=600, width=900)
    Image.fromarray(large).save(path)
    found = read_photo(path, 128)
    assert found.shape == (128, 192, 3)
    expected = cv2.resize(large, (192, 128), interpolation=cv2.INTER_AREA)
    assert np.abs(found.astype(int) - expected).mean() < 2


def test_memory_is_bounded(folder, monkeypatch):
    names = readable_photos(folder)
    decoded: Counter[str] = Counter()

    def count(path: Path, short_side: int) -> np.ndarray:
        decoded[path.name] += 1
        return read_photo(path, short_side)

    monkeypatch.setattr(images, "CACHED_PHOTOS", 3)
    monkeypatch.setattr(images, "read_photo", count)
    photos = FolderPhotos(folder, names, 100)
    for index in (0, 1, 2, 0, 1, 2):
        photos.load(index)
    assert decoded == {"00.png": 1, "01.png": 1, "02.png": 1}
    photos.load(3)
    photos.load(1)
    photos.load(0)
    assert decoded == {"00.png": 2, "01.png": 1, "02.png": 1, "03.png": 1}
