"""The page in headless Chromium: a film from its file to its download, a camera, the keyboard, a phone's width."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from tests.media import decode_sequentially, make_video, read_numbers
from tests.studio.browser import CHROMIUM, Browser
from tests.studio.serving import Client
from vst.studio.stills import Stills
from vst.video import probe

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")

WALL = (200, 60, 40)  # what the fake camera looks at; its negative is (55, 195, 215)
SIZES = {"desk": (1280, 800), "phone": (390, 844)}

PIXEL = """(() => {
  const video = document.querySelector('#painted-video'), canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  if (!canvas.width) return null;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  return [...context.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data.slice(0, 3)];
})()"""


@pytest.fixture(scope="module")
def wall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("camera") / "wall.y4m"
    with av.open(str(path), "w", format="yuv4mpegpipe") as container:
        stream = container.add_stream("rawvideo", rate=20)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.full((240, 320, 3), WALL, np.uint8), format="rgb24")
        for number in range(10):
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def page(studio: Client, wall: Path, tmp_path: Path) -> Iterator[Browser]:
    (tmp_path / "downloads").mkdir()
    with Browser(camera=wall, downloads=tmp_path / "downloads") as browser:
        browser.resize(*SIZES["desk"])
        browser.open(studio.url)
        reach(browser, "welcome")
        yield browser
        assert browser.complaints() == []


def reach(page: Browser, mode: str) -> None:
    page.wait(f"document.body.dataset.mode === '{mode}'")


def choose_style(page: Browser, name: str) -> None:
    page.click(f"input[name=style][value={name}]")


def shows(page: Browser, colour: tuple[int, ...]) -> None:
    """Wait until the painted video has that colour in its middle."""
    deadline = time.monotonic() + 30
    while np.abs(np.subtract(seen := page.run(PIXEL) or (0, 0, 0), colour)).max() > 30:
        assert time.monotonic() < deadline, f"{seen} is not {colour}; the page says: {page.said()}"
        time.sleep(0.1)


def load_film(page: Browser, film: Path) -> None:
    page.choose_file("#file", film)
    reach(page, "preview")
    page.wait("document.querySelector('#painted-image').naturalWidth && document.querySelector('#working').hidden")


def test_a_film_from_upload_to_download(page: Browser, studio: Client, film: Path, tmp_path: Path) -> None:
    load_film(page, film)
    before = page.run("document.querySelector('#painted-image').src")
    choose_style(page, "negative")
    page.wait(f"document.querySelector('#painted-image').src !== '{before}'")
    page.click("#render")
    reach(page, "done")
    page.wait("document.querySelector('#painted-video').readyState >= 2")
    page.click("#play")
    page.wait("document.querySelector('#painted-video').currentTime > 0.3")
    page.wait("document.querySelector('#original-video').currentTime > 0.2")
    page.wait("document.querySelector('#painted-video').ended")
    assert page.run("Math.abs(document.querySelector('#original-video').currentTime - 1.2) < 0.2")
    page.click("#download")
    result = tmp_path / "downloads" / "film painted.mp4"
    deadline = time.monotonic() + 20
    while not result.exists():
        assert time.monotonic() < deadline, list(result.parent.iterdir())
        time.sleep(0.05)
    info = probe(result)
    assert (info.width, info.height, info.has_audio) == (96, 64, True)
    assert read_numbers([255 - frame for frame in decode_sequentially(result)]) == list(range(30))
    page.click("#leave")
    reach(page, "welcome")
    deadline = time.monotonic() + 10
    while studio.files():
        assert time.monotonic() < deadline
        time.sleep(0.05)


DROP = """(() => {
  const carried = new DataTransfer(), bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
  carried.items.add(new File([bytes], 'dropped.mp4'));
  for (const kind of ['dragenter', 'dragover', 'drop'])
    document.querySelector('#drop').dispatchEvent(new DragEvent(kind, {dataTransfer: carried, bubbles: true}));
})()"""


def test_a_film_is_dropped_on_the_page(page: Browser, film: Path) -> None:
    content = base64.b64encode(film.read_bytes()).decode()
    page.run(f"globalThis.content = '{content}'")
    page.run(DROP)
    reach(page, "preview")
    assert page.run("document.querySelector('#source-name').textContent") == "dropped"


def test_an_original_that_no_browser_plays_is_compared_as_a_still(page: Browser, tmp_path: Path) -> None:
    load_film(page, make_video(tmp_path / "old.avi", n=20, codec="mpeg4"))
    page.click("#render")
    reach(page, "done")
    page.wait("document.querySelector('#painted-video').readyState >= 2")
    page.wait("document.querySelector('#original-video').hidden")
    page.wait("document.querySelector('#original-image').naturalWidth")
    assert page.run("document.querySelector('#notice').hidden")


def test_a_look_may_change_after_the_render_and_back(page: Browser, film: Path) -> None:
    load_film(page, film)
    page.click("#render")
    reach(page, "done")
    choose_style(page, "negative")
    reach(page, "preview")
    page.wait("document.querySelector('#working').hidden")
    page.click("#back")
    reach(page, "done")
    choose_style(page, "turned")
    reach(page, "preview")
    page.click("#render")
    reach(page, "done")
    assert "Hue turned" in page.run("document.querySelector('#caption').textContent")


def test_a_render_can_be_cancelled(page: Browser, studio: Client, film: Path) -> None:
    load_film(page, film)
    choose_style(page, "slow")
    page.click("#render")
    reach(page, "rendering")
    page.wait("document.querySelector('#progress-detail').textContent.includes('left')")
    assert page.run("document.querySelector('#strength').matches(':disabled')")
    page.click("#cancel")
    reach(page, "preview")
    assert page.run("document.querySelector('#notice').hidden")


LATE_FAREWELL = """(() => {
  const send = window.fetch;
  window.farewells = 0;
  window.fetch = async (path, options) => {
    if (options?.method !== 'DELETE') return send(path, options);
    if (path.includes('/renders/')) await new Promise((go) => setTimeout(go, 500));
    const answer = await send(path, options);
    window.farewells += 1;
    return answer;
  };
})()"""


def test_a_film_and_what_was_rendered_of_it_leave_together(page: Browser, studio: Client, film: Path) -> None:
    page.run(LATE_FAREWELL)
    load_film(page, film)
    page.click("#render")
    reach(page, "done")
    page.click("#leave")
    reach(page, "welcome")
    page.wait("window.farewells > 0")
    time.sleep(0.8)  # a request that came too late would be a complaint of the page
    assert studio.files() == []


LATE_NEWS = """window.EventSource = class extends EventSource {
  set onmessage(hear) { super.onmessage = (event) => setTimeout(() => hear(event), 2500); }
}"""


def test_a_render_that_was_ready_before_it_was_cancelled_stays_cancelled(
    page: Browser, studio: Client, film: Path
) -> None:
    page.run(LATE_NEWS)
    load_film(page, film)
    page.click("#render")
    reach(page, "rendering")
    studio.until(page.run("JSON.parse(sessionStorage.getItem('film')).render"), "done")
    page.click("#cancel")
    reach(page, "preview")
    assert page.run("document.querySelector('#notice').hidden && document.querySelector('#back').hidden")
    assert [path.suffix for path in studio.files()] == [".film"]


def test_a_reload_after_a_cancelled_render_keeps_the_film(page: Browser, studio: Client, film: Path) -> None:
    load_film(page, film)
    choose_style(page, "slow")
    page.click("#render")
    reach(page, "rendering")
    render = page.run("JSON.parse(sessionStorage.getItem('film')).render")
    page.click("#cancel")
    reach(page, "preview")
    studio.ask("DELETE", f"/api/renders/{render}")  # now it is gone for good, as the studio's sweep would have it
    page.open(studio.url)
    reach(page, "preview")


def test_the_camera_is_painted_and_changes_its_style(page: Browser) -> None:
    choose_style(page, "negative")
    page.click("#camera")
    reach(page, "live")
    shows(page, tuple(255 - value for value in WALL))
    choose_style(page, "same")
    shows(page, WALL)
    page.run(
        "const s = document.querySelector('#strength'); s.value = 50; s.dispatchEvent(new Event('input'));"
        "document.querySelector('input[value=negative]').click()"
    )
    shows(page, (127, 127, 127))
    page.wait("document.querySelector('#caption').textContent.includes('frames a second')")
    page.click("#stop")
    reach(page, "welcome")
    assert page.run("document.querySelector('#painted-video').srcObject === null")


def test_the_camera_is_one_too_many(studio: Client, page: Browser, wall: Path) -> None:
    page.click("#camera")
    reach(page, "live")
    with Browser(camera=wall) as second, Browser(camera=wall) as third:
        for browser in (second, third):
            browser.open(studio.url)
            reach(browser, "welcome")
            browser.click("#camera")
            browser.wait("document.body.dataset.mode === 'live' || !document.querySelector('#notice').hidden")
        said = third.wait("document.querySelector('#notice-text').textContent")
        assert "busy" in said and third.run("!document.querySelector('#retry').hidden")
        page.click("#stop")
        reach(page, "welcome")
        third.wait("!document.querySelector('#retry').click() && document.body.dataset.mode === 'live'")


def test_mistakes_are_told(page: Browser, tmp_path: Path) -> None:
    for name, content, said in (
        ("text.mp4", b"no film", "not a video"),
        ("large.mp4", bytes(3 * 1024 * 1024), "limit here is 2 MB"),
    ):
        (tmp_path / name).write_bytes(content)
        page.choose_file("#file", tmp_path / name)
        page.wait(f"document.querySelector('#notice-text').textContent.includes('{said}')")
        assert page.run("document.querySelector('#notice').getAttribute('role')") == "alert"
        reach(page, "welcome")
        page.click("#dismiss")
    long = make_video(tmp_path / "long.mp4", n=70, width=32, height=32, fps=1)
    page.choose_file("#file", long)
    page.wait("document.querySelector('#notice-text').textContent.includes('longer than 1 minutes')")
    page.events = [e for e in page.events if "status of 4" not in str(e)]  # Chromium's own note of a refusal


def test_the_keyboard_reaches_everything(page: Browser, film: Path) -> None:
    load_film(page, film)
    page.run("document.activeElement.blur()")
    reached = []
    for _ in range(14):
        page.press("Tab", 9)
        reached.append(page.run("document.activeElement.id || document.activeElement.name"))
    order = ["leave", "split", "moment", "style", "strength", "calm", "colour", "render"]
    assert [name for name in reached if name in order][: len(order)] == order
    page.run("document.querySelector('#split').focus()")
    for _ in range(5):
        page.press("ArrowLeft", 37)
    assert page.run("document.querySelector('#canvas').style.getPropertyValue('--split')") == "45%"
    assert "45 percent original" in page.run("document.querySelector('#split').getAttribute('aria-valuetext')")
    page.run("document.querySelector('input[name=style]:checked').focus()")
    page.press("ArrowRight", 39)
    assert page.run("document.querySelector('input[name=style]:checked').value") == "negative"
    page.run("document.querySelector('#render').focus()")
    page.press("Enter", 13)
    reach(page, "done")
    assert page.run("document.activeElement.id") == "play", "the keyboard goes on where the render has led"
    page.press("Enter", 13)
    page.wait("document.querySelector('#painted-video').currentTime > 0")


UNNAMED = """[...document.querySelectorAll('button, input, a[href], progress')].filter((e) => e.offsetParent
  && !e.getAttribute('aria-label') && !e.getAttribute('aria-labelledby') && !e.textContent.trim() && !e.labels?.length
).map((e) => e.outerHTML.slice(0, 80))"""
SMALL = """[...document.querySelectorAll('button, a.primary, .card, .slider')].filter((e) => {
  const box = e.getBoundingClientRect();
  return e.offsetParent && (box.height < 28 || box.width < 44);
}).map((e) => e.outerHTML.slice(0, 80))"""
BOX = """(() => {
  const box = document.querySelector('%s').getBoundingClientRect();
  return [box.width, box.height, box.top, box.bottom];
})()"""


@pytest.mark.parametrize("name", SIZES)
def test_it_fits_its_width_in_every_state(page: Browser, film: Path, name: str) -> None:
    width, height = SIZES[name]
    page.resize(width, height)

    def fits() -> None:
        assert page.run("document.scrollingElement.scrollWidth") <= width
        assert page.run(UNNAMED) == [] and page.run(SMALL) == []

    fits()
    load_film(page, film)
    fits()
    across, down, _, _ = page.run(BOX % "#canvas")
    assert across / down == pytest.approx(96 / 64, rel=0.02) and across > width * 0.45 and down < height * 0.75
    _, _, top, bottom = page.run(BOX % "#render")
    assert 0 < top < bottom <= height, "the next step is in view"
    page.click("#render")
    reach(page, "done")
    for layer in ("painted", "original"):
        page.wait(f"document.querySelector('#{layer}-video').readyState >= 2")
    fits()
    page.click("#leave")
    page.click("#camera")
    reach(page, "live")
    fits()


def test_a_painting_never_stands_where_the_original_belongs(
    page: Browser, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Stills.original

    async def late(self: Stills, *asked) -> bytes:
        await asyncio.sleep(1)
        return await quick(self, *asked)

    monkeypatch.setattr(Stills, "original", late)
    load_film(page, film)
    assert page.run("document.querySelector('#original-image').naturalWidth") == 96


def test_a_reload_finds_its_film_again(page: Browser, studio: Client, film: Path) -> None:
    load_film(page, film)
    choose_style(page, "slow")
    page.click("#render")
    reach(page, "rendering")
    page.open(studio.url)
    reach(page, "rendering")
    reach(page, "done")
    page.open(studio.url)
    reach(page, "done")
    page.click("#leave")
    reach(page, "welcome")
    page.open(studio.url)
    reach(page, "welcome")
