"""Pictures as a film: a folder or list of them read as frames, and frames written as pictures."""

from __future__ import annotations

import logging
import math
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
from vst.video.pixels import BLACK, WHITE, Color, scale
from vst.video.probe import BT709, VideoInfo
from vst.video.reader import Frame
from vst.video.stills import PictureError, Still, is_animation, read_header, read_still

WRITTEN = (".png", ".jpg", ".jpeg")
_NUMBER = re.compile(r"%0?(\d*)d")
_DEFAULT_NAME = "%06d.png"
_JPEG_SCALE = 2  # of 2 (best) to 31
_LOOKED_AT = 32  # pictures of a sequence that are looked at for transparency before it is read

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

    They are read as `vst.video.stills` says. Another size is fitted into that of the first one, which is told in
    `resized`, and begins another recording; so does every picture where they are `stills`. What is no readable picture
    among others is passed over and told in `damaged`. Transparency is laid onto `background`; with None it is given as
    `Frame.alpha` if any of up to `_LOOKED_AT` of them, spread over all, has some. `names` are those of the files; the
    time of a frame is its place among them. A context manager, used as a `VideoReader`. Raises PictureError where the
    first picture is none, and in reading where the only one is damaged.
    """

    def __init__(
        self, paths: Sequence[Path], fps: Fraction, background: Color | None = WHITE, stills: bool = False
    ) -> None:
        self._paths, self._stills = list(paths), stills
        self.names = [path.name for path in self._paths]
        self._told: set[str] = set()
        self.damaged: str | None = None
        self.resized: str | None = None
        self.tracks: list[Excerpt] = []
        header = read_header(self._paths[0])
        keeps = background is None and any(
            map(_is_transparent, self._paths[:: math.ceil(len(self._paths) / _LOOKED_AT)])
        )
        self._background = None if keeps else background or WHITE
        self.info = VideoInfo(
            path=self._paths[0], width=header.width, height=header.height, rotation=0, codec=header.format.lower(),
            fps=fps, num_frames=len(self._paths), duration=float(len(self._paths) / fps), pix_fmt="rgb24",
            has_audio=False, stream=0, time_base=1 / fps, sample_aspect_ratio=None, colour=BT709, display_matrix=None,
            alpha=keeps,
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
        before = self._size_of(first - 1) if first else size
        for number, path in enumerate(self._paths[first:], start=first):
            try:
                still = self.still(number)
            except PictureError as error:
                if len(self._paths) == 1:
                    raise
                lost.append(str(error))
                self.damaged = f"{len(lost)} of {len(self._paths)} pictures cannot be read; the first: {lost[0]}"
                continue
            here = still.image.shape[1::-1]
            cut, before = number > 0 and (self._stills or here != before), here
            if here != size:
                self.resized = self.resized or (
                    f"{path} is {here[0]}x{here[1]}, the first picture {size[0]}x{size[1]}; all frames are fitted into "
                    f"that"
                )
            fit = Fit(here, size)
            alpha = None if still.alpha is None else fit.alpha(still.alpha)
            yield Frame(fit(still.image), number, 1, self.info.time_base, cut, fit.border, alpha)

    def still(self, number: int, least: int | None = None) -> Still:
        """A picture at its own size, or reduced to a short side of `least` pixels or more. Raises PictureError."""
        path = self._paths[number]
        still = read_still(path, least, self._background)
        if still.flattened:
            named = {WHITE: "white", BLACK: "black"}.get(self._background, list(self._background))
            self._tell(path, f"has transparency, which is laid onto {named}")
        if still.note is not None:
            self._tell(path, still.note)
        return still

    def _size_of(self, number: int) -> tuple[int, int] | None:
        try:
            header = read_header(self._paths[number])
        except PictureError:
            return None
        return header.width, header.height

    def _tell(self, path: Path, line: str) -> None:
        """The same of many pictures once."""
        if line not in self._told:
            self._told.add(line)
            _log.warning("%s: %s", path, line)


def _is_transparent(path: Path) -> bool:
    try:
        return read_header(path).transparent and read_still(path, background=None).alpha is not None
    except PictureError:
        return False


class Fit:
    """Fits pictures of one size (width, height) into another: as large as they go, with their shape, bordered in black.

    `border` (H, W) uint8 is as in `Frame`, None for no border. `stretch` is the width of a pixel over that of a pixel
    of the whole.
    """

    def __init__(self, size: tuple[int, int], whole: tuple[int, int], stretch: Fraction | float = 1) -> None:
        width, height = size[0] * stretch, size[1]
        zoom = min(whole[0] / width, whole[1] / height)
        self._size = max(1, round(width * zoom)), max(1, round(height * zoom))
        self._whole = whole[::-1]
        across, down = self._size
        left, top = (whole[0] - across) // 2, (whole[1] - down) // 2
        self._inside = slice(top, top + down), slice(left, left + across)
        self.border: np.ndarray | None = None
        if self._size != whole:
            self.border = np.full(self._whole, 255, np.uint8)
            self.border[self._inside] = 0

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self._bordered(image, 0)

    def alpha(self, alpha: np.ndarray) -> np.ndarray:
        """The alpha (H, W) uint8 of such a picture, whose border hides what is behind it."""
        return self._bordered(alpha, 255)

    def _bordered(self, image: np.ndarray, value: int) -> np.ndarray:
        if image.shape[1::-1] != self._size:
            image = scale(image, *self._size)
        if self.border is None:
            return image
        canvas = np.full((*self._whole, *image.shape[2:]), value, np.uint8)
        canvas[self._inside] = image
        return canvas


class PictureWriter:
    """Frames as numbered pictures, from 1 on; or one picture, if the name has no number.

    `path` is a name with a number such as out/frame_%05d.jpg, or a folder, whose pictures are then called after the
    `names` of those that they were made of, where the time of a frame is its place; without names, 000001.png and so
    on. They are written into a hidden folder beside theirs and move to their places when all are there; on an
    exception the hidden folder is removed. With `overwrite` pictures of the same pattern are replaced, and those beyond
    the last one removed.

    Raises UserError for another format than PNG and JPEG, a name with two numbers, a folder that cannot be made, what
    is there already, and for a second frame where the name has no number.
    """

    def __init__(
        self, path: str | Path, info: VideoInfo, *, names: Sequence[str] | None = None, overwrite: bool = False
    ) -> None:
        self.path, self.info = Path(path), info
        folder = not has_number(self.path.name) and (self.path.suffix == "" or self.path.is_dir())
        self._pattern = self.path / _DEFAULT_NAME if folder else self.path
        self._names = _written_names(names) if folder and names else None
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
        self._written: list[str] = []

    def __enter__(self) -> PictureWriter:
        with told(self.path):
            self._temporary.mkdir()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None and self._written:
                with told(self.path):
                    self._publish()
        finally:
            shutil.rmtree(self._temporary, ignore_errors=True)
        if kind is None and not self._written:
            raise UserError(f"{self.path}: no frame was given, so no picture was written")

    def write(self, image: np.ndarray, pts: int | None = None, duration: int = 0) -> None:
        """Append `image` (H, W, 3) uint8 RGB, or (H, W, 4) with an alpha.

        Its time says which of the `names` it gets, and else does not matter.
        """
        if self._written and not self._numbered:
            raise UserError(f"{self.path} holds one frame and the input has more; name it frame_%05d{self.path.suffix}")
        self._written.append(self._names[pts] if self._names else self._name(len(self._written) + 1))
        with told(self.path):
            write_picture(self._temporary / self._written[-1], image)

    def _name(self, number: int) -> str:
        return _NUMBER.sub(lambda found: found[0] % number, self._pattern.name)

    def _present(self) -> list[Path]:
        if self._names:
            return [path for path in (self._folder / name for name in self._names) if path.exists()]
        if not self._numbered:
            return [self._pattern] if self._pattern.exists() else []
        return matching(self._pattern) if self._folder.is_dir() else []

    def _publish(self) -> None:
        self._folder.mkdir(exist_ok=True)
        before = [] if self._names else self._present()
        for name in sorted(self._written):
            os.replace(self._temporary / name, self._folder / name)
        for path in before:
            if path.name not in self._written:
                path.unlink()


def written_name(name: str | Path) -> str:
    """What a painted picture of this name is called: the same, or PNG where its format is not written."""
    return Path(name).name if Path(name).suffix.lower() in WRITTEN else Path(name).with_suffix(".png").name


def _written_names(names: Sequence[str]) -> list[str] | None:
    """None where two would be the same."""
    written = [written_name(name) for name in names]
    return written if len({name.lower() for name in written}) == len(written) else None


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG or JPEG, by the extension, or (H, W, 4) with an alpha as PNG.

    Raises av.error.FFmpegError and OSError.
    """
    jpeg = path.suffix.lower() != ".png"
    with av.open(str(path), "w", format="image2", options={"update": "1"}) as container:
        stream = container.add_stream("mjpeg" if jpeg else "png", rate=1)
        stream.height, stream.width = image.shape[:2]
        format = "rgb24" if image.shape[2] == 3 else "rgba"
        stream.pix_fmt = "yuvj444p" if jpeg else format
        if jpeg:
            stream.codec_context.qmin = stream.codec_context.qmax = _JPEG_SCALE
            stream.codec_context.color_range = 2
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=format)
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
