"""Flow files of the benchmarks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError

MAGIC = 202021.25  # the four bytes "PIEH" as a little-endian float32
UNKNOWN = 1e9  # Middlebury: a vector with a larger component is not known
HEADER = 12  # bytes: magic, width, height


def read_flo(path: str | Path) -> tuple[Tensor, Tensor]:
    """Read a .flo file (Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011).

    Returns:
        The flow (2, H, W) float32 in pixels, 0 where it is not known, and `known` (1, H, W) bool.

    Raises:
        UserError: there is no such file, or it is no whole .flo file.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); give a .flo file") from error
    if len(content) < HEADER or np.frombuffer(content, "<f4", count=1)[0] != np.float32(MAGIC):
        raise UserError(f"{path}: not a .flo file, which begins with the number {MAGIC}")
    width, height = (int(side) for side in np.frombuffer(content, "<i4", count=2, offset=4))
    wanted = HEADER + 8 * width * height
    if width < 1 or height < 1 or len(content) != wanted:
        raise UserError(f"{path}: {len(content)} bytes do not hold the {width} x {height} vectors it promises")
    vectors = np.frombuffer(content, "<f4", offset=HEADER).reshape(height, width, 2)
    known = (np.abs(vectors) <= UNKNOWN).all(axis=2)
    flow = np.where(known[..., None], vectors, np.float32(0)).transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(flow)), torch.from_numpy(known)[None]
