"""`vst.networks.ColourTransport` of frames of bytes: small steps by numpy, for which torch takes longer to begin."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.networks.tone import sample_step
from vst.networks.transport import BEND, SAMPLES, STIFF, TERMS, ColourTransport, evenly

_STRIP = 16_000  # pixels at once, whose terms stay in the cache


class ByteTransport:
    """Statistics and map of a transport of colours for frames (H, W, 3) uint8 RGB.

    Args:
        tone: its style does not change any more.
    """

    def __init__(self, tone: ColourTransport) -> None:
        self._tone = tone
        self._straight = tone.straight().numpy()
        self._least = tone.least_deviation().numpy()[:, None]
        self._stiff = np.full(TERMS, STIFF * SAMPLES, np.float32)
        self._stiff[0] = 0
        # From each rotation straight to the next one: (3, 3), one more than there are rotations.
        there, identity = tone.rotations.numpy(), np.eye(3, dtype=np.float32)
        self._turns = [after.T @ before for before, after in zip([identity, *there], [*there, identity], strict=True)]
        self._wanted = tone.wanted().numpy()
        self._rows = np.empty((TERMS + 6, 0), np.float32)
        self._levels = np.empty((3, 0), np.uint8)

    def observe(self, frame: np.ndarray) -> Tensor:
        """`ColourTransport.observe` of one frame, (1, 36)."""
        samples = _samples(frame)
        mean = samples.mean(1, keepdims=True)
        deviation = np.maximum(samples.std(1, keepdims=True), self._least)
        terms = np.ones((TERMS, SAMPLES), np.float32)
        np.divide(samples - mean, deviation, out=terms[1:4])
        _multiply(np.clip(terms[1:4], -BEND, BEND), terms)
        target = self._transported(self._straight[:, :4] @ terms[:4])
        products = terms @ terms.T + np.diag(self._stiff)
        weights = np.linalg.solve(products, terms @ target.T + self._stiff[:, None] * self._straight.T)
        return torch.from_numpy(np.concatenate([mean, deviation, weights], axis=None)[None])

    def _transported(self, colours: np.ndarray) -> np.ndarray:
        """Colours (3, `SAMPLES`) -> those of the style in their places."""
        first_of_row = SAMPLES * np.arange(3)[:, None]
        first, *others = self._turns
        turned = first @ colours
        for turn, wanted in zip(others, self._wanted, strict=True):
            order = turned.argsort(axis=1, kind="stable")
            turned.reshape(-1)[order + first_of_row] = wanted.T
            turned = turn @ turned
        return turned

    def paint(self, frame: np.ndarray, film: Tensor, out: np.ndarray) -> None:
        """`ColourTransport.paint` with the statistics of the film, into `out`. Both frames are contiguous."""
        scale, shift, columns, light = (values[0].numpy() for values in self._tone.coefficients(film))
        apart = np.arange(256, dtype=np.float32) * (scale / 255)[:, None] - shift[:, None]
        bends = np.abs(apart).max() > BEND
        weights = np.ascontiguousarray((255 * light * columns).T)
        pixels, painted = frame.reshape(1, -1, 3), out.reshape(1, -1, 3)
        self._make_room(min(pixels.shape[1], _STRIP))
        for first in range(0, pixels.shape[1], _STRIP):
            strip = pixels[:, first : first + _STRIP]
            terms, bent, made = np.split(self._rows[:, : strip.shape[1]], [TERMS, TERMS + 3])
            levels = self._levels[:, : strip.shape[1]]
            planes = np.split(levels, 3)
            cv2.split(strip, planes)
            for number, (plane, table) in enumerate(zip(planes, apart, strict=True), start=1):
                cv2.LUT(plane, table, dst=terms[number : number + 1])
            _multiply(np.clip(terms[1:4], -BEND, BEND, out=bent) if bends else terms[1:4], terms)
            np.matmul(weights, terms, out=made)
            cv2.convertScaleAbs(cv2.max(made, 0, dst=made), dst=levels)
            cv2.merge(planes, dst=painted[:, first : first + _STRIP])

    def _make_room(self, pixels: int) -> None:
        if self._levels.shape[1] != pixels:
            self._rows, self._levels = np.ones((TERMS + 6, pixels), np.float32), np.empty((3, pixels), np.uint8)


def _samples(frame: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (3, `SAMPLES`) float32 in [0, 1]: the pixels that `ColourTransport` looks at."""
    return frame[_places(*frame.shape[:2])].T.astype(np.float32, order="C") / 255


@lru_cache(maxsize=4)
def _places(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the samples."""
    step = sample_step(height, width)
    columns = len(range(0, width, step))
    rows_and_columns = divmod(evenly(len(range(0, height, step)) * columns, SAMPLES).numpy(), columns)
    return tuple(step * places for places in rows_and_columns)


def _multiply(bent: np.ndarray, terms: np.ndarray) -> None:
    """Fill in the squares and products of `bent` (3, n), among the terms (10, n) of `ColourTransport`."""
    np.multiply(bent, bent, out=terms[4:7])
    np.multiply(bent[0], bent[1:], out=terms[7:9])
    np.multiply(bent[1], bent[2], out=terms[9])
