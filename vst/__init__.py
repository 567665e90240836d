"""vst: real-time video style transfer with generative adversarial training.

from vst import load_stylizer, stylize_video
stylize_video(load_stylizer("stylizer.pt"), "film.mp4", "film_painted.mp4")
"""

from typing import Any

from vst.threads import wait_passively

__version__ = "0.1.0"
__all__ = ["load_stylizer", "stylize_video"]

wait_passively()  # before torch is loaded


def __getattr__(name: str) -> Any:
    """Import on first use: `vst.networks` or `vst.losses` alone should not load the video libraries."""
    if name == "load_stylizer":
        from vst.checkpoint import load_stylizer

        return load_stylizer
    if name == "stylize_video":
        from vst.stream import stylize_video

        return stylize_video
    raise AttributeError(f"module 'vst' has no attribute '{name}'")
