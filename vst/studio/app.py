"""The studio's web application: the page, and the requests that it makes."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vst.errors import UserError
from vst.studio.guard import Guard
from vst.studio.jobs import Render, Renders
from vst.studio.looks import LookRequest, first_mistake
from vst.studio.refusal import Refusal
from vst.studio.rtc import Cameras
from vst.studio.settings import Settings
from vst.studio.stills import Stills
from vst.studio.styles import Painters, Style
from vst.studio.thumbnails import thumbnail
from vst.studio.uploads import Upload, Uploads

STATIC = {"": "index.html", **{name: name for name in ("style.css", "app.js", "api.js", "compare.js", "live.js")}}
SWEEP_SECONDS = 20
EVENT_SECONDS = 0.3
CLIENT_GONE = 499  # what nginx logs for a guest who did not wait for the answer

router = APIRouter()


class Studio:
    """All that a running studio holds; `folder` is its own and is removed at its end."""

    def __init__(self, settings: Settings, styles: Mapping[str, Style], thumbnails: Path | None) -> None:
        self.settings, self.styles = settings, dict(styles)
        self.pictures = [thumbnail(style, thumbnails) for style in self.styles.values()]
        self.folder = _own_folder(settings.work)
        painters = Painters(styles)
        self.uploads = Uploads(self.folder, settings)
        self.renders = Renders(self.folder, painters, settings)
        self.stills = Stills(painters)
        self.cameras = Cameras(painters, settings)

    async def sweep(self) -> None:
        """Remove what nobody asks for any more, for as long as the studio is open."""
        keep = self.settings.keep_minutes * 60
        while True:
            await asyncio.sleep(min(SWEEP_SECONDS, keep / 2))
            self.renders.sweep(keep)
            self.uploads.sweep(keep)

    async def close(self) -> None:
        await self.cameras.close()
        await asyncio.to_thread(self.renders.close)
        shutil.rmtree(self.folder, ignore_errors=True)


def _own_folder(parent: str | None) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix="vst-studio-", dir=parent))
    except OSError as error:
        raise UserError(f"work={parent}: cannot be written ({error.strerror}); give another folder") from error


def create_app(settings: Settings, styles: Mapping[str, Style], thumbnails: Path | None = None) -> FastAPI:
    """The application of a studio.

    Args:
        styles: name -> style, in the order of the page.
        thumbnails: folder that keeps the styles' pictures from one start to the next.

    Raises:
        UserError: a style cannot paint, or the work folder cannot be written.
    """
    studio = Studio(settings, styles, thumbnails)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(studio.sweep())
        try:
            yield
        finally:
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
            await studio.close()

    app = FastAPI(title="vst studio", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.studio = studio
    app.include_router(router)
    app.add_middleware(Guard, settings=settings)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)
    app.add_exception_handler(UserError, _mistaken)
    app.add_exception_handler(Exception, _broken)
    return app


def _refused(_: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": str(error.detail)}, error.status_code, error.headers)


def _malformed(_: Request, error: RequestValidationError) -> Response:
    return JSONResponse({"error": first_mistake(error.errors())}, 422)


def _mistaken(_: Request, error: UserError) -> Response:
    return JSONResponse({"error": str(error)}, 422)


def _broken(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": "something broke in the studio; its log says what"}, 500)


def _studio(request: Request) -> Studio:
    return request.app.state.studio


def _upload(upload_id: str, studio: Studio = Depends(_studio)) -> Upload:  # noqa: B008
    return studio.uploads.get(upload_id)


def _render(render_id: str, studio: Studio = Depends(_studio)) -> Render:  # noqa: B008
    return studio.renders.get(render_id)


StudioOf = Annotated[Studio, Depends(_studio)]
UploadOf = Annotated[Upload, Depends(_upload)]
RenderOf = Annotated[Render, Depends(_render)]
Seconds = Annotated[float, Query(ge=0, le=1e6, allow_inf_nan=False)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class PreviewRequest(_Request):
    """A painted still at `at` seconds."""

    at: float = Field(0.0, ge=0, le=1e6)
    look: LookRequest


class RenderRequest(_Request):
    """A whole film."""

    upload: str = Field(max_length=64)
    look: LookRequest


class OfferRequest(_Request):
    """A browser's offer of WebRTC."""

    sdp: str = Field(max_length=200_000)
    look: LookRequest


@router.get("/")
@router.get("/style.css")
@router.get("/{name}.js")
async def page(request: Request) -> Response:
    name = STATIC.get(request.url.path.removeprefix("/"))
    if name is None:
        raise Refusal(404, "there is no such page")
    kinds = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
    content = (files("vst.studio") / "static" / name).read_bytes()
    return Response(content, media_type=kinds[name.rpartition(".")[2]], headers={"cache-control": "no-cache"})


@router.get("/api/studio")
async def describe(studio: StudioOf) -> dict[str, Any]:
    """What the page has to know: the styles and the limits."""
    settings = studio.settings
    styles = [
        {"name": name, "title": style.title, "picture": f"/api/styles/{number}.jpg"}
        for number, (name, style) in enumerate(studio.styles.items())
    ]
    limits = {"upload_mb": settings.max_upload_mb, "minutes": settings.max_minutes}
    limits |= {"keep_minutes": settings.keep_minutes, "live_side": settings.live_side}
    return {"styles": styles, "limits": limits}


@router.get("/api/styles/{number}.jpg")
async def style_picture(number: int, studio: StudioOf) -> Response:
    if not 0 <= number < len(studio.pictures):
        raise Refusal(404, "there is no such style")
    return _jpeg(studio.pictures[number])


@router.post("/api/uploads", status_code=201)
async def receive_upload(request: Request, studio: StudioOf) -> Any:
    """A film as the body of the request; its name in X-File-Name, percent-encoded."""
    given = request.headers.get("content-length")
    length = int(given) if given is not None and given.isdecimal() else None
    name = unquote(request.headers.get("x-file-name", "film")[:1000])
    try:
        upload = await studio.uploads.receive(name, request.stream(), length)
    except ClientDisconnect:
        return Response(status_code=CLIENT_GONE)
    info = upload.info
    width, height = upload.size
    described = {"id": upload.id, "name": upload.name, "width": width, "height": height, "audio": info.has_audio}
    notes = ["HDR, seen as SDR"] * (info.hdr is not None) + ["transparent, laid onto white"] * info.alpha
    described |= {"notes": notes} if notes else {}
    return described | {"seconds": info.duration, "fps": round(float(info.fps), 3)}


@router.delete("/api/uploads/{upload_id}", status_code=204)
async def remove_upload(upload: UploadOf, studio: StudioOf) -> None:
    studio.renders.remove_of(upload)
    studio.uploads.remove(upload.id)


@router.get("/api/uploads/{upload_id}/video")
async def original_video(upload: UploadOf) -> Response:
    return FileResponse(upload.path, media_type="video/mp4" if _is_mp4(upload) else "video/webm")


@router.get("/api/uploads/{upload_id}/still.jpg")
async def original_still(upload: UploadOf, studio: StudioOf, at: Seconds = 0.0) -> Response:
    return _jpeg(await studio.stills.original(upload, at))


@router.post("/api/uploads/{upload_id}/preview")
async def painted_still(upload: UploadOf, studio: StudioOf, asked: PreviewRequest) -> Response:
    return _jpeg(await studio.stills.painted(upload, asked.at, asked.look.look()))


@router.post("/api/renders", status_code=202)
async def start_render(studio: StudioOf, asked: RenderRequest) -> dict[str, Any]:
    return studio.renders.start(studio.uploads.get(asked.upload), asked.look.look()).status()


@router.get("/api/renders/{render_id}")
async def render_status(render: RenderOf) -> dict[str, Any]:
    return render.status()


@router.get("/api/renders/{render_id}/events")
async def render_events(render: RenderOf) -> Response:
    """The status as server-sent events, until the film is done."""

    async def events() -> AsyncIterator[str]:
        while True:
            status = render.status()
            yield f"data: {json.dumps(status)}\n\n"
            if status["state"] != "running":
                return
            await asyncio.sleep(EVENT_SECONDS)

    return StreamingResponse(events(), media_type="text/event-stream")


@router.get("/api/renders/{render_id}/video")
async def rendered_video(render: RenderOf, download: bool = False) -> Response:
    if render.state != "done":
        raise Refusal(409, f"this film is {render.state}")
    name = f"{render.upload.name} painted.mp4" if download else None
    return FileResponse(render.path, media_type="video/mp4", filename=name)


@router.delete("/api/renders/{render_id}", status_code=204)
async def remove_render(render: RenderOf, studio: StudioOf) -> None:
    studio.renders.remove(render.id)


@router.post("/api/live")
async def start_camera(studio: StudioOf, asked: OfferRequest) -> dict[str, str]:
    return {"type": "answer", "sdp": await studio.cameras.answer(asked.sdp, asked.look.look())}


def _jpeg(data: bytes) -> Response:
    return Response(data, media_type="image/jpeg")


def _is_mp4(upload: Upload) -> bool:
    with upload.path.open("rb") as file:
        return file.read(8)[4:] == b"ftyp"
