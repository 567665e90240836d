"""What each encoder calls quality and speed, which it may be used for, and the pixels that it is given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import av
import torch
from av.codec import Codec
from av.codec.codec import UnknownCodecError

from vst.errors import UserError, suggest
from vst.video.hdr import Hdr
from vst.video.probe import VideoInfo

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_HOLDS = {
    ".mp4": ("h264", "hevc", "av1", "vp9"), ".webm": ("av1", "vp9"), ".mov": ("h264", "hevc", "av1", "prores"),
}  # fmt: skip
_DEFAULT = {".webm": "libvpx-vp9"}
_DEFAULT_FOR_HDR = {".webm": "libsvtav1"}
_DEFAULT_FOR_ALPHA = {".webm": "libvpx-vp9", ".mov": "prores_ks"}
# By container and format: pixels that hold transparency, which readers of that container look for.
_ALPHA = {
    (".webm", "vp9"): "yuva420p", (".mkv", "vp9"): "yuva420p",
    (".mov", "prores"): "yuva444p10le", (".mkv", "prores"): "yuva444p10le",
}  # fmt: skip
HOLDERS = ".mov, .webm, .gif and PNG"  # of transparency
EIGHT_BITS = "8bit"  # as `pix_fmt`: the usual pixels of 8 bits, whatever the encoder calls them
HDR = ("auto", "keep", "sdr")
_SPEEDS = (
    "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo",
)  # fmt: skip
_ALIASES = {
    "h264": "libx264", "h265": "libx265", "hevc": "libx265", "av1": "libsvtav1", "vp9": "libvpx-vp9",
    "prores": "prores_ks",
}  # fmt: skip


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
    rated: bool = True  # whether it takes a bit rate


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
    "prores_ks": _Encoder(
        "prores", (1, 32, 9), constant={"flags": "+qscale", "global_quality": "{lambda}"}, always={"vendor": "apl0"},
        rated=False,
    ),
}  # fmt: skip
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
_NAMES = {"h264": "H.264", "hevc": "HEVC", "av1": "AV1", "vp9": "VP9", "prores": "ProRes"}
_HARDWARE_MAKES = ("h264", "hevc", "av1", "vp9")
_LAMBDA = 118  # FF_QP2LAMBDA

ENCODERS = tuple(_SOFTWARE)


@dataclass(frozen=True)
class Encoding:
    """An encoder and how it is set: `options` in its own words, `bitrate` in bits a second or None for a constant
    quality, `pix_fmt` of the pixels that it is given. `makes` is the format: h264, hevc, av1, vp9 or prores. `hdr`: the
    film stays HDR; `alpha`: it keeps its transparency.
    """

    codec: str
    makes: str
    options: dict[str, str]
    bitrate: int | None
    pix_fmt: str
    hdr: bool = False
    alpha: bool = False


def choose_encoding(
    path: Path,
    info: VideoInfo,
    *,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | int | None = None,
    bitrate: str | int | None = None,
    pix_fmt: str | None = None,
    hdr: str = "auto",
) -> Encoding:
    """What to write into `path` with, for frames as `info` describes them; None stands for what suits best.

    `codec` is the name of an encoder of FFmpeg: libx264 (mp4, mov, mkv), libvpx-vp9 (webm), libx265, libsvtav1,
    libaom-av1, prores_ks (mov, mkv), a hardware one such as h264_nvenc, hevc_vaapi or h264_videotoolbox, or a format
    (h264, hevc, av1, vp9, prores). `crf` is its number of constant quality, also where it is called cq, qp or q;
    `bitrate`, such as 6M, is instead of it. `preset` is its speed. Pixels are 4:2:0, or 4:4:4 for odd sizes where the
    format asks for that (ProRes: 4:2:2). They have 8 bits, which every player takes, unless a `codec` is given that can
    have more and those of `info` do, or `pix_fmt` is 8bit.

    `hdr` is for a film that is: keep makes it HEVC (webm: AV1) of 10 bits where no `codec` is given, sdr makes it SDR;
    auto keeps it but for H.264, where players do not know it. A film with transparency gets a format that holds it:
    ProRes 4444 (mov) or VP9 (webm) where no `codec` is given.

    Raises UserError, before anything is written, for an unknown name or value, and for a format that the
    container cannot hold. Whether this machine has the hardware shows when it is opened.
    """
    suffix = path.suffix.lower()
    if hdr not in HDR:
        raise UserError(f"hdr={hdr} is not one of {', '.join(HDR)}")
    fits = hdr == "keep" or (hdr == "auto" and (pix_fmt is None or _is_deep(pix_fmt)))
    wants_hdr = info.hdr is not None and fits
    if info.alpha and not holds_alpha(path, codec, pix_fmt):
        raise UserError(f"{path} holds no transparency as it is written; {HOLDERS} do")
    chosen = codec
    codec = _usual(suffix, info, wants_hdr) if codec is None else _ALIASES.get(codec, codec)
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
    if rate is not None and not encoder.rated:
        raise UserError(f"bitrate={bitrate}: {codec} has none; give crf instead, or leave it out")
    quality = _check_quality(codec, encoder, crf, rate)
    if quality is not None:
        options |= _filled(encoder.constant, quality=quality, **{"lambda": _LAMBDA * quality})
    stays = wants_hdr and _holds_hdr(codec, makes, pix_fmt, hdr)
    if info.alpha:
        pix_fmt = _ALPHA[suffix, makes]
        options |= {"auto-alt-ref": "0"} if makes == "vp9" else {}  # libvpx's hidden frames have no transparency
    deep = stays or (chosen is not None and info.hdr is None and bits(info.pix_fmt) > 8)
    pixels = _pixels(codec, makes, info, pix_fmt, deep)
    if stays and codec == "libx265":
        options["x265-params"] += _hdr_of_x265(info.hdr)
    return Encoding(codec, makes, options, rate, pixels, stays, info.alpha)


def _usual(suffix: str, info: VideoInfo, hdr: bool) -> str:
    if info.alpha:
        return _DEFAULT_FOR_ALPHA[suffix]
    return _DEFAULT_FOR_HDR.get(suffix, "libx265") if hdr else _DEFAULT.get(suffix, "libx264")


def holds_alpha(path: Path, codec: str | None, pix_fmt: str | None) -> bool:
    """Whether a video of that name can keep transparency with that encoder and pixels; None for the usual ones."""
    suffix = path.suffix.lower()
    codec = _DEFAULT_FOR_ALPHA.get(suffix) if codec is None else _ALIASES.get(codec, codec)
    pixels = None if codec is None else _ALPHA.get((suffix, _find(codec)[1]))
    return pixels is not None and codec in _SOFTWARE and pix_fmt in (None, pixels)


def _holds_hdr(codec: str, makes: str, pix_fmt: str | None, hdr: str) -> bool:
    """Whether an encoder takes pixels of 10 bits, and players know its format as HDR. UserError for hdr=keep if not."""
    known = [pix_fmt] if pix_fmt is not None else [pixels.name for pixels in open_codec(codec).video_formats or ()]
    deep = any(map(_is_deep, known))
    if hdr == "keep" and not deep:
        what = f"codec={codec}" if pix_fmt is None else f"pix_fmt={pix_fmt}"
        raise UserError(f"hdr=keep: {what} has 8 bits and HDR needs 10; choose codec=libx265, or hdr=sdr")
    return deep and (makes != "h264" or hdr == "keep")


def _hdr_of_x265(hdr: Hdr) -> str:
    """What x265 writes of the screen that the film was made on."""
    words = ""
    if hdr.mastering is not None:
        r, g, b, white = (f"({x},{y})" for x, y in zip(hdr.mastering[0:8:2], hdr.mastering[1:8:2], strict=True))
        most, least = hdr.mastering[8:]
        words += f":hdr10=1:master-display=G{g}B{b}R{r}WP{white}L({most},{least})"
    if hdr.content_light is not None:
        words += ":max-cll={},{}".format(*hdr.content_light)
    return words


def told_of(path: Path, info: VideoInfo, encoding: Encoding, asked: Mapping[str, object]) -> str | None:
    """One line on what was chosen for frames as `info` describes them and how to get the other; None for the usual.

    `asked` are the arguments of `choose_encoding` that were given.
    """
    chosen = asked.get("codec") is not None or asked.get("pix_fmt") is not None
    depth, deep = bits(encoding.pix_fmt), "libsvtav1" if path.suffix.lower() == ".webm" else "libx265"
    name = f"{_NAMES[encoding.makes]} of {depth} bits"
    if info.hdr is not None and encoding.hdr:
        lost = _lost(info.hdr, encoding)
        return f"{path} stays HDR ({info.hdr.name}, {name}){lost}; hdr=sdr makes it SDR, which every player takes"
    if info.hdr is not None and asked.get("hdr") != "sdr":
        remedy = f"codec={deep}" if asked.get("pix_fmt") is None else "leaving out pix_fmt"
        return f"{path} is SDR: {encoding.codec} ({encoding.pix_fmt}) is not for HDR; {remedy} keeps it"
    if encoding.makes in ("h264", "hevc") and "444" in encoding.pix_fmt and not chosen:
        size = f"{info.width}x{info.height}"
        return f"{path} has odd sides ({size}), so it is 4:4:4, which few players take; codec=libsvtav1 is 4:2:0"
    if encoding.makes == "h264" and depth > 8 and asked.get("pix_fmt") is None:
        return f"{path} is {name} as its input, which many players refuse; pix_fmt=yuv420p makes it 8, or codec={deep}"
    if info.hdr is None and bits(info.pix_fmt) > depth and not chosen and not info.alpha:
        given = f"the input has {bits(info.pix_fmt)}"
        return f"{path} is {name}, which every player takes; {given}, which codec={deep} keeps"
    return None


def _lost(hdr: Hdr, encoding: Encoding) -> str:
    static = hdr.mastering is not None or hdr.content_light is not None
    names = ["the mastering screen's light"] * (static and encoding.codec != "libx265")
    names += ["its metadata by frame (Dolby Vision, HDR10+)"] * hdr.dynamic
    return f" without {' and '.join(names)}" if names else ""


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


def _pixels(codec: str, makes: str, info: VideoInfo, wanted: str | None, deep: bool) -> str:
    known = [pixels.name for pixels in open_codec(codec).video_formats or ()]
    odd = bool(info.width % 2 or info.height % 2)
    whole = makes in ("h264", "hevc")  # a chroma sample stands for a full square of pixels
    if wanted not in (None, EIGHT_BITS):
        if wanted not in known:
            raise UserError(f"pix_fmt={wanted} is not one of {', '.join(known)}, which {codec} takes")
        if odd and whole and "420" in wanted:
            raise UserError(f"pix_fmt={wanted} has no odd sizes, the video is {info.width}x{info.height}; use yuv444p")
        return wanted
    planes = "yuv444p" if odd and whole else "yuv420p"
    if wanted == EIGHT_BITS and known and all(map(_is_deep, known)):
        raise UserError(f"pix_fmt={wanted}: {codec} takes only {', '.join(known)}; choose another codec")
    deepest = (f"{planes}10le", "p010le") if deep and wanted is None else ()
    return next((pixels for pixels in (*deepest, planes, "nv12", "yuv422p10le") if pixels in known), planes)


def _is_deep(pix_fmt: str) -> bool:
    try:
        return bits(pix_fmt) > 8
    except ValueError:  # no pixels are called so, which is told elsewhere
        return False


def bits(pix_fmt: str) -> int:
    """Of one component of a pixel; 8 where the format has no such thing."""
    components = av.VideoFormat(pix_fmt).components if pix_fmt else ()
    return max((component.bits for component in components), default=8)
