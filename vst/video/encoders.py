"""What each encoder calls quality and speed, which it may be used for, and the pixels that it is given."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import av
import torch
from av.codec import Codec
from av.codec.codec import UnknownCodecError

from vst.errors import UserError, suggest
from vst.video.probe import VideoInfo

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_HOLDS = {".webm": ("av1", "vp9"), ".mov": ("h264", "hevc", "av1")}
_DEFAULT = {".webm": "libvpx-vp9"}
_SPEEDS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
_ALIASES = {"h264": "libx264", "h265": "libx265", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9"}


@dataclass(frozen=True)
class _Encoder:
    """`quality` is the least, the largest and the usual number; the options' values are filled in by format."""

    makes: str
    quality: tuple[int, int, int] | None
    presets: tuple[str, ...] = ()
    preset: str = ""
    constant: dict[str, str] = field(default_factory=dict)
    speed: dict[str, str] = field(default_factory=dict)
    always: dict[str, str] = field(default_factory=dict)


def _numbers(last: int) -> tuple[str, ...]:
    return tuple(str(number) for number in range(last + 1))


# x264's code for AVX-512 gives other bytes from run to run, that for AVX2 always the same ones, as fast.
_STEADY = (
    {"x264-params": "asm=MMX2,SSE2,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2"}
    if torch.backends.cpu.get_cpu_capability() == "AVX512"
    else {}
)
_CRF = {"crf": "{quality}"}
_PRESET = {"preset": "{preset}"}
_SOFTWARE = {
    "libx264": _Encoder("h264", (0, 51, 18), _SPEEDS, "veryfast", _CRF, _PRESET, _STEADY),
    "libx265": _Encoder("hevc", (0, 51, 18), _SPEEDS, "veryfast", _CRF, _PRESET, {"x265-params": "log-level=error"}),
    "libsvtav1": _Encoder("av1", (1, 63, 28), _numbers(13), "8", _CRF, _PRESET),
    "libaom-av1": _Encoder("av1", (0, 63, 26), _numbers(8), "6", _CRF, {"cpu-used": "{preset}"}, {"row-mt": "1"}),
    "libvpx-vp9": _Encoder(
        "vp9", (0, 63, 28), _numbers(8), "5", _CRF, {"cpu-used": "{preset}"}, {"row-mt": "1", "deadline": "good"}
    ),
}
# By the ending of their names, such as h264_nvenc.
_HARDWARE = {
    "nvenc": _Encoder(
        "", (0, 51, 20), tuple(f"p{n}" for n in range(1, 8)), "p4", {"rc": "vbr", "cq": "{quality}"}, _PRESET
    ),
    "qsv": _Encoder("", (1, 51, 20), _SPEEDS[2:9], "veryfast", {"global_quality": "{quality}"}, _PRESET),
    "amf": _Encoder(
        "", (0, 51, 20), ("speed", "balanced", "quality"), "balanced",
        {"rc": "cqp", "qp_i": "{quality}", "qp_p": "{quality}"}, {"quality": "{preset}"},
    ),
    "vaapi": _Encoder("", (0, 51, 20), constant={"rc_mode": "CQP", "qp": "{quality}"}),
    "videotoolbox": _Encoder("", (1, 100, 65), constant={"flags": "+qscale", "global_quality": "{lambda}"}),
    "v4l2m2m": _Encoder("", None),
}  # fmt: skip
_HARDWARE_MAKES = ("h264", "hevc", "av1", "vp9")
_LAMBDA = 118  # FF_QP2LAMBDA

ENCODERS = tuple(_SOFTWARE)


@dataclass(frozen=True)
class Encoding:
    """An encoder and how it is set: `options` in its own words, `bitrate` in bits a second or None for a constant
    quality, `pix_fmt` of the pixels that it is given. `makes` is the format: h264, hevc, av1 or vp9.
    """

    codec: str
    makes: str
    options: dict[str, str]
    bitrate: int | None
    pix_fmt: str


def choose_encoding(
    path: Path,
    info: VideoInfo,
    *,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | int | None = None,
    bitrate: str | int | None = None,
    pix_fmt: str | None = None,
) -> Encoding:
    """What to write into `path` with, for frames as `info` describes them; None stands for what suits best.

    `codec` is the name of an encoder of FFmpeg: libx264 (mp4, mov, mkv), libvpx-vp9 (webm), libx265, libsvtav1,
    libaom-av1, a hardware one such as h264_nvenc, hevc_vaapi or h264_videotoolbox, or a format (h264, hevc, av1,
    vp9). `crf` is its number of constant quality, also where it is called cq, qp or q; `bitrate`, such as 6M, is
    instead of it. `preset` is its speed. Pixels are 4:2:0, or 4:4:4 for odd sizes where the format asks for that,
    with 10 bits where those of `info` have more than 8 and the encoder can.

    Raises UserError, before anything is written, for an unknown name or value, and for a format that the
    container cannot hold. Whether this machine has the hardware shows when it is opened.
    """
    suffix = path.suffix.lower()
    codec = _DEFAULT.get(suffix, "libx264") if codec is None else _ALIASES.get(codec, codec)
    encoder, makes = _find(codec)
    if makes not in _HOLDS.get(suffix, (makes,)):
        fitting = [name for name, known in _SOFTWARE.items() if known.makes in _HOLDS[suffix]]
        raise UserError(
            f"codec={codec}: {suffix} holds no {makes}; choose {' or '.join(fitting)}, or another extension"
        )
    if crf is not None and bitrate is not None:
        raise UserError(f"crf={crf} and bitrate={bitrate} exclude each other; give one of them")
    options = dict(encoder.always)
    if encoder.presets:
        options |= _filled(encoder.speed, preset=_check_preset(codec, encoder, preset))
    elif preset is not None:
        raise UserError(f"preset={preset}: {codec} has no presets; leave it out")
    rate = None if bitrate is None else _parse_bitrate(bitrate)
    quality = _check_quality(codec, encoder, crf, rate)
    if quality is not None:
        options |= _filled(encoder.constant, quality=quality, **{"lambda": _LAMBDA * quality})
    return Encoding(codec, makes, options, rate, _pixels(codec, makes, info, pix_fmt))


def holds(suffix: str, codec: str | None) -> bool:
    """Whether a container of this suffix takes what the encoder makes; of None, which stands for what suits it."""
    return codec is None or suffix not in _HOLDS or _find(_ALIASES.get(codec, codec))[1] in _HOLDS[suffix]


def _filled(options: dict[str, str], **values: object) -> dict[str, str]:
    return {key: text.format(**values) for key, text in options.items()}


def _find(codec: str) -> tuple[_Encoder, str]:
    if codec in _SOFTWARE:
        return _SOFTWARE[codec], _SOFTWARE[codec].makes
    makes, _, device = codec.partition("_")
    if makes in _HARDWARE_MAKES and device in _HARDWARE:
        return _HARDWARE[device], makes
    hardware = [f"h264_{device}" for device in _HARDWARE]
    known = [*ENCODERS, *hardware]
    raise UserError(f"codec={codec} is not one of {', '.join(known)}, or hevc_..., av1_...{suggest(codec, known)}")


def _check_preset(codec: str, encoder: _Encoder, preset: str | int | None) -> str:
    if preset is None:
        return encoder.preset
    if str(preset) not in encoder.presets:
        raise UserError(
            f"preset={preset} is not one of {', '.join(encoder.presets)}, which {codec} knows"
            f"{suggest(str(preset), encoder.presets)}"
        )
    return str(preset)


def _check_quality(codec: str, encoder: _Encoder, crf: int | None, bitrate: int | None) -> int | None:
    if encoder.quality is None:
        if crf is not None or bitrate is None:
            raise UserError(f"codec={codec} has no constant quality; give bitrate=6M instead of crf")
        return None
    least, largest, usual = encoder.quality
    if crf is not None and not least <= crf <= largest:
        better = "larger is better" if "global_quality" in encoder.constant and largest == 100 else "lower is better"
        raise UserError(f"crf={crf} is not in {least}..{largest}; {usual} is usual for {codec}, {better}")
    return None if bitrate is not None else (usual if crf is None else crf)


def _parse_bitrate(bitrate: str | int) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kM]?)", str(bitrate))
    rate = round(float(match[1]) * {"": 1, "k": 1000, "M": 1_000_000}[match[2]]) if match else 0
    if rate < 1000:
        raise UserError(f"bitrate={bitrate} is no number of bits a second; give 6M, 800k or 800000")
    return rate


def open_codec(codec: str) -> Codec:
    """The encoder of that name; UserError where this build of FFmpeg has none."""
    try:
        return Codec(codec, "w")
    except UnknownCodecError as error:
        raise UserError(f"codec={codec} is not in this build of FFmpeg; libx264 is in every one") from error


def _pixels(codec: str, makes: str, info: VideoInfo, wanted: str | None) -> str:
    known = [pixels.name for pixels in open_codec(codec).video_formats or ()]
    odd = bool(info.width % 2 or info.height % 2)
    whole = makes in ("h264", "hevc")  # a chroma sample stands for a full square of pixels
    if wanted is not None:
        if wanted not in known:
            raise UserError(f"pix_fmt={wanted} is not one of {', '.join(known)}, which {codec} takes")
        if odd and whole and "420" in wanted:
            raise UserError(f"pix_fmt={wanted} has no odd sizes, the video is {info.width}x{info.height}; use yuv444p")
        return wanted
    planes = "yuv444p" if odd and whole else "yuv420p"
    deep = (f"{planes}10le", "p010le") if bits(info.pix_fmt) > 8 else ()
    return next((pixels for pixels in (*deep, planes, "nv12") if pixels in known), planes)


def bits(pix_fmt: str) -> int:
    """Of one component of a pixel; 8 where the format has no such thing."""
    components = av.VideoFormat(pix_fmt).components if pix_fmt else ()
    return max((component.bits for component in components), default=8)
