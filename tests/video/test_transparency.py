"""Transparency: read, kept where the output holds it, laid onto a colour elsewhere, and always said."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests import media
from tests.video import doors
from tests.video.doors import DOORS, stylised
from vst import stylize_video
from vst.errors import UserError
from vst.painting.camera import Camera
from vst.video import decoder, segments
from vst.video.pixels import with_hidden_filled
from vst.video.probe import probe
from vst.video.reader import VideoReader
from vst.video.source import open_source

RED, GREEN, BLUE = (200, 30, 40), (0, 255, 0), (20, 40, 220)
CODECS = {"libvpx-vp9": "f.webm", "libvpx": "f8.webm", "prores_ks": "f.mov", "qtrle": "q.mov", "png": "p.mov"}
VPX = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


def discs(count: int = 10, soft: bool = True) -> np.ndarray:
    """(count, 48, 64, 4): a red disc that moves to the right; what is hidden around it is green."""
    y, x = np.mgrid[0:48, 0:64]
    frames = np.empty((count, 48, 64, 4), np.uint8)
    for number, frame in enumerate(frames):
        alpha = np.clip((16 - np.hypot(y - 24, x - 18 - 2 * number)) / (4 if soft else 0.01), 0, 1)
        frame[..., :3] = np.where(alpha[..., None] > 0, RED, GREEN)
        frame[..., 3] = np.round(255 * alpha)
    return frames


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("alpha")
    made = {codec: media.make_transparent(folder / name, discs(), codec) for codec, name in CODECS.items()}
    made["apng"] = media.make_transparent(folder / "a.apng", discs(), "apng")
    made["frames"] = folder / "frames"
    made["frames"].mkdir()
    for number, frame in enumerate(discs()):
        Image.fromarray(frame).save(made["frames"] / f"{number:03d}.png")
    for name, soft in (("gif", False), ("tiff", True)):
        pictures = [Image.fromarray(frame) for frame in discs(soft=soft)]
        made[name] = folder / f"x.{name}"
        more = (
            {"save_all": True, "append_images": pictures[1:], "duration": 100, "disposal": 2} if name == "gif" else {}
        )
        pictures[0].save(made[name], **more)
    return made


def rgba(path: Path) -> np.ndarray:
    """(T, H, W, 4) as an independent reader sees it."""
    if path.is_dir():
        return np.stack([np.asarray(Image.open(file).convert("RGBA")) for file in sorted(path.iterdir())])
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        name = stream.codec_context.name
        context = av.CodecContext.create(VPX.get(name, name), "r") if name in VPX else stream.codec_context
        packets = [packet for packet in container.demux(stream) if packet.size]
        frames = [frame for packet in [*packets, None] for frame in context.decode(packet)]
        return np.stack([frame.to_ndarray(format="rgba") for frame in frames])


def visible_as(frames: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Both look the same in front of blue and in front of yellow."""
    for ground in (BLUE, (240, 230, 30)):
        first, second = (f[..., :3] * (f[..., 3:] / 255) + ground * (1 - f[..., 3:] / 255) for f in (frames, expected))
        assert np.abs(first - second).mean() < tolerance, np.abs(first - second).mean()


@pytest.mark.parametrize("kind", [*CODECS, "apng", "gif", "frames", "tiff"])
def test_transparency_is_read(kind: str, films: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    expected = discs(1 if kind == "tiff" else 10, soft=kind != "gif")
    with open_source(films[kind], background=None, fps=10 if kind == "frames" else None) as source:
        assert source.info.alpha
        frames = list(source)
    alphas = np.stack([frame.alpha for frame in frames]).astype(int)
    assert alphas.shape == expected.shape[:3] and np.abs(alphas - expected[..., 3]).max() <= 24
    for frame in frames:
        assert frame.image[..., 1].max() < 110 and np.abs(frame.image.astype(int) - RED).mean() < 12, "green shows"
    if kind not in ("frames", "tiff"):
        assert [message for message in caplog.messages if "has transparency, which is kept" in message]


@pytest.mark.parametrize("kind", [*CODECS, "apng", "gif", "frames"])
def test_transparency_is_laid_onto_a_colour(
    kind: str, films: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    drawn = discs(soft=kind != "gif")
    for color, name in (((255, 255, 255), "white"), (BLUE, "[20, 40, 220]")):
        caplog.clear()
        with open_source(films[kind], background=color) as source:
            assert not source.info.alpha
            frames = np.stack([frame.image for frame in source])
        share = drawn[..., 3:] / 255
        assert np.abs(frames - (drawn[..., :3] * share + np.array(color) * (1 - share))).mean() < 3
        assert len([line for line in caplog.messages if f"transparency, which is laid onto {name}" in line]) == 1


@pytest.mark.parametrize(
    ("output", "options", "name", "pixels"),
    [
        ("o.mov", {}, "prores", "yuva444p12le"), ("o.mov", {"crf": 2}, "prores", "yuva444p12le"),
        ("o.webm", {"crf": 5}, "vp9", "yuv420p"), ("o.mkv", {"codec": "prores_ks"}, "prores", "yuva444p12le"),
        ("o.mkv", {"codec": "libvpx-vp9", "crf": 5}, "vp9", "yuv420p"), ("o.gif", {}, "gif", "bgra"),
        ("o", {}, "png", "rgba"),
        ("o.mov", {"resume": True}, "prores", "yuva444p12le"), ("o.webm", {"resume": True, "crf": 5}, "vp9", "yuv420p"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["libvpx-vp9", "prores_ks", "frames"])
def test_outputs_keep_it(
    kind: str, output: str, options: dict, name: str, pixels: str, films: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(segments, "SEGMENT_SECONDS", 0.4)
    path = stylised(films[kind], tmp_path / output, **options)
    result = rgba(path)
    assert len(result) == 10
    expected = discs()
    if output == "o.gif":
        expected[..., 3] = np.where(expected[..., 3] >= 128, 255, 0)
    assert np.abs(result[..., 3].astype(int) - expected[..., 3])[3].mean() < 2
    visible_as(result, expected, 6)
    assert result[..., 1].max() < 110 or output == "o.gif", "hidden green is in the file"
    with av.open(str(next(path.iterdir()) if path.is_dir() else path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == (name, pixels)
        if name == "vp9":
            assert {key.lower(): value for key, value in stream.metadata.items()}["alpha_mode"] == "1"
        if name == "prores":
            assert stream.codec_context.profile == "4444" and stream.codec_context.codec_tag == "ap4h"


@pytest.mark.parametrize("output", ["o.mp4", "o.mkv", "o_%03d.jpg"])
def test_outputs_that_hold_none_have_white(
    output: str, films: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stylised(films["libvpx-vp9"], tmp_path / output)
    result = next(iter(sorted(tmp_path.iterdir())))
    corner = np.asarray(Image.open(result)) if "jpg" in output else media.decode_sequentially(result)[0]
    assert corner[:6, 56:].min() > 245
    assert sum("laid onto white" in line for line in caplog.messages) == 1


def test_the_words_for_it(films: dict[str, Path], tmp_path: Path) -> None:
    film = films["prores_ks"]
    flat = stylised(film, tmp_path / "flat.webm", transparency="flatten", preset=8)
    assert not probe(flat).alpha
    ground = stylised(film, tmp_path / "ground.mov", background=BLUE)
    assert probe(ground).codec == "h264"
    assert np.abs(media.decode_sequentially(ground)[0][:6, 56:].astype(int) - BLUE).max() < 8
    assert probe(stylised(film, tmp_path / "chosen.mov", codec="libx264", pix_fmt="yuv420p")).codec == "h264"
    for output, options, words in (
        ("a.mp4", {"transparency": "keep"}, r"transparency=keep: .*a\.mp4 holds none.*\.mov, \.webm, \.gif and PNG"),
        ("a.mov", {"transparency": "keep", "codec": "libx264"}, "holds none"),
        ("a.mov", {"transparency": "keep", "background": BLUE}, "leave it out to keep"),
        ("a.mov", {"transparency": "yes"}, "not one of auto, keep, flatten"),
        ("a.mov", {"background": [300, 0, 0]}, "each 0 to 255"),
        ("a.mov", {"bitrate": "6M"}, "prores_ks has none; give crf"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            stylised(film, tmp_path / output, **options)
        assert "\n" not in str(caught.value) and not (tmp_path / output).exists()


def test_a_film_without_it_is_as_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also a GIF or a PNG whose format has room for it."""
    opaque = np.dstack([*np.moveaxis(media.pattern_frames(1)[0], 2, 0), np.full((64, 96), 255, np.uint8)])
    Image.fromarray(opaque).save(tmp_path / "opaque.png")
    still = Image.fromarray(opaque[..., :3])
    still.save(tmp_path / "opaque.gif", save_all=True, append_images=[still.rotate(180)], duration=100)
    for name in ("opaque.png", "opaque.gif"):
        output = stylised(tmp_path / name, tmp_path / f"{name}.mov")
        assert probe(output).codec == "h264" and not caplog.messages


@pytest.mark.parametrize("name", ["a.gif", "a.apng", "p.png", "a.webp"])
@pytest.mark.parametrize("seen", [(), (7,)])
def test_an_animation_is_transparent_if_any_frame_is(name: str, seen: tuple[int, ...], tmp_path: Path) -> None:
    frames = discs(soft=False)
    frames[[number for number in range(10) if number not in seen], ..., 3] = 255
    frames[::2, :8, :8, :3] = BLUE  # or they would be one
    source = tmp_path / name
    if name == "a.apng":
        media.make_transparent(source, frames, "apng")
    else:
        pictures = [Image.fromarray(frame) for frame in frames]
        more = {"lossless": True} if name == "a.webp" else {"disposal": 0}
        if name == "a.gif":  # by indices, since Pillow drops the transparency of later frames only
            more = {"disposal": 2, "transparency": 3, "optimize": False}
            pictures = [Image.fromarray(np.where(frame[..., 3] < 255, 3, frame[..., 2] // 100)) for frame in frames]
            for picture in pictures:
                picture.putpalette([200, 30, 40, 0, 255, 0, 20, 40, 220, 9, 9, 9])
        pictures[0].save(source, save_all=True, append_images=pictures[1:], duration=100, **more)
    assert probe(source).alpha == bool(seen)
    result = rgba(stylised(source, tmp_path / "o.mov"))
    assert probe(tmp_path / "o.mov").codec == ("prores" if seen else "h264")
    assert np.abs(result[..., 3].astype(int) - frames[..., 3]).max(axis=(1, 2)).max() <= (24 if seen else 0)


def test_a_long_animation_may_be_transparent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = discs()
    frames[:, ..., 3] = 255
    source = media.make_transparent(tmp_path / "a.apng", frames, "apng")
    monkeypatch.setattr(sys.modules["vst.video.probe"], "_LOOKED_AT", 9 * 48 * 64)
    assert probe(source).alpha


def test_an_animation_that_memory_does_not_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [Image.effect_noise((64, 48), 90).convert("RGB") for _ in range(10)]
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], lossless=True)
    monkeypatch.setattr("vst.video.animations.LARGEST_FILM", 8000)
    with pytest.raises(UserError, match=r"a\.webp cannot be read: it is too long: frame \d+ of 10 comes") as caught:
        probe(tmp_path / "a.webp")
    assert "\n" not in str(caught.value)


def test_what_is_painted_lies_within(films: dict[str, Path], tmp_path: Path) -> None:
    """A painting of one colour shows the disc in that colour, to its very edge."""

    class Blue(nn.Module):
        def forward(self, frames, style=None, state=None):
            return (torch.tensor(BLUE).view(1, 3, 1, 1) / 255).expand_as(frames), state

    for name in ("o.mov", "o"):
        result = rgba(stylize_video(Blue(), films["libvpx-vp9"], tmp_path / name, progress=False).output)
        expected = discs()
        expected[..., :3] = BLUE
        visible_as(result, expected, 1.5)


def test_hidden_colours_are_those_around() -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, :20], picture[:, 40:] = RED, BLUE
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:, :20] = alpha[:, 40:] = 255
    filled = with_hidden_filled(picture, alpha).astype(int)
    np.testing.assert_array_equal(filled[:, :20], np.broadcast_to(RED, (40, 20, 3)))
    assert np.abs(filled[:, 22] - RED).mean() < 40 and np.abs(filled[:, 37] - BLUE).mean() < 40
    assert (np.diff(filled[20, 18:42, 2]) > -6).all()
    assert with_hidden_filled(picture, np.zeros_like(alpha)).std() == 0


def test_a_jump_into_it(tmp_path: Path) -> None:
    path = media.make_transparent(tmp_path / "long.webm", np.concatenate([discs(20), discs(20)]))
    with VideoReader(path, start=2.5, end=2.8, background=None) as reader:
        frames = list(reader)
    assert len(frames) == 3 and np.abs(frames[0].alpha.astype(int) - discs()[5, ..., 3]).max() < 24


def test_films_with_and_without_it_are_joined(films: dict[str, Path], tmp_path: Path) -> None:
    solid = media.make_video(tmp_path / "solid.mp4", np.broadcast_to(np.uint8(BLUE), (5, 48, 64, 3)), fps=10)
    path = stylize_video(doors.Same(), [films["qtrle"], solid], tmp_path / "o.mov", progress=False).output
    result = rgba(path)
    assert len(result) == 15 and result[10:, ..., 3].min() == 255
    visible_as(result[:10], discs(), 6)
    faded = stylize_video(
        doors.Same(), [films["qtrle"], solid], tmp_path / "f.mov", crossfade=0.2, progress=False
    ).output
    corner = rgba(faded)[:, 2, 2, 3].astype(int)
    assert len(corner) == 13 and corner[7] == 0 and 0 < corner[8] < corner[9] < 255 == corner[10]


def test_a_camera_over_a_cut_out(tmp_path: Path) -> None:
    Image.fromarray(discs()[3]).save(tmp_path / "cut.png")
    film = Camera(tmp_path / "cut.png", "zoom_in", 0.5, 10, background=None)
    result = rgba(stylize_video(doors.Same(), film, tmp_path / "o.mov", progress=False).output)
    assert np.abs(result[0, ..., 3].astype(int) - discs()[3, ..., 3]).mean() < 2
    assert (result[-1, ..., 3] > 128).sum() > 1.3 * (result[0, ..., 3] > 128).sum()
    with pytest.raises(UserError, match="holds no transparency"):
        stylize_video(doors.Same(), film, tmp_path / "o.mp4", progress=False)


@pytest.mark.parametrize("door", DOORS)
def test_no_door_shows_what_is_hidden(door: str, films: dict[str, Path], tmp_path: Path) -> None:
    frames = DOORS[door](films["libvpx-vp9"], tmp_path)
    assert len(frames) == 10
    share = discs()[..., 3:] / 255
    expected = discs()[..., :3] * share + 255 * (1 - share)
    assert np.abs(frames - expected).mean() < (8 if door in ("gif", "cache") else 4)


def test_a_cut_out_masks_its_shape(films: dict[str, Path], tmp_path: Path) -> None:
    white = discs(1)
    white[..., :3] = 255
    Image.fromarray(white[0]).save(tmp_path / "mask.png")
    mask = doors.mask_of(tmp_path / "mask.png", 48, 64)
    assert np.abs(mask * 255 - white[0, ..., 3]).mean() < 2


def test_a_build_without_libvpx_says_that_it_cannot(
    films: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decoder, "_WITH_ALPHA", {"vp9": "no such decoder"})
    with VideoReader(films["libvpx-vp9"]) as reader:
        assert len(list(reader)) == 10
    assert sum("cannot read (it has no no such decoder)" in line for line in caplog.messages) == 1


def test_ffprobe_sees_the_tag(films: dict[str, Path], tmp_path: Path) -> None:
    if shutil.which("ffprobe") is None:
        pytest.skip("needs ffprobe")
    output = stylised(films["qtrle"], tmp_path / "o.webm")
    command = ["ffprobe", "-v", "error", "-show_entries", "stream_tags=alpha_mode", "-of", "csv=p=0", str(output)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "1"
