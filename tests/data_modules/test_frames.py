"""Folders of numbered pictures are videos, in the layout of DAVIS and in others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_modules.frames import frame_files, frame_folders, visit_frames
from data_modules.video import VideoDataModule
from data_modules.video_cache import scan_folder
from tests import media
from tests.data_modules.cases import Grey
from vst.cache import cache_folder
from vst.errors import UserError
from vst.video.clips import read_clip


def sequence(
    folder: Path, n: int = 8, seed: int = 0, step: int = 1, name: str = "{:05}.jpg", **size: int
) -> np.ndarray:
    """Write a moving picture as numbered files; returns its frames."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = media.pattern_frames(n, seed=seed, **{"width": 96, "height": 64, **size})
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / name.format(number * step), quality=95)
    return frames


def davis(root: Path) -> Path:
    for k, name in enumerate(("bear", "dog", "swan")):
        for resolution in ("480p", "1080p"):
            sequence(root / "JPEGImages" / resolution / name, seed=k)
        sequence(root / "Annotations" / "480p" / name, seed=k, name="{:05}.png")
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "train.txt").write_text("bear\ndog\n")
    return root


def below(root: Path) -> list[str]:
    return [folder.relative_to(root).as_posix() for folder in frame_folders(root, [])]


def test_davis_frames_are_found_once_and_its_masks_are_not(tmp_path: Path) -> None:
    davis(tmp_path)
    expected = [f"JPEGImages/480p/{name}" for name in ("bear", "dog", "swan")]
    assert below(tmp_path) == expected
    assert below(tmp_path / "JPEGImages" / "480p") == ["bear", "dog", "swan"]
    assert below(tmp_path / "JPEGImages" / "480p" / "dog") == ["."]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([f"frame_{i:04}.png" for i in range(1, 9)], True),
        ([f"{5 * i:05}.jpg" for i in range(9)], True),
        ([f"{i}.jpg" for i in range(8, 13)], True),
        ([f"{i:03}.jpg" for i in range(30) if i != 17], True),
        (["00000.jpg"], False),
        ([f"IMG_{i}.jpg" for i in (1, 2, 7, 12, 40, 41)], False),
        ([*(f"a{i}.jpg" for i in range(4)), *(f"b{i}.jpg" for i in range(4))], False),
        ([*(f"{i}.jpg" for i in range(4)), *(f"{i}.png" for i in range(4))], False),
        ([*(f"{i}.jpg" for i in range(4)), "cover.jpg"], False),
        ([f".{i}.jpg" for i in range(4)], False),
        ([f"{i}.txt" for i in range(4)], False),
    ],
)
def test_what_is_a_video_is_told_by_the_names(tmp_path: Path, names: list[str], found: bool) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert below(tmp_path) == (["."] if found else [])


def test_pictures_beside_a_video_file_are_no_video(tmp_path: Path) -> None:
    sequence(tmp_path / "thumbnails")
    assert frame_folders(tmp_path, [tmp_path / "thumbnails" / "film.mp4"]) == []


def test_files_come_by_number_and_not_by_name(tmp_path: Path) -> None:
    for number in (10, 9, 8, 11, 12):
        (tmp_path / f"f{number}.png").touch()
    assert [path.name for path in frame_files(tmp_path)] == ["f8.png", "f9.png", "f10.png", "f11.png", "f12.png"]


def test_all_frames_arrive_whole_and_in_order(tmp_path: Path) -> None:
    frames = sequence(tmp_path, n=5, name="x{}.png")
    seen: list[np.ndarray] = []
    assert visit_frames(tmp_path, lambda frame: seen.append(frame.to_ndarray(format="rgb24"))) == (5, None)
    assert np.array_equal(np.stack(seen), frames)


def test_a_video_breaks_off_where_a_frame_is_missing_damaged_or_of_another_size(tmp_path: Path) -> None:
    def result(folder: Path) -> tuple[int, str | None]:
        return visit_frames(folder, lambda frame: None)

    for name in ("gap", "damaged", "size"):
        sequence(tmp_path / name, n=14)
    (tmp_path / "gap" / "00009.jpg").unlink()
    (tmp_path / "damaged" / "00005.jpg").write_bytes(b"no picture")
    Image.new("RGB", (50, 50)).save(tmp_path / "size" / "00003.jpg")
    assert result(tmp_path / "gap") == (9, "breaks off: numbers are missing")
    count, reason = result(tmp_path / "damaged")
    assert count == 5 and "00005.jpg is damaged" in reason
    assert result(tmp_path / "size") == (3, "breaks off: 00003.jpg has another size")


def test_frames_and_files_train_side_by_side(tmp_path: Path) -> None:
    frames = {name: sequence(tmp_path / "JPEGImages" / "480p" / name, seed=k) for k, name in enumerate(("bear", "dog"))}
    media.make_video(tmp_path / "film.mp4", n=8)
    data = VideoDataModule(
        Grey(), root=tmp_path, clip_length=3, crop=32, margin=8, batch_size=4, steps_per_epoch=4, num_workers=0,
        seed=0, short_side=64, val_fraction=0.01,
    )  # fmt: skip
    data.setup()
    batches = [*data.train_dataloader(), *data.val_dataloader()]
    names = {source.rpartition(":")[0] for batch in batches for source in batch.source}
    assert names == {"JPEGImages/480p/bear", "JPEGImages/480p/dog", "film.mp4"}
    assert all(batch.flow.shape[1:] == (2, 2, 48, 48) for batch in batches)
    for video in data._scanned().videos:
        if video.name != "film.mp4":
            copied = read_clip(video.index, 0, 8).astype(float)
            assert np.abs(copied - frames[Path(video.name).name]).mean() < 8
            assert [media.read_number(frame) for frame in copied.astype(np.uint8)] == list(range(8))


def test_a_changed_frame_is_a_changed_video(tmp_path: Path) -> None:
    sequence(tmp_path / "dog")
    (before,) = scan_folder(tmp_path, 64).videos
    assert scan_folder(tmp_path, 64).videos == (before,)
    (tmp_path / "dog").rename(tmp_path / "cat")
    (renamed,) = scan_folder(tmp_path, 64).videos
    assert renamed.digest == before.digest and renamed.name == "cat"
    Image.fromarray(media.pattern_frames(1, seed=9)[0]).save(tmp_path / "cat" / "00007.jpg")
    assert scan_folder(tmp_path, 64).videos[0].digest != before.digest


def test_a_folder_whose_first_frame_is_damaged_is_named_and_left_out(tmp_path: Path) -> None:
    for name in ("bear", "dog"):
        sequence(tmp_path / name)
    (tmp_path / "bear" / "00000.jpg").write_bytes(b"no picture")
    scan = scan_folder(tmp_path, 64)
    assert [video.name for video in scan.videos] == ["dog"]
    ((name, reason),) = scan.skipped
    assert name == "bear" and "00000.jpg is damaged" in reason and "\n" not in reason
    assert not list(cache_folder("videos").glob(".*"))


def test_the_root_may_be_the_folder_itself_and_needs_the_cache(tmp_path: Path) -> None:
    sequence(tmp_path / "dog")
    (video,) = scan_folder(tmp_path / "dog", 64).videos
    assert video.name == "dog" and video.num_frames == 8
    with pytest.raises(UserError, match=r"data\.cache=true") as error:
        scan_folder(tmp_path / "dog", 64, cache=False)
    assert "\n" not in str(error.value)
