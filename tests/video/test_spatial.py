"""Films that surround the viewer or show two eyes say so afterwards, or it is said that they do not any more."""

from __future__ import annotations

import logging
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from tests import media
from vst.painting.compare import Comparison
from vst.painting.framing import Framed
from vst.stream import stylize_video
from vst.video import open_source, probe
from vst.video.spatial import NOTHING

POSE = (10, 20, -30)  # degrees
XML = b"""<?xml version="1.0"?><rdf:SphericalVideo xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
xmlns:GSpherical="http://ns.google.com/videos/1.0/spherical/"><GSpherical:Spherical>true</GSpherical:Spherical>
<GSpherical:Stitched>true</GSpherical:Stitched><GSpherical:StitchingSoftware>x</GSpherical:StitchingSoftware>
<GSpherical:ProjectionType>equirectangular</GSpherical:ProjectionType>
<GSpherical:StereoMode>left-right</GSpherical:StereoMode></rdf:SphericalVideo>"""
V1 = bytes.fromhex("ffcc8263f8554a938814587a02521fdd")


class Same:
    keeps_view = True

    def reset(self) -> None: ...

    def at(self, seconds: float) -> None: ...

    def keep_black(self, border: np.ndarray | None) -> None: ...

    def output_size(self, width: int, height: int) -> tuple[int, int]:
        return width, height

    def read_state(self) -> list:
        return []

    def load_state(self, state: list) -> None: ...

    def __call__(self, frame: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        out = np.empty_like(frame) if out is None else out
        np.copyto(out, frame)
        return out


def box(kind: str, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind.encode()) + content


def sphere(shape: str = "equi", *numbers: int) -> bytes:
    numbers = numbers or (0,) * (4 if shape == "equi" else 2)
    pose = box("prhd", bytes(4) + struct.pack(">3i", *(degrees * 65536 for degrees in POSE)))
    shaped = box(shape, bytes(4) + struct.pack(f">{len(numbers)}I", *numbers))
    return box("sv3d", box("svhd", bytes(4) + b"somebody\0") + box("proj", pose + shaped))


def eyes(mode: int) -> bytes:
    return box("st3d", bytes(4) + bytes([mode]))


def with_boxes(path: Path, boxes: bytes, inside: str = "entry") -> Path:
    """Put boxes into the entry of the picture, or at the end of its track, in an mp4 whose header lies at the end."""
    data = bytearray(path.read_bytes())
    names = ["moov", "trak", *(["mdia", "minf", "stbl", "stsd", "avc1"] if inside == "entry" else [])]
    place, sizes = 0, []
    for name in names:
        place = data.index(name.encode(), place) - 4
        sizes.append(place)
        place += 8
    end = sizes[-1] + struct.unpack_from(">I", data, sizes[-1])[0]
    for size in sizes:
        struct.pack_into(">I", data, size, struct.unpack_from(">I", data, size)[0] + len(boxes))
    data[end:end] = boxes
    path.write_bytes(data)
    return path


def film(path: Path, boxes: bytes = b"", **options) -> Path:
    media.make_video(path, n=6, faststart=False, **options)
    return with_boxes(path, boxes) if boxes else path


def side_data(path: Path) -> dict[Type, bytes]:
    """What FFmpeg gives with the first frame: an AVSphericalMapping, and of an AVStereo3D the layout and flags."""
    with av.open(str(path)) as container:
        found = {data.type: bytes(data) for data in next(container.decode(video=0)).side_data}
    kept = {Type.SPHERICAL: found.get(Type.SPHERICAL), Type.STEREO3D: found.get(Type.STEREO3D, b"")[:8]}
    return {kind: data for kind, data in kept.items() if data}


BOXES = {
    "equirectangular": sphere(),
    "a part of it": sphere("equi", 1 << 30, 1 << 29, 1 << 28, 0),
    "cubemap": sphere("cbmp", 0, 8),
    "top and bottom": eyes(1),
    "side by side": eyes(2),
    "both": eyes(2) + sphere(),
}


@pytest.mark.parametrize("options", [{}, {"resume": True}, {"fps": 10}, {"start": 0.1}], ids=str)
@pytest.mark.parametrize("kind", ["mp4", "mov"])
@pytest.mark.parametrize("name", BOXES)
def test_mp4_and_mov_keep_it(
    name: str, kind: str, options: dict, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = film(tmp_path / "in.mp4", BOXES[name], audio="aac")
    before = side_data(source)
    assert before, "FFmpeg reads what the test wrote"
    target = tmp_path / f"out.{kind}"
    with caplog.at_level(logging.WARNING):
        stylize_video(Same(), source, target, progress=False, **options)
    assert side_data(target) == before and not caplog.records
    with av.open(str(target)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        numbers = media.read_numbers([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert numbers and numbers == sorted(numbers)


def test_the_older_description_is_read_and_written_as_the_newer(tmp_path: Path) -> None:
    source = film(tmp_path / "in.mp4")
    with_boxes(source, box("uuid", V1 + XML), inside="track")
    before = side_data(source)
    assert set(before) == {Type.SPHERICAL, Type.STEREO3D}
    stylize_video(Same(), source, tmp_path / "out.mp4", progress=False)
    assert side_data(tmp_path / "out.mp4") == before
    assert b"sv3d" in (tmp_path / "out.mp4").read_bytes()


@pytest.mark.parametrize("kind", ["mkv", "webm"])
def test_matroska_keeps_the_eyes_and_names_the_rest(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = film(tmp_path / "in.mp4", BOXES["both"]), tmp_path / f"out.{kind}"
    with caplog.at_level(logging.WARNING):
        stylize_video(Same(), source, target, progress=False)
    assert list(side_data(target)) == [Type.STEREO3D] and side_data(target).items() <= side_data(source).items()
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"{target}: left out of the input: 360-degree mapping (equirectangular)"
    # A film with eyes in a Matroska keeps them in an mp4 again.
    stylize_video(Same(), target, tmp_path / "back.mp4", progress=False)
    assert side_data(tmp_path / "back.mp4") == side_data(target)


def test_a_plain_film_stays_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = film(tmp_path / "in.mp4")
    assert not probe(source).spatial
    for kind in ("mp4", "mkv"):
        stylize_video(Same(), source, tmp_path / f"out.{kind}", progress=False)
        assert not side_data(tmp_path / f"out.{kind}")
    assert b"sv3d" not in (tmp_path / "out.mp4").read_bytes() and not caplog.records


@pytest.mark.parametrize(
    ("engine", "kept"),
    [
        (lambda: Framed(Same(), size=(48, 32)), True),
        (lambda: Comparison(Same(), "wipe"), True),
        (lambda: Framed(Same(), crop=(0, 0, 48, 32)), False),
        (lambda: Comparison(Same(), "side"), False),
    ],
)
def test_another_view_is_no_sphere_any_more(
    engine, kept: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = film(tmp_path / "in.mp4", BOXES["both"])
    with caplog.at_level(logging.WARNING):
        stylize_video(engine(), source, tmp_path / "out.mp4", progress=False)
    assert side_data(tmp_path / "out.mp4") == (side_data(source) if kept else {})
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == (not kept)
    assert kept or ("360-degree mapping" in told[0] and "stereo 3D layout (side by side)" in told[0])


def test_splices_of_one_kind_keep_it(tmp_path: Path) -> None:
    first, second = (film(tmp_path / f"{name}.mp4", BOXES["both"]) for name in ("a", "b"))
    plain = film(tmp_path / "plain.mp4")
    with open_source([first, second]) as source:
        assert source.info.spatial == probe(first).spatial and source.resized is None
    with open_source([first, plain]) as source:
        assert source.info.spatial == NOTHING and "360-degree mapping (equirectangular)" in source.resized
