"""Writing an animated GIF: 256 colours chosen for each frame, its times to a hundredth of a second."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame

from vst.errors import UserError
from vst.video.output import PartFile, check_output, told
from vst.video.probe import VideoInfo

_UNIT = Fraction(1, 100)
# An ordered pattern lies still where the picture does; the usual error diffusion crawls.
_DITHER = "new=1:dither=bayer:bayer_scale=3"


class GifWriter:
    """Encode frames into a GIF that repeats for ever. A context manager, used as a `VideoWriter`.

    Each frame has its own palette, by FFmpeg's palettegen and paletteuse. Where `info.alpha`, pixels that are less than
    half visible are left out: a GIF knows nothing between. Browsers show no frame for less than
    two hundredths of a second.
    """

    def __init__(self, path: str | Path, info: VideoInfo, *, overwrite: bool = False) -> None:
        self.path, self.info = Path(path), info
        check_output(self.path, overwrite, (".gif",))
        self._file = PartFile(self.path, "gif")
        self._format = "rgba" if info.alpha else "rgb24"
        self._last = -1
        self._end = 0
        self._held: av.Packet | None = None

    def __enter__(self) -> GifWriter:
        with contextlib.ExitStack() as stack:
            self._container = stack.enter_context(self._file).container
            self._stream = self._container.add_stream("gif", rate=self.info.fps)
            self._stream.width, self._stream.height = self.info.width, self.info.height
            self._stream.pix_fmt = "pal8"
            self._stream.time_base = self._stream.codec_context.time_base = _UNIT
            self._build_graph()
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._cleanup:
            if kind is not None:
                return
            if self._last < 0:
                raise UserError(f"{self.path}: no frame was given, so no GIF was written")
            with told(self.path):
                self._graph.push(None)
                self._encode_what_is_ready()
                self._mux(self._stream.encode(None))
                self._held.duration = max(1, self._end - self._held.pts)
                self._container.mux(self._held)
                self._file.finish()

    def write(self, image: np.ndarray, pts: int, duration: int) -> None:
        """Append `image` (H, W, 3) uint8 RGB, (H, W, 4) with an alpha where `info.alpha`.

        `pts` and `duration` are in units of `info.time_base`.
        """
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format=self._format)
        frame.pts = self._last = max(self._last + 1, round(pts * self.info.time_base / _UNIT))
        frame.time_base = _UNIT
        self._end = round((pts + duration) * self.info.time_base / _UNIT)
        with told(self.path):
            self._graph.push(frame)
            self._encode_what_is_ready()

    def _build_graph(self) -> None:
        graph = av.filter.Graph()
        source = graph.add_buffer(width=self.info.width, height=self.info.height, format=self._format, time_base=_UNIT)
        split, palette = graph.add("split"), graph.add("palettegen", "stats_mode=single")
        use, self._drain = graph.add("paletteuse", _DITHER), graph.add("buffersink")
        source.link_to(split)
        split.link_to(palette, 0, 0)
        split.link_to(use, 1, 0)
        palette.link_to(use, 0, 1)
        use.link_to(self._drain)
        graph.configure()
        self._graph = graph

    def _encode_what_is_ready(self) -> None:
        while True:
            try:
                frame = self._drain.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[av.Packet]) -> None:
        for packet in packets:
            if self._held is not None:
                self._container.mux(self._held)
            self._held = packet
