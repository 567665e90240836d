"""Depth and dynamic range: HDR is seen as SDR by every door and kept where it can be, and files play."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest

from tests import media
from tests.video.doors import DOORS, Same, stylised
from vst import stylize_video
from vst.errors import UserError
from vst.video.hdr import HLG, PQ, Hdr
from vst.video.probe import probe
from vst.video.reader import VideoReader

# Light in cd/m2 of grey patches, and what they are of 255 in SDR: paper is 203, and gamma is 2.4.
PATCHES = {5.0: 54, 18.0: 93, 36.5: 125, 80.0: 173, 203.0: 230, 1000.0: 255}


def pq(light: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084, as it is written there."""
    y = (np.asarray(light) / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def hlg(light: np.ndarray) -> np.ndarray:
    """BT.2100 for greys on a screen of 1000 cd/m2."""
    scene = (np.asarray(light) / 1000) ** (1 / 1.2)
    return np.where(
        scene <= 1 / 12, np.sqrt(3 * scene), 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    )


CODES = {PQ: pq, HLG: hlg}


def patches(transfer: int, count: int = 6) -> np.ndarray:
    """(count, 48, 96, 3): six upright bars of grey."""
    row = np.repeat(CODES[transfer](np.array(list(PATCHES))), 16)
    return np.broadcast_to(row[None, None, :, None], (count, 48, 96, 3))


def levels(frames: np.ndarray) -> np.ndarray:
    """Of each patch, far from its edges."""
    return np.asarray(frames)[..., 4:44, :, :].reshape(-1, 40, 6, 16, 3)[:, :, :, 5:11].mean((0, 1, 3, 4))


@pytest.fixture(scope="module", params=[PQ, HLG], ids=["PQ", "HLG"])
def film(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    mastered = request.param == PQ
    path = tmp_path_factory.mktemp("hdr") / "film.mov"
    return media.make_hdr(path, patches(request.param), request.param, mastered)


def facts(path: Path) -> tuple:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context, frame = stream.codec_context, next(container.decode(stream))
        tags = frame.color_primaries, frame.color_trc, frame.colorspace
        return context.name, frame.format.name, context.codec_tag, context.profile, tuple(map(int, tags))


def luma(path: Path) -> np.ndarray:
    """(T, H, W) of 10 bits, as stored."""
    with av.open(str(path)) as container:
        planes = [(frame.planes[0], frame.height, frame.width) for frame in container.decode(video=0)]
        rows = [(np.frombuffer(p, np.uint16).reshape(-1, p.line_size // 2)[:h, :w]) for p, h, w in planes]
        return np.stack(rows).astype(int)


def side_data(path: Path) -> dict[str, bytes]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        kinds = ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")
        return {kind: bytes(frame.side_data.get(kind)) for kind in kinds if frame.side_data.get(kind) is not None}


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_greys_are_where_the_standards_put_them(transfer: int) -> None:
    codes = np.round(65535 * CODES[transfer](np.array(list(PATCHES)))).astype(np.uint16)
    seen = Hdr(transfer).to_sdr(np.broadcast_to(codes[:, None, None], (6, 1, 3)))
    assert np.abs(seen[:, 0, 1].astype(int) - list(PATCHES.values())).max() <= 1


def test_a_brighter_master_leaves_room_for_its_light() -> None:
    """The EETF of BT.2390-10 itself, with a peak of 4000 cd/m2."""
    light = np.array([1.0, 20.0, 100.0, 203.0, 1000.0, 4000.0])
    e1 = pq(light) / pq(4000.0)
    most = pq(203.0) / pq(4000.0)
    ks = 1.5 * most - 0.5
    t = (e1 - ks) / (1 - ks)
    p = (2 * t**3 - 3 * t**2 + 1) * ks + (t**3 - 2 * t**2 + t) * (1 - ks) + (-2 * t**3 + 3 * t**2) * most
    e2 = np.where(e1 < ks, e1, p) * pq(4000.0)
    root = e2 ** (1 / 78.84375)
    mapped = 10000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (1 / 0.1593017578125)
    expected = 255 * (mapped / 203) ** (1 / 2.4)
    codes = np.round(65535 * pq(light)).astype(np.uint16)
    seen = Hdr(PQ, peak=4000.0).to_sdr(np.broadcast_to(codes[:, None, None], (6, 1, 3)))
    np.testing.assert_allclose(seen[:, 0, 0], expected, atol=0.6)


def test_colours_keep_their_hue_and_the_gamut_ends_at_bt709() -> None:
    """A red of BT.709 at 20 cd/m2 is red again; one of BT.2020 is the reddest there is."""
    rgb709 = np.array([[20.0, 0, 0], [5.0, 20.0, 5.0]])
    to2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])  # BT.2087
    codes = np.round(65535 * pq(rgb709 @ to2020.T)).astype(np.uint16)[None]
    expected = 255 * (rgb709 / 203) ** (1 / 2.4)
    np.testing.assert_allclose(Hdr(PQ).to_sdr(codes)[0], expected, atol=4)
    pure = np.round(65535 * pq(np.array([[[100.0, 0, 0]]]))).astype(np.uint16)
    red, green, blue = Hdr(PQ).to_sdr(pure)[0, 0].astype(int)
    assert red > 200 and max(green, blue) < 5


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_the_way_back_undoes_the_way_there(transfer: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    again = Hdr(transfer).to_sdr(Hdr(transfer).from_sdr(picture))
    assert np.abs(again.astype(int) - picture).mean() < 0.1


@pytest.mark.parametrize("door", [door for door in DOORS if door not in ("file", "resumed")])
def test_every_door_shows_sdr(door: str, film: Path, tmp_path: Path) -> None:
    frames = DOORS[door](film, tmp_path)
    assert len(frames) == 6 and frames.shape[1:] == (48, 96, 3)
    assert np.abs(levels(frames) - list(PATCHES.values())).max() < (5 if door in ("gif", "cache") else 3)


def test_hdr_stays_hdr(film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, options in (("out.mp4", {}), ("out.mov", {"hdr": "keep"}), ("resumed.mp4", {"resume": True})):
        caplog.clear()
        output = stylised(film, tmp_path / name, crf=2, **options)
        tags = (9, probe(film).colour.trc, 9)
        assert facts(output)[:3] == ("hevc", "yuv420p10le", "hvc1") and facts(output)[4] == tags
        assert np.abs(luma(output) - luma(film))[:, :, :64].mean() < 2 and np.abs(luma(output) - luma(film)).mean() < 4
        assert side_data(output) == side_data(film)
        said = [record.getMessage() for record in caplog.records]
        assert sum("stays HDR" in line and "hdr=sdr" in line for line in said) == 1
        assert sum("is seen as SDR" in line for line in said) == 1


@pytest.mark.parametrize(
    ("name", "options", "codec"),
    [
        ("out.mp4", {"hdr": "sdr"}, "h264"), ("out.mp4", {"codec": "libx264"}, "h264"),
        ("out.mp4", {"pix_fmt": "yuv420p"}, "h264"), ("out.mov", {"hdr": "sdr", "codec": "libx265"}, "hevc"),
        ("out.webm", {"hdr": "sdr", "preset": 8}, "vp9"),
    ],
)  # fmt: skip
def test_hdr_becomes_sdr(
    name: str, options: dict, codec: str, film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = stylised(film, tmp_path / name, **({"crf": 4} | options))
    assert facts(output)[:2] == (codec, "yuv420p") and facts(output)[4] == (1, 1, 1)
    assert codec != "hevc" or facts(output)[2] == "hvc1"
    assert np.abs(levels(media.decode_sequentially(output)) - list(PATCHES.values())).max() < 4
    said = [line for line in caplog.messages if "is SDR" in line]
    assert len(said) == ("hdr" not in options)


def test_a_webm_stays_hdr_as_av1(film: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    output = stylised(film, tmp_path / "out.webm", preset=12)
    assert facts(output)[1] == "yuv420p10le" and facts(output)[4] == (9, probe(film).colour.trc, 9)
    lost = any("without the mastering screen's light" in line for line in caplog.messages)
    assert lost == bool(side_data(film))


def test_hdr_that_cannot_be_kept_is_told(film: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hdr=keep: pix_fmt=yuv420p has 8 bits.*codec=libx265, or hdr=sdr"):
        stylised(film, tmp_path / "out.mp4", hdr="keep", pix_fmt="yuv420p")
    with pytest.raises(UserError, match=r"hdr=keep: .* is no video file"):
        stylised(film, tmp_path / "out.gif", hdr="keep")
    with pytest.raises(UserError, match="hdr=yes is not one of auto, keep, sdr"):
        stylised(film, tmp_path / "out.mp4", hdr="yes")
    assert not list(tmp_path.iterdir())


def test_the_network_sees_no_milk(film: Path, tmp_path: Path) -> None:
    seen = []

    class Watching(Same):
        def forward(self, frames, style=None, state=None):
            seen.append(frames[0, :, 24].permute(1, 0)[None].numpy().copy())
            return frames, state

    stylize_video(Watching(), film, tmp_path / "out.mp4", progress=False)
    row = 255 * np.repeat(seen[0][:, None], 48, 1)
    assert np.abs(levels(row) - list(PATCHES.values())).max() < 3


# ----------------------------------------------------------------------------------------------------
# More than 8 bits, more than 4:2:0


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("deep")
    return {
        pix_fmt: media.make_video(folder / f"{pix_fmt}.mp4", n=6, pix_fmt=pix_fmt)
        for pix_fmt in ("yuv420p10le", "yuv422p", "yuv444p", "yuv422p10le")
    }


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("pix_fmt", ["yuv420p10le", "yuv422p", "yuv444p", "yuv422p10le"])
def test_a_film_of_many_bits_becomes_one_that_plays(
    pix_fmt: str, suffix: str, deep: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = stylised(deep[pix_fmt], tmp_path / f"out{suffix}", resume=suffix == ".mov")
    name, pixels, _, profile, _ = facts(output)
    assert (name, pixels, profile) == ("h264", "yuv420p", "High")
    assert media.read_numbers(media.decode_sequentially(output)) == list(range(6))
    said = [line for line in caplog.messages if "8 bits" in line]
    assert len(said) == ("10" in pix_fmt) and all("codec=libx265 keeps" in line for line in said)


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize(
    "options", [{"codec": "libx265"}, {"codec": "hevc", "resume": True}, {"codec": "h265", "pix_fmt": "yuv420p"}]
)
def test_hevc_is_called_hvc1(suffix: str, options: dict, deep: dict[str, Path], tmp_path: Path) -> None:
    output = stylised(deep["yuv420p10le"], tmp_path / f"out{suffix}", preset="ultrafast", **options)
    assert facts(output)[:3] == ("hevc", options.get("pix_fmt", "yuv420p10le"), "hvc1")


def test_a_chosen_encoder_keeps_the_depth_and_its_trouble_is_named(
    deep: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = stylised(deep["yuv420p10le"], tmp_path / "out.mp4", codec="libx264")
    assert facts(output)[1] == "yuv420p10le"
    assert any("many players refuse; pix_fmt=yuv420p makes it 8" in line for line in caplog.messages)
    caplog.clear()
    output = stylised(deep["yuv420p10le"], tmp_path / "chosen.mp4", pix_fmt="yuv420p10le")
    assert facts(output)[1] == "yuv420p10le" and not caplog.messages


def test_odd_sides_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    odd = media.make_video(tmp_path / "odd.mp4", media.pattern_frames(3, 97, 65), pix_fmt="yuv444p")
    output = stylised(odd, tmp_path / "out.mp4")
    assert facts(output)[1] == "yuv444p"
    assert [line for line in caplog.messages if "odd sides (97x65)" in line and "codec=libsvtav1" in line]


def test_eight_bits_need_no_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stylised(media.make_video(tmp_path / "in.mp4", n=3), tmp_path / "out.mp4")
    assert not [line for line in caplog.messages if str(tmp_path) in line]


def test_frames_in_planes_are_for_sdr(film: Path) -> None:
    with VideoReader(film) as reader:
        assert reader.planes is None
