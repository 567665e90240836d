"""Stylise a whole video file: decoding, network and encoding overlap, in memory that does not grow."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vst.errors import UserError
from vst.painting.painter import Painter, learned_side
from vst.pipeline import FrameEngine, Pipeline
from vst.progress import Meter, Place
from vst.video.probe import VideoInfo, is_stream
from vst.video.segments import SegmentedWriter
from vst.video.sink import STDOUT, Sink, ground_of, open_sink
from vst.video.sound import AUDIO
from vst.video.source import Source, find_inputs, open_source
from vst.video.spatial import NOTHING

MIN_SIDE = 16

_log = logging.getLogger(__name__)

State = tuple[Tensor, ...] | None
Input = str | Path | Sequence[str | Path] | Source


@dataclass(frozen=True)
class StreamReport:
    """What `stylize_video` did: `frames` are in the output; this run painted its part in `seconds` of wall time, of
    which `preparing` passed up to the first frame; the others came at `fps` frames a second (None: there were none).

    `cuts` is how often the state was reset at a hard cut in this run. `damaged` is None or one line that says what
    of the input could not be read.
    """

    frames: int
    seconds: float
    preparing: float
    fps: float | None
    cuts: int
    output: Path
    damaged: str | None


def stylize_video(
    stylizer: nn.Module | FrameEngine,
    input: Input,
    output: str | Path,
    *,
    start: str | float | None = None,
    end: str | float | None = None,
    fps: float | Fraction | None = None,
    crossfade: str | float = 0,
    hwaccel: str | None = None,
    deinterlace: str = "auto",
    transparency: str = "auto",
    background: Sequence[int] | None = None,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | int | None = None,
    bitrate: str | int | None = None,
    pix_fmt: str | None = None,
    hdr: str = "auto",
    format: str | None = None,
    audio: str = "copy",
    planes: bool = False,
    resume: bool = False,
    job: Mapping[str, object] | None = None,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
    progress: bool = True,
    place: Place | None = None,
) -> StreamReport:
    """Stylise `input` into `output`: same size, frames, times, rotation, sound, subtitles and chapters.

    An engine of `vst.runtime` runs where it was opened. A module
    `stylizer(frames (1, 3, H, W) float32 in [0, 1], None, state) -> (frames, state)` is moved to `device` and
    run in evaluation mode, frame after frame; its state starts at None. Both forget at every hard cut. The
    frames they see are upright: a display matrix (turned, mirrored) is applied before it and undone after it, so that
    strokes lie as in a picture shot upright, while the file keeps its layout and tag. They see 8 bits of each colour,
    as an SDR screen shows it.

    `input` is a video file, an address that FFmpeg reads, `-` for standard input, a picture, a folder or pattern of
    pictures (frames/%05d.png, `fps` a second), a glob pattern, or a list of videos, which are spliced with
    `crossfade` seconds between them; or an open `vst.video.source.Source`, which none of the following
    options change. `start` and `end` (seconds or H:M:S.f) cut it, exactly to the frame; `fps` gives
    it a constant frame rate; `hwaccel` names a device that decodes, such as cuda. `deinterlace` makes whole frames of
    the two fields of interlaced film: auto (where frames are flagged), yes, none. See `vst.video.source.open_source`.

    `transparency` is keep, flatten, or auto: kept where the output holds it (ProRes 4444 in mov, VP9 in webm, GIF, PNG)
    and no `background` is given; else it is laid onto that colour (red, green, blue), or onto white, before painting.
    Kept, it is that of the input, and the painting lies within it.

    `output` is mp4, mov, mkv, webm, gif, a picture, a numbered name (frames/%05d.png), a folder, or `-` for standard
    output in `format` y4m or rgb24. `codec` (libx264, libx265, libsvtav1, libvpx-vp9, h264_nvenc ...), `crf` (the
    encoder's number of quality), `bitrate` (6M, instead of `crf`), `preset` and `pix_fmt` set the encoder. HDR
    stays HDR with HEVC, AV1 or ProRes, or becomes SDR: `hdr` is auto, keep or sdr. See
    `vst.video.encoders.choose_encoding`. `audio` is copy (encoded anew only where the container cannot hold it, or
    spliced films differ), aac, opus or none.

    `planes` leaves the frames of 8-bit 4:2:0 in luma and chroma where source, engine and sink can: faster, and where
    colours leave their range not quite the same picture (35 to 42 dB on films).

    `resume` writes a long video in segments of ten seconds, kept in the hidden folder `.NAME.parts`, and goes on
    behind the last of them when it was interrupted, to the same file as without interruption. `job` are plain
    values that tell what paints (checkpoint, look ...): a job is resumed only with the same ones.

    `place` is that of this work among several, for the progress line.

    What can be read of a damaged input is stylised, and the loss is logged as a warning and reported; so is a
    picture that changes its size on the way, which is scaled to the size that it begins with. The
    output appears under its name only when it is whole. Raises UserError for an input that is not a video or
    smaller than 16 pixels on a side, and as `open_source` and `open_sink` do; an error of any stage stops all of
    them and is raised here.
    """
    if audio not in AUDIO:
        raise UserError(f"audio={audio} is not one of {', '.join(AUDIO)}")
    ground = ground_of(output, transparency, background, codec, pix_fmt)
    if isinstance(input, str | Path | Sequence):
        source = open_source(
            input, start=start, end=end, fps=fps, crossfade=crossfade, hwaccel=hwaccel, deinterlace=deinterlace,
            background=ground,
        )  # fmt: skip
    else:
        source = input
    with source, _running(stylizer, torch.device(device)) as engine:
        _check_size(source.info)
        _check_distinct(input, output)
        encoder = {"codec": codec, "crf": crf, "preset": preset, "bitrate": bitrate, "pix_fmt": pix_fmt, "hdr": hdr}
        common = {"tracks": source.tracks, "audio": audio, "overwrite": overwrite}
        info = _output_info(source.info, engine)
        if resume:
            made_of = _identity(stylizer, input) | {"start": str(start), "end": str(end), "fps": str(fps)}
            made_of |= {"crossfade": str(crossfade), "hwaccel": hwaccel, "look": dict(job or {})}
            made_of |= {"deinterlace": deinterlace, "background": ground}
            sink: Sink = SegmentedWriter(_resumable(output), info, made_of, **common, **encoder)
        else:
            names = getattr(source, "names", None)
            sink = open_sink(output, info, format=format, names=names, **common, **encoder)
        with sink:
            done = sink.frames if isinstance(sink, SegmentedWriter) else 0
            with Meter(source.info.num_frames, sink.path.name, progress, done, place) as meter:
                pipeline = Pipeline(source, engine, sink, meter, planes)
                if planes and not pipeline.in_planes:
                    _log.warning("planes=true: this film, its encoding or an effect needs RGB, in which it is painted")
                pipeline.run()
            if pipeline.frames == 0:
                raise UserError(source.damaged or f"{source.info.path}: no frame could be read")
    for trouble in (source.resized, source.damaged):
        if trouble:
            _log.warning(trouble)
    return StreamReport(
        pipeline.frames, meter.seconds, meter.pace.preparing, meter.pace.fps, pipeline.cuts, sink.path, source.damaged
    )


def _check_size(info: VideoInfo) -> None:
    if min(info.width, info.height) < MIN_SIDE:
        size = f"{info.width}x{info.height}"
        raise UserError(f"{info.path} is {size} pixels; scale it up to at least {MIN_SIDE} on each side")


def _locations(input: Input) -> list[str | Path]:
    return find_inputs(input) if isinstance(input, str | Path | Sequence) else [input.info.path]


def _files(input: Input) -> list[Path]:
    return [Path(location) for location in _locations(input) if not is_stream(location)]


def _check_distinct(input: Input, output: str | Path) -> None:
    target = Path(output)
    if output == STDOUT or not target.exists():
        return
    for file in _files(input):
        if os.path.samefile(file, target):
            raise UserError(f"input and output are the same file, {target}; choose another name for the output")
        if target.is_dir() and os.path.samefile(file.parent, target):
            raise UserError(f"input and output are in the same folder, {target}; choose another one for the output")


def _output_info(info: VideoInfo, engine: FrameEngine) -> VideoInfo:
    """The description of what the engine makes of the source, stored with the same orientation."""
    if not hasattr(engine, "output_size"):
        return info
    width, height = info.orientation.size(*engine.output_size(*info.upright_size))
    info = replace(info, width=width, height=height)
    if info.spatial and not getattr(engine, "keeps_view", True):
        _log.warning("%s: left out, as the picture is another: %s", info.path, ", ".join(info.spatial.names))
        return replace(info, spatial=NOTHING)
    return info


def _resumable(output: str | Path) -> Path:
    if is_stream(output):
        raise UserError(f"resume=true needs a file to go on with, and the output is {output}")
    return Path(output)


def _identity(stylizer: nn.Module | FrameEngine, input: Input) -> dict[str, object]:
    """What tells one job from another: its input files, and the weights of a module."""
    if not isinstance(stylizer, nn.Module) and not hasattr(stylizer, "read_state"):
        raise UserError(f"resume=true: the memory of {type(stylizer).__name__} cannot be kept; use resume=false")
    locations = _locations(input)
    once = [location for location in locations if is_stream(location)]
    if once:
        raise UserError(f"resume=true: {once[0]} can be read only once; save it to a file first")
    files = [Path(location).resolve() for location in locations]
    facts = [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    return {"input": facts, "weights": _digest(stylizer) if isinstance(stylizer, nn.Module) else None}


def _digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _running(stylizer: nn.Module | FrameEngine, device: torch.device) -> Iterator[FrameEngine]:
    """The engine, or one of a module, which is left in the mode that it came in."""
    if not isinstance(stylizer, nn.Module):
        yield stylizer
        return
    was_training = stylizer.training
    try:
        engine = _ModuleEngine(stylizer.to(device).eval(), device)
        yield Painter({"": engine}) if engine.short_side else engine
    finally:
        stylizer.train(was_training)


class _ModuleEngine:
    """Any module with the interface of a stylizer, run frame by frame."""

    def __init__(self, stylizer: nn.Module, device: torch.device) -> None:
        self._stylizer, self._device = stylizer, device
        self.short_side = learned_side(stylizer)
        self._pixels: _Pixels | None = None
        self.reset()

    def reset(self) -> None:
        self._state: State = None

    def read_state(self) -> list[Tensor]:
        return list(self._state or ())

    def load_state(self, state: list[Tensor]) -> None:
        self._state = tuple(tensor.to(self._device) for tensor in state) or None

    @torch.inference_mode()
    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        if self._pixels is None:
            self._pixels = _Pixels(*frame.shape[:2], self._device)
        styled, state = self._stylizer(self._pixels.to_float(frame), None, self._state)
        self._state = self._pixels.detached(state)
        self._pixels.to_bytes(styled, out)
        return out


class _Pixels:
    """Conversion between uint8 pictures and the network's floats, in buffers used again for every frame.

    Fresh tensors of this size come from the operating system page by page, which costs more than the
    conversion; and channels_last is the layout of a picture in memory, so that neither direction moves pixels
    about.
    """

    def __init__(self, height: int, width: int, device: torch.device) -> None:
        shape, layout = (1, 3, height, width), torch.channels_last
        self._input = torch.empty(shape, device=device, memory_format=layout)
        self._scaled = torch.empty(shape, device=device, memory_format=layout)
        self._bytes = torch.empty(shape, dtype=torch.uint8, device=device, memory_format=layout)

    def to_float(self, image: np.ndarray) -> Tensor:
        """(H, W, 3) uint8 to (1, 3, H, W) float32 in [0, 1], in a buffer that the next call overwrites."""
        return self._input.copy_(_as_planes(image).to(self._input.device)).div_(255)

    def to_bytes(self, frames: Tensor, image: np.ndarray) -> None:
        """Round (1, 3, H, W) in [0, 1] into `image` (H, W, 3) uint8."""
        assert frames.shape == self._scaled.shape, (tuple(frames.shape), tuple(self._scaled.shape))
        torch.mul(frames, 255, out=self._scaled)
        self._bytes.copy_(self._scaled.round_().clamp_(0, 255))
        _as_planes(image).copy_(self._bytes)

    def detached(self, state: State) -> State:
        """The state with its own copy of what lies in the input buffer, which the next frame overwrites."""
        if state is None:
            return None
        own = self._input.untyped_storage().data_ptr()
        return tuple(s.clone() if s.untyped_storage().data_ptr() == own else s for s in state)


def _as_planes(image: np.ndarray) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1).unsqueeze(0)
