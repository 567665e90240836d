"""Formats of planes agree with FFmpeg's conversions; frames of planes come from files and go into them unchanged."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from tests.media import make_video
from vst.planes import PlaneFormat, planes_of
from vst.video import VideoReader, VideoWriter
from vst.video.encoder import convert, frame_of_planes
from vst.video.probe import Colour

COLOURS = {
    "bt709-limited": Colour(1, 1, 1, 1),
    "bt709-full": Colour(2, 1, 1, 1),
    "bt601-limited": Colour(1, 6, 6, 6),
    "bt601-full": Colour(2, 5, 6, 5),
}


@pytest.mark.parametrize("name", COLOURS)
def test_a_format_converts_as_ffmpeg_does(name: str) -> None:
    planes = PlaneFormat.of(COLOURS[name])
    assert planes is not None and planes.name == name
    colours = np.random.default_rng(0).integers(0, 256, (4, 8, 3), np.uint8)
    flat = colours.repeat(8, 0).repeat(8, 1)  # squares of one colour, so that no way to average chroma matters
    converter = av.video.reformatter.VideoReformatter()
    frame = av.VideoFrame.from_ndarray(flat, format="rgb24")
    y, u, v = planes_of(convert(converter, frame, "yuv420p", COLOURS[name]).to_ndarray())
    theirs = np.stack([y[4::8, 4::8], u[2::4, 2::4], v[2::4, 2::4]], 2).astype(float)
    ours = colours @ planes.from_rgb.T + planes.black
    assert np.abs(theirs - ours).max() <= 1.5
    back = np.column_stack([*ours.reshape(-1, 3).T, np.ones(32)]) @ planes.conversion.T
    np.testing.assert_allclose(back.reshape(colours.shape), colours, atol=1e-9)


def test_a_matrix_that_is_not_known_has_no_format() -> None:
    assert PlaneFormat.of(Colour(1, 9, 1, 9)) is None
    assert PlaneFormat.of(Colour(0, 2, 2, 2)) == PlaneFormat.of(COLOURS["bt601-limited"])


def test_the_samples_are_the_pixels_of_a_grid() -> None:
    planes, colours = PlaneFormat.of(COLOURS["bt709-limited"]), (200, 90, 30)
    y, u, v = np.rint(planes.from_rgb @ colours + planes.black)
    frame = np.concatenate([np.full(130 * 200, y), np.full(65 * 100, u), np.full(65 * 100, v)]).astype(np.uint8)
    samples = planes.samples(frame.reshape(195, 200))
    assert samples.shape == (65, 100, 3), "one for each sample of chroma"
    assert np.abs(samples.astype(int) - colours).max() <= 2


@pytest.mark.parametrize(("width", "height"), [(64, 48), (50, 34)])
def test_planes_go_through_reader_and_writer_as_they_are(width: int, height: int, tmp_path: Path) -> None:
    make_video(tmp_path / "film.mp4", n=3, width=width, height=height)
    with av.open(str(tmp_path / "film.mp4")) as container:
        expected = [frame.to_ndarray(format="yuv420p") for frame in container.decode(video=0)]
    with VideoReader(tmp_path / "film.mp4") as reader:
        assert reader.planes is not None
        frames = list(reader.read(planes=True))
        with VideoWriter(tmp_path / "copy.mkv", reader.info, crf=0, preset="ultrafast") as writer:
            assert writer.planes == reader.planes
            for frame in frames:
                writer.write(frame.image, frame.pts, frame.duration)
    with VideoReader(tmp_path / "copy.mkv") as reader:
        again = [frame.image for frame in reader.read(planes=True)]
    assert len(frames) == len(again) == 3
    for frame, copy, truth in zip(frames, again, expected, strict=True):
        assert np.array_equal(frame.image, truth) and np.array_equal(copy, truth)
    assert np.array_equal(frame_of_planes(expected[0]).to_ndarray(), expected[0])


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv420p10le"])
def test_other_pixels_come_in_rgb_only(pixels: str, tmp_path: Path) -> None:
    make_video(tmp_path / "film.mkv", n=2, width=64, height=48, pix_fmt=pixels)
    with VideoReader(tmp_path / "film.mkv") as reader:
        assert reader.planes is None
        with VideoWriter(tmp_path / "same.mkv", reader.info, pix_fmt=pixels) as writer:
            assert writer.planes is None
            writer.write(next(iter(reader)).image)
