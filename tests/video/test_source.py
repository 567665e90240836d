"""Every kind of input gives its frames in order, cut exactly, spliced at the right times."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import media
from vst.errors import UserError
from vst.video.source import open_source, parse_seconds

VFR = np.cumsum([0] + [20 + 7 * i % 50 for i in range(39)]).tolist()


def _numbers(inputs, **options) -> list[int]:
    with open_source(inputs, **options) as source:
        return media.read_numbers([frame.image for frame in source])


def _times(inputs, **options) -> list[float]:
    with open_source(inputs, **options) as source:
        return [float(frame.pts * frame.time_base) for frame in source]


def _write_pictures(folder: Path, count: int, extension: str = ".png", first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(media.pattern_frames(count, first=first)):
        Image.fromarray(image).save(folder / f"frame{number + 1}{extension}", quality=95)
    return folder


@pytest.mark.parametrize("name", ["v.mp4", "v.mkv", "v.ts", "v.avi"])
@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (None, 1, range(25)),
        (1, 2, range(25, 50)),
        ("0:02", "0:00:02.2", range(50, 55)),
        (3.96, None, range(99, 100)),
        (2.3, None, range(58, 100)),
    ],
)
def test_a_cut_is_exact_to_the_frame(name: str, start, end, expected: range, tmp_path: Path) -> None:
    """With open groups of pictures, whose first frames need the group before a jump."""
    avi = name == "v.avi"
    path = media.make_video(tmp_path / name, n=100, bframes=0 if avi else 3, gop=12, open_gop=not avi)
    assert _numbers(path, start=start, end=end) == list(expected)
    times = _times(path, start=start, end=end)
    offset = times[0] if start is None else 0
    np.testing.assert_allclose(times, offset + np.arange(len(expected)) / 25, atol=2e-3)


def test_a_cut_of_a_variable_rate_keeps_the_distances(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "v.mp4", n=40, bframes=2, pts=VFR)
    start, end = VFR[20] / 1000, VFR[30] / 1000
    assert _numbers(path, start=start, end=end) == list(range(20, 30))
    assert _times(path, start=start, end=end) == pytest.approx([(t - VFR[20]) / 1000 for t in VFR[20:30]])
    with open_source(path, start=start, end=end) as source:
        last = list(source)[-1]
        assert last.duration * last.time_base == pytest.approx((VFR[30] - VFR[29]) / 1000)
        assert source.damaged is None and source.info.duration == pytest.approx(end - start)


def test_a_cut_of_an_edit_list_counts_from_the_first_frame_shown(tmp_path: Path) -> None:
    path = media.make_edit_list(tmp_path / "v.mp4", n=80, hidden=9)
    assert _numbers(path, start=2) == list(range(59, 80))


def test_a_jump_reads_less_than_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = media.make_video(tmp_path / "v.mp4", n=300, gop=12, width=32, height=32)
    with open_source(path, start=11, end=11.2) as source:
        decoded = []
        original = source._decode_packet
        monkeypatch.setattr(source, "_decode_packet", lambda packet: decoded.append(packet) or original(packet))
        assert len(list(source)) == 5
        assert len(decoded) < 70


def test_damage_before_a_cut_does_not_matter(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "v.mp4", n=100, gop=10)
    data = bytearray(path.read_bytes())
    for position in range(int(len(data) * 0.3), int(len(data) * 0.4), 7):
        data[position] ^= 0xFF
    path.write_bytes(data)
    with open_source(path, start=3) as source:
        assert media.read_numbers([frame.image for frame in source]) == list(range(75, 100))
        assert source.damaged is None
    with open_source(path) as source:
        list(source)
        assert source.damaged is not None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start": 2, "end": 1}, "end=1 is not after start=2"),
        ({"end": 0}, "end=0 is not after start=0"),
        ({"start": "soon"}, "start=soon is no time; give seconds, or .* 1:02:03.5"),
        ({"start": -1}, "start=-1 is no time"),
        ({"fps": 0}, "fps=0 is not between 0 and 1000"),
        ({"hwaccel": "abacus"}, "hwaccel=abacus is not one of"),
        ({"crossfade": 1}, "crossfade=1 mixes one video into the next and there is no other"),
    ],
)
def test_wrong_values_are_told_at_once(options: dict, words: str, tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "v.mp4", n=5)
    with pytest.raises(UserError, match=words) as caught:
        with open_source(path, **options) as source:
            list(source)
    assert "\n" not in str(caught.value)


def test_a_cut_behind_the_end_is_told(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "v.mp4", n=5)
    with open_source(path, start=7) as source, pytest.raises(UserError, match=r"its last is at 0\.16 s"):
        list(source)
    with open_source(path, start=0.05, end=0.06) as source, pytest.raises(UserError, match=r"the next is at 0\.08 s"):
        list(source)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("1:30", 90), ("0:01:30.5", Fraction(181, 2)), (1.5, Fraction(3, 2)), (".25", Fraction(1, 4))],
)
def test_times(text, seconds) -> None:
    assert parse_seconds(text, "start") == seconds


def test_a_folder_of_pictures_in_natural_order(tmp_path: Path) -> None:
    folder = _write_pictures(tmp_path / "frames", 12)
    (folder / "notes.txt").write_text("no picture")
    assert _numbers(folder) == list(range(12))
    assert _times(folder, fps=10)[:3] == [0, 0.1, 0.2]
    assert _numbers(folder / "frame%d.png") == list(range(12))
    assert _numbers(str(folder / "*.png")) == list(range(12))
    assert _numbers([folder / "frame3.png", folder / "frame1.png"]) == [2, 0]
    assert _numbers(folder, fps=10, start=0.5, end=0.8) == [5, 6, 7]
    with open_source(folder, fps=5) as source:
        assert (source.info.num_frames, source.info.fps, source.info.duration) == (12, 5, 2.4)
        assert media.read_numbers([frame.image for frame in source.read(7)]) == [7, 8, 9, 10, 11]


def test_pictures_have_their_colours_and_lie_upright(tmp_path: Path) -> None:
    image = media.pattern_frames(1)[0]
    exif = Image.Exif()
    exif[0x112] = 6  # to be turned clockwise by 90 degrees
    Image.fromarray(image).save(tmp_path / "turned.jpg", quality=95, subsampling=0, exif=exif)
    Image.fromarray(image).save(tmp_path / "exact.png")
    with open_source(tmp_path / "exact.png") as source:
        np.testing.assert_array_equal(next(iter(source)).image, image)
    with open_source(tmp_path / "turned.jpg") as source:
        shown = next(iter(source)).image
        assert (source.info.width, source.info.height, source.info.rotation) == (64, 96, 0)
    assert np.abs(shown.astype(int) - np.rot90(image, -1)).mean() < 2


def test_pictures_of_other_sizes_and_broken_ones_are_told(tmp_path: Path) -> None:
    folder = _write_pictures(tmp_path / "frames", 4)
    Image.fromarray(media.pattern_frames(1, 192, 128, first=9)[0]).save(folder / "frame2.png")
    (folder / "frame3.png").write_bytes(b"no picture")
    with open_source(folder) as source:
        assert media.read_numbers([frame.image for frame in source]) == [0, 9, 3]
        assert "frame2.png is 192x128" in source.resized
        assert "1 of 4 pictures cannot be read" in source.damaged and "frame3.png" in source.damaged


def test_a_gif_keeps_its_times_and_lies_on_white(tmp_path: Path) -> None:
    pictures = []
    for corner in (0, 30):
        picture = Image.new("RGBA", (64, 48), (0, 0, 0, 0))
        picture.paste((255, 0, 0, 255), (corner, 0, corner + 20, 20))
        pictures.append(picture)
    path = tmp_path / "a.gif"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=[70, 330], disposal=2, loop=0)
    with open_source(path) as source:
        frames = list(source)
    assert [(f.pts * f.time_base, f.duration * f.time_base) for f in frames] == [
        (0, Fraction(7, 100)),
        (Fraction(7, 100), Fraction(33, 100)),
    ]
    assert frames[0].image[5, 5].tolist() == [255, 0, 0] and frames[0].image[5, 40].tolist() == [255, 255, 255]
    assert frames[1].image[5, 5].tolist() == [255, 255, 255] and frames[1].image[5, 40].tolist() == [255, 0, 0]


def test_half_transparent_pixels_are_laid_onto_white(tmp_path: Path) -> None:
    Image.new("RGBA", (32, 32), (0, 100, 200, 128)).save(tmp_path / "a.png")
    with open_source(tmp_path / "a.png") as source:
        pixel = next(iter(source)).image[3, 3]
    np.testing.assert_allclose(pixel, [255 - 255 * 128 / 255, 255 - 155 * 128 / 255, 255 - 55 * 128 / 255], atol=1)


def test_a_constant_rate_repeats_and_leaves_out(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "v.mp4", n=20)
    assert _numbers(path, fps=50) == [number for number in range(20) for _ in range(2)]
    half = _numbers(path, fps=Fraction(25, 2))
    assert len(half) == 10 and np.diff(half).tolist() == [2] * 9
    slow = media.make_video(tmp_path / "vfr.mp4", n=4, pts=[0, 40, 400, 440])
    assert _numbers(slow, fps=25) == [0] + [1] * 9 + [2, 3]
    with open_source(path, fps=50) as source:
        assert [f.pts for f in source] == list(range(40)) and source.info.time_base == Fraction(1, 50)


def test_videos_are_spliced_at_the_size_of_the_first(tmp_path: Path) -> None:
    first = media.make_video(tmp_path / "1.mp4", n=10, fps=25)
    second = media.make_video(tmp_path / "2.mkv", frames=media.pattern_frames(9, 160, 64, first=50), fps=30)
    turned = media.make_video(tmp_path / "3.mp4", n=5, rotation=90)
    with open_source([first, second, turned]) as source:
        frames = list(source)
        assert "2.mkv is 160x64" in source.resized and "3.mp4 is 64x96" in source.resized
        assert source.info.num_frames in (None, 24)
    assert {frame.image.shape for frame in frames} == {(64, 96, 3)}
    assert [n for n, frame in enumerate(frames) if frame.cut] == [10, 19]
    times = [float(frame.pts * frame.time_base) for frame in frames]
    expected = [n / 25 for n in range(10)] + [0.4 + n / 30 for n in range(9)] + [0.7 + n / 25 for n in range(5)]
    np.testing.assert_allclose(times, expected, atol=2e-3)
    height = round(64 * 96 / 160)
    bars = (64 - height) // 2
    fitted = frames[12].image
    assert fitted[: bars - 1].max() < 10 and fitted[-bars + 1 :].max() < 10
    assert media.read_number(fitted[bars : bars + height]) == 52
    portrait = frames[21].image[:, (96 - 43) // 2 : (96 + 43) // 2]
    assert media.read_number(portrait, 90) == 2


def test_a_glob_splices_in_natural_order(tmp_path: Path) -> None:
    for number in (10, 9):
        frames = media.pattern_frames(3, first=number * 10)
        media.make_video(tmp_path / f"part{number}.mp4", frames=frames)
    assert _numbers(str(tmp_path / "part*.mp4")) == [90, 91, 92, 100, 101, 102]


def test_a_cross_fade_mixes_the_end_with_the_begin(tmp_path: Path) -> None:
    flat = [np.full((20, 64, 96, 3), level, np.uint8) for level in (40, 200)]
    paths = [media.make_video(tmp_path / f"{n}.mp4", frames=f, options={"crf": "1"}) for n, f in enumerate(flat)]
    with open_source(paths, crossfade=0.4) as source:
        frames = list(source)
        assert source.info.num_frames == len(frames) == 30
    levels = [frame.image.mean() for frame in frames]
    np.testing.assert_allclose(levels[:10], 40, atol=3)
    np.testing.assert_allclose(levels[20:], 200, atol=3)
    np.testing.assert_allclose(levels[10:20], 40 + 160 * (np.arange(10) + 0.5) / 10, atol=4)
    np.testing.assert_allclose([float(f.pts * f.time_base) for f in frames], np.arange(30) / 25, atol=1e-4)
    assert not any(frame.cut for frame in frames)
    with pytest.raises(UserError, match=r"crossfade=0\.5 is more than half of .*0\.80 s"):
        open_source(paths, crossfade=0.5)


def test_reading_from_a_number_on(tmp_path: Path) -> None:
    path = media.make_video(tmp_path / "v.mp4", n=30, bframes=2)
    with open_source(path) as source:
        whole = list(source)
        rest = list(source.read(13))
    assert [(f.pts, f.duration) for f in rest] == [(f.pts, f.duration) for f in whole[13:]]
    np.testing.assert_array_equal(np.stack([f.image for f in rest]), np.stack([f.image for f in whole[13:]]))


PIPED = """
import sys
from tests import media
from vst.errors import UserError
from vst.video.source import open_source
with open_source("-", start=sys.argv[1] or None, end=sys.argv[2] or None) as source:
    print(media.read_numbers([frame.image for frame in source]), source.info.has_audio)
    try:
        list(source)
    except UserError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("name", "start", "end", "expected"),
    [("v.mp4", "", "", range(40)), ("v.mkv", "0.4", "1.2", range(10, 30)), ("v.y4m", "", "", range(40))],
)
def test_standard_input(name: str, start: str, end: str, expected: range, tmp_path: Path) -> None:
    y4m = name.endswith("y4m")
    codec, audio = ("wrapped_avframe", None) if y4m else ("libx264", "aac")
    path = media.make_video(tmp_path / name, n=40, codec=codec, audio=audio)
    with path.open("rb") as pipe:
        command = [sys.executable, "-c", PIPED, start, end]
        result = subprocess.run(command, stdin=pipe, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0] == f"{list(expected)} {audio is not None}"
    assert "can be read only once" in lines[1]


@pytest.mark.parametrize("is_copied", [True, False])
def test_sound_of_an_address_is_kept_for_who_copies_it_only(is_copied: bool, tmp_path: Path) -> None:
    """It would else fill the memory."""
    path = media.make_video(tmp_path / "v.mkv", n=60, audio="aac")
    with open_source(f"file://{path}") as source:
        source.tracks[0].is_copied = is_copied
        assert media.read_numbers([frame.image for frame in source]) == list(range(60))
        assert (len(source.tracks[0].packets) > 100) == is_copied


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([], "list of inputs is empty"),
        ("none*.mp4", "matches no file"),
        ("frame%03d.png", "matches no file"),
        ("empty", "holds no pictures"),
        ("missing.mp4", "no such file"),
        (["v.mp4", "p.png"], "p.png is a picture among videos"),
        (["v.mp4", "-"], "standard input cannot be spliced"),
        ("udp://x:1?timeout=1000", "check the address"),
        ("broken.png", "not a video|no frame|cannot be read"),
    ],
)
def test_inputs_that_are_none(inputs, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    media.make_video("v.mp4", n=2)
    Image.new("RGB", (32, 32)).save("p.png")
    Path("broken.png").write_bytes(b"\x89PNG no")
    Path("empty").mkdir()
    with pytest.raises(UserError, match=words) as caught:
        open_source(inputs)
    assert "\n" not in str(caught.value)


def test_several_inputs_are_not_cut(tmp_path: Path) -> None:
    paths = [media.make_video(tmp_path / f"{n}.mp4", n=3) for n in (1, 2)]
    with pytest.raises(UserError, match="cut them one by one"):
        open_source(paths, start=1)
