"""Decoded frames as pictures: RGB as an SDR screen shows it, and what is done with transparency."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import torch
import torch.nn.functional as F
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from torch import Tensor

from vst.video.hdr import Hdr, hdr_of

Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)
_SEEN = 64  # of 255: with so much of it a pixel's own colour counts in full
_GREY = 128.0
_REACH = 2  # pixels that one sample of colour touches, at half of the resolution
_LITTLE = 0.05
_BAND = 256  # rows


class Pictures:
    """Makes pictures of the decoded frames of one film, (H, W, 3) uint8 RGB: what a decoder calls numbers, as colours.

    HDR becomes SDR (`vst.video.hdr`). Transparency is laid onto `background`; with None it stays, as an alpha beside
    the picture, and what it hides takes on the colours around it, since hidden colours can be anything.

    `tell` gets one line for each of these that happens, at the first frame that it happens to.
    """

    def __init__(self, background: Color | None = WHITE, tell: Callable[[str], None] = lambda line: None) -> None:
        self._background, self._tell = background, tell
        self._converter = VideoReformatter()  # one for all frames: setting it up costs as much as a frame
        self._hdr: Hdr | None = None
        self._seen = self._told = False

    def __call__(
        self, frame: VideoFrame, width: int, height: int, interpolation: str | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The picture, and its alpha (H, W) uint8, which is None where there is none or it was laid onto something."""
        if not self._seen:
            self._seen, self._hdr = True, hdr_of(frame)
            if self._hdr is not None:
                self._tell(f"is HDR ({self._hdr.name}); it is seen as SDR, tone-mapped by ITU-R BT.2390")
        if not has_alpha(frame):
            return self._in_sdr(self._rgb(frame, width, height, interpolation)), None
        # At its own size, so that no hidden colour is mixed in.
        rgba = self._rgb(frame, frame.width, frame.height, None)
        picture = self._in_sdr(np.ascontiguousarray(rgba[..., :3]))
        alpha = np.ascontiguousarray(rgba[..., 3] if rgba.dtype == np.uint8 else rgba[..., 3] >> 8).astype(np.uint8)
        if self._background is not None:
            self._tell_transparency(alpha)
            return scale(laid_onto(picture, alpha, self._background), width, height), None
        filled = with_hidden_filled(picture, alpha, _is_subsampled(frame))
        return scale(filled, width, height), scale(alpha, width, height)

    def _tell_transparency(self, alpha: np.ndarray) -> None:
        if not self._told and alpha.min() < 255:
            self._told = True
            names = {WHITE: "white", BLACK: "black"}
            self._tell(f"has transparency, which is laid onto {names.get(self._background, list(self._background))}")

    def _rgb(self, frame: VideoFrame, width: int, height: int, interpolation: str | None) -> np.ndarray:
        # The range is given, and a matrix for the RGB side, where it means nothing: PyAV else ignores the frame's tags.
        deep, transparent = self._hdr is not None, has_alpha(frame)
        format = ("rgba64le" if deep else "rgba") if transparent else ("rgb48le" if deep else "rgb24")
        return self._converter.reformat(
            frame, format=format, width=width, height=height, interpolation=interpolation,
            src_color_range=int(frame.color_range), dst_colorspace="ITU601",
        ).to_ndarray()  # fmt: skip

    def _in_sdr(self, picture: np.ndarray) -> np.ndarray:
        return picture if self._hdr is None else self._hdr.to_sdr(picture)


def has_alpha(frame: VideoFrame) -> bool:
    return frame.format.name == "pal8" or any(component.is_alpha for component in frame.format.components)


def _is_subsampled(frame: VideoFrame) -> bool:
    components = frame.format.components
    return len(components) > 2 and components[1].width < components[0].width


def is_transparent(frame: VideoFrame) -> bool:
    """Whether any of it can be seen through."""
    return has_alpha(frame) and bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)


def laid_onto(picture: np.ndarray, alpha: np.ndarray, color: Color) -> np.ndarray:
    """(H, W, 3) uint8 RGB, seen through as `alpha` (H, W) uint8 says, in front of a colour; rounded to the nearest."""
    laid, behind = np.empty_like(picture), np.array(color, np.uint16)
    for top in range(0, len(picture), _BAND):  # in bands, which takes little memory
        band = slice(top, top + _BAND)
        seen = alpha[band, :, None].astype(np.uint16)
        laid[band] = (picture[band] * seen + (255 - seen) * behind + 127) // 255
    return laid


def with_hidden_filled(picture: np.ndarray, alpha: np.ndarray, subsampled: bool = False) -> np.ndarray:
    """(H, W, 3) uint8 RGB with the colours around them where `alpha` (H, W) uint8 hides its own (pull and push).

    `subsampled`: pixels share their colours with their neighbours, as in 4:2:0, so those at the edge of what is hidden
    have some of it, and count for little where there are others.
    """
    if alpha.min() >= _SEEN:
        return picture
    known = (torch.from_numpy(alpha).float() / _SEEN).clamp_(max=1)[None, None]
    if subsampled:
        inner = -F.max_pool2d(-known, 2 * _REACH + 1, 1, _REACH)
        known = torch.maximum(inner, _LITTLE * known)
    colours = torch.from_numpy(picture).permute(2, 0, 1).float()[None] * known
    filled = _spread(colours, known)[0].permute(1, 2, 0)
    return filled.round_().clamp_(0, 255).byte().contiguous().numpy()


def _spread(colours: Tensor, known: Tensor) -> Tensor:
    """`colours` (1, 3, H, W), times `known` (1, 1, H, W) in [0, 1], completed by those of coarser pictures of it."""
    if max(known.shape[2:]) == 1:
        return colours + (1 - known) * _GREY
    pooled = [F.avg_pool2d(plane, 2, ceil_mode=True) * 4 for plane in (colours, known)]
    total = pooled[1].clamp(min=1)
    coarse = _spread(pooled[0] / total, pooled[1] / total)
    return colours + (1 - known) * F.interpolate(coarse, known.shape[2:], mode="bilinear")


def scale(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB or (H, W) uint8 to another size, averaging where it becomes smaller."""
    if image.shape[1::-1] == (width, height):
        return image
    format = "rgb24" if image.ndim == 3 else "gray"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format=format)
    return frame.to_ndarray(width=width, height=height, interpolation="AREA")
