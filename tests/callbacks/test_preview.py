"""What lies in the preview files, read back from disk."""

from pathlib import Path

import av
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from callbacks.preview import (
    BORDER,
    CLIP_GAP,
    GAP,
    GUTTER,
    HEADER,
    TILE_HEIGHT,
    VIDEO_MIN_HEIGHT,
    Preview,
    preview_strip,
    side_by_side,
    stylise,
)
from vst.errors import UserError


def read_video(path: Path) -> tuple[np.ndarray, av.VideoStream]:
    with av.open(path) as container:
        stream = container.streams.video[0]
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(stream)])
        return frames, stream.codec_context.name, stream.average_rate


def test_files_of_a_fit(task, data, make_trainer, tmp_path: Path):
    make_trainer(Preview(num_clips=2, num_frames=3, size=32, video_seconds=0.5, video_fps=20)).fit(task, data)
    previews = tmp_path / "previews"
    assert sorted(p.name for p in previews.iterdir()) == [f"epoch_00{e}.{x}" for e in (1, 2) for x in ("mp4", "png")]
    for suffix in ("png", "mp4"):
        final = (tmp_path / f"preview.{suffix}").read_bytes()
        assert final == (previews / f"epoch_002.{suffix}").read_bytes()

    pixels = np.asarray(Image.open(tmp_path / "preview.png"))
    left = BORDER + 2 * TILE_HEIGHT + CLIP_GAP + GUTTER  # the style, 48x24, is fitted to two tiles' width
    assert pixels.shape == (
        2 * BORDER + HEADER + 2 * (2 * TILE_HEIGHT + GAP) + CLIP_GAP,
        left + 3 * TILE_HEIGHT + 2 * GAP + BORDER,
        3,
    )
    assert tuple(pixels[BORDER + HEADER + 40, BORDER + 40]) == (0, 0, 255)  # the style
    for clip in range(2):
        for column, frame in enumerate((0, 4, 9)):  # first, middle and last of 10
            x = left + column * (TILE_HEIGHT + GAP) + TILE_HEIGHT // 2
            y = BORDER + HEADER + clip * (2 * TILE_HEIGHT + GAP + CLIP_GAP) + TILE_HEIGHT // 2
            grey = frame / 10
            assert pixels[y, x] == pytest.approx([255 * grey] * 3, abs=0.51)
            stylised = 255 * (1 - grey) / 2
            red = 255 * frame / 100  # the state was handed on `frame` times since the start of this clip
            assert pixels[y + TILE_HEIGHT + GAP, x] == pytest.approx([stylised + red, stylised, stylised], abs=0.51)

    frames, codec, rate = read_video(tmp_path / "preview.mp4")
    assert frames.shape == (20, HEADER + VIDEO_MIN_HEIGHT, 2 * VIDEO_MIN_HEIGHT + GAP, 3)
    assert (codec, rate) == ("h264", 20)
    middle = HEADER + VIDEO_MIN_HEIGHT // 2
    expected = 25.5 * np.tile(np.arange(10), 2)
    np.testing.assert_allclose(frames[:, middle, VIDEO_MIN_HEIGHT // 2].mean(-1), expected, atol=3)
    # Red minus green tells the number of frames before: one state from the first to the last frame of a clip.
    right = frames[:, middle, -VIDEO_MIN_HEIGHT // 2].astype(float)
    np.testing.assert_allclose(right[:, 0] - right[:, 1], 2.55 * np.tile(np.arange(10), 2), atol=5)

    assert task.stylizer.calls and all(
        shape == (1, 3, 32, 32) and not training and inference for shape, _, training, inference in task.stylizer.calls
    )


def test_every_n_epochs_and_a_final_preview_of_its_own(task, data, make_trainer, tmp_path: Path):
    make_trainer(Preview(every_n_epochs=2, video_seconds=0.1), max_epochs=3).fit(task, data)
    assert sorted(p.stem for p in (tmp_path / "previews").glob("*.png")) == ["epoch_002", "epoch_003"]
    assert (tmp_path / "preview.png").read_bytes() == (tmp_path / "previews" / "epoch_003.png").read_bytes()


def test_training_is_the_same_with_and_without_previews(data, make_trainer, task):
    draws = []

    class Draw(pl.Callback):
        def on_train_batch_start(self, *_):
            draws.append(torch.rand(1).item())

    for callbacks in ([Draw()], [Preview(video_seconds=0.1), Draw()]):
        torch.manual_seed(3)
        make_trainer(*callbacks).fit(task, data)
    assert len(set(draws)) == 4 and draws[:4] == draws[4:]


def test_a_failing_preview_stops_the_training(task, data, make_trainer):
    task.stylizer.forward = lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError("broken stylizer"))
    with pytest.raises(RuntimeError, match="broken stylizer"):
        make_trainer(Preview()).fit(task, data)


def test_missing_data_is_told_before_the_first_batch(task, data, make_trainer):
    with pytest.raises(UserError, match="data module"):
        make_trainer(Preview()).fit(task, data.train_dataloader())
    assert task.clips_seen == 0


def test_stylise_equals_one_call_after_another(task):
    frames = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    expected = [(1 - frame) / 2 + torch.tensor([t / 100, 0, 0]).view(3, 1, 1) for t, frame in enumerate(frames)]
    torch.testing.assert_close(stylise(task.inference_stylizer(), frames), torch.stack(expected))


def test_strip_keeps_proportions_and_does_not_repeat_frames():
    clip = torch.zeros(2, 3, 40, 80)
    image = preview_strip([(clip, clip)], torch.ones(3, 100, 50), "a name far too long for this box " * 4, "t", 5)
    style_width = TILE_HEIGHT + GAP // 2
    assert image.size[0] == BORDER + style_width + CLIP_GAP + GUTTER + 2 * (2 * TILE_HEIGHT) + GAP + BORDER
    caption = np.asarray(image)[BORDER + HEADER + 2 * TILE_HEIGHT + GAP + 2 :, BORDER + style_width + 2 :]
    assert caption.min() == 255  # the caption stays below the picture of the style


def test_video_of_odd_sizes_is_whole():
    frames = side_by_side(torch.zeros(2, 3, 301, 333), torch.ones(2, 3, 301, 333))
    assert frames.shape == (2, HEADER + 301, 2 * 333 + GAP, 3) and frames.dtype == np.uint8
    assert frames[0, -1, 0].tolist() == [0, 0, 0] and frames[0, -1, -1].tolist() == [255, 255, 255]
