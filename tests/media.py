"""Makers of small test videos, with PyAV only. Every frame carries its number, readable after lossy coding.

The number is a Gray code of 11 bits plus a parity bit, drawn as 2 rows of 6 black or white cells over the
top quarter of the picture; the rest is a periodic texture that moves by `STEP` pixels per frame. The cells
scale with the picture, so a resized frame still reads; a rotated one reads when its rotation is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

ROWS, COLUMNS = 2, 6
BITS = ROWS * COLUMNS - 1
STEP = (1, 2)  # pixels down and to the right per frame
AUDIO_RATE = 48000


def pattern_frames(n: int, width: int = 96, height: int = 64, seed: int = 0, first: int = 0) -> np.ndarray:
    """Return (n, height, width, 3) uint8 frames numbered first, first + 1, ... (below 2048).

    The texture of one `seed` moves by `STEP` from frame to frame (cyclically); another seed is another scene.
    Even seeds are dark and odd ones bright, so that an even one and an odd one are a clear cut.
    """
    texture = _texture(width, height, seed)
    return np.stack([_numbered(texture, number) for number in range(first, first + n)])


def read_number(frame: np.ndarray, rotation: int = 0) -> int:
    """Return the number drawn in an (H, W, 3) uint8 frame; ValueError where it cannot be read with certainty.

    `rotation`: degrees counter-clockwise, a multiple of 90, by which it was turned (as np.rot90 does).
    """
    grey = np.rot90(frame, -rotation // 90).astype(np.float64).mean(axis=2)
    bits = []
    for top, bottom, left, right in _cells(*grey.shape):
        inset_y, inset_x = (bottom - top) // 4, (right - left) // 4
        level = grey[top + inset_y : bottom - inset_y, left + inset_x : right - inset_x].mean()
        if 90 < level < 165:
            raise ValueError(f"a cell of the frame number is neither black nor white (level {level:.0f})")
        bits.append(int(level > 128))
    if sum(bits) % 2:
        raise ValueError("the parity of the frame number is wrong")
    number = 0
    for bit in bits[:BITS]:
        number = number << 1 | (bit ^ (number & 1))
    return number


def read_numbers(frames: Sequence[np.ndarray], rotation: int = 0) -> list[int]:
    """Return the number of every frame."""
    return [read_number(frame, rotation) for frame in frames]


def make_video(
    path: str | Path,
    frames: np.ndarray | None = None,
    n: int = 30,
    width: int = 96,
    height: int = 64,
    fps: int | Fraction = 25,
    codec: str = "libx264",
    bframes: int = 0,
    gop: int = 12,
    open_gop: bool = False,
    pts: Sequence[int] | None = None,
    audio: str | None = None,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    mirrored: tuple[bool, bool] = (False, False),
    options: dict[str, str] | None = None,
    faststart: bool = True,
) -> Path:
    """Write `frames` (N, H, W, 3) uint8, or `n` pattern frames of width x height, to `path` and return it.

    `pts` in milliseconds makes the frame rate variable. `audio`: None, "aac", "5.1" (aac of six channels), "opus" or
    "multi" (two aac tracks), a sine of the video's length. `rotation`: the display tag, as `frame.rotation` gives it
    back; `mirrored`: whether it then mirrors left to right, and top to bottom. `options` go to the encoder.
    `faststart` puts an mp4's header first, so that a truncated file still opens.
    """
    path = Path(path)
    frames = pattern_frames(n, width, height) if frames is None else frames
    time_base = Fraction(1, 1000) if pts is not None else 1 / Fraction(fps)
    stamps = list(range(len(frames))) if pts is None else list(pts)
    assert len(stamps) == len(frames), "one pts per frame"
    with av.open(str(path), "w", options=_container_options(path, faststart)) as container:
        settings = _codec_options(codec, bframes, gop, open_gop) | (options or {})
        video = container.add_stream(codec, rate=Fraction(fps), options=settings)
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = pix_fmt
        video.time_base = video.codec_context.time_base = time_base
        if rotation or any(mirrored):
            video.set_display_rotation(rotation, *mirrored)
        layout = "5.1" if audio == "5.1" else "mono"
        tracks = [_audio_stream(container, name, layout) for name in _audio_names(audio)]
        for image, stamp in zip(frames, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = stamp, time_base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        seconds = float((stamps[-1] + 1) * time_base)
        for pitch, track in enumerate(tracks, start=1):
            _write_sine(container, track, seconds, 440 * pitch)
    return path


def make_edit_list(path: str | Path, n: int = 40, hidden: int = 9, gop: int = 12, bframes: int = 2, **video) -> Path:
    """Write an mp4 that stores `n` pattern frames whose edit list hides the first `hidden` of them.

    The frames that play are numbered hidden, hidden + 1, ..., n - 1: what `ffmpeg -ss ... -c copy` makes of
    a cut between two key frames. Further arguments go to `make_video`.
    """
    path = Path(path)
    whole = make_video(path.with_name(f"{path.stem}-whole.mp4"), n=n, gop=gop, bframes=bframes, **video)
    with (
        av.open(str(whole)) as source,
        av.open(str(path), "w", options=_container_options(path, True)) as target,
    ):
        video_in = source.streams.video[0]
        video_out = target.add_stream_from_template(video_in)
        packets = [packet for packet in source.demux(video_in) if packet.dts is not None]
        shift = sorted(packet.pts for packet in packets)[hidden]
        for packet in packets:
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, video_out
            target.mux(packet)
    whole.unlink()
    return path


def add_extras(source: Path, target: Path, subtitles: str, attachment: bool = False) -> Path:
    """Copy `source` to `target` with subtitles ("subrip" or "mov_text": "line 1" at 0.2 s, "line 2" at 1.2 s, each for
    0.4 s), two chapters that meet at 1 s, and a text file attached if asked.
    """
    unit = Fraction(1, 1000)
    with av.open(str(source)) as before, av.open(str(target), "w") as after:
        copies = {s.index: after.add_stream_from_template(s) for s in before.streams}
        track = after.add_mux_stream(subtitles)
        track.metadata["language"] = "eng"
        if attachment:
            after.add_attachment("note.txt", "text/plain", b"a note")
        parts = [("First", 0, 1000), ("Second", 1000, 2000)]
        after.set_chapters(
            [
                {"id": number, "start": start, "end": end, "time_base": unit, "metadata": {"title": title}}
                for number, (title, start, end) in enumerate(parts)
            ]
        )
        waiting = [(200, b"line 1"), (1200, b"line 2")]
        for packet in before.demux():
            if not packet.size:
                continue
            while waiting and packet.pts * packet.time_base >= waiting[0][0] * unit:
                stamp, text = waiting.pop(0)
                line = av.Packet(len(text).to_bytes(2, "big") + text if subtitles == "mov_text" else text)
                line.pts = line.dts = stamp
                line.duration, line.time_base, line.stream = 400, unit, track
                after.mux(line)
            packet.stream = copies[packet.stream.index]
            after.mux(packet)
    return target


def recorded_at(source: Path, target: Path, begin: float, sound_later: float = 0) -> Path:
    """Copy `source` to `target` with all times later by `begin` seconds, and those of the sound by `sound_later` more:
    what a recorder leaves whose clock has run for long. A transport stream wraps its clock around at 95443.7 s.
    """
    with av.open(str(source)) as before, av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}) as after:
        copies = {s.index: after.add_stream_from_template(s) for s in before.streams}
        after.set_chapters(before.chapters())
        for packet in before.demux():
            if not packet.size:
                continue
            later = begin + (sound_later if packet.stream.type == "audio" else 0)
            shift = round(Fraction(later) / packet.time_base)
            packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, copies[packet.stream.index]
            after.mux(packet)
    return target


def make_interlaced(
    path: str | Path, fields: np.ndarray, codec: str = "libx264", top_first: bool = True, pix_fmt: str = "yuv422p"
) -> Path:
    """Write the pictures `fields` (2 N, H, W, 3) uint8, two to a frame, as N interlaced frames at 25 a second.

    Of the pictures 2 k and 2 k + 1 frame k holds every other row, from the top one (or the one below) on for the first.
    """
    path, first = Path(path), 0 if top_first else 1
    frames = fields[1::2].copy()
    frames[:, first::2] = fields[::2, first::2]
    options = {"flags": "+ildct+ilme", "b": "20M"} | ({"crf": "4", "preset": "ultrafast"} if codec == "libx264" else {})
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pix_fmt
        graph = av.filter.Graph()  # which flags frames as PyAV cannot
        source = graph.add_buffer(width=stream.width, height=stream.height, format=pix_fmt, time_base=Fraction(1, 25))
        graph.link_nodes(source, graph.add("setfield", "tff" if top_first else "bff"), graph.add("buffersink"))
        graph.configure()
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            graph.push(frame)
            flagged = graph.pull()
            flagged.pict_type = 0
            container.mux(stream.encode(flagged))
        container.mux(stream.encode(None))
    return path


def make_transparent(path: str | Path, frames: np.ndarray, codec: str = "libvpx-vp9", rate: int = 10) -> Path:
    """Write `frames` (N, H, W, 4) uint8 RGBA with libvpx-vp9 or libvpx (webm), prores_ks, qtrle, png (mov) or apng."""
    pixels = {"libvpx-vp9": "yuva420p", "libvpx": "yuva420p", "prores_ks": "yuva444p10le", "qtrle": "argb"}
    vpx = codec.startswith("libvpx")
    with av.open(str(path), "w") as container:
        options = {"auto-alt-ref": "0", "crf": "4", "b": "8M", "g": "5"} if vpx else {}
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels.get(codec, "rgba")
        if vpx:
            stream.metadata["alpha_mode"] = "1"
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgba")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)


def make_hdr(path: str | Path, codes: np.ndarray, transfer: int, mastered: bool = False) -> Path:
    """Write `codes` (N, H, W, 3) float in [0, 1], RGB of BT.2020 in PQ (`transfer` 16) or HLG (18), as HEVC of 10 bits.

    `mastered`: on a screen of 1000 cd/m2, with a brightest pixel of 900 and a brightest frame of 300.
    """
    params = "log-level=error:pools=1:keyint=5"
    if mastered:
        screen = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
        params += f":hdr10=1:master-display={screen}:max-cll=900,300"
    options = {"preset": "ultrafast", "crf": "2", "x265-params": params}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx265", rate=10, options=options)
        stream.height, stream.width = codes.shape[1:3]
        stream.pix_fmt = "yuv420p10le"
        context = stream.codec_context
        context.color_range, context.color_primaries, context.color_trc, context.colorspace = 1, 9, transfer, 9
        for number, image in enumerate(codes):
            whole = av.VideoFrame.from_ndarray(np.round(65535 * image).astype(np.uint16), format="rgb48le")
            frame = whole.reformat(format="yuv420p10le", src_colorspace=5, dst_colorspace=9)
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return Path(path)


def truncate(path: str | Path, fraction: float) -> Path:
    """Cut the file at `path` down to its first `fraction` of bytes, in place, and return its path."""
    path = Path(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    return path


def decode_sequentially(path: str | Path) -> list[np.ndarray]:
    """Return every frame (H, W, 3) uint8 in order, as stored: the oracle of frame-exact reading."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(container.streams.video[0])]


def _texture(width: int, height: int, seed: int) -> np.ndarray:
    """A coloured sum of waves, (H, W, 3) in [10, 245]; periodic, so that a cyclic shift has no seam."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    picture = np.zeros((height, width, 3))
    for _ in range(12):
        wave_y, wave_x = rng.integers(-5, 6, size=2)
        phase = 2 * np.pi * (wave_y * y / height + wave_x * x / width)
        picture += np.sin(phase[..., None] + rng.uniform(0, 2 * np.pi, 3)) * rng.uniform(0.3, 1.0, 3)
    picture /= np.abs(picture).max()
    return picture * 60 + (170 if seed % 2 else 85) + rng.uniform(-15, 15, 3)


def _numbered(texture: np.ndarray, number: int) -> np.ndarray:
    assert 0 <= number < 1 << BITS, f"a frame number has {BITS} bits"
    frame = np.roll(texture, (STEP[0] * number, STEP[1] * number), axis=(0, 1)).clip(0, 255).astype(np.uint8)
    gray = number ^ number >> 1
    bits = [gray >> shift & 1 for shift in reversed(range(BITS))]
    bits.append(sum(bits) % 2)
    for bit, (top, bottom, left, right) in zip(bits, _cells(*frame.shape[:2]), strict=True):
        frame[top:bottom, left:right] = 235 if bit else 16
    return frame


def _cells(height: int, width: int) -> list[tuple[int, int, int, int]]:
    """Top, bottom, left, right of the cells in reading order."""
    rows = [round(height / 4 * row / ROWS) for row in range(ROWS + 1)]
    columns = [round(width * column / COLUMNS) for column in range(COLUMNS + 1)]
    return [(rows[r], rows[r + 1], columns[c], columns[c + 1]) for r in range(ROWS) for c in range(COLUMNS)]


def _container_options(path: Path, faststart: bool) -> dict[str, str]:
    return {"movflags": "+faststart"} if faststart and path.suffix in {".mp4", ".m4v", ".mov"} else {}


def _codec_options(codec: str, bframes: int, gop: int, open_gop: bool) -> dict[str, str]:
    structure = f"bframes={bframes}:keyint={gop}:min-keyint={gop}:scenecut=0:open-gop={int(open_gop)}:b-adapt=0"
    known = {
        "libx264": {"preset": "veryfast", "crf": "18", "threads": "1", "x264-params": structure},
        "libx265": {
            "preset": "ultrafast",
            "crf": "18",
            "x265-params": f"{structure}:log-level=error:pools=1",
        },
    }
    return known.get(codec, {"g": str(gop)})


def _audio_names(audio: str | None) -> list[str]:
    return {None: [], "aac": ["aac"], "5.1": ["aac"], "opus": ["libopus"], "multi": ["aac", "aac"]}[audio]


def _audio_stream(container: av.container.OutputContainer, codec: str, layout: str = "mono") -> av.AudioStream:
    return container.add_stream(codec, rate=AUDIO_RATE, layout=layout)


def _write_sine(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float, pitch: int) -> None:
    samples = 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * AUDIO_RATE)) / AUDIO_RATE)
    size = 960  # a frame length that libopus accepts; aac re-blocks by itself
    layout = stream.codec_context.layout
    for start in range(0, len(samples), size):
        block = np.repeat(samples[None, start : start + size], layout.nb_channels, axis=0).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout.name)
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, start, Fraction(1, AUDIO_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
