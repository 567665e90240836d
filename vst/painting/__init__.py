"""What is done to painted frames: strength, colours, calm, styles over time, masks, comparisons, cameras, layouts."""

from vst.painting.look import Look
from vst.painting.painter import Painter

__all__ = ["Look", "Painter"]
