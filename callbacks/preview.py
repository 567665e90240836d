"""Pictures and a short video of what the stylizer makes of the validation clips, as training goes on."""

import shutil
from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image, ImageDraw, ImageFont
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor, nn

from vst.errors import UserError
from vst.video import write_clip

TILE_HEIGHT = 176
VIDEO_MIN_HEIGHT = 256
BORDER, GAP, CLIP_GAP = 20, 4, 18
GUTTER, HEADER = 76, 30
TEXT, TITLE = 14, 17
LABELS = ("input", "stylised")
PAPER, INK, GREY = (255, 255, 255), (32, 32, 32), (120, 120, 120)


class Preview(pl.Callback):
    """Stylise clips to look at with the moving-average stylizer and write what it makes of them.

    `previews/epoch_003.png` and `.mp4` (after three epochs) and, at the end, `preview.png` and `preview.mp4`,
    all in the trainer's root folder. The picture shows the style, and for each clip some frames in time over
    their stylised versions; the video (H.264) plays the clips one after the other, input and stylised side by
    side. The clips are those of `ClipDataModule.preview_clips`, the same throughout the run. Frames go through
    the stylizer one by one with the state carried. Both files are logged to W&B where a WandbLogger is present.
    A preview that fails stops the training.

    Args:
        every_n_epochs: how often.
        num_clips: clips in the picture and in the video.
        num_frames: frames of a clip in the picture, evenly spaced from the first to the last.
        size: side of the clips' frames, pixels.
        video_seconds: length of each clip.
        video_fps: frames per second of the video.

    Raises:
        UserError: the trainer has no data module.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        num_clips: int = 3,
        num_frames: int = 5,
        size: int = 256,
        video_seconds: float = 2.0,
        video_fps: int = 24,
    ) -> None:
        self.every_n_epochs = every_n_epochs
        self.num_clips = num_clips
        self.num_frames = num_frames
        self.size = size
        self.video_length = max(1, round(video_seconds * video_fps))
        self.video_fps = video_fps
        self._rendered: tuple[int, Path] | None = None

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the clips now: a mistake shows before an epoch is spent, and previews can be compared."""
        if not trainer.is_global_zero:
            return
        data = trainer.datamodule
        if data is None:
            raise UserError("the preview callback needs a data module: give one to fit, or add ~callbacks.preview")
        clips = data.preview_clips(self.num_clips, self.video_length, self.size)
        self._clips = [clip.frames for clip in clips]
        self._style, self._style_name = data.style.reference(), data.style.name

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._render(trainer, pl_module, trainer.current_epoch + 1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        if self._rendered is None or self._rendered[0] != trainer.fit_loop.total_batch_idx:
            self._render(trainer, pl_module, trainer.current_epoch)
        for suffix in (".png", ".mp4"):
            shutil.copyfile(self._rendered[1].with_suffix(suffix), Path(trainer.default_root_dir) / f"preview{suffix}")

    def _render(self, trainer: pl.Trainer, task: pl.LightningModule, epoch: int) -> None:
        step = trainer.fit_loop.total_batch_idx
        path = Path(trainer.default_root_dir) / "previews" / f"epoch_{epoch:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        stylizer = task.inference_stylizer()
        pairs = [(clip, stylise(stylizer, clip)) for clip in self._clips]
        title = f"epoch {epoch}, {task.clips_seen:,} clips seen"
        preview_strip(pairs, self._style, self._style_name, title, self.num_frames).save(path)
        frames = np.concatenate([side_by_side(clip, stylised) for clip, stylised in pairs])
        write_clip(path.with_suffix(".mp4"), frames, self.video_fps)
        self._rendered = (step, path)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                _log_to_wandb(logger, path, title, step)


@torch.inference_mode()
def stylise(stylizer: nn.Module, frames: Tensor) -> Tensor:
    """Run `stylizer` over a clip (T, 3, H, W) in [0, 1], frame by frame with the state carried.

    Returns (T, 3, H, W) on the CPU.
    """
    weights = next(stylizer.parameters())
    state, results = None, []
    for frame in frames.to(weights.device, weights.dtype):
        result, state = stylizer(frame[None], state=state)
        results.append(result[0].float().cpu())
    return torch.stack(results)


def preview_strip(
    clips: Sequence[tuple[Tensor, Tensor]], style: Tensor, style_name: str, title: str, num_frames: int
) -> Image.Image:
    """Lay out the style picture at the left and, for each clip, input frames over stylised frames.

    `clips`: pairs (input, stylised) of (T, 3, H, W); `style`: (3, h, w); RGB in [0, 1], clips of one size.
    """
    length, _, height, width = clips[0][0].shape
    columns = sorted({round(i) for i in np.linspace(0, length - 1, num_frames)})
    tile = max(1, round(width * TILE_HEIGHT / height)), TILE_HEIGHT
    picture = _fit(_image(style), 2 * TILE_HEIGHT, 2 * TILE_HEIGHT + GAP)
    left, top = BORDER + picture.width + CLIP_GAP + GUTTER, BORDER + HEADER
    clip_height = 2 * TILE_HEIGHT + GAP + CLIP_GAP
    right = left + len(columns) * (tile[0] + GAP) - GAP
    bottom = top + max(len(clips) * clip_height - CLIP_GAP, picture.height + HEADER)
    canvas = Image.new("RGB", (right + BORDER, bottom + BORDER), PAPER)
    draw = ImageDraw.Draw(canvas)
    draw.text((BORDER, BORDER - 3), title, INK, ImageFont.load_default(TITLE))
    canvas.paste(picture, (BORDER, top))
    _text(draw, (BORDER, top + picture.height + 8), f"style: {style_name}", INK, picture.width, "la")
    for column, index in enumerate(columns):
        _text(
            draw,
            (left + column * (tile[0] + GAP) + tile[0] // 2, top - 8),
            f"frame {index + 1}",
            GREY,
            tile[0],
            "ms",
        )
    for row, (clip, line) in enumerate(product(clips, (0, 1))):
        y = top + (row // 2) * clip_height + line * (TILE_HEIGHT + GAP)
        _text(draw, (left - 12, y + TILE_HEIGHT // 2), LABELS[line], INK, GUTTER, "rm")
        for column, index in enumerate(columns):
            image = _image(clip[line][index]).resize(tile, Image.Resampling.LANCZOS)
            canvas.paste(image, (left + column * (tile[0] + GAP), y))
    return canvas


def side_by_side(inputs: Tensor, stylised: Tensor) -> np.ndarray:
    """Put `inputs` at the left of `stylised`, both (T, 3, H, W) in [0, 1]; returns (T, h, w, 3) uint8."""
    height, width = inputs.shape[-2:]
    scale = max(1.0, VIDEO_MIN_HEIGHT / height)
    tile = round(width * scale), round(height * scale)
    empty = Image.new("RGB", (2 * tile[0] + GAP, HEADER + tile[1]), PAPER)
    draw = ImageDraw.Draw(empty)
    for column, label in enumerate(LABELS):
        _text(draw, (column * (tile[0] + GAP) + tile[0] // 2, HEADER // 2), label, INK, tile[0], "mm")
    frames = []
    for pair in zip(inputs, stylised, strict=True):
        canvas = empty.copy()
        for column, frame in enumerate(pair):
            canvas.paste(_image(frame).resize(tile, Image.Resampling.LANCZOS), (column * (tile[0] + GAP), HEADER))
        frames.append(np.asarray(canvas))
    return np.stack(frames)


def _log_to_wandb(logger: WandbLogger, png: Path, title: str, step: int) -> None:
    import wandb

    picture = wandb.Image(str(png), caption=title)
    video = wandb.Video(str(png.with_suffix(".mp4")), caption=title, format="mp4")
    logger.log_metrics({"preview/strip": picture, "preview/video": video}, step)


def _image(picture: Tensor) -> Image.Image:
    """(3, H, W) in [0, 1] to a PIL image."""
    pixels = picture.detach().float().cpu().clamp(0, 1).mul(255).round().byte()
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def _fit(image: Image.Image, width: int, height: int) -> Image.Image:
    """Scale to the largest size within `width` x `height` pixels, sides in proportion."""
    scale = min(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def _text(
    draw: ImageDraw.ImageDraw,
    xy: tuple[int, int],
    text: str,
    colour: tuple[int, int, int],
    room: int,
    anchor: str,
) -> None:
    """Draw one line, cut with dots where it is wider than `room` pixels."""
    font = ImageFont.load_default(TEXT)
    shown = text
    while draw.textlength(shown, font) > room and len(shown) > 4:
        shown = shown[:-4] + "..."
    draw.text(xy, shown, colour, font, anchor=anchor)
