"""Engines: one face, `engine(frame) -> frame` with the memory within, and several ways to compute."""

from vst.runtime.auto import Choice, choose_engine, settle_engine
from vst.runtime.build import ENGINES, FILE_ENGINES, PRECISIONS, open_engine
from vst.runtime.engine import TILES, Engine

__all__ = [
    "ENGINES", "FILE_ENGINES", "PRECISIONS", "TILES", "Choice", "Engine", "choose_engine", "open_engine",
    "settle_engine",
]  # fmt: skip
