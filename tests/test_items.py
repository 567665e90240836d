"""A folder in, a folder out: what is one film and what is an item, names, and the loop that nothing stops."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests import media
from vst.errors import UserError
from vst.items import Task, paint_items, plan_items
from vst.progress import Place
from vst.stream import stylize_video
from vst.video import folders, formats, pictures
from vst.video.folders import is_whole
from vst.video.source import open_source


def picture(path: Path, width: int = 32, height: int = 24, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(media.pattern_frames(1, width, height, seed=seed)[0]).save(path)
    return path


def film(path: Path, **settings) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return media.make_video(path, **{"n": 3, "width": 32, "height": 24, **settings})


def frames(folder: Path, n: int = 5, name: str = "{:05}.png") -> Path:
    for number in range(n):
        picture(folder / name.format(number))
    return folder


def outputs(given, output: Path, *words: str, **settings) -> dict[str, str]:
    """Kind and input of each item, by its output."""
    tasks = plan_items(given, output, *words, **settings).tasks
    return {task.output.relative_to(output).as_posix(): f"{task.item.kind} {task.item.source.name}" for task in tasks}


def test_each_item_has_its_own_name(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.mp4", "b.MOV", "c.avi", "sub/a.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    grey, white = (Image.new("L", (32, 24), value) for value in (128, 255))
    grey.save(root / "d.gif", save_all=True, append_images=[white])
    grey.save(root / "e.gif")
    for name in ("a.jpg", "b.PNG", "c.webp", "c.png", "sub/deep/a.jpg"):
        picture(root / name)
    frames(root / "shots" / "bear")
    (root / "b.mp4").touch()
    assert outputs(root, out) == {
        "a.mp4": "film a.mp4", "b.MOV": "film b.MOV", "b.mp4": "film b.mp4", "c.mp4": "film c.avi",
        "d.gif": "film d.gif", "e.png": "picture e.gif", "sub/a.mp4": "film a.mp4",
        "a.jpg": "picture a.jpg", "b.PNG": "picture b.PNG", "c.png": "picture c.png", "c.webp.png": "picture c.webp",
        "sub/deep/a.jpg": "picture a.jpg", "shots/bear": "frames bear",
    }  # fmt: skip
    (root / "a.avi").touch()
    found = outputs(root, out)
    assert (found["a.mp4"], found["a.avi.mp4"]) == ("film a.mp4", "film a.avi")
    films = outputs(str(root / "**" / "*.mp4"), out)
    assert list(films) == ["a.mp4", "b.mp4", "sub/a.mp4"]
    assert outputs([root / "a.jpg", root / "b.mp4"], out) == {"a.jpg": "picture a.jpg", "b.mp4": "film b.mp4"}
    assert outputs(root / "a.jpg", out) == {"a.jpg": "picture a.jpg"}
    with pytest.raises(UserError, match=r"would both become .*out/a\.mp4; give the folder that holds both"):
        plan_items([root / "a.mp4", root / "sub" / "a.mp4"], out)


def test_a_container_that_does_not_take_the_codec_gives_way(tmp_path: Path) -> None:
    film(tmp_path / "in" / "a.mov"), (tmp_path / "in" / "b.webm").touch()
    assert list(outputs(tmp_path / "in", tmp_path / "out", codec="libx265")) == ["a.mov", "b.mp4"]
    assert list(outputs(tmp_path / "in", tmp_path / "out", codec="vp9")) == ["a.mp4", "b.webm"]


def cut_out(path: Path, codec: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    discs = np.zeros((3, 24, 32, 4), np.uint8)
    discs[:, 6:18, 8:24] = 255
    return media.make_transparent(path, discs, codec)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, ["clear.webm", "clip.webm", "dull.mp4", "old.mp4", "photo.jpg", "short.mov"]),
        ({"audio": "opus"}, ["clear.webm", "clip.webm", "dull.mp4", "old.mp4", "photo.jpg", "short.mp4"]),
        ({"audio": "aac"}, ["clear.mp4", "clip.mp4", "dull.mp4", "old.mp4", "photo.jpg", "short.mov"]),
        ({"codec": "prores"}, ["clear.mov", "clip.mov", "dull.mov", "old.mov", "photo.jpg", "short.mov"]),
        (
            {"codec": "prores", "audio": "opus"},
            ["clear.mkv", "clip.mkv", "dull.mkv", "old.mkv", "photo.jpg", "short.mkv"],
        ),
        ({"transparency": "keep"}, ["clear.webm", "clip.webm", "dull.mp4", "old.mov", "photo.jpg", "short.mov"]),
        (
            {"transparency": "keep", "codec": "vp9"},
            ["clear.webm", "clip.webm", "dull.mp4", "old.mkv", "photo.jpg", "short.mp4"],
        ),
        (
            {"transparency": "keep", "audio": "aac"},
            ["clear.mov", "clip.mp4", "dull.mp4", "old.mov", "photo.jpg", "short.mov"],
        ),
        (
            {"transparency": "keep", "codec": "libx265"},
            ["clear.mp4", "clip.mp4", "dull.mp4", "old.mp4", "photo.jpg", "short.mov"],
        ),
    ],
)
def test_a_container_is_the_first_that_holds_what_is_asked_for(wanted, expected: list[str], tmp_path: Path) -> None:
    root = tmp_path / "in"
    cut_out(root / "clear.webm", "libvpx-vp9")
    cut_out(root / "old.avi", "png")
    film(root / "short.mov"), film(root / "dull.mp4")
    film(root / "clip.webm", codec="libvpx-vp9")
    picture(root / "photo.jpg")
    tasks = plan_items(root, tmp_path / "out", **wanted).tasks
    assert sorted(task.output.name for task in tasks) == expected
    seen_through = {task.item.name.name for task in tasks if task.alpha}
    assert seen_through == ({"clear.webm", "old.avi"} if "transparency" in wanted else set())


def test_a_photograph_keeps_its_transparency_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, mode in (("clear.jpg", "RGBA"), ("dull.jpg", "RGB"), ("clear.webp", "RGBA")):
        Image.new(mode, (32, 24)).save(tmp_path / "in" / name, "WEBP" if name.endswith("webp") else "PNG")
    names = ["clear.webp.png", "clear.png", "dull.jpg"]
    given = plan_items(tmp_path / "in", tmp_path / "out", transparency="keep")
    assert sorted(task.output.name for task in given.tasks) == sorted(names)
    assert len(outputs(tmp_path / "in", tmp_path / "out", transparency="keep", camera=True)) == 3
    filmed = plan_items(tmp_path / "in" / "clear.webp", tmp_path / "out", transparency="keep", camera=True)
    assert [task.output.name for task in filmed.tasks] == ["clear.mov"]


@pytest.mark.parametrize(
    ("names", "sizes", "is_film"),
    [
        ([f"{n:05}.png" for n in range(4)], [(32, 24)], True),
        ([f"shot_{n}.jpg" for n in range(8, 12)], [(32, 24)], True),
        ([f"{n:05}.png" for n in range(4)], [(32, 24), (24, 32)], False),
        (["IMG_3.jpg", "IMG_7.jpg", "IMG_20.jpg"], [(32, 24)], False),
        (["beach.jpg", "cat.jpg", "dog.jpg"], [(32, 24)], False),
        (["1.png"], [(32, 24)], False),
    ],
)
def test_numbers_and_sizes_tell_frames_from_photographs(names, sizes, is_film: bool, tmp_path: Path) -> None:
    for number, name in enumerate(names):
        picture(tmp_path / "in" / name, *sizes[number % len(sizes)])
    for given in (tmp_path / "in", str(tmp_path / "in" / "*")):
        plan = plan_items(given, tmp_path / "out")
        assert (plan.tasks == ()) == is_film and any("frames of one film" in note for note in plan.notes) == is_film
        assert [task.output.name for task in plan.tasks] == ([] if is_film else names)
        assert len(plan_items(given, tmp_path / "out", "each").tasks) == len(names)
        assert plan_items(given, tmp_path / "out", "frames").tasks == ()


def test_a_turned_photograph_counts_as_it_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    for number in range(3):
        picture(tmp_path / "in" / f"{number}.jpg")
    Image.new("RGB", (32, 24)).save(tmp_path / "in" / "3.jpg", exif=exif)
    assert len(plan_items(tmp_path / "in", tmp_path / "out").tasks) == 4
    Image.new("RGB", (24, 32)).save(tmp_path / "in" / "3.jpg", exif=exif)
    assert plan_items(tmp_path / "in", tmp_path / "out").tasks == ()


def test_what_is_passed_over_is_counted_and_named(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for name in ("a.mp4", ".DS_Store", "._a.mp4", "notes.txt", "sub/b.srt", ".cache/x.mp4", "out/earlier.mp4"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "linked").symlink_to(tmp_path)
    plan = plan_items(root, root / "out")
    assert [task.item.name.name for task in plan.tasks] == ["a.mp4"]
    assert (
        "passed over: 3 hidden (.cache/, .DS_Store, ._a.mp4), 3 of another kind (linked/, notes.txt, sub/b.srt)"
        in (plan.notes[0])
    )
    (root / "a.mp4").unlink()
    with pytest.raises(UserError, match=r"in holds no film .*; passed over: 3 hidden"):
        plan_items(root, root / "out")


def test_one_film_where_the_output_is_one(tmp_path: Path) -> None:
    root = tmp_path / "films"
    first, second = film(root / "1.mp4"), film(root / "2.mp4")
    with pytest.raises(UserError, match=r"holds 2 films and .*one\.mp4 is one file; give a folder .* or items=join"):
        plan_items(root, tmp_path / "one.mp4")
    for plan in (plan_items(root, tmp_path / "one.mp4", "join"), plan_items(root, tmp_path / "frames", "join")):
        assert plan.input == [first, second] and plan.tasks == () and "joined in this order: 1.mp4, 2.mp4" in plan.notes
    pattern = plan_items(str(root / "*.mp4"), tmp_path / "one.mp4")
    assert pattern.tasks == () and pattern.notes == ("joined in this order: 1.mp4, 2.mp4",)
    assert plan_items([second, first], tmp_path / "one.mp4").input == [second, first]
    assert len(plan_items([second, first], tmp_path / "out").tasks) == 2
    assert plan_items(first, tmp_path / "frames").tasks == ()
    assert len(plan_items(first, tmp_path / "out", "each").tasks) == 1
    with pytest.raises(UserError, match=r"items=each: .* holds 2 films and .* is one file"):
        plan_items(root, tmp_path / "one.mp4", "each")
    with pytest.raises(UserError, match="items=join joins films"):
        plan_items(frames(tmp_path / "pictures"), tmp_path / "one.mp4", "join")
    assert plan_items("udp://127.0.0.1:1", tmp_path / "out").tasks == ()
    assert plan_items(str(tmp_path / "pictures" / "%05d.png"), tmp_path / "out").tasks == ()


def test_a_film_among_frames_names_the_way_out(tmp_path: Path) -> None:
    root = frames(tmp_path / "shot")
    film(root / "below" / "clip.mp4")
    with pytest.raises(UserError, match=r"holds 1 film, 1 folder of frames and .*items=join .* items=frames"):
        plan_items(root, tmp_path / "one.mp4")
    assert plan_items(root, tmp_path / "one.mp4", "frames").tasks == ()
    with open_source(root) as source:
        assert len(list(source)) == 5
    found = outputs(root, tmp_path / "out")
    assert found == {".": "frames shot", "below/clip.mp4": "film clip.mp4"}, "each by itself, with memory"
    (root / "below" / "clip.mp4").rename(root / "clip.mp4")
    with pytest.raises(UserError, match=r"holds 1 film, 5 photographs and .*items=frames"):
        plan_items(root, tmp_path / "one.mp4")
    plan = plan_items(root, tmp_path / "out")
    assert len(plan.tasks) == 6 and any("5 pictures in" in note and "items=frames" in note for note in plan.notes)
    assert not any("items=frames" in note for note in plan_items(root, tmp_path / "out", "each").notes)
    with pytest.raises(UserError) as caught:
        plan_items(film(tmp_path / "films" / "sub" / "a.mp4").parents[1], tmp_path / "one.mp4")
    assert "items=frames" not in str(caught.value), "there are no pictures"


def test_what_is_said_of_one_film_is_what_is_read(tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "one.mp4"
    for name in ("beach.png", "cat.png"):
        picture(root / "a" / name)
    frames(root / "b")
    holds = r"in itself holds no picture, and folders below it hold 2 photographs, 1 folder of frames; give one of"
    with pytest.raises(UserError, match=holds):
        plan_items(root, out)
    with pytest.raises(UserError, match="holds no pictures"):
        open_source(root)
    plan = plan_items(str(root / "**" / "*.png"), out)
    assert plan.notes[0].startswith("2 photographs, 1 folder of frames become one film, one after the other")
    with open_source(plan.input) as source:
        assert source.info.num_frames == 7
    frames(root, 4)
    plan = plan_items(root, out)
    assert plan.notes[0] == "left out of the film, in folders below: 2 photographs, 1 folder of frames"
    assert plan.notes[1].startswith("4 pictures of one size, numbered evenly, are the frames of one film")
    with open_source(plan.input) as source:
        assert source.info.num_frames == 4
    plan = plan_items([root / "b", root], out)
    assert plan.notes == ("left out of the film, in folders below: 2 photographs",)
    with open_source(plan.input) as source:
        assert source.info.num_frames == 9


@pytest.mark.parametrize("output", ["one.mp4", "out"])
def test_a_pattern_stands_for_what_is_not_passed_over(output: str, tmp_path: Path) -> None:
    root = frames(tmp_path / "in")
    (root / "notes.txt").touch()
    plan = plan_items(str(root / "*"), tmp_path / output)
    assert any("5 pictures of one size" in note for note in plan.notes)
    assert "passed over: 1 of another kind (notes.txt)" in plan.notes
    with open_source(plan.input) as source:
        assert source.names == [f"{n:05}.png" for n in range(5)]


def test_files_that_are_passed_over_keep_their_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(formats._MISSING, ".heic", "pillow_heif")
    monkeypatch.setattr(folders, "PICTURES", tuple(suffix for suffix in formats.PICTURES if suffix != ".heic"))
    monkeypatch.setattr(pictures, "PICTURES", folders.PICTURES)
    monkeypatch.setattr(formats, "PICTURES", folders.PICTURES)
    for name in ("a.heic", "sub/b.CR2", *(f"{n}.txt" for n in range(9))):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"x")
    said = (
        "2 files were passed over: a.heic (needs pip install pillow-heif), "
        "sub/b.CR2 (a camera's raw file; develop it to TIFF or JPEG); "
        "also 9 of another kind (0.txt, 1.txt, 2.txt, 3.txt, 4.txt and 4 more)"
    )
    for output in ("out", "one.mp4"):
        with pytest.raises(UserError) as caught:
            plan_items(tmp_path / "in", tmp_path / output)
        assert str(caught.value).endswith(said)
    film(tmp_path / "in" / "clip.mp4")
    assert plan_items(tmp_path / "in", tmp_path / "out").notes[0] == said
    for name, reason in (("a.heic", "needs pip install pillow-heif"), ("sub/b.CR2", "a camera's raw file")):
        for given in (
            tmp_path / "in" / name,
            [tmp_path / "in" / name],
            [tmp_path / "in/clip.mp4", tmp_path / "in" / name],
        ):
            with pytest.raises(UserError, match=reason):
                open_source(given)


def test_places_that_cannot_be(tmp_path: Path) -> None:
    root = film(tmp_path / "films" / "1.mp4").parent
    with pytest.raises(UserError, match="input and output are the same folder"):
        plan_items(root, root)
    with pytest.raises(UserError, match=r"the folder .*absent does not exist"):
        plan_items(root, tmp_path / "absent" / "out")
    with pytest.raises(UserError, match="holds no film"):
        plan_items(str(root / "*.mkv"), tmp_path / "out")


@pytest.fixture
def tasks(tmp_path: Path) -> tuple[Task, ...]:
    """a.mp4, b.mp4 and c.png to paint, in subfolders."""
    for number, name in enumerate(("one/a.mp4", "two/b.mp4")):
        film(tmp_path / "in" / name, frames=media.pattern_frames(4, 32, 24, first=number * 10))
    picture(tmp_path / "in" / "c.png")
    return plan_items(tmp_path / "in", tmp_path / "out").tasks


def copied(task: Task, place: Place, replace: bool) -> None:
    if task.output.exists() and not replace:
        raise UserError(f"{task.output} exists already")
    task.output.write_bytes(task.item.source.read_bytes())


def test_what_is_done_is_passed_over_and_what_is_broken_is_not(tasks: tuple[Task, ...], caplog) -> None:
    assert [task.item.source.name for task in tasks] == ["c.png", "a.mp4", "b.mp4"]
    first = paint_items(tasks, copied)
    assert (first.painted, first.present, first.failed) == (3, 0, {})
    again = paint_items(tasks, lambda *_: pytest.fail("it is there"))
    assert (again.painted, again.present) == (0, 3)
    for task, fraction in zip(tasks, (0.6, 0.8, 0.0), strict=True):
        media.truncate(task.output, fraction)
    with caplog.at_level(logging.WARNING):
        mended = paint_items(tasks, copied)
    assert (mended.painted, mended.present) == (3, 0)
    assert sum("is there and not whole" in message for message in caplog.messages) == 3
    assert all(task.output.read_bytes() == task.item.source.read_bytes() for task in tasks)
    assert paint_items(tasks, copied, overwrite=True).painted == 3


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".gif"])
def test_a_film_is_whole_or_not(suffix: str, tmp_path: Path) -> None:
    source, out = media.make_video(tmp_path / "in.mp4", n=60), tmp_path / f"out{suffix}"
    stylize_video(Same(), source, out, progress=False)
    [task] = plan_items(source, tmp_path / "made", "each").tasks
    task = Task(task.item, out)
    assert paint_items([task], lambda *_: None).present == 1
    if suffix != ".gif":  # whose header states no length
        media.truncate(out, 0.5)
        assert paint_items([task], lambda *_: None).painted == 1


def test_a_failure_does_not_stop_the_others(tasks: tuple[Task, ...], caplog) -> None:
    def paint(task: Task, place: Place, replace: bool) -> None:
        if task.item.source.name == "a.mp4":
            raise UserError("a.mp4 is damaged")
        if task.item.source.name == "b.mp4":
            raise RuntimeError("a defect")
        copied(task, place, replace)

    with caplog.at_level(logging.WARNING):
        outcome = paint_items(tasks, paint)
    assert outcome.painted == 1 and list(outcome.failed.values()) == ["a.mp4 is damaged", "RuntimeError: a defect"]
    assert caplog.messages == ["2/3 failed: a.mp4 is damaged", "3/3 failed: RuntimeError: a defect"]
    assert [bool(record.exc_info) for record in caplog.records] == [False, True]
    assert sorted(path.name for path in tasks[0].output.parent.iterdir()) == ["c.png"], "no empty folders"


def test_an_interruption_keeps_what_is_done(tasks: tuple[Task, ...], caplog) -> None:
    def paint(task: Task, place: Place, replace: bool) -> None:
        if place.number == 2:
            raise KeyboardInterrupt
        copied(task, place, replace)

    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        paint_items(tasks, paint)
    assert caplog.messages == ["stopped at 2 of 3; the same command goes on there"]
    assert (paint_items(tasks, copied).painted, paint_items(tasks, copied).present) == (2, 3)


def test_the_time_left_is_that_of_all(tasks: tuple[Task, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [0.0], []
    monkeypatch.setattr("vst.items.loop.time.perf_counter", lambda: now[0])
    monkeypatch.setattr(
        "vst.items.loop._size", lambda task: {"c.png": 10, "a.mp4": 1000, "b.mp4": 3000}[task.item.name.name]
    )

    def paint(task: Task, place: Place, replace: bool) -> None:
        assert (place.number, place.total) == (len(told) + 1, 3)
        now[0] += 20
        told.append([place.left(0.0), place.left(0.5)])

    paint_items(tasks, paint)
    # A picture of 10 bytes in 40 s; of a film 500 of its 1,000 bytes in 20 s, and then 1,500 of 3,000 more in 20 s.
    assert told[0] == [None, pytest.approx(20 + 4000 * 20 / 5)]
    assert told[1][1] == pytest.approx(20 + 3000 * 20 / 500)
    assert told[2] == [pytest.approx(3000 * 40 / 1000), pytest.approx(1500 * 40 / 2500)]


class Same:
    """An engine that changes nothing, and remembers the sizes that it saw since it forgot."""

    def __init__(self) -> None:
        self.seen: list[list[tuple[int, ...]]] = []

    def reset(self) -> None:
        self.seen.append([])

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        self.seen[-1].append(frame.shape[1::-1])
        np.copyto(out, frame)
        return out


def test_photographs_as_one_film_keep_their_shape_and_are_not_remembered(tmp_path: Path) -> None:
    for number, size in enumerate([(96, 64), (96, 64), (64, 96), (96, 64)]):
        Image.new("RGB", size, (200, 200, 200)).save(tmp_path / f"p{number}.png")
    engine = Same()
    report = stylize_video(engine, str(tmp_path / "p*.png"), tmp_path / "out.mp4", progress=False)
    assert report.cuts == 3 and [len(scene) for scene in engine.seen if scene] == [1, 1, 1, 1]
    decoded = media.decode_sequentially(tmp_path / "out.mp4")
    bright = [np.flatnonzero(frame[32, :, 0] > 100) for frame in decoded]
    assert [len(row) for row in bright] == [pytest.approx(96, abs=1)] * 2 + [pytest.approx(43, abs=1)] + [
        pytest.approx(96, abs=1)
    ]


def test_frames_keep_their_names_in_a_folder(tmp_path: Path) -> None:
    frames(tmp_path / "in", 5, "shot_{:03}.jpg")
    engine = Same()
    stylize_video(engine, tmp_path / "in", tmp_path / "out", start=0.08, progress=False)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"shot_{n:03}.jpg" for n in (2, 3, 4)]
    assert len(engine.seen) == 1
    with pytest.raises(UserError, match=r"shot_002\.jpg exists already"):
        stylize_video(engine, tmp_path / "in", tmp_path / "out", start=0.08, progress=False)
    (tmp_path / "in" / "shot_003.jpg").write_bytes(b"broken")
    stylize_video(engine, tmp_path / "in", tmp_path / "whole", progress=False)
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == [f"shot_{n:03}.jpg" for n in (0, 1, 2, 4)]


@pytest.mark.parametrize("suffix", [".mkv", ".webm", ".mp4"])
def test_a_film_whose_sound_outlasts_its_picture_is_whole(suffix: str, tmp_path: Path) -> None:
    path, webm = tmp_path / f"film{suffix}", suffix == ".webm"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9" if webm else "libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        sound = media._audio_stream(container, "libopus" if webm else "aac")
        for image in [*media.pattern_frames(5, 32, 24), None]:
            frame = None if image is None else av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        media._write_sine(container, sound, 2.0, 440)
    assert is_whole(path)
    assert not is_whole(media.truncate(path, 0.5))


def test_a_folder_of_frames_with_a_gap_is_painted_again(tmp_path: Path) -> None:
    (task,) = plan_items(frames(tmp_path / "in" / "shot", n=3).parent, tmp_path / "out").tasks
    for file in task.item.files:
        picture(task.output / file.name)
    assert paint_items([task], copied).present == 1
    (task.output / task.item.files[1].name).unlink()
    painted = []
    paint_items([task], lambda task, place, replace: painted.append(replace))
    assert painted == [True]


def test_a_folder_of_frames_may_have_a_dot_in_its_name(tmp_path: Path) -> None:
    (task,) = plan_items(frames(tmp_path / "in" / "shot.v2", n=3).parent, tmp_path / "out").tasks

    def paint(task: Task, place: Place, replace: bool) -> None:
        stylize_video(Same(), list(task.item.files), task.output, progress=False)

    assert paint_items([task], paint).failed == {}
    assert sorted(path.name for path in (tmp_path / "out" / "shot.v2").iterdir()) == [f"{n:05}.png" for n in range(3)]


def test_a_camera_moves_over_each_of_the_frames(tmp_path: Path) -> None:
    frames(tmp_path / "in" / "shot", n=3)
    plan = plan_items(tmp_path / "in", tmp_path / "out", camera=True)
    assert [task.item.kind for task in plan.tasks] == ["picture"] * 3


def test_a_sequence_that_begins_opaque_keeps_its_transparency(tmp_path: Path) -> None:
    for number, alpha in enumerate((255, 0)):
        image = Image.new("RGBA", (32, 24), (200, 30, 40, 255))
        image.putalpha(alpha)
        image.save(tmp_path / f"{number}.png")
    with open_source(tmp_path, background=None) as source:
        first, second = source
    assert source.info.alpha and first.alpha is None and second.alpha.max() == 0
