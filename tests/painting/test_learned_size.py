"""Whoever runs a model that has learned a size paints at it: the studio and `stylize_video` as well."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import torch
from torch import nn

from tests.painting.engines import Invert
from vst.painting import Look
from vst.stream import stylize_video
from vst.studio.styles import Painters, Style


def test_the_studio_paints_at_the_size_that_was_learned() -> None:
    engine = Invert()
    with Painters({"a": Style("A", lambda: engine, short_side=36)}).lent(Look(stroke=2)) as painter:
        assert painter(np.zeros((72, 128, 3), np.uint8)).shape == (72, 128, 3)
    assert engine.sizes == [(18, 32)]


class Recorder(nn.Module):
    """Hands frames on, and keeps their sizes."""

    short_side = 36

    def __init__(self) -> None:
        super().__init__()
        self.sizes: set[tuple[int, int]] = set()

    def forward(self, frames: torch.Tensor, style: None = None, state: None = None) -> tuple[torch.Tensor, None]:
        self.sizes.add(tuple(frames.shape[-2:]))
        return frames, None


def test_a_module_paints_a_film_at_the_size_that_it_has_learned(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((72, 128, 3), 90, np.uint8))))
        container.mux(stream.encode())
    module = Recorder()
    report = stylize_video(module, tmp_path / "film.mp4", tmp_path / "out.mp4")
    assert module.sizes == {(36, 64)} and report.frames == 4
    with av.open(str(report.output)) as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == (128, 72)
