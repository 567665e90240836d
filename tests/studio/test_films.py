"""Films: sent, looked at, rendered, fetched, forgotten."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from tests.media import decode_sequentially, make_hdr, make_video, read_number, read_numbers, recorded_at
from tests.studio import serving
from tests.studio.serving import Client, Fake, running
from tests.video.test_sound import codecs_of, together
from tests.video.test_sound import film as flashing
from vst.studio import app, jobs, uploads
from vst.studio.refusal import Refusal
from vst.studio.settings import Settings
from vst.studio.styles import Style
from vst.video import probe


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def sound(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size]


def test_the_page_says_what_there_is(studio: Client) -> None:
    described = studio.ask("GET", "/api/studio").json
    assert [style["name"] for style in described["styles"]] == ["same", "negative", "turned", "slow"]
    same, negative = (picture(studio.ask("GET", style["picture"]).body) for style in described["styles"][:2])
    assert same.shape == (270, 360, 3) and same.std() > 20
    assert np.abs(same.astype(int) + negative - 255).mean() < 4
    page = studio.ask("GET", "/")
    assert page.status == 200 and b"Drop a video here" in page.body
    for name in ("style.css", "app.js", "api.js", "compare.js", "live.js"):
        assert studio.ask("GET", f"/{name}").status == 200
    assert page.body.count(b"<script") == 1 and b"style=" not in page.body.split(b"<body")[1]


def test_upload_choose_render_download(studio: Client, film: Path, tmp_path: Path) -> None:
    sent = studio.upload(film)
    assert sent.status == 201
    assert sent.json | {"id": ""} == {
        "id": "", "name": "my film", "width": 96, "height": 64, "audio": True, "seconds": 1.2, "fps": 25.0,
    }  # fmt: skip
    started = studio.render(sent.json["id"], "negative")
    assert started.status == 202
    status = studio.until(started.json["id"], "done")
    assert (status["frames"], status["total"], status["left"]) == (30, 30, None)
    fetched = studio.ask("GET", f"/api/renders/{started.json['id']}/video?download=true")
    assert fetched.headers["content-type"] == "video/mp4"
    assert "attachment" in fetched.headers["content-disposition"]
    assert "my%20film%20painted.mp4" in fetched.headers["content-disposition"]
    result = tmp_path / "result.mp4"
    result.write_bytes(fetched.body)
    info = probe(result)
    assert (info.width, info.height, info.codec, info.has_audio) == (96, 64, "h264", True)
    assert info.duration == pytest.approx(probe(film).duration, abs=0.04)
    assert sound(result) == sound(film)
    painted = decode_sequentially(result)
    assert read_numbers([255 - frame for frame in painted]) == list(range(30))


@pytest.mark.parametrize(
    ("name", "codec"),
    [("film.mkv", "ac3"), ("film.mov", "pcm_s16le"), ("film.webm", "libopus"), ("film.avi", "pcm_s16le")],
)
def test_sound_of_any_kind_comes_back_as_one_that_browsers_play(
    studio: Client, name: str, codec: str, tmp_path: Path
) -> None:
    picture = {"film.webm": "libvpx-vp9", "film.avi": "mpeg4"}.get(name, "libx264")
    upload = studio.upload(flashing(tmp_path / name, codec, picture=picture)).json
    assert upload["audio"]
    render = studio.render(upload["id"], "same").json["id"]
    studio.until(render, "done")
    result = tmp_path / "result.mp4"
    result.write_bytes(studio.ask("GET", f"/api/renders/{render}/video").body)
    assert codecs_of(result) == ["aac"]
    together(result, 2)


def test_a_still_is_the_frame_of_its_time(studio: Client, film: Path) -> None:
    upload = studio.upload(film).json["id"]
    for seconds, number in ((0, 0), (0.5, 12), (0.52, 13), (1.16, 29), (99, 29)):
        original = picture(studio.ask("GET", f"/api/uploads/{upload}/still.jpg?at={seconds}").body)
        assert read_number(original) == number
        asked = {"at": seconds, "look": {"style": "negative"}}
        painted = picture(studio.ask("POST", f"/api/uploads/{upload}/preview", asked).body)
        assert read_number(255 - painted) == number


def test_a_look_has_strength_and_colours(studio: Client, film: Path) -> None:
    upload = studio.upload(film).json["id"]

    def painted(**look: float) -> np.ndarray:
        asked = {"at": 0.4, "look": {"style": "negative", **look}}
        return picture(studio.ask("POST", f"/api/uploads/{upload}/preview", asked).body).astype(float)

    original = picture(studio.ask("GET", f"/api/uploads/{upload}/still.jpg?at=0.4").body).astype(float)
    assert np.abs(painted(strength=0.0) - original).mean() < 3
    assert np.abs(painted(strength=0.5) - 127.5).mean() < 3
    chroma = [frame.max(axis=2) - frame.min(axis=2) for frame in (painted(preserve_color=1.0), original)]
    assert np.corrcoef(chroma[0].ravel(), chroma[1].ravel())[0, 1] > 0.6
    assert np.corrcoef(painted().mean(2).ravel(), painted(preserve_color=1.0).mean(2).ravel())[0, 1] > 0.9


def test_a_rotated_film_is_shown_upright(studio: Client, tmp_path: Path) -> None:
    frames = make_video(tmp_path / "turned.mp4", n=6, width=64, height=96, rotation=90)
    sent = studio.upload(frames).json
    assert (sent["width"], sent["height"]) == (96, 64)
    still = picture(studio.ask("GET", f"/api/uploads/{sent['id']}/still.jpg?at=0").body)
    assert read_number(still, rotation=90) == 0


@pytest.mark.parametrize("flips", [(True, False), (False, True)])
@pytest.mark.parametrize("rotation", [0, 90])
def test_a_mirrored_film_is_shown_as_players_show_it(
    rotation: int, flips: tuple[bool, bool], studio: Client, tmp_path: Path
) -> None:
    path = make_video(tmp_path / "film.mp4", n=6, rotation=rotation, mirrored=flips)
    sent = studio.upload(path).json
    assert (sent["width"], sent["height"]) == ((64, 96) if rotation else (96, 64))
    still = picture(studio.ask("GET", f"/api/uploads/{sent['id']}/still.jpg?at=0").body)
    assert read_number(np.rot90(still[:: -1 if flips[1] else 1, :: -1 if flips[0] else 1], -rotation // 90)) == 0


@pytest.mark.parametrize("kind", ["ts", "mkv"])
def test_a_recording_of_a_second_is_not_too_long(kind: str, studio: Client, tmp_path: Path) -> None:
    """Its clock has run for eleven hours; ten minutes are the limit."""
    plain = make_video(tmp_path / "plain.mkv", n=30, audio="aac")
    sent = studio.upload(recorded_at(plain, tmp_path / f"film.{kind}", 40_000))
    assert sent.status == 201 and sent.json["seconds"] == pytest.approx(1.2, abs=0.05)
    still = picture(studio.ask("GET", f"/api/uploads/{sent.json['id']}/still.jpg?at=0.5").body)
    assert read_number(still) == 12
    render = studio.render(sent.json["id"], "same").json["id"]
    assert studio.until(render, "done")["frames"] == 30
    result = tmp_path / "result.mp4"
    result.write_bytes(studio.ask("GET", f"/api/renders/{render}/video").body)
    with av.open(str(result)) as container:
        assert container.duration / av.time_base == pytest.approx(1.22, abs=0.05)


def test_progress_is_told_as_events(studio: Client, film: Path) -> None:
    upload = studio.upload(film).json["id"]
    render = studio.render(upload, "slow").json["id"]
    answer = studio.ask("GET", f"/api/renders/{render}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = [json.loads(line.removeprefix("data: ")) for line in answer.body.decode().splitlines() if line]
    assert [status["frames"] for status in told] == sorted(status["frames"] for status in told)
    assert len(told) >= 3 and told[-1]["state"] == "done" and told[-1]["frames"] == 30
    rough = [status for status in told if status["left"] is not None and status["frames"] > 3]
    assert rough and all(0 <= status["left"] < 60 for status in rough)


def test_parts_of_a_film_can_be_asked_for(studio: Client, film: Path) -> None:
    upload = studio.upload(film).json["id"]
    part = studio.ask("GET", f"/api/uploads/{upload}/video", headers={"range": "bytes=10-19"})
    assert part.status == 206 and part.body == film.read_bytes()[10:20]


def test_busy_is_said_and_passes(tmp_path: Path, film: Path) -> None:
    with running(tmp_path, max_jobs=1, max_uploads=2) as studio:
        upload = studio.upload(film).json["id"]
        first = studio.render(upload, "slow").json["id"]
        second = studio.render(upload, "same")
        assert second.status == 503 and "busy" in second.json["error"] and int(second.headers["retry-after"]) > 0
        assert studio.ask("DELETE", f"/api/renders/{first}").status == 204
        studio.until(first, "cancelled")
        studio.until(studio.render(upload, "same").json["id"], "done")
        assert studio.upload(film).status == 201
        full = studio.upload(film)
        assert full.status == 503 and "busy" in full.json["error"]
        assert studio.ask("DELETE", f"/api/uploads/{upload}").status == 204
        assert studio.upload(film).status == 201


def test_a_render_that_is_stopped_leaves_nothing(studio: Client, film: Path) -> None:
    upload = studio.upload(film).json["id"]
    render = studio.render(upload, "slow").json["id"]
    while not studio.ask("GET", f"/api/renders/{render}").json["frames"]:
        time.sleep(0.01)
    assert studio.ask("GET", f"/api/renders/{render}/video").status == 409
    studio.ask("DELETE", f"/api/renders/{render}")
    studio.until(render, "cancelled")
    assert [path.suffix for path in studio.files()] == [".film"]
    studio.ask("DELETE", f"/api/uploads/{upload}")
    assert studio.files() == []


def test_what_nobody_asks_for_is_removed(tmp_path: Path, film: Path) -> None:
    with running(tmp_path, keep_minutes=0.01) as studio:
        upload = studio.upload(film).json["id"]
        render = studio.render(upload, "same").json["id"]
        studio.until(render, "done")
        assert len(studio.files()) == 2
        deadline = time.monotonic() + 20
        while studio.files():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert studio.ask("GET", f"/api/renders/{render}").status == 404
        gone = studio.render(upload, "same")
        assert gone.status == 404 and "choose it again" in gone.json["error"]


def test_a_render_that_nobody_follows_gives_its_place_to_others(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "ABANDONED_SECONDS", 0.5)
    monkeypatch.setattr(app, "SWEEP_SECONDS", 0.1)
    with running(tmp_path, max_jobs=1) as studio:
        upload = studio.upload(film).json["id"]
        followed = studio.render(upload, "slow").json["id"]
        studio.until(followed, "done")  # three seconds, asked for all the while
        left = studio.render(upload, "slow").json["id"]
        deadline = time.monotonic() + 20
        while (started := studio.render(upload, "same")).status == 503:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert started.status == 202 and studio.ask("GET", f"/api/renders/{left}").status == 404


def test_a_film_has_one_finished_render(tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as studio:
        upload, other = (studio.upload(film).json["id"] for _ in range(2))
        renders = [studio.render(one, "same").json["id"] for one in (other, upload)]
        for render in renders:
            studio.until(render, "done")
        studio.until(studio.render(upload, "negative").json["id"], "done")
        assert sorted(path.suffix for path in studio.files()) == [".film", ".film", ".mp4", ".mp4"]
        assert [studio.ask("GET", f"/api/renders/{render}").status for render in renders] == [200, 404]
        monkeypatch.setattr(uploads, "SPARE_BYTES", 1 << 60)
        full = studio.render(upload, "same")
        assert full.status == 503 and "disk is nearly full" in full.json["error"]


def test_a_film_that_trickles_in_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "SILENCE_SECONDS", 0.3)

    async def trickle() -> AsyncIterator[bytes]:
        for _ in range(100):
            await asyncio.sleep(0.05)
            yield b"1"

    kept = uploads.Uploads(tmp_path, Settings())
    began = time.monotonic()
    with pytest.raises(Refusal, match="too slowly"):
        asyncio.run(kept.receive("film", trickle(), None))
    assert time.monotonic() - began < 4 and list(tmp_path.iterdir()) == []


def test_the_end_of_a_studio_removes_its_folder(tmp_path: Path, film: Path) -> None:
    (tmp_path / "mine.txt").write_text("of the user")
    with running(tmp_path) as studio:
        upload = studio.upload(film).json["id"]
        studio.render(upload, "slow")
        assert len(studio.files()) > 1
    assert [path.name for path in tmp_path.rglob("*")] == ["mine.txt"]


def test_a_film_longer_than_its_header_says_ends_at_the_limit(tmp_path: Path) -> None:
    film = make_video(tmp_path / "f.mkv", n=40, fps=100)
    with running(tmp_path, max_minutes=0.01) as studio:  # 36 frames
        sent = studio.upload(film)
        assert sent.status == 201  # 0.4 seconds, and a header without a number of frames
        render = studio.render(sent.json["id"], "same").json["id"]
        status = studio.until(render, "failed")
        assert "more than 36 frames" in status["error"] and str(tmp_path) not in status["error"]


def test_thumbnails_are_painted_once(tmp_path: Path) -> None:
    from dataclasses import replace

    from tests.studio.serving import STYLES
    from vst.studio.thumbnails import photograph, thumbnail

    assert photograph().flags.writeable  # torch warns of frames that it could not write to
    opened = []
    style = replace(STYLES["negative"], key="abc", open=lambda: opened.append(1) or STYLES["negative"].open())
    first = thumbnail(style, tmp_path / "cache")
    assert thumbnail(style, tmp_path / "cache") == first and len(opened) == 1
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["abc.jpg"]


def test_hdr_and_odd_sides_become_what_browsers_play(studio: Client, tmp_path: Path) -> None:
    """A phone's HLG, and sides that 4:2:0 does not have."""
    grey = np.full((5, 48, 64, 3), 0.75)  # of HLG, which is paper's white
    odd = make_video(tmp_path / "odd.mkv", np.full((5, 49, 65, 3), 120, np.uint8), pix_fmt="yuv444p")
    for source, size, level in ((make_hdr(tmp_path / "phone.mov", grey, 18), (64, 48), 230), (odd, (66, 50), 120)):
        sent = studio.upload(source).json
        assert sent.get("notes", []) == (["HDR, seen as SDR"] if level == 230 else [])
        still = picture(studio.ask("GET", f"/api/uploads/{sent['id']}/still.jpg?at=0").body)
        assert np.abs(still.astype(int) - level).max() < 5
        render = studio.render(sent["id"], "same").json["id"]
        assert studio.until(render, "done")["frames"] == 5
        result = tmp_path / "result.mp4"
        result.write_bytes(studio.ask("GET", f"/api/renders/{render}/video").body)
        info = probe(result)
        assert (info.codec, info.pix_fmt, (info.width, info.height)) == ("h264", "yuv420p", size)
        assert info.hdr is None and np.abs(decode_sequentially(result)[-1].astype(int) - level).max() < 5


class Compiling(Fake):
    """An engine whose first frame takes two seconds."""

    def __call__(self, frame: np.ndarray, out: np.ndarray) -> np.ndarray:
        super().__call__(frame, out)
        self._wait = 0.01
        return out


def test_preparing_an_engine_counts_into_no_pace(tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    style = Style("Compiles", lambda: Compiling(lambda frame: frame, wait=2.0))
    monkeypatch.setitem(serving.STYLES, "compiles", style)
    with running(tmp_path) as studio:
        render = studio.render(studio.upload(film).json["id"], "compiles").json["id"]
        first = studio.ask("GET", f"/api/renders/{render}").json
        assert (first["state"], first["frames"], first["fps"], first["left"]) == ("running", 0, None, None)
        seen, deadline = [], time.monotonic() + 60
        while (status := studio.ask("GET", f"/api/renders/{render}").json)["state"] == "running":
            assert time.monotonic() < deadline
            seen += [status] if status["frames"] > 1 else []
            time.sleep(0.02)
        assert status["state"] == "done" and status["seconds"] > 2
        assert status["fps"] > 15, "with the first frame it would be at most 15"
        assert all(one["left"] < 2 for one in seen if one["frames"] > 5)
