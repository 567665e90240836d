"""What a studio refuses, and that it goes on serving."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from tests.media import make_video
from tests.studio.serving import Answer, Client, running
from vst.studio.refusal import Refusal
from vst.studio.uploads import check_container
from vst.video import probe

LOOK = {"style": "same"}
PATH_TRICKS = [
    "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc%2fpasswd", "//etc/passwd", "/etc/passwd",
    "/app.js/../../settings.py", "/%2e%2e/settings.js", "/..%5c..%5csettings.js", "/settings.py", "/style.css%00.js",
    "/api/styles/../../../etc/passwd", "/api/styles/-1.jpg", "/api/styles/99.jpg", "/api/styles/1e9.jpg",
    "/api/uploads/..%2f..%2f..%2fetc%2fpasswd/video", "/api/uploads/%2fetc%2fpasswd/video",
    "/api/uploads/%00/video", "/api/renders/..%2f..%2fetc%2fpasswd/video", "/api/renders/%2e%2e/video",
    "/api/uploads/" + "a" * 20000 + "/video", "/static/index.html", "/docs", "/openapi.json",
]  # fmt: skip


def test_paths_lead_nowhere(studio: Client) -> None:
    for path in PATH_TRICKS:
        answer = studio.ask("GET", path)
        assert answer.status in (400, 404, 414, 422), (path, answer)
        assert b"root:" not in answer.body and b"Settings" not in answer.body
    assert studio.ask("GET", "/api/studio").status == 200


def playlist(target: Path) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n".encode()


def test_films_that_are_none_are_refused(studio: Client, film: Path, tmp_path: Path) -> None:
    secret = make_video(tmp_path / "secret.ts", n=5)  # of the machine, which a playlist may not lead to
    picture = studio.ask("GET", "/api/styles/0.jpg").body
    wrong = {
        "text": b"not a video " * 100,
        "empty": b"",
        "picture": picture,
        "playlist": playlist(secret),
        "playlist by url": playlist(Path("http://127.0.0.1:1/x.ts")),
        "script of a neighbour": b"ffconcat version 1.0\nfile film.film\n",
        "script of concat": f"ffconcat version 1.0\nfile {secret}\n".encode(),
        "session": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
        "half a header": film.read_bytes()[:200],
        "zeros": bytes(10000),
        "html": b"<!doctype html><script>alert(1)</script>",
    }
    for name, content in wrong.items():
        answer = studio.ask("POST", "/api/uploads", content)
        assert answer.status == 415, (name, answer)
        assert "give an mp4" in answer.json["error"] and str(tmp_path) not in answer.json["error"]
    assert studio.files() == []
    assert studio.upload(film).status == 201


def test_scripts_of_ffmpeg_are_a_real_danger(tmp_path: Path) -> None:
    """Without the studio's own check, `probe` would follow such a file to another one."""
    make_video(tmp_path / "other.ts", n=5)
    trap = tmp_path / "trap.film"
    trap.write_bytes(b"ffconcat version 1.0\nfile other.ts\n")
    assert probe(trap).width == 96
    with pytest.raises(Refusal, match="not a video that can be read here"):
        check_container(trap)


def test_films_beyond_the_limits_are_refused(studio: Client, tmp_path: Path) -> None:
    huge = studio.ask("POST", "/api/uploads", b"x", {"content-length": str(10**15)})
    assert huge.status == 413 and "2 MB" in huge.json["error"]
    assert send_chunks(studio, 40, bytes(100_000)).startswith(b"HTTP/1.1 413")  # no length told beforehand
    long = make_video(tmp_path / "long.mp4", n=70, width=32, height=32, fps=1)
    answer = studio.upload(long)
    assert answer.status == 422 and "longer than 1 minutes" in answer.json["error"]
    with running(tmp_path, max_side=90) as small:
        answer = small.upload(make_video(tmp_path / "wide.mp4", n=3))
        assert answer.status == 422 and "96x64" in answer.json["error"]
        assert {path.name for path in small.files()} == {"long.mp4", "wide.mp4"}
    assert studio.files() == []


def test_malformed_requests_are_told_so(studio: Client, film: Path) -> None:
    upload = studio.upload(film).json["id"]
    looks = [
        {"style": "other"}, {"style": 3}, {"style": "same", "strength": 2}, {"style": "same", "calm": -0.1},
        {"style": "same", "strength": "1"}, {"style": "same", "preserve_color": None}, {"style": "same", "path": "/x"},
        [], "same", None, {"style": "x" * 300},
    ]  # fmt: skip
    for look in looks:
        for answer in (
            studio.ask("POST", "/api/renders", {"upload": upload, "look": look}),
            studio.ask("POST", f"/api/uploads/{upload}/preview", {"at": 0, "look": look}),
            studio.ask("POST", "/api/live", {"sdp": "", "look": look}),
        ):
            assert answer.status in (400, 422) and answer.json["error"], (look, answer)
    bodies = [b"", b"{", b"null", b"[1,2", b"\xff\xfe", b'{"at": NaN, "look": {}}', b'{"at": 1e999}', b"[" * 5000]
    for body in bodies:
        headers = {"content-type": "application/json"}
        for path in ("/api/renders", f"/api/uploads/{upload}/preview", "/api/live"):
            answer = studio.ask("POST", path, body, headers)
            assert answer.status in (400, 422), (body, answer)
    for at in ("nan", "inf", "-1", "x", "1e99", ""):
        assert studio.ask("GET", f"/api/uploads/{upload}/still.jpg?at={at}").status == 422
    for sdp in ("", "v=0", "v=0\r\n" * 1000, "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n", "\x00"):
        answer = studio.ask("POST", "/api/live", {"sdp": sdp, "look": LOOK})
        assert answer.status == 400 and "WebRTC" in answer.json["error"], (sdp, answer)
    large = studio.ask("POST", "/api/renders", b"x" * 300_000)
    assert large.status == 413
    assert send_chunks(studio, 40, b" " * 10_000, "/api/renders").startswith(b"HTTP/1.1 413")
    assert studio.files() and studio.ask("GET", "/api/studio").status == 200


def test_wrong_methods_and_unknown_ids(studio: Client) -> None:
    wrong = [
        ("PUT", "/api/uploads"), ("GET", "/api/renders"), ("DELETE", "/"), ("PATCH", "/api/studio"), ("POST", "/"),
        ("TRACE", "/"), ("BREW", "/api/studio"), ("POST", "/api/studio"), ("DELETE", "/api/live"),
    ]  # fmt: skip
    for method, path in wrong:
        assert studio.ask(method, path).status in (400, 405), (method, path)
    unknown = [
        ("GET", "/api/uploads/x/video"), ("GET", "/api/uploads/x/still.jpg"), ("DELETE", "/api/uploads/x"),
        ("GET", "/api/renders/x"), ("GET", "/api/renders/x/events"), ("DELETE", "/api/renders/x"),
    ]  # fmt: skip
    for method, path in unknown:
        answer = studio.ask(method, path)
        assert answer.status == 404 and "not here any more" in answer.json["error"]
    assert studio.render("x", "same").status == 404


def test_guests_who_leave_early_leave_nothing(studio: Client, film: Path) -> None:
    content = film.read_bytes()
    head = f"POST /api/uploads HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(content)}\r\n\r\n".encode()
    for sent in (b"", b"\r\n", b"GET", b"GET / HTTP/1.1\r\nHost: 127", head, head + content[:500], head + content[:-1]):
        with socket.create_connection(("127.0.0.1", studio.port)) as guest:
            guest.sendall(sent)
    with socket.create_connection(("127.0.0.1", studio.port)) as guest:  # asks for much, and does not listen
        guest.sendall(b"GET /style.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 50)
    for garbage in (b"\x16\x03\x01\x02\x00" * 20, b"GET / HTTP/9.9\r\n\r\n", bytes(1000), b"A" * 100_000 + b"\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", studio.port)) as guest:
            guest.sendall(garbage)
    deadline = time.monotonic() + 10
    while studio.files():
        assert time.monotonic() < deadline, studio.files()
        time.sleep(0.05)
    assert studio.upload(film).status == 201


def test_other_sites_get_nothing(studio: Client, film: Path) -> None:
    own = f"127.0.0.1:{studio.port}"
    for host in ("evil.example", f"evil.example:{studio.port}", "127.0.0.1.evil.example", "192.168.1.5", "", "[::2]"):
        assert studio.ask("GET", "/api/studio", headers={"host": host}).status == 421, host
    for host in (own, "localhost", f"localhost:{studio.port}", "[::1]:80", "127.0.0.5"):
        assert studio.ask("GET", "/api/studio", headers={"host": host}).status == 200, host
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", f"http://{own}.evil.example", "file://"):
        answer = studio.ask("POST", "/api/uploads", film.read_bytes(), {"host": own, "origin": origin})
        assert answer.status == 403, origin
    for site in ("cross-site", "same-site", "none"):
        assert studio.ask("POST", "/api/renders", {}, {"sec-fetch-site": site}).status == 403
    answer = studio.ask("POST", "/api/uploads", film.read_bytes(), {"host": own, "origin": f"http://{own}"})
    assert answer.status == 201


def test_the_token_is_asked_for(tmp_path: Path, film: Path) -> None:
    token = "correct0horse0battery"
    with running(tmp_path, token=token) as studio:
        locked = studio.ask("GET", "/")
        assert locked.status == 401 and b"locked" in locked.body
        for path in ("/api/studio", "/api/styles/0.jpg", "/app.js", "/style.css"):
            for headers in (
                {}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {token}"}, {"authorization": token},
                {"cookie": "vst_studio=wrong"}, {"cookie": "=;;\x07"}, {"cookie": f"other={token}"},
            ):  # fmt: skip
                assert studio.ask("GET", path, headers=headers).status == 401, (path, headers)
        assert studio.ask("POST", "/api/uploads", film.read_bytes()).status == 401
        assert studio.ask("GET", f"/api/studio?token={token}").status == 401
        for given in ("", "wrong", token[:-1], token + "x", "%ff%fe", "%c3%bc", "%00"):
            assert studio.ask("GET", f"/?token={given}").status == 401
        opened = studio.ask("GET", f"/?token={token}")
        assert opened.status == 303 and opened.headers["location"] == "/"
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie
        for headers in ({"cookie": cookie.partition(";")[0]}, {"authorization": f"Bearer {token}"}):
            assert studio.ask("GET", "/api/studio", headers=headers).status == 200
        assert studio.files() == []


def test_every_answer_is_guarded(studio: Client) -> None:
    answers = [studio.ask("GET", path) for path in ("/", "/app.js", "/api/studio", "/nothing", "/api/styles/0.jpg")]
    answers += [studio.ask("GET", "/", headers={"host": "evil.example"}), studio.ask("POST", "/api/renders", b"{")]
    for answer in answers:
        headers = answer.headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer" and "server" not in headers


def test_names_of_guests_stay_names(studio: Client, film: Path) -> None:
    for given, kept in (
        ("../../etc/passwd.mp4", "passwd"), ("C:\\x\\film.mkv", "film"), ("%2e%2e%2fa.mp4", "a"), ("", "film"),
        ("a%00b%0d%0aSet-Cookie:x.mp4", "a b Set-Cookie x"), ("x" * 900 + ".mp4", "x" * 80), ("...", "film"),
    ):  # fmt: skip
        upload = studio.upload(film, given).json
        assert upload["name"] == kept, given
        render = studio.render(upload["id"], "same").json["id"]
        studio.until(render, "done")
        answer: Answer = studio.ask("GET", f"/api/renders/{render}/video?download=true")
        assert answer.status == 200 and "set-cookie" not in answer.headers
        studio.ask("DELETE", f"/api/uploads/{upload['id']}")


def send_chunks(studio: Client, count: int, chunk: bytes, path: str = "/api/uploads") -> bytes:
    """What a body without a length gets as its answer."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
    with socket.create_connection(("127.0.0.1", studio.port), timeout=20) as guest:
        guest.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n")
        try:
            for _ in range(count):
                guest.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
            guest.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # refused before all of it was sent
        return guest.recv(1000)


def test_settings_say_who_is_private() -> None:
    from vst.studio.server import address
    from vst.studio.settings import Settings

    assert Settings().is_private and Settings(host="::1").is_private and Settings(host="localhost").is_private
    assert not Settings(host="0.0.0.0").is_private and not Settings(hosts=("studio.example",)).is_private
    assert address(Settings(host="::1", port=5)) == "http://[::1]:5/"
    assert address(Settings(host="10.0.0.1", port=5, token="a/b")) == "http://10.0.0.1:5/?token=a%2Fb"


def test_a_taken_port_is_one_line() -> None:
    from vst.errors import UserError
    from vst.studio.server import _bind

    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match="cannot be bound"):
        _bind("127.0.0.1", taken.getsockname()[1])


def test_errors_are_json(studio: Client) -> None:
    for path in ("/nothing", "/api/nothing", "/api/uploads/x/video"):
        assert list(json.loads(studio.ask("GET", path).body)) == ["error"]


def test_beyond_this_machine_it_goes_by_its_names(tmp_path: Path) -> None:
    with running(tmp_path, host="0.0.0.0", token="correct0horse0battery", hosts=("Studio.Example",)) as studio:
        own = socket.gethostname()
        for host, status in (
            ("192.168.1.5:8321", 200), ("[fe80::1]:8321", 200), (own, 200), (f"{own}.local:1", 200),
            ("studio.example", 200), ("evil.example", 421), ("192.168.1.5.evil.example", 421), ("1921681005", 421),
        ):  # fmt: skip
            headers = {"host": host, "authorization": "Bearer correct0horse0battery"}
            assert studio.ask("GET", "/api/studio", headers=headers).status == status, host
        assert studio.ask("GET", "/api/studio", headers={"host": "studio.example"}).status == 401
