"""A copy has its input's frames, times, colours, rotation and audio; a failure leaves nothing behind."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from tests import media
from vst.errors import UserError
from vst.video import encoder as encoder_module
from vst.video import output as output_module
from vst.video import tracks as tracks_module
from vst.video.encoders import choose_encoding
from vst.video.probe import Colour, VideoInfo, probe
from vst.video.reader import VideoReader
from vst.video.writer import VideoWriter, new_video, write_clip

VFR = np.cumsum([0] + [20 + 7 * i % 50 for i in range(29)]).tolist()
BT709, BT601 = Colour(1, 1, 1, 1), Colour(1, 6, 6, 6)
BT709_FULL, UNTAGGED = Colour(2, 1, 1, 1), Colour(0, 2, 2, 2)
# Kr and Kb of ITU-R BT.709 and BT.601.
LUMA = {1: (0.2126, 0.0722), 2: (0.299, 0.114), 6: (0.299, 0.114)}


def _copy(source: Path, target: Path, **options) -> Path:
    with (
        VideoReader(source) as reader,
        VideoWriter(target, reader.info, copy_from=source, **options) as writer,
    ):
        for frame in reader:
            writer.write(frame.image, frame.pts, frame.duration)
    return target


def _times(path: Path) -> list[Fraction]:
    with VideoReader(path) as reader:
        return [f.pts * f.time_base for f in reader]


def _audio(path: Path) -> list[tuple[str, list[tuple[Fraction, str]]]]:
    """Codec, and time and hash of every packet, of each audio track."""
    tracks = []
    with av.open(str(path)) as container:
        count = len(container.streams.audio)
    for index in range(count):
        with av.open(str(path)) as container:
            stream = container.streams.audio[index]
            packets = [p for p in container.demux(stream) if p.dts is not None]
            hashes = [(p.pts * p.time_base, hashlib.md5(bytes(p)).hexdigest()) for p in packets]
            tracks.append((stream.codec_context.name, hashes))
    return tracks


def _info(width: int = 96, height: int = 64, **changes) -> VideoInfo:
    return dataclasses.replace(new_video(width, height, 25), **changes)


def _left_behind(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.parametrize("extension", [".mp4", ".mov", ".mkv"])
def test_frames_and_variable_times_survive(extension: str, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / f"in{extension}", n=30, bframes=2, pts=VFR)
    target = _copy(source, tmp_path / f"out{extension}")
    assert media.read_numbers(media.decode_sequentially(target)) == list(range(30))
    assert _times(target) == [Fraction(pts, 1000) for pts in VFR]


def test_an_edit_list_keeps_count_and_times(tmp_path: Path) -> None:
    source = media.make_edit_list(tmp_path / "in.mp4", n=40, hidden=9)
    target = _copy(source, tmp_path / "out.mp4")
    assert media.read_numbers(media.decode_sequentially(target)) == list(range(9, 40))
    assert _times(target) == _times(source)


@pytest.mark.parametrize("extension", [".mp4", ".mov", ".mkv"])
def test_the_length_of_the_last_frame_is_kept_over_generations(extension: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{extension}"
    with VideoWriter(path, _info(time_base=Fraction(1, 1000))) as writer:
        for number, image in enumerate(media.pattern_frames(9)):
            writer.write(image, 40 * number, 700 if number == 8 else 40)
    copy = _copy(path, tmp_path / f"b{extension}")
    for video in (path, copy):
        assert probe(video).duration == pytest.approx(1.02, abs=1e-3)
        with VideoReader(video) as reader:
            durations = [f.duration * f.time_base for f in reader]
            assert reader.damaged is None
        assert durations == [Fraction(1, 25)] * 8 + [Fraction(7, 10)]


@pytest.mark.parametrize(
    ("audio", "extension"), [("aac", ".mp4"), ("multi", ".mp4"), ("multi", ".mov"), ("opus", ".mkv")]
)
def test_audio_is_copied_bit_for_bit(audio: str, extension: str, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / f"in{extension}", n=40, audio=audio)
    before = _audio(source)
    assert len(before) == (2 if audio == "multi" else 1) and all(len(packets) > 50 for _, packets in before)
    assert _audio(_copy(source, tmp_path / f"out{extension}")) == before


def test_audio_packets_that_run_backwards_are_left_out_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Damaged:
        def __init__(self, container: av.container.InputContainer) -> None:
            self._container = container

        def __getattr__(self, name: str):
            return getattr(self._container, name)

        def demux(self, streams):
            for number, packet in enumerate(self._container.demux(streams)):
                if number in (10, 11):
                    packet.dts = packet.pts = 5
                yield packet

    source = media.make_video(tmp_path / "in.mp4", n=30, audio="aac")
    real_open = tracks_module.open_input
    monkeypatch.setattr(tracks_module, "open_input", lambda path: Damaged(real_open(path)))
    [(_, before)], [(_, after)] = _audio(source), _audio(_copy(source, tmp_path / "out.mp4"))
    assert after == before[:10] + before[12:]
    assert "2 damaged audio packets" in caplog.text


def test_times_below_zero_move_to_zero_together_with_the_audio(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=30, audio="aac")
    target = tmp_path / "out.mp4"
    with VideoWriter(target, _info(), copy_from=source) as writer:
        for number, image in enumerate(media.pattern_frames(6)):
            writer.write(image, number - 3)
    assert media.read_numbers(media.decode_sequentially(target)) == list(range(6))
    assert _times(target) == [Fraction(i, 25) for i in range(6)]
    [(_, before)], [(_, after)] = _audio(source), _audio(target)
    assert [h for _, h in after] == [h for _, h in before]
    assert float(after[10][0] - before[10][0]) == pytest.approx(3 / 25, abs=1e-3)


@pytest.mark.parametrize("colour", [BT709, BT601, BT709_FULL, UNTAGGED], ids=["709", "601", "709full", "none"])
@pytest.mark.parametrize("rgb", [(200, 30, 40), (20, 190, 60), (40, 50, 210)])
def test_pixels_are_converted_by_the_tags_and_back(colour: Colour, rgb: tuple[int, int, int], tmp_path: Path) -> None:
    """Oracle: Y, Cb, Cr by the definition in BT.601 and BT.709, read from the planes without conversion."""
    path = tmp_path / "v.mp4"
    with VideoWriter(path, _info(colour=colour), crf=4) as writer:
        for _ in range(3):
            writer.write(np.full((64, 96, 3), rgb, np.uint8))
    assert probe(path).colour == colour
    kr, kb = LUMA[colour.matrix]
    red, green, blue = np.array(rgb) / 255
    y = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = np.array([(blue - y) / (2 - 2 * kb), (red - y) / (2 - 2 * kr)])
    full = colour.range == 2
    expected = [y * (255 if full else 219) + (0 if full else 16), *(chroma * (255 if full else 224) + 128)]
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        planes = [np.frombuffer(bytes(p), np.uint8).reshape(p.height, -1)[:, : p.width] for p in frame.planes]
    np.testing.assert_allclose([plane.mean() for plane in planes], expected, atol=1.6)
    with VideoReader(path) as reader:
        image = next(iter(reader)).image
    np.testing.assert_allclose(image.reshape(-1, 3).mean(axis=0), rgb, atol=3)


def test_colours_of_a_tagged_file_survive_a_copy(tmp_path: Path) -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    image[:, :48], image[:, 48:] = (210, 40, 40), (30, 60, 200)
    first, second = tmp_path / "a.mp4", tmp_path / "b.mp4"
    with VideoWriter(first, _info(), crf=4) as writer:
        writer.write(image)
    _copy(first, second, crf=4)
    before, after = media.decode_sequentially(first)[0], media.decode_sequentially(second)[0]
    assert np.abs(before.astype(int) - after).mean() < 2.5


@pytest.mark.parametrize("size", [(97, 64), (96, 65), (97, 65)])
def test_odd_sizes_stay_exact(size: tuple[int, int], tmp_path: Path) -> None:
    width, height = size
    path = tmp_path / "v.mp4"
    with VideoWriter(path, _info(width, height)) as writer:
        for image in media.pattern_frames(4, width, height):
            writer.write(image)
    info = probe(path)
    assert (info.width, info.height, info.pix_fmt) == (width, height, "yuv444p")
    assert media.read_numbers(media.decode_sequentially(path)) == [0, 1, 2, 3]


@pytest.mark.parametrize("extension", [".mp4", ".mkv"])
@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_the_rotation_is_kept(extension: str, rotation: int, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / f"in{extension}", n=3, rotation=rotation)
    before, after = probe(source), probe(_copy(source, tmp_path / f"out{extension}"))
    assert abs(after.rotation) == abs(rotation) and after.rotation == before.rotation
    assert (after.width, after.height, after.display_matrix) == (96, 64, before.display_matrix)


def test_pixel_shape_and_title_are_kept(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as container:
        container.metadata["title"] = "A walk"
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(media.pattern_frames(1)[0])))
        container.mux(stream.encode(None))
    target = _copy(source, tmp_path / "out.mp4")
    assert probe(target).sample_aspect_ratio == Fraction(4, 3)
    with av.open(str(target)) as container:
        assert container.metadata["title"] == "A walk"


def test_hevc(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=8)
    target = _copy(source, tmp_path / "out.mp4", codec="libx265", preset="ultrafast")
    assert probe(target).codec == "hevc"
    assert media.read_numbers(media.decode_sequentially(target)) == list(range(8))
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.codec_tag == "hvc1"


@pytest.mark.parametrize(
    ("name", "options", "codec"),
    [
        ("v.webm", {}, "vp9"),
        ("v.webm", {"codec": "av1", "preset": 12}, "av1"),
        ("v.mp4", {"codec": "libsvtav1", "preset": "12", "crf": 40}, "av1"),
        ("v.mp4", {"codec": "vp9", "preset": 8}, "vp9"),
        ("v.mov", {"codec": "hevc", "preset": "ultrafast"}, "hevc"),
        ("v.mkv", {"bitrate": "300k"}, "h264"),
    ],
)
def test_each_encoder_keeps_frames_and_times(name: str, options: dict, codec: str, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=8, bframes=2)
    target = _copy(source, tmp_path / name, **options)
    with av.open(str(target)) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == codec
    assert media.read_numbers(media.decode_sequentially(target)) == list(range(8))
    assert [float(t) for t in _times(target)] == pytest.approx([n / 25 for n in range(8)], abs=1e-3)


def test_a_lower_bitrate_makes_a_smaller_file(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 64, 96, 3), dtype=np.uint8)
    source = media.make_video(tmp_path / "in.mp4", frames=noise)
    sizes = [_copy(source, tmp_path / f"{rate}.mp4", bitrate=rate).stat().st_size for rate in ("2M", "500k", "80k")]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 1.5 * sizes[2]


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1"])
def test_ten_bits_stay_ten_bits(codec: str, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=4, pix_fmt="yuv420p10le")
    preset = "12" if codec == "libsvtav1" else "ultrafast"
    target = _copy(source, tmp_path / "out.mp4", codec=codec, preset=preset)
    assert probe(target).pix_fmt == "yuv420p10le"
    assert media.read_numbers(media.decode_sequentially(target)) == [0, 1, 2, 3]
    eight = _copy(source, tmp_path / "eight.mp4", codec=codec, preset=preset, pix_fmt="yuv420p")
    assert probe(eight).pix_fmt == "yuv420p"


def test_odd_sizes_need_no_444_where_the_format_has_them(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", frames=media.pattern_frames(3, 97, 65), pix_fmt="yuv444p")
    info = probe(_copy(source, tmp_path / "out.mp4", codec="libsvtav1", preset="12"))
    assert (info.width, info.height, info.pix_fmt) == (97, 65, "yuv420p")
    with pytest.raises(UserError, match="pix_fmt=yuv420p has no odd sizes, the video is 97x65; use yuv444p"):
        _copy(source, tmp_path / "bad.mp4", pix_fmt="yuv420p")


def test_hardware_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"codec=\w+ (cannot be opened on this machine|is not in this build)") as caught:
        with VideoWriter(tmp_path / "v.mp4", _info(), codec="h264_qsv"):
            pytest.skip("this machine has Intel's encoder")
    assert "\n" not in str(caught.value) and _left_behind(tmp_path) == []


def test_an_exception_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_text("precious")
    with (
        pytest.raises(ZeroDivisionError),
        VideoWriter(tmp_path / "v.mp4", _info(), overwrite=True) as writer,
    ):
        writer.write(media.pattern_frames(1)[0])
        assert len(_left_behind(tmp_path)) == 2
        raise ZeroDivisionError
    assert _left_behind(tmp_path) == ["v.mp4"] and (tmp_path / "v.mp4").read_text() == "precious"


def test_the_name_appears_only_when_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with VideoWriter(path, _info()) as writer:
        writer.write(media.pattern_frames(1)[0])
        assert not path.exists()
    assert _left_behind(tmp_path) == ["v.mp4"]


def test_a_video_of_no_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no frame"), VideoWriter(tmp_path / "v.mp4", _info()):
        pass
    assert _left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("v.avi", {}, r"\.avi is not one of \.mp4, \.mov, \.mkv, \.webm"),
        ("video", {}, r"\.mp4, \.mov, \.mkv"),
        ("absent/v.mp4", {}, "does not exist"),
        ("taken.mp4", {}, "overwrite=true"),
        ("folder.mp4", {}, "is a folder"),
        ("v.mp4", {"codec": "x264"}, "libx264, libx265.*did you mean 'libx264'"),
        ("v.webm", {"codec": "libx264"}, r"\.webm holds no h264; choose .*libvpx-vp9"),
        ("v.mov", {"codec": "vp9"}, r"\.mov holds no vp9"),
        ("v.mp4", {"codec": "h264_videotoolbox"}, "codec=h264_videotoolbox is not in this build"),
        ("v.mp4", {"codec": "h264_v4l2m2m"}, "no constant quality; give bitrate=6M"),
        ("v.mp4", {"preset": "verfast"}, "did you mean 'veryfast'"),
        ("v.mp4", {"codec": "libsvtav1", "preset": "fast"}, "not one of 0, 1, 2"),
        ("v.mp4", {"codec": "h264_vaapi", "preset": "fast"}, "h264_vaapi has no presets"),
        ("v.mp4", {"crf": 60}, r"0\.\.51"),
        ("v.mp4", {"codec": "libsvtav1", "crf": 70}, r"1\.\.63"),
        ("v.mp4", {"crf": 20, "bitrate": "6M"}, "exclude each other"),
        ("v.mp4", {"bitrate": "6 MB"}, "give 6M, 800k or 800000"),
        ("v.mp4", {"pix_fmt": "yuv410p"}, "not one of yuv420p"),
    ],
)
def test_mistakes_are_told_before_any_work(name: str, options: dict, words: str, tmp_path: Path) -> None:
    (tmp_path / "taken.mp4").write_text("taken")
    (tmp_path / "folder.mp4").mkdir()
    before = _left_behind(tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        VideoWriter(tmp_path / name, _info(), **options)
    assert "\n" not in str(caught.value) and _left_behind(tmp_path) == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which not even root can write")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"), VideoWriter("/proc/v.mp4", _info()):
        pytest.fail("the writer must not open")


class _FullDisk:
    """An output container whose disk is full after some packets."""

    def __init__(self, container: av.container.OutputContainer, room: int) -> None:
        self._container, self._room = container, room

    def __getattr__(self, name: str):
        return getattr(self._container, name)

    def mux(self, packets) -> None:
        self._room -= 1
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self._container.mux(packets)


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = av.open
    monkeypatch.setattr(output_module.av, "open", lambda *args, **kw: _FullDisk(real_open(*args, **kw), room=4))
    with (
        pytest.raises(UserError, match="disk is full"),
        VideoWriter(tmp_path / "v.mp4", _info(), preset="ultrafast") as writer,
    ):
        for image in media.pattern_frames(60):
            writer.write(image)
    assert _left_behind(tmp_path) == []


LIMITED = """
import resource, sys
import numpy as np
from vst.errors import UserError
from vst.video.writer import VideoWriter, new_video
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
noise = np.random.default_rng(0)
try:
    with VideoWriter(sys.argv[1], new_video(128, 128, 25), preset="ultrafast") as writer:
        for _ in range(int(sys.argv[2])):
            writer.write(noise.integers(0, 256, (128, 128, 3), dtype=np.uint8))
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("frames", [6, 100], ids=["at the end", "half way"])
def test_a_file_system_that_refuses_more_bytes(frames: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIMITED, str(tmp_path / "v.mp4"), str(frames)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    assert "disk is full" in result.stdout and result.stdout.count("\n") == 1
    assert _left_behind(tmp_path) == []


def test_write_clip_pads_odd_sizes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "preview.mp4"
    path.write_text("old")
    write_clip(path, media.pattern_frames(5, 97, 65), fps=10)
    info = probe(path)
    assert (info.width, info.height, info.pix_fmt, info.fps) == (98, 66, "yuv420p", 10)
    assert media.read_numbers([f[:65, :97] for f in media.decode_sequentially(path)]) == list(range(5))


@pytest.mark.parametrize(("preset", "threads"), [("ultrafast", 4), ("superfast", 4), ("veryfast", 0)])
def test_encoding_that_is_lighter_than_painting_takes_half_of_the_processors(
    preset: str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0: as many as x264 wants."""
    asked, opening = [], encoder_module._open
    monkeypatch.setattr(encoder_module, "cpus", lambda: 8)
    monkeypatch.setattr(
        encoder_module, "_open", lambda stream, codec: asked.append(stream.thread_count) or opening(stream, codec)
    )
    with VideoWriter(tmp_path / "film.mp4", new_video(64, 48, 25), preset=preset) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    assert asked == [threads]


@pytest.mark.parametrize(
    ("known", "chosen"), [(["nv12", "qsv"], "nv12"), (["p010le", "nv12"], "nv12"), ([], "yuv420p")]
)
def test_8_bits_are_what_the_encoder_takes(known: list[str], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    formats = [SimpleNamespace(name=name) for name in known]
    monkeypatch.setattr("vst.video.encoders.open_codec", lambda codec: SimpleNamespace(video_formats=formats))
    deep = dataclasses.replace(_info(), pix_fmt="yuv420p10le")
    assert choose_encoding(Path("o.mp4"), deep, codec="hevc_qsv", pix_fmt="8bit").pix_fmt == chosen


def test_8_bits_that_an_encoder_has_not_are_refused() -> None:
    with pytest.raises(UserError, match=r"pix_fmt=8bit: prores_ks takes only yuv422p10le"):
        choose_encoding(Path("o.mov"), _info(), codec="prores_ks", pix_fmt="8bit")
