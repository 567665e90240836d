"""What says that a picture surrounds its viewer (360 degrees) or holds one for each eye, and how files keep that.

PyAV reads both from any container, but hands neither to a muxer. An mp4 or mov keeps them as two boxes in the picture's
entry of the header, `sv3d` and `st3d` (Spherical Video V2 RFC), which are put there when the file is whole. Matroska
keeps how two eyes lie, which FFmpeg takes from a tag of the stream.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from vst.video.orientation import side_data

_MP4 = ("mp4", "mov")
_MATROSKA = ("matroska", "webm")
_PROJECTIONS = ("equirectangular", "cubemap", "part of an equirectangular one")  # FFmpeg's numbers 0 to 2
_CUBEMAP = 1
_EYES = ("mono", "side by side", "top and bottom")  # FFmpeg's numbers 0 to 2
_EYES_IN_MP4 = (0, 2, 1)  # their numbers in st3d
_EYES_IN_MATROSKA = {(1, 0): "left_right", (2, 0): "top_bottom", (1, 1): "right_left", (2, 1): "bottom_top"}
_HEAD = 8  # bytes of a box before its content: size and name
_LONG_HEAD = 16


@dataclass(frozen=True)
class Mapping:
    """How a picture lies on a sphere: FFmpeg's number of the projection; yaw, pitch and roll in degrees / 65536; what
    is cut off at the left, top, right and bottom, of 2^32; pixels around the faces of a cube.
    """

    projection: int
    pose: tuple[int, int, int]
    bounds: tuple[int, int, int, int]
    padding: int


@dataclass(frozen=True)
class Spatial:
    """What a picture says of how it is meant to be seen: its `mapping` on a sphere, and how two `eyes` lie in it, as
    FFmpeg's numbers of the layout and of its flags (1: the right eye first). None where it says nothing.
    """

    mapping: Mapping | None = None
    eyes: tuple[int, int] | None = None

    @classmethod
    def of(cls, frame: VideoFrame) -> Spatial:
        """What a decoded frame says."""
        sphere, stereo = side_data(frame, Type.SPHERICAL), side_data(frame, Type.STEREO3D)
        mapping = None
        if sphere is not None:
            projection, *pose_and_bounds, padding = struct.unpack_from("=4i5I", sphere)
            mapping = Mapping(projection, tuple(pose_and_bounds[:3]), tuple(pose_and_bounds[3:]), padding)
        eyes = None if stereo is None else struct.unpack_from("=2i", stereo)
        return cls(mapping, eyes if eyes and eyes[0] else None)  # 0 is one picture for both

    def __bool__(self) -> bool:
        return self != NOTHING

    def kept_in(self, format: str) -> Spatial:
        """What of it a file of this format of FFmpeg keeps."""
        if format in _MATROSKA:
            return Spatial(None, self.eyes if self.eyes in _EYES_IN_MATROSKA else None)
        if format not in _MP4:
            return NOTHING
        known = self.mapping is not None and self.mapping.projection < len(_PROJECTIONS)
        plain = self.eyes is not None and self.eyes[0] < len(_EYES) and self.eyes[1] == 0
        return Spatial(self.mapping if known else None, self.eyes if plain else None)

    def without(self, kept: Spatial) -> Spatial:
        """What is left of it besides `kept`."""
        return Spatial(None if kept.mapping else self.mapping, None if kept.eyes else self.eyes)

    @property
    def names(self) -> list[str]:
        """What to call it in a message."""
        names = []
        if self.mapping is not None:
            names.append(f"360-degree mapping ({_name(_PROJECTIONS, self.mapping.projection)})")
        if self.eyes is not None:
            names.append(f"stereo 3D layout ({_name(_EYES, self.eyes[0])})")
        return names

    def tags(self, format: str) -> dict[str, str]:
        """The tags of a picture's stream from which FFmpeg writes it."""
        return {"stereo_mode": _EYES_IN_MATROSKA[self.eyes]} if self.eyes and format in _MATROSKA else {}

    def write(self, path: Path, format: str) -> None:
        """Put it into the header of a finished mp4 or mov, which lies at the end, so that nothing else moves."""
        if not self or format not in _MP4:
            return
        with path.open("r+b") as file:
            place = _header_of(file, path.stat().st_size)
            file.seek(place)
            header = bytearray(file.read())
            _insert(header, self._boxes())
            file.seek(place)
            file.write(header)

    def _boxes(self) -> bytes:
        boxes = b""
        if self.eyes is not None:
            boxes += _full_box(b"st3d", bytes([_EYES_IN_MP4[self.eyes[0]]]))
        if self.mapping is not None:
            left, top, right, bottom = self.mapping.bounds
            if self.mapping.projection == _CUBEMAP:
                shape = _full_box(b"cbmp", struct.pack(">2I", 0, self.mapping.padding))
            else:
                shape = _full_box(b"equi", struct.pack(">4I", top, bottom, left, right))
            pose = _full_box(b"prhd", struct.pack(">3i", *self.mapping.pose))
            boxes += _box(b"sv3d", _full_box(b"svhd", b"vst\0") + _box(b"proj", pose + shape))
        return boxes


NOTHING = Spatial()


def _name(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else f"kind {number}"


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", _HEAD + len(content), kind) + content


def _full_box(kind: bytes, content: bytes) -> bytes:
    """A box with a version and flags, which are 0."""
    return _box(kind, bytes(4) + content)


def _header_of(file: BinaryIO, length: int) -> int:
    """Where the last box of a file begins, which has to be moov."""
    place, begin, kind = 0, 0, b""
    while begin < length:
        place = begin
        file.seek(place)
        head = file.read(_LONG_HEAD)
        size, kind = struct.unpack_from(">I4s", head)
        begin += struct.unpack_from(">Q", head, _HEAD)[0] if size == 1 else size or length
    assert kind == b"moov", kind
    return place


def _insert(header: bytearray, boxes: bytes) -> None:
    """Put boxes at the end of the first entry of the picture's track."""
    for track in _places(header, 0, b"trak"):
        (media,) = _places(header, track, b"mdia")
        (handler,) = _places(header, media, b"hdlr")
        if header[handler + 16 : handler + 20] != b"vide":
            continue
        around = [0, track, media]
        for kind in (b"minf", b"stbl", b"stsd"):
            around += _places(header, around[-1], kind)
        around.append(around[-1] + _HEAD + 8)  # stsd counts its entries before the first one
        end = around[-1] + struct.unpack_from(">I", header, around[-1])[0]
        for place in around:
            struct.pack_into(">I", header, place, struct.unpack_from(">I", header, place)[0] + len(boxes))
        header[end:end] = boxes
        return


def _places(header: bytearray, box: int, kind: bytes) -> Iterator[int]:
    """Where the boxes of this kind begin that lie directly in the one at `box`."""
    place, end = box + _HEAD, box + struct.unpack_from(">I", header, box)[0]
    while place < end:
        size, found = struct.unpack_from(">I4s", header, place)
        if found == kind:
            yield place
        place += size
