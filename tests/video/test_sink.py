"""Every kind of output holds the frames, appears only when whole, and refuses what it cannot be."""

from __future__ import annotations

import io
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests import media
from vst.errors import UserError
from vst.video import new_video
from vst.video.sink import PipeWriter, open_sink
from vst.video.source import open_source


def _copy(inputs, target, **options) -> Path:
    with open_source(inputs) as source, open_sink(target, source.info, **options) as sink:
        turns = round((source.info.rotation - sink.info.rotation) / 90)
        for frame in source:
            sink.write(np.rot90(frame.image, turns), frame.pts, frame.duration)
    return sink.path


def _pictures(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.iterdir())]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_frames_become_pictures(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=12)
    _copy(source, tmp_path / "frames")
    assert _names(tmp_path / "frames") == [f"{n:06d}.png" for n in range(1, 13)]
    decoded = media.decode_sequentially(source)
    with open_source(source) as reader:
        np.testing.assert_array_equal(_pictures(tmp_path / "frames"), np.stack([f.image for f in reader]))
    _copy(source, tmp_path / "jpg" / "f%03d.jpg")
    assert _names(tmp_path / "jpg")[0] == "f001.jpg"
    made = _copy(source, tmp_path / "odd" / "100%_%05d.png")
    assert _names(made.parent)[11] == "100%_00012.png"
    assert media.read_numbers(_pictures(tmp_path / "jpg")) == list(range(12))
    difference = np.abs(np.stack(_pictures(tmp_path / "jpg")).astype(int) - np.stack(decoded))
    assert difference.mean() < 4
    assert _names(tmp_path) == ["frames", "in.mp4", "jpg", "odd"]


def test_a_folder_is_called_by_its_own_name(tmp_path: Path) -> None:
    with open_source(media.make_video(tmp_path / "in.mp4", n=2)) as source:
        assert open_sink(tmp_path / "frames", source.info).path == tmp_path / "frames"


def test_pictures_lie_upright(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=2, rotation=90)
    _copy(source, tmp_path / "frames")
    assert media.read_numbers(_pictures(tmp_path / "frames"), 90) == [0, 1]


def test_pictures_of_the_same_pattern_are_replaced_on_request_only(tmp_path: Path) -> None:
    long, short = (media.make_video(tmp_path / f"{n}.mp4", frames=media.pattern_frames(n, first=n)) for n in (6, 3))
    _copy(long, tmp_path / "frames")
    (tmp_path / "frames" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"000001\.png exists already; .* overwrite=true"):
        _copy(short, tmp_path / "frames")
    _copy(short, tmp_path / "frames", overwrite=True)
    assert _names(tmp_path / "frames") == ["000001.png", "000002.png", "000003.png", "notes.txt"]
    (tmp_path / "frames" / "notes.txt").unlink()
    assert media.read_numbers(_pictures(tmp_path / "frames")) == [3, 4, 5]


def test_a_single_picture(tmp_path: Path) -> None:
    image = media.pattern_frames(1, 97, 65)[0]
    Image.fromarray(image).save(tmp_path / "in.png")
    _copy(tmp_path / "in.png", tmp_path / "out.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), image)
    with pytest.raises(UserError, match=r"holds one frame and the input has more; name it frame_%05d\.png"):
        _copy(media.make_video(tmp_path / "v.mp4", n=2), tmp_path / "no.png")
    assert _names(tmp_path) == ["in.png", "out.png", "v.mp4"]


def test_a_gif_has_the_frames_at_their_times(tmp_path: Path) -> None:
    pts = [0, 100, 150, 400, 500]
    source = media.make_video(tmp_path / "in.mp4", n=5, pts=pts)
    target = _copy(source, tmp_path / "out.gif")
    with av.open(str(target)) as container:
        frames = [(f.pts * f.time_base, f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]
    assert media.read_numbers([image for _, image in frames]) == [0, 1, 2, 3, 4]
    assert [time for time, _ in frames] == [Fraction(stamp, 1000) for stamp in pts]
    difference = np.abs(np.stack([i for _, i in frames]).astype(int) - np.stack(media.decode_sequentially(source)))
    assert difference.mean() < 5
    with Image.open(target) as picture:
        assert picture.n_frames == 5 and picture.info["loop"] == 0


@pytest.mark.parametrize("name", ["out.gif", "frames", "f%d.png", "out.mp4"])
def test_an_exception_leaves_nothing(name: str, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=3)
    with (
        pytest.raises(ZeroDivisionError),
        open_source(source) as reader,
        open_sink(tmp_path / name, reader.info) as sink,
    ):
        for frame in reader:
            sink.write(frame.image, frame.pts, frame.duration)
        raise ZeroDivisionError
    assert _names(tmp_path) == ["in.mp4"]


@pytest.mark.parametrize("name", ["out.gif", "out.mp4"])
def test_a_full_disk_is_told_in_one_line_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    source = media.make_video(tmp_path / "in.mp4", frames=_noise(12, 96, 128), options={"crf": "10"})
    code = (
        "import resource, signal, sys; sys.dont_write_bytecode = True; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); from tests.video import test_sink; "
        "test_sink._copy(sys.argv[1], sys.argv[2])"
    )
    command = [sys.executable, "-c", code, str(source), str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, cwd=Path(__file__).parents[2], timeout=60, text=True)
    last = done.stderr.splitlines()[-1]
    assert last == f"vst.errors.UserError: {tmp_path / name}: the disk is full; free some space and start again"
    assert _names(tmp_path) == ["in.mp4"]


def _noise(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["out.gif", "frames", "one.jpg"])
def test_no_frame_makes_no_output(name: str, tmp_path: Path) -> None:
    with open_source(media.make_video(tmp_path / "in.mp4", n=3)) as source, pytest.raises(UserError, match="no frame"):
        with open_sink(tmp_path / name, source.info):
            pass
    assert _names(tmp_path) == ["in.mp4"]


PIPED = """
import sys
from pathlib import Path
from vst.errors import UserError
from vst.video.sink import open_sink
from vst.video.source import open_source
with open_source(sys.argv[1]) as source:
    try:
        with open_sink("-", source.info, format=sys.argv[2] or None) as sink:
            for frame in source:
                sink.write(frame.image, frame.pts, frame.duration)
    except UserError as error:
        print(error, file=sys.stderr)
"""


def _piped(source: Path, format: str) -> bytes:
    command = [sys.executable, "-c", PIPED, str(source), format]
    result = subprocess.run(command, capture_output=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, b"")
    return result.stdout


def test_raw_frames_on_standard_output(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=3)
    frames = np.frombuffer(_piped(source, "rgb24"), np.uint8).reshape(3, 64, 96, 3)
    with open_source(source) as reader:
        np.testing.assert_array_equal(frames, np.stack([frame.image for frame in reader]))


@pytest.mark.parametrize("size", [(96, 64), (97, 65)])
def test_y4m_on_standard_output(size: tuple[int, int], tmp_path: Path) -> None:
    frames = media.pattern_frames(4, *size)
    source = media.make_video(tmp_path / "in.mp4", frames=frames, fps=Fraction(30000, 1001), pix_fmt="yuv444p")
    (tmp_path / "out.y4m").write_bytes(_piped(source, ""))
    with av.open(str(tmp_path / "out.y4m")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (*size, Fraction(30000, 1001))
        assert media.read_numbers([f.to_ndarray(format="rgb24") for f in container.decode(stream)]) == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [(64, 48), (1280, 720)])
def test_y4m_has_the_colours_for_a_reader_that_knows_nothing_of_it(size: tuple[int, int], tmp_path: Path) -> None:
    """FFmpeg and PyAV take a matrix that is not stated for BT.601, at every size; chroma lies amid its four pixels."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = (20, 160, 60), (200, 40, 30)
    out = io.BytesIO()
    with PipeWriter(out, new_video(width, height, 25), "y4m") as writer:
        writer.write(image)
    out.seek(0)
    with av.open(out, format="yuv4mpegpipe") as container:
        read = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(read.astype(int) - image).max() <= 3


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pipe that breaks")
def test_a_reader_that_goes_away_is_told_in_one_line(tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=60)
    command = [sys.executable, "-c", PIPED, str(source), "rgb24"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.read(1000)
    process.stdout.close()
    message = process.stderr.read().decode()
    process.stderr.close()
    process.wait(60)
    assert message.startswith("the program behind the pipe ended after") and message.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("out.tiff", {}, r"\.tiff is not one of \.mp4, .*\.gif.*folder of pictures"),
        ("out.gif", {"crf": 20}, r"crf=20: .*out\.gif is no video file"),
        ("f%d.bmp", {}, r"written as \.png"),
        ("f%d_%d.png", {}, r"holds more than one number; give one, such as frame_%05d\.png"),
        ("absent/frames/f%d.png", {}, "does not exist; create it first"),
        ("absent/out.gif", {}, "does not exist"),
        ("taken.png", {}, "exists already"),
        ("out.mp4", {"format": "y4m"}, "format=y4m is for output=-"),
    ],
)
def test_mistakes_are_told_before_any_work(name: str, options: dict, words: str, tmp_path: Path) -> None:
    source = media.make_video(tmp_path / "in.mp4", n=3)
    (tmp_path / "taken.png").write_text("taken")
    before = _names(tmp_path)
    with open_source(source) as reader, pytest.raises(UserError, match=words) as caught:
        open_sink(tmp_path / name, reader.info, **options)
    assert "\n" not in str(caught.value) and _names(tmp_path) == before


@pytest.mark.parametrize(
    ("output", "options", "words"),
    [("rtmp://host/live", {}, "an address is no output; live.py"), ("-", {"format": "avi"}, "one of y4m, rgb24")],
)
def test_addresses_and_formats_that_are_no_output(output: str, options: dict, words: str, tmp_path: Path) -> None:
    with open_source(media.make_video(tmp_path / "in.mp4", n=3)) as source, pytest.raises(UserError, match=words):
        open_sink(output, source.info, **options)
