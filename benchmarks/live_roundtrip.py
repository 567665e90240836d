"""A live stream round trip on this machine: ffmpeg -> live.py -> ffmpeg, with the source killed on the way.

    python -m benchmarks.live_roundtrip [--checkpoint stylizer.pt] [--size 640x360] [--link udp|rtmp] [--seconds 10]

ffmpeg plays a numbered film in real time, live.py paints it, another ffmpeg records what it sends. After `--seconds`
the playing ffmpeg is killed, four seconds later it plays a second film. Two watchers decode the stream before and after
live.py and note when they see which number: the difference is the latency that live.py adds, with decoding, painting,
encoding and sending. Without a checkpoint a `model=convgru_tiny` of random weights paints; a quarter of its painting is
mixed in, so that the numbers stay readable. Further arguments go to live.py. Needs ffmpeg on the PATH.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from tests.media import make_video, pattern_frames, read_number
from vst.checkpoint import save_stylizer, stylizer_content
from vst.config import compose_or_explain, plain
from vst.networks import build_stylizer
from vst.schema import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
FPS = 25
PAUSE = 4.0
SECOND_FILM = 1000
JOINING = 1.5  # seconds in which a watcher works off what it had to buffer to recognise the stream


def watch(url: str, output: Path) -> None:
    """Note the monotonic time at which each number is first seen, until nothing comes for `PAUSE` + 8 seconds.

    A number counts if it follows that of the picture before: a picture that lost packets may show any other.
    """
    seen: dict[int, float] = {}
    before = None
    try:
        with av.open(url, options={"analyzeduration": "500000"}, timeout=(60, PAUSE + 8)) as container:
            container.streams.video[0].thread_type = "SLICE"
            for packet in container.demux(container.streams.video[0]):
                for frame in decoded(packet):
                    number = readable(frame.to_ndarray(format="rgb24"))
                    if number is not None and before is not None and 0 < number - before < FPS:
                        seen.setdefault(number, time.monotonic())
                    before = number if number is not None else before
    except av.FFmpegError:
        pass
    output.write_text(json.dumps(list(seen.items())))


def decoded(packet: av.Packet) -> list[av.VideoFrame]:
    try:
        return packet.decode()
    except av.FFmpegError:
        return []


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def udp() -> str:
    return f"udp://127.0.0.1:{free_port(socket.SOCK_DGRAM)}"


def rtmp() -> str:
    return f"rtmp://127.0.0.1:{free_port(socket.SOCK_STREAM)}/live/x"


def play(film: Path, url: str, copy: str) -> subprocess.Popen:
    """Send a film in real time to `url`, as a server where that is RTMP, and to `copy`."""
    command = ["ffmpeg", "-v", "error", "-re", "-i", str(film)]
    for target in (url, copy):
        format = ["-f", "flv", "-listen", "1"] if target.startswith("rtmp") else ["-f", "mpegts"]
        options = "" if target.startswith("rtmp") else "?pkt_size=1316"
        command += ["-map", "0:v", "-c", "copy", *format, target + options]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def record(url: str, output: Path) -> subprocess.Popen:
    listen = ["-listen", "1"] if url.startswith("rtmp") else []
    command = ["ffmpeg", "-v", "error", "-y", *listen, "-i", url, "-map", "0:v", "-c", "copy", str(output)]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def watcher(url: str, output: Path) -> subprocess.Popen:
    """`watch` in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", "benchmarks.live_roundtrip", "--watch", url, str(output)], cwd=ROOT)


def stop(process: subprocess.Popen, how: int) -> None:
    process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(checkpoint: Path, size: tuple[int, int], link: str, seconds: float, folder: Path, extra: list[str]) -> None:
    films = [folder / "first.mp4", folder / "second.mp4"]
    count = int(seconds * FPS)
    for film, first in zip(films, (0, SECOND_FILM), strict=True):
        frames = pattern_frames(count + 4 * FPS, *size, first=first)
        make_video(film, frames, fps=FPS, options={"tune": "zerolatency", "g": "25"})
    address = rtmp if link == "rtmp" else udp
    source, before, out, after = address(), udp(), address(), udp()
    recorded, log = folder / "recorded.mkv", folder / "live.log"
    with ExitStack() as stack:
        started = lambda process: (stack.callback(process.kill), process)[1]  # noqa: E731
        watchers = [started(watcher(before, folder / "before")), started(watcher(after, folder / "after"))]
        recorder = started(record(out, recorded))
        if link == "rtmp":  # a server, which waits for its client; over UDP what comes before live.py is lost
            sender = started(play(films[0], source, before))
        options = [
            f"checkpoint={checkpoint}",
            f"source={source}",
            f"sink=[{out},{after}]",
            "strength=0.25",
        ]
        command = [sys.executable, "live.py", *options, "timeout=2", "overlay=none", *extra]
        # Stopped by Ctrl-C at the end, as a person would.
        output = {"stdin": subprocess.DEVNULL, "stdout": log.open("w"), "stderr": subprocess.STDOUT}
        live = started(subprocess.Popen(command, cwd=ROOT, **output))
        wait_for(log, "keys:", live)
        if link == "udp":
            sender = started(play(films[0], source, before))
        time.sleep(seconds)
        stop(sender, signal.SIGKILL)
        killed = time.monotonic()
        time.sleep(PAUSE)
        sender = started(play(films[1], source, before))
        back = time.monotonic()
        time.sleep(seconds)
        ended = time.monotonic()
        stop(live, signal.SIGINT)
        stop(sender, signal.SIGKILL)
        time.sleep(1)
        stop(recorder, signal.SIGINT)
        for watching in watchers:
            watching.wait(40)
    print(log.read_text())
    report(folder, recorded, killed, back, ended)


def wait_for(log: Path, text: str, process: subprocess.Popen) -> None:
    while text not in log.read_text():
        if process.poll() is not None:
            sys.exit(log.read_text())
        time.sleep(0.1)


def report(folder: Path, recorded: Path, killed: float, back: float, ended: float) -> None:
    # Later ones are the last pictures, which a demuxer holds back until it gives up waiting for the next ones.
    noted = {name: json.loads((folder / name).read_text()) for name in ("before", "after")}
    seen = {name: {n: t for n, t in pairs if t < ended} for name, pairs in noted.items()}
    for name, ours in (("first film", lambda n: n < SECOND_FILM), ("second film", lambda n: n >= SECOND_FILM)):
        sent = {n: t for n, t in seen["before"].items() if ours(n)}
        # A number that arrives before it was sent was misread.
        common = sorted(n for n, t in seen["after"].items() if n in sent and t > sent[n])
        if not common:
            print(f"{name}: sent {len(sent)}, nothing arrived")
            continue
        within = [n for n in sent if common[0] <= n <= common[-1]]
        joined = seen["after"][common[0]] + JOINING
        ages = np.array([seen["after"][n] - sent[n] for n in common if seen["after"][n] > joined]) * 1000
        p50, p95 = np.percentile(ages, (50, 95)) if ages.size else (np.nan, np.nan)
        print(
            f"{name}: of {len(within)} frames from the first to the last that arrived, {len(common)} arrived; "
            f"added latency after the first {JOINING} s: p50 {p50:.0f} ms, p95 {p95:.0f} ms"
        )
    second = [t for n, t in seen["after"].items() if n >= SECOND_FILM]
    if second:
        print(f"source killed for {back - killed:.1f} s; first new picture {min(second) - back:.1f} s after its return")
    try:
        with av.open(str(recorded)) as container:
            images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except (av.FFmpegError, OSError) as error:
        print(f"recorded by ffmpeg: nothing that can be read ({error})")
        return
    numbers = [n for n in map(readable, images) if n is not None]
    jumps = sum(b < a for a, b in pairwise(numbers))
    print(f"recorded by ffmpeg: {len(images)} frames, {len(set(numbers))} of them different, {jumps} out of order")


def readable(image: np.ndarray) -> int | None:
    try:
        return read_number(image)
    except ValueError:
        return None


def random_checkpoint(path: Path) -> Path:
    model = plain(compose_or_explain("train", ["model=convgru_tiny"], TrainConfig).model)
    save_stylizer(path, stylizer_content(build_stylizer(model), model, "random"))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--size", default="640x360")
    parser.add_argument("--link", choices=("udp", "rtmp"), default="udp")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--watch", nargs=2, metavar=("URL", "FILE"), help=argparse.SUPPRESS)
    args, extra = parser.parse_known_args()
    if args.watch:
        return watch(args.watch[0], Path(args.watch[1]))
    if shutil.which("ffmpeg") is None:
        sys.exit("error: ffmpeg is not on the PATH; install it (apt install ffmpeg)")
    width, height = (int(side) for side in args.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = args.checkpoint or random_checkpoint(Path(folder) / "random.pt")
        run(checkpoint.resolve(), (width, height), args.link, args.seconds, Path(folder), extra)


if __name__ == "__main__":
    main()
