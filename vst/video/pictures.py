"""Pictures as a film: a folder or list of them read as frames, and frames written as pictures."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vst.errors import UserError
from vst.video.excerpts import Excerpt
from vst.video.formats import FILMS, PICTURES, has_suffix
from vst.video.output import part_of, told
from vst.video.probe import BT709, VideoInfo
from vst.video.reader import Frame
from vst.video.stills import PictureError, is_animation, read_header, read_still

WRITTEN = (".png", ".jpg", ".jpeg")
_NUMBER = re.compile(r"%0?(\d*)d")
_DEFAULT_NAME = "%06d.png"
_JPEG_SCALE = 2  # of 2 (best) to 31

_log = logging.getLogger(__name__)


def is_picture(path: str | Path) -> bool:
    """Whether a path is a picture's by its name, and the file, where there is one, no animation."""
    return has_suffix(path, PICTURES) and not is_animation(path)


def is_film(path: str | Path) -> bool:
    """Whether a path is a film's by its name, or an animation."""
    return has_suffix(path, FILMS) or is_animation(path)


def natural_order(path: str | Path) -> list[tuple[int, str]]:
    """A sort key by which frame2 comes before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", str(path))]


def has_number(name: str | Path) -> bool:
    """Whether a name holds the number of a frame as printf writes it, such as %05d."""
    return _NUMBER.search(str(name)) is not None


def matching(pattern: Path) -> list[Path]:
    """The files that a name with a number such as frame_%05d.png stands for, in the order of their numbers."""
    expression = re.compile(_expression(pattern.name))
    if not pattern.parent.is_dir():
        raise UserError(f"{pattern}: the folder {pattern.parent} does not exist; check the path")
    found = ((expression.fullmatch(path.name), path) for path in pattern.parent.iterdir())
    return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]


class PictureReader:
    """Pictures in the given order as frames at `fps`, upright, of the size of the first one.

    They are read as `vst.video.stills` says. Another size is scaled to that of the first one and told in `resized`;
    what is no readable picture among others is passed over and told in `damaged`. A context manager, used as a
    `VideoReader`. Raises PictureError where the first picture is none, and in reading where the only one is damaged.
    """

    def __init__(self, paths: Sequence[Path], fps: Fraction) -> None:
        self._paths = list(paths)
        self._noted = False
        self.damaged: str | None = None
        self.resized: str | None = None
        self.tracks: list[Excerpt] = []
        header = read_header(self._paths[0])
        self.info = VideoInfo(
            path=self._paths[0], width=header.width, height=header.height, rotation=0, codec=header.format.lower(),
            fps=fps, num_frames=len(self._paths), duration=float(len(self._paths) / fps), pix_fmt="rgb24",
            has_audio=False, stream=0, time_base=1 / fps, sample_aspect_ratio=None, colour=BT709, display_matrix=None,
        )  # fmt: skip

    def __enter__(self) -> PictureReader:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Frame]:
        return self.read()

    def read(self, first: int = 0) -> Iterator[Frame]:
        """The frames from number `first` on."""
        self.damaged = self.resized = None
        lost: list[str] = []
        size = (self.info.width, self.info.height)
        for number, path in enumerate(self._paths[first:], start=first):
            try:
                still = read_still(path)
            except PictureError as error:
                if len(self._paths) == 1:
                    raise
                lost.append(str(error))
                self.damaged = f"{len(lost)} of {len(self._paths)} pictures cannot be read; the first: {lost[0]}"
                continue
            if still.note is not None and not self._noted:
                _log.warning("%s: %s", path, still.note)
                self._noted = True
            image = still.image
            if image.shape[1::-1] != size:
                self.resized = self.resized or (
                    f"{path} is {image.shape[1]}x{image.shape[0]}, the first picture {size[0]}x{size[1]}; all frames "
                    f"are scaled to that"
                )
                image = scale(image, *size)
            yield Frame(image, number, 1, self.info.time_base)


def scale(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB to another size, averaging where it becomes smaller."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return frame.to_ndarray(width=width, height=height, interpolation="AREA")


class PictureWriter:
    """Frames as numbered pictures, from 1 on; or one picture, if the name has no number.

    `path` is a name with a number such as out/frame_%05d.jpg, or a folder, whose pictures are then 000001.png and
    so on. They are written into a hidden folder beside theirs and move to their places when all are there; on an
    exception the hidden folder is removed. With `overwrite` pictures of the same pattern are replaced, and those beyond
    the last one removed.

    Raises UserError for another format than PNG and JPEG, a name with two numbers, a folder that cannot be made, what
    is there already, and for a second frame where the name has no number.
    """

    def __init__(self, path: str | Path, info: VideoInfo, *, overwrite: bool = False) -> None:
        self.path, self.info = Path(path), info
        folder = not has_number(self.path.name) and (self.path.suffix == "" or self.path.is_dir())
        self._pattern = self.path / _DEFAULT_NAME if folder else self.path
        if self._pattern.suffix.lower() not in WRITTEN:
            raise UserError(f"{path}: pictures are written as {', '.join(WRITTEN)}; choose one of these")
        if len(_NUMBER.findall(self._pattern.name)) > 1:
            raise UserError(f"{path}: the name holds more than one number; give one, such as frame_%05d.png")
        self._numbered = has_number(self._pattern.name)
        self._folder = self._pattern.parent
        above = self._folder if self._folder.exists() or not self._numbered else self._folder.parent
        if not above.is_dir():
            raise UserError(f"{path}: the folder {above} does not exist; create it first")
        if self._present() and not overwrite:
            raise UserError(f"{self._present()[0]} exists already; choose another name or set overwrite=true")
        self._temporary = part_of(self._folder, above)
        self._count = 0

    def __enter__(self) -> PictureWriter:
        with told(self.path):
            self._temporary.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._count:
                with told(self.path):
                    self._publish()
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)
        if kind is None and not self._count:
            raise UserError(f"{self.path}: no frame was given, so no picture was written")

    def write(self, image: np.ndarray, pts: int | None = None, duration: int = 0) -> None:
        """Append `image` (H, W, 3) uint8 RGB; its time does not matter."""
        if self._count and not self._numbered:
            raise UserError(f"{self.path} holds one frame and the input has more; name it frame_%05d{self.path.suffix}")
        self._count += 1
        with told(self.path):
            write_picture(self._temporary / self._name(self._count), image)

    def _name(self, number: int) -> str:
        return _NUMBER.sub(lambda found: found[0] % number, self._pattern.name)

    def _present(self) -> list[Path]:
        if not self._numbered:
            return [self._pattern] if self._pattern.exists() else []
        return matching(self._pattern) if self._folder.is_dir() else []

    def _publish(self) -> None:
        self._folder.mkdir(exist_ok=True)
        before = self._present()
        written = {self._name(number) for number in range(1, self._count + 1)}
        for name in sorted(written):
            os.replace(self._temporary / name, self._folder / name)
        for path in before:
            if path.name not in written:
                path.unlink()


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG or JPEG, by the extension. Raises av.error.FFmpegError and OSError."""
    jpeg = path.suffix.lower() != ".png"
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("mjpeg" if jpeg else "png", rate=1)
        stream.height, stream.width = image.shape[:2]
        stream.pix_fmt = "yuvj444p" if jpeg else "rgb24"
        if jpeg:
            stream.codec_context.qmin = stream.codec_context.qmax = _JPEG_SCALE
            stream.codec_context.color_range = 2
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        if jpeg:
            frame = frame.reformat(
                format="yuvj444p", src_colorspace="ITU709", dst_colorspace="ITU601", dst_color_range=2
            )
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _expression(name: str) -> str:
    """A regular expression with the number as its first group, for a name such as frame_%05d.png."""
    before, after = name[: _NUMBER.search(name).start()], name[_NUMBER.search(name).end() :]
    return f"{re.escape(before)}(\\d+){re.escape(after)}"
