"""stylize.py through its own front door: each effect on a small film, and one line for each mistake."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import get_args

import av
import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests.media import decode_sequentially, make_transparent, make_video, pattern_frames
from tests.painting.engines import film
from vst import load_stylizer, stylize_video
from vst.checkpoint import save_stylizer, stylizer_content
from vst.commands.stylize import stylize
from vst.networks import build_stylizer
from vst.painting import Look, Painter
from vst.painting.camera import MOVES
from vst.painting.timeline import Numbers, Styles, Timeline
from vst.runtime import Engine, open_engine
from vst.runtime.formats import write_onnx
from vst.runtime.graph import FrameGraph
from vst.schema import Camera
from vst.video import segments
from vst.video.probe import probe

ROOT = Path(__file__).resolve().parents[1]
MODEL = {
    "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
    "temporal": {"_target_": "vst.networks.ConvGRU", "channels": 8},
}
GRAINED = {
    **MODEL,
    "generator": {**MODEL["generator"], "grain": 4},
    "grain": {"_target_": "vst.networks.CameraGrain"},
}
FINE = ["crf=1", "pix_fmt=yuv444p"]  # close to what was painted


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two checkpoints a.pt and b.pt, grained.pt, and clip.mp4: 12 frames of 64 x 48 at 10 a second, with sound."""
    path = tmp_path_factory.mktemp("stylize")
    for seed, (name, model) in enumerate({"a": MODEL, "b": MODEL, "grained": GRAINED}.items()):
        torch.manual_seed(seed)
        network = build_stylizer(model)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        save_stylizer(path / f"{name}.pt", stylizer_content(network, model, name))
    clip = np.stack(film(12, 48, 64))
    make_video(path / "clip.mp4", clip, fps=10, audio="aac", pix_fmt="yuv444p", options={"crf": "1"})
    return path


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., np.ndarray]:
    """Stylise clip.mp4 into out.mp4 and give its frames."""
    monkeypatch.chdir(folder)

    def start(*arguments: str, output: str = "out.mp4") -> np.ndarray:
        given = {argument.partition("=")[0] for argument in arguments}
        usual = {"checkpoint": "a.pt", "input": "clip.mp4", "output": output, "overwrite": "true"}
        stylize([f"{key}={value}" for key, value in usual.items() if key not in given] + [*FINE, *arguments])
        return np.stack(decode_sequentially(folder / output))

    return start


@pytest.fixture
def painted(folder: Path) -> Callable[[str], np.ndarray]:
    """The clip painted by an engine alone."""

    def paint(name: str) -> np.ndarray:
        engine = open_engine(load_stylizer(folder / f"{name}.pt"))
        return np.stack([engine(frame) for frame in decode_sequentially(folder / "clip.mp4")])

    return paint


def far(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference in levels."""
    return float(np.abs(a.astype(int) - b).mean())


def clip_of(folder: Path) -> np.ndarray:
    return np.stack(decode_sequentially(folder / "clip.mp4"))


def test_three_words_are_enough(run, painted, folder: Path, capsys) -> None:
    assert far(run(), painted("a")) < 1.5
    assert capsys.readouterr().out.splitlines()[-1] == "out.mp4"
    with av.open(str(folder / "out.mp4")) as video:
        assert len(video.streams.audio) == 1


def test_planes_are_for_films_without_a_look(
    run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    make_video(folder / "usual.mp4", clip_of(folder), fps=10)
    asked, ask = [], Engine.for_planes

    def noted(engine: Engine, *wanted: object) -> Engine | None:
        asked.append(ask(engine, *wanted))
        return asked[-1]

    monkeypatch.setattr(Engine, "for_planes", noted)
    usual = "input=usual.mp4", "pix_fmt=yuv420p"
    bare = run(*usual, "planes=true")
    assert asked and asked[-1] is not None and "needs RGB" not in capsys.readouterr().out
    asked.clear()
    looked, exact = run(*usual, "planes=true", "calm=0.001"), run(*usual)
    assert capsys.readouterr().out.count("needs RGB") == 1
    assert not asked and far(looked, exact) < 0.5 and 0 < far(bare, exact) < 3


def test_planes_stay_where_frames_are_painted_smaller(run, folder: Path, capsys: pytest.CaptureFixture) -> None:
    make_video(folder / "usual.mp4", clip_of(folder), fps=10)
    usual = "input=usual.mp4", "pix_fmt=yuv420p", "stroke=2"
    in_planes, in_rgb = run(*usual, "planes=true"), run(*usual)
    assert "needs RGB" not in capsys.readouterr().out
    assert 0 < far(in_planes, in_rgb) < 3
    run(*usual, "planes=true", "panorama=true")
    assert "needs RGB" in capsys.readouterr().out


def test_styles_by_name_and_over_time(run, painted) -> None:
    both = "checkpoint={first: a.pt, second: b.pt}"
    assert far(run(both, "use=second"), painted("b")) < 1.5
    result, a, b = run(both, "use=[first,0.4:second:0.3]"), painted("a"), painted("b")
    assert far(result[:4], a[:4]) < 1.5
    assert far(result[8:], b[8:]) < far(result[8:], a[8:]) / 2  # its memory began later than b's own
    assert far(result[5], a[5]) > 2 and far(result[5], b[5]) > 2
    listed = run("checkpoint=[a.pt,b.pt]", "use=b")
    assert far(listed, b) < 1.5


def test_planes_without_a_look_need_no_painter_in_between(run, painted, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("vst.commands.stylize.Painter", lambda *given: made.append(1) or Painter(*given))
    both = "checkpoint={first: a.pt, second: b.pt}"
    assert far(run(both, "use=second", "planes=true"), painted("b")) < 1.5 and not made
    for number, look in enumerate(("strength=0.5", "calm=0.5", "palette=[[9,9,9]]", "resume=true"), start=1):
        run(look, "planes=true")
        assert len(made) == number, look


def test_strength_over_time(run, painted, folder: Path) -> None:
    clip, full = clip_of(folder), painted("a")
    result = run("strength=[0.3:0,0.8:1]")
    assert far(result[:4], clip[:4]) < 1.5
    assert far(result[8], full[8]) < far(result[8], clip[8]) / 3
    assert far(result[11], full[11]) < far(result[4], full[4])


def test_colours_scale_and_calm_reach_the_painter(run, painted, folder: Path) -> None:
    clip, full = clip_of(folder), painted("a")
    kept = run("preserve_color=1")
    chroma = [
        np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2YCrCb) for f in frames])[..., 1:] for frames in (kept, clip, full)
    ]
    assert far(chroma[0], chroma[1]) < 1.5 < far(chroma[2], chroma[1])
    blue = run("palette=[[10,20,120],[40,60,200]]", "palette_strength=1")
    assert (blue[..., 2].astype(int) - blue[..., 0]).mean() > 60
    for option in ("stroke=2", "calm=[0:0,0.5:1]"):
        assert far(run(option), full) > 0.5, option


def test_less_grain(run, painted) -> None:
    grained = "checkpoint=grained.pt"
    assert far(run(grained), painted("grained")) < 1.5
    without, half = run(grained, "grain=0"), run(grained, "grain=0.5", "planes=true")
    assert 0.5 < far(half, painted("grained")) < far(without, painted("grained"))
    eyes = "stereo=side_by_side"
    assert np.array_equal(run(grained, eyes), run(grained, eyes, "grain=0")), "strokes of two eyes would part"


def test_masks(run, painted, folder: Path) -> None:
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[:, :32] = 255
    cv2.imwrite(str(folder / "mask.png"), mask)
    clip, full = clip_of(folder), painted("a")
    inside, outside = run("mask.file=mask.png"), run("mask.file=mask.png", "mask.invert=true")
    for result, left, right in ((inside, full, clip), (outside, clip, full)):
        assert far(result[:, :, :31], left[:, :, :31]) < 1.5 and far(result[:, :, 33:], right[:, :, 33:]) < 1.5
    keyed = run("mask.color=[30,180,50]", "mask.tolerance=0", "mask.softness=0")
    assert far(keyed, clip) < 1.5


@pytest.mark.parametrize(
    ("cut", "seconds"),
    [
        (["start=0.35"], [n / 10 for n in range(4, 12)]),  # the first frame from there on lies at 0.4 s
        (["fps=5"], [n / 5 + 0.1 for n in range(6)]),
        (["start=0.35", "fps=5"], [0.4 + n / 5 + 0.1 for n in range(4)]),
        (["start=0.35", "end=0.7"], [0.4, 0.5, 0.6]),
    ],
)
def test_a_mask_video_is_that_of_the_whole_film(run, folder: Path, cut: list[str], seconds: list[float]) -> None:
    """Its rate is twice the film's, and white stripes are the bits of its frames' numbers."""
    bits = [slice(12 * bit + 2, 12 * bit + 10) for bit in range(5)]
    masks = np.zeros((24, 48, 64, 3), np.uint8)
    for number, mask in enumerate(masks):
        for bit in range(5):
            mask[:, 12 * bit : 12 * bit + 12] = 255 * (number >> bit & 1)
    make_video(folder / "mask.mp4", masks, fps=20, options={"crf": "0"})
    clip, full, part = run("strength=0", *cut), run(*cut), run("mask.file=mask.mp4", *cut)
    seen = [
        sum((far(a[:, s], c[:, s]) > far(a[:, s], b[:, s])) << bit for bit, s in enumerate(bits))
        for a, b, c in zip(part, full, clip, strict=True)
    ]
    assert seen == [int(time * 20 + 1e-6) for time in seconds]


def test_a_mask_folder_has_the_rate_of_the_film(run, folder: Path) -> None:
    masks = np.zeros((12, 48, 64, 3), np.uint8)
    masks[6:] = 255
    write_pictures(folder / "masks", masks)
    clip, result = clip_of(folder), run("mask.file=masks")
    assert [far(a, b) < 1.5 for a, b in zip(result, clip, strict=True)] == [True] * 6 + [False] * 6


def test_each_eye_is_compared_for_itself(run, painted, folder: Path) -> None:
    clip, result = clip_of(folder), run("stereo=side_by_side", "compare=split")
    assert far(result[:, :, 33:47], clip[:, :, 33:47]) < 1.5 < far(result[:, :, 50:], clip[:, :, 50:])
    assert far(result[:, :, :15], clip[:, :, :15]) < 1.5 < far(result[:, :, 18:31], clip[:, :, 18:31])


def test_comparisons(run, painted, folder: Path) -> None:
    clip, full = clip_of(folder), painted("a")
    side, split = run("compare=side"), run("compare=split")
    assert side.shape == (12, 48, 128, 3)
    assert far(side[:, :, :63], clip[:, :, :63]) < 1.5 and far(side[:, :, 65:], full[:, :, 1:]) < 1.5
    assert far(split[:, :, :31], clip[:, :, :31]) < 1.5 and far(split[:, :, 33:], full[:, :, 33:]) < 1.5
    assert far(run("compare=wipe")[0], clip[0]) < 1.5


def test_a_crop_and_a_size_are_of_the_upright_picture(run, folder: Path) -> None:
    frames = np.stack(film(4, 48, 64))
    make_video(folder / "turned.mp4", np.stack([np.rot90(frame, -1) for frame in frames]), rotation=90, fps=10)
    seen = np.stack([np.rot90(frame) for frame in decode_sequentially(folder / "turned.mp4")])
    result = run("input=turned.mp4", "crop=[16,8,40,32]", "strength=0")
    shown = np.stack([np.rot90(frame) for frame in result])
    assert shown.shape == (4, 32, 40, 3) and far(shown, seen[:, 8:40, 16:56]) < 2.5 < far(shown, seen[:, 8:40, 18:58])
    assert run("size=32").shape == (12, 24, 32, 3) and run("size=80x50", "compare=side").shape == (12, 50, 160, 3)


def test_comparisons_of_a_film_with_a_rotation_tag(run, folder: Path) -> None:
    make_video(folder / "turned.mp4", np.stack(film(4, 48, 64)), rotation=90, fps=10)
    result = run("input=turned.mp4", "compare=side")
    assert result.shape == (4, 96, 64, 3)  # stored lying; upright it is 48 wide, and then twice that


@pytest.mark.parametrize(
    ("options", "shape", "inside"),
    [
        ([], (48, 64), (12, 36)),
        (["size=80x60", "strength=0.9", "calm=0.5"], (60, 80), (15, 45)),
        (["crop=[8,6,40,40]", "compare=split"], (40, 40), (6, 30)),
        (["stereo=top_bottom", "mask.color=[0,255,0]", "mask.invert=true"], (48, 64), (12, 36)),
    ],
)
def test_the_border_of_a_spliced_film_stays_black(run, folder: Path, options, shape, inside) -> None:
    bright = np.full((6, 48, 64, 3), 200, np.uint8)
    make_video(folder / "first.mp4", bright, fps=10, pix_fmt="yuv444p")
    make_video(folder / "wide.mp4", bright[:, :24], fps=10, pix_fmt="yuv444p")
    faded = run("input=[first.mp4,wide.mp4]", "crossfade=0.2", "audio=none", *options)
    (top, bottom), rows = inside, faded[..., 0].shape[1]
    assert faded.shape == (10, *shape, 3)
    faded = np.delete(faded, range(shape[1] // 2 - 4, shape[1] // 2 + 4), axis=2)  # where compare draws a line
    bars = np.concatenate([faded[6:, : top - 1], faded[6:, bottom + 1 :]], axis=1)
    assert bars.max() < 12 and faded[6:, top + 2 : bottom - 2].mean() > 30
    levels = faded[3:7, [1, rows - 2]].mean(axis=(1, 2, 3))
    assert (np.diff(levels) < 0).all(), "it fades to black with the film"


def test_a_picture_becomes_a_film(run, folder: Path) -> None:
    cv2.imwrite(str(folder / "photo.png"), film(1, 60, 80)[0])
    result = run("input=photo.png", "camera=drift", "duration=0.5", "fps=20")
    assert result.shape == (10, 60, 80, 3) and far(result[0], result[-1]) > 3
    with av.open(str(folder / "out.mp4")) as video:
        assert video.streams.video[0].average_rate == 20


def test_the_moves_of_the_camera_are_all_offered() -> None:
    assert get_args(Camera) == ("none", *MOVES)


def write_pictures(folder: Path, frames: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{number:02d}.png"), frame[..., ::-1])


@pytest.fixture
def exact(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., np.ndarray]:
    """Stylise `frames` from pictures into pictures, with no codec in between."""
    monkeypatch.chdir(folder)

    def start(frames: np.ndarray, *arguments: str) -> np.ndarray:
        write_pictures(folder / "given", frames)
        stylize(["checkpoint=a.pt", "input=given", "output=made", "overwrite=true", *arguments])
        return np.stack([cv2.imread(str(path))[..., ::-1] for path in sorted((folder / "made").glob("*.png"))])

    return start


def test_two_eyes_see_the_same(exact) -> None:
    pair = np.concatenate([np.stack(film(6, 48, 64))] * 2, axis=2)
    left, right = np.split(exact(pair, "stereo=side_by_side"), 2, axis=2)
    assert np.array_equal(left, right)
    left, right = np.split(exact(pair), 2, axis=2)
    assert not np.array_equal(left, right)  # where strokes cross from one to the other


def test_a_panorama_has_no_seam(exact) -> None:
    frames, seams = np.stack(film(6, 48, 64)), []
    for option in ("panorama=true", "panorama=false"):
        here, there = exact(frames, option), exact(np.roll(frames, 32, axis=2), option)
        seams.append(np.abs(np.roll(here, 32, axis=2).astype(int) - there).max())
    assert seams[0] <= 1 < seams[1]


def test_an_interrupted_job_with_all_effects_gives_the_same_file(
    run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "SEGMENT_SECONDS", Fraction(3, 10))
    make_video(folder / "moving.mp4", pattern_frames(8, 64, 48), fps=10)
    job = [
        *("checkpoint={first: a.pt, second: b.pt}", "use=[first,0.4:second:0.5]", "strength=[0:0.5,1:1]", "calm=0.6"),
        *(
            "mask.file=moving.mp4",
            "mask.feather=2",
            "compare=wipe",
            "resume=true",
            "crf=0",
        ),  # lossless: only the painting counts
    ]
    run(*job)
    whole = (folder / "out.mp4").read_bytes()
    original, calls = Painter.__call__, []

    def dies(self: Painter, *arguments):
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        return original(self, *arguments)

    monkeypatch.setattr(Painter, "__call__", dies)
    with pytest.raises(SystemExit) as caught:
        run(*job, output="other.mp4")
    assert caught.value.code == 130 and not (folder / "other.mp4").exists()
    run(*job, output="other.mp4")
    assert len(calls) < 9 + 12  # it went on and did not begin again
    assert (folder / "other.mp4").read_bytes() == whole


def test_a_job_with_another_mask_is_another_job(run, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(segments, "SEGMENT_SECONDS", Fraction(3, 10))
    job = ["resume=true", "mask.file=changing.png"]
    original, calls = Painter.__call__, iter(range(100))

    def dies(self: Painter, *arguments):
        if next(calls) == 7:
            raise KeyboardInterrupt
        return original(self, *arguments)

    cv2.imwrite(str(folder / "changing.png"), np.full((48, 64, 3), 255, np.uint8))
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(Painter, "__call__", dies)
        run(*job, output="masked.mp4")
    cv2.imwrite(str(folder / "changing.png"), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(SystemExit):
        run(*job, output="masked.mp4")
    assert "begin of another job: look.mask_files was [['changing.png'" in capsys.readouterr().err


@pytest.fixture
def album(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """in/: photographs of two sizes, a film, a folder of frames, a broken film, and a hidden file."""
    root = tmp_path / "in"
    frames = np.stack(film(9, 48, 64))
    write_pictures(root / "shots", frames[:4])
    for number, name in enumerate(("beach.png", "cat.png", "dog.png")):
        image = frames[5 + number]
        cv2.imwrite(str(root / name), (image if number else np.rot90(image))[..., ::-1])
    make_video(root / "clip.mp4", frames[:6], fps=10, audio="aac", pix_fmt="yuv444p", options={"crf": "1"})
    (root / "lost.mp4").write_bytes(bytes(100))
    (root / ".hidden").touch()
    monkeypatch.chdir(tmp_path)
    return root


def paint_all(folder: Path, *arguments: str) -> tuple[int, list[str]]:
    """The exit status of `input=in output=out`, and what was opened."""
    opened = []

    def noted(*given: object) -> Engine:
        opened.append(str(given[1]))
        return open_engine(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vst.commands.stylize.open_engine", noted)
        try:
            stylize([f"checkpoint={folder / 'a.pt'}", "input=in", "output=out", *arguments])
        except SystemExit as ended:
            return ended.code, opened
    return 0, opened


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path))[..., ::-1]


def test_a_folder_is_painted_item_by_item(folder: Path, album: Path, capsys: pytest.CaptureFixture) -> None:
    status, opened = paint_all(folder, *FINE)
    out, err = capsys.readouterr()
    assert status == 1 and opened == ["torch"], "one engine for all"
    assert (
        "passed over: 1 hidden (.hidden)" in out and "each by itself: 2 films, 3 photographs, 1 folder of frames" in out
    )
    assert out.splitlines()[-2:] == ["5 of 6 painted, 1 failed", "out"]
    last = err[err.index("error: ") :].splitlines()
    assert (
        last[0] == "error: 1 of 6 could not be painted" and len(last) == 2 and "in/lost.mp4 is not a video" in last[1]
    )
    assert "3/6 beach.png: 1/1 frames" in err and "s left for all" in err
    made = sorted(path.relative_to("out").as_posix() for path in Path("out").rglob("*") if path.is_file())
    assert made == ["beach.png", "cat.png", "clip.mp4", "dog.png", *(f"shots/{n:02d}.png" for n in range(4))]
    for name in ("beach", "cat", "dog"):  # each by an engine that has seen nothing else
        alone = open_engine(load_stylizer(folder / "a.pt"))(np.ascontiguousarray(read(album / f"{name}.png")))
        np.testing.assert_array_equal(read(Path(f"out/{name}.png")), alone)
    engine = open_engine(load_stylizer(folder / "a.pt"))
    with_memory = [engine(np.ascontiguousarray(read(album / f"shots/{n:02d}.png"))).copy() for n in range(4)]
    np.testing.assert_array_equal([read(Path(f"out/shots/{n:02d}.png")) for n in range(4)], with_memory)
    with av.open("out/clip.mp4") as video:
        assert len(video.streams.audio) == 1 and sum(1 for _ in video.decode(video=0)) == 6


def test_a_second_run_goes_on_where_the_first_ended(folder: Path, album: Path, capsys: pytest.CaptureFixture) -> None:
    (album / "lost.mp4").unlink()
    assert paint_all(folder)[0] == 0
    times = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.*")}
    Path("out/cat.png").unlink()
    status, opened = paint_all(folder)
    assert status == 0 and opened == ["torch"]
    assert "1 of 5 painted, 4 there already (overwrite=true paints them again)" in capsys.readouterr().out
    changed = [path.name for path, time in times.items() if path.stat().st_mtime_ns != time]
    assert changed == ["cat.png"]
    assert paint_all(folder) == (0, []), "nothing is opened for nothing"
    assert paint_all(folder, "overwrite=true")[0] == 0
    assert all(path.stat().st_mtime_ns != time for path, time in times.items())


def test_frames_are_photographs_on_the_word(folder: Path, album: Path) -> None:
    paint_all(folder, "input=in/shots", "output=film")
    paint_all(folder, "input=in/shots", "output=each", "items=each")
    names = [f"{n:02d}.png" for n in range(4)]
    assert [sorted(path.name for path in Path(made).iterdir()) for made in ("film", "each")] == [names, names]
    for number, name in enumerate(names):
        alone = open_engine(load_stylizer(folder / "a.pt"))(np.ascontiguousarray(read(album / "shots" / name)))
        np.testing.assert_array_equal(read(Path("each") / name), alone)
        assert (read(Path("film") / name) == alone).all() == (number == 0)


def test_films_are_joined_on_the_word(folder: Path, album: Path, capsys: pytest.CaptureFixture) -> None:
    make_video(album / "deed.mp4", np.stack(film(3, 48, 64)), fps=10)
    (album / "lost.mp4").unlink()
    for arguments, count in (
        (["output=one.mp4", "items=join"], 9),
        (["input=in/*.mp4", "output=two.mp4"], 9),
        (["input=[in/deed.mp4,in/clip.mp4]", "output=three.mp4"], 9),
    ):
        assert paint_all(folder, *arguments)[0] == 0
        assert len(decode_sequentially(arguments[-1 if "output" in arguments[-1] else 0].partition("=")[2])) == count
    assert capsys.readouterr().out.count("joined in this order: clip.mp4, deed.mp4") == 2
    assert paint_all(folder, "output=no.mp4")[0] == 1
    assert "give a folder as the output, or items=join" in capsys.readouterr().err
    assert paint_all(folder, "input=in/*.mp4", "output=some")[0] == 0
    assert sorted(path.name for path in Path("some").iterdir()) == ["clip.mp4", "deed.mp4"]


def test_a_camera_makes_a_film_of_each_photograph(folder: Path, album: Path) -> None:
    assert paint_all(folder, "input=in/*.png", "camera=drift", "duration=0.5", "fps=10")[0] == 0
    assert sorted(path.name for path in Path("out").iterdir()) == ["beach.mp4", "cat.mp4", "dog.mp4"]
    assert len(decode_sequentially("out/dog.mp4")) == 5


@pytest.mark.parametrize(
    ("arguments", "clip", "codecs", "pixels"),
    [
        (["transparency=keep"], "clip.mp4", ["h264", "aac"], "yuv420p"),
        (["audio=opus"], "clip.mp4", ["h264", "opus"], "yuv420p"),
        (["codec=prores", "audio=opus"], "clip.mkv", ["prores", "opus"], "yuv422p10le"),
        (["codec=libvpx-vp9", "preset=5", "transparency=keep"], "clip.mp4", ["vp9", "aac"], "yuv420p"),
        (["camera=drift", "duration=0.2", "hdr=keep", "resume=true"], "clip.mp4", ["h264", "aac"], "yuv420p"),
    ],
)
def test_settings_concern_whom_they_concern(
    arguments: list[str], clip: str, codecs: list[str], pixels: str, folder: Path, album: Path, capsys
) -> None:
    (album / "lost.mp4").unlink()
    Image.new("RGB", (64, 48), (9, 99, 199)).save(album / "photo.jpg")
    grey, white = (Image.new("L", (64, 48), value) for value in (128, 255))
    grey.save(album / "moving.gif", save_all=True, append_images=[white])
    clear = np.zeros((3, 48, 64, 4), np.uint8)
    clear[:, 10:30, 10:40] = 255
    make_transparent(album / "clear.mov", clear, "prores_ks")
    status, _ = paint_all(folder, *arguments)
    assert status == 0, capsys.readouterr().err
    assert Path("out/moving.gif").exists()
    with av.open(f"out/{clip}") as video:
        assert [stream.codec_context.codec.canonical_name for stream in video.streams] == codecs
        assert video.streams.video[0].pix_fmt == pixels and sum(1 for _ in video.decode(video=0)) == 6
    if "transparency=keep" in arguments:
        made = next(Path("out").glob("clear.*"))
        assert made.suffix == (".mkv" if "codec=libvpx-vp9" in arguments else ".mov")
        assert probe(made).alpha and not probe(f"out/{clip}").alpha


def test_a_checkpoint_may_be_called_as_a_number(run, painted, folder: Path) -> None:
    named = "checkpoint={mosaic: b.pt, 2024_01: a.pt}"
    np.testing.assert_allclose(run(named, "use=2024_01").astype(int), painted("a"), atol=12)
    changing = run(named, "use=[mosaic,0.6:2024_01]").astype(int)
    assert np.abs(changing[:6] - painted("b")[:6]).mean() < 2 and np.abs(changing[6:] - run(named)[6:]).mean() > 2


def test_a_setting_that_fits_some_containers_stops_those_alone(folder: Path, album: Path, capsys) -> None:
    (album / "lost.mp4").unlink()
    make_video(album / "web.webm", np.stack(film(3, 48, 64)), fps=10, codec="libvpx-vp9")
    assert paint_all(folder, "preset=veryfast")[0] == 1
    said = capsys.readouterr().err
    assert "1 of 6 could not be painted" in said and "preset=veryfast is not one of" in said
    assert Path("out/clip.mp4").exists() and not Path("out/web.webm").exists()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["codec=libx246"], "codec=libx246 is not one of"),
        (["start=soon"], "start=soon is no time"),
        (["crossfade=1"], "crossfade=1 joins films, and each is painted by itself; leave it out"),
        (["output=in"], "input and output are the same folder, in"),
        (["items=some"], "items: 'some' is not one of auto, each, frames, join"),
        (["mask.file=absent.png"], "absent.png"),
        (["format=y4m"], "format=y4m is for output=-, and out is a folder; leave it out"),
        (["background=[1,2]"], "background=[1, 2]: give red, green and blue"),
        (["transparency=keep", "background=[0,0,0]"], "leave it out to keep transparency"),
        (
            ["input=in/*.mp4", "camera=drift"],
            "camera=drift moves over pictures, and in/*.mp4 holds films; leave it out",
        ),
    ],
)
def test_mistakes_of_all_items_are_told_once(
    arguments: list[str], line: str, folder: Path, album: Path, capsys: pytest.CaptureFixture
) -> None:
    status, opened = paint_all(folder, *arguments)
    said = capsys.readouterr().err
    assert status == 1 and opened == [] and line in said and said.count("\n") == 1
    assert not Path("out").exists()


def test_frames_on_standard_output_are_alone_there(folder: Path) -> None:
    words = ["checkpoint=a.pt", "input=clip.mp4", "output=-", "format=rgb24"]
    done = subprocess.run([sys.executable, str(ROOT / "stylize.py"), *words], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) == 12 * 48 * 64 * 3 and b"12 frames in" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["use=c", "checkpoint={first: a.pt, second: b.pt}"], "use=c: no such style; styles: first, second"),
        (["use=[first,1:secnod]", "checkpoint={first: a.pt, second: b.pt}"], "use=secnod: no such style (did you mean"),
        (["grain=1.5"], "grain: 1.5 is not 0 or more and 1 or less"),
        (["strength=1.5"], "strength: 1.5 is not 0 or more and 1 or less"),
        (["strength=[0:0,2:7]"], "strength=7.0: give a number from 0 to 1"),
        (["strength=[2:0,1:1]"], "strength: its times 2, 1 do not rise from 0 s on"),
        (["stroke=5"], "stroke: 5 is not 0.25 or more and 4 or less"),
        (
            ["scale=0.5"],
            "scale=0.5: strokes have a key of their own, stroke, of which this is the inverse; write stroke=2",
        ),
        (["palette=[red]"], "palette: red is no colour; give red, green and blue from 0 to 255"),
        (["mask.color=[1,2]"], "mask.color: [1, 2] is no colour"),
        (["mask.color=[1,2,3]", "mask.file=mask.png"], "mask.color: mask.file is given as well; give one of them"),
        (["mask.invert=true"], "mask.invert: there is no mask; give mask.file="),
        (["mask.file=absent.png"], "absent.png"),
        (["mask.file=tall.png"], "mask tall.png is 20x60 and the film 64x48, which is another shape"),
        (["compare=slide"], "compare: 'slide' is not one of none, side, split, wipe"),
        (["crop=[40,0,30,48]"], "crop=[40, 0, 30, 48]: columns end at 70 and rows at 48, and the picture is 64x48"),
        (["crop=[1,2]"], "crop=[1, 2]: give [left,top,width,height] in whole pixels"),
        (["size=640:360"], "size=640:360: give width and height as 1280x720"),
        (["size=8"], "8x6 pixels are left to paint; give at least 16 on each side"),
        (["camera=drift"], "camera=drift moves over a picture, and clip.mp4 is none"),
        (["camera=drift", "input=tall.png", "start=3"], "start: camera=drift makes the film, of duration=6 seconds"),
        (["input=absent.mp4"], "absent.mp4"),
        (["output=out.txt"], "out.txt: the extension .txt is not one of"),
        (["output=absent/out.mp4"], "absent/out.mp4: the folder absent does not exist"),
        (["codec=libx246"], "codec=libx246 is not one of libx264,"),
        (["crf=70"], "crf: 70 is not 0 or more and 51 or less"),
        (["stereo=top_bottom", "input=odd.png", "output=odd_out.png"], "63x47 cannot be two eyes of one size"),
        (["device=nonsense"], "device=nonsense: not available here"),
    ],
)
def test_mistakes_are_told_before_a_model_is_opened(
    arguments: list[str], line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(folder)
    for name, (height, width) in {"tall": (60, 20), "odd": (47, 63)}.items():
        cv2.imwrite(f"{name}.png", np.zeros((height, width, 3), np.uint8))
    monkeypatch.setattr("vst.commands.stylize.open_engine", lambda *_: pytest.fail("a model was opened"))
    given = {argument.partition("=")[0] for argument in arguments}
    usual = {"checkpoint": "a.pt", "input": "clip.mp4", "output": "wrong.mp4"}
    with pytest.raises(SystemExit) as caught:
        stylize([f"{key}={value}" for key, value in usual.items() if key not in given] + arguments)
    said = capsys.readouterr().err
    assert caught.value.code == 1 and said.startswith("error: ") and line in said and said.count("\n") == 1
    assert not Path("wrong.mp4").exists()


def test_from_python_in_two_lines_and_with_a_painter(folder: Path, painted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    report = stylize_video(load_stylizer("a.pt"), "clip.mp4", "two.mp4", progress=False)
    assert report.frames == 12 and far(np.stack(decode_sequentially(folder / "two.mp4")), painted("a")) < 6
    engines = {name: open_engine(f"{name}.pt") for name in ("a", "b")}
    timeline = Timeline(
        Look(preserve_color=0.5),
        {"strength": Numbers((0.0, 1.0), (0.0, 1.0))},
        Styles((0.0, 0.5), ("a", "b"), (0.0, 0.2)),
    )
    stylize_video(Painter(engines, timeline=timeline), "clip.mp4", "three.mp4", progress=False)
    frames, clip = np.stack(decode_sequentially(folder / "three.mp4")), clip_of(folder)
    assert far(frames[0], clip[0]) < 5 < far(frames[-1], clip[-1])


# ----------------------------------------------------------------------------------------------------
# Transparency


@pytest.fixture
def cut_out(folder: Path) -> np.ndarray:
    """The frames (6, 48, 64, 4) of cut.mov, whose left half is hidden behind a sharp edge, and there green."""
    frames = np.empty((6, 48, 64, 4), np.uint8)
    frames[..., :3] = np.stack(film(6, 48, 64))
    frames[:, :, :32], frames[:, :, 32:, 3] = (0, 255, 0, 0), 255
    make_transparent(folder / "cut.mov", frames, "png")
    return frames


def alphas(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgba")[..., 3] for frame in container.decode(video=0)])


@pytest.mark.parametrize(
    ("words", "left", "right"),
    [
        ([], 32, 32), (["crop=[16,0,32,48]"], 16, 16), (["size=128x96"], 64, 64), (["stroke=2"], 32, 32),
        (["mask.color=[30,180,50]", "strength=0.5"], 32, 32), (["stereo=top_bottom"], 32, 32),
    ],
)  # fmt: skip
def test_what_is_hidden_stays_hidden(
    words: list[str], left: int, right: int, folder: Path, cut_out: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    stylize(["checkpoint=a.pt", "input=cut.mov", "output=cut_out.mov", "overwrite=true", *words])
    alpha = alphas(folder / "cut_out.mov")
    assert alpha.shape[0] == 6 and alpha.shape[2] == left + right
    assert alpha[:, :, : left - 2].max() == 0 and alpha[:, :, left + 2 :].min() == 255


def test_a_comparison_hides_both_sides_alike(
    folder: Path, cut_out: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    stylize(["checkpoint=a.pt", "input=cut.mov", "output=cut_out.mov", "overwrite=true", "compare=side"])
    row = alphas(folder / "cut_out.mov")[2, 20]
    np.testing.assert_array_equal(row > 128, np.tile(np.arange(64) >= 32, 2))


def test_the_painting_does_not_depend_on_what_is_hidden(
    folder: Path, cut_out: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    other = cut_out.copy()
    other[:, :, :32, :3] = (255, 0, 255)
    make_transparent(folder / "other.mov", other, "png")
    for name in ("cut", "other"):
        stylize(["checkpoint=a.pt", f"input={name}.mov", f"output={name}_painted/%02d.png", "overwrite=true"])
    for number in range(1, 7):
        first, second = (
            cv2.imread(f"{name}_painted/{number:02d}.png", cv2.IMREAD_UNCHANGED) for name in ("cut", "other")
        )
        np.testing.assert_array_equal(first, second)


def test_transparency_and_its_words(
    folder: Path, cut_out: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(folder)
    usual = ["checkpoint=a.pt", "input=cut.mov", "overwrite=true", "strength=0"]
    stylize([*usual, "output=flat.mp4", "background=[20,40,220]", "crf=4"])
    assert np.abs(decode_sequentially(folder / "flat.mp4")[0][5:40, 4:24].astype(int) - (20, 40, 220)).max() < 8
    assert "cut.mov has transparency, which is laid onto [20, 40, 220]" in capsys.readouterr().out
    for words, said in (
        (["output=out.mp4", "transparency=keep"], "transparency=keep: out.mp4 holds none"),
        (["output=out.mov", "background=[1,2]"], "background=[1, 2]: give red, green and blue"),
        (["output=out.mp4", "deinterlace=maybe"], "deinterlace"),
        (["output=out.mp4", "hdr=maybe"], "hdr"),
    ):
        with pytest.raises(SystemExit):
            stylize([*usual, *words])
        assert said in "".join(capsys.readouterr())


def test_an_exported_file_brings_its_engine(
    run: Callable[..., np.ndarray], folder: Path, capsys: pytest.CaptureFixture
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    write_onnx(FrameGraph(load_stylizer(folder / "a.pt")), folder / "a.onnx")
    expected = run("checkpoint=a.pt")
    assert np.abs(run("checkpoint=a.onnx").astype(int) - expected).max() <= 2
    for arguments, said in (
        (["engine=torch"], "engine=torch cannot run a .onnx file; choose onnxruntime"),
        (["precision=auto"], "precision=auto is for engine=auto"),
        (["engine=onnx"], "engine: 'onnx' is not one of"),
    ):
        with pytest.raises(SystemExit):
            run("checkpoint=a.onnx", *arguments)
        assert said in capsys.readouterr().err
