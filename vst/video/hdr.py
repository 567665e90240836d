"""High dynamic range: what a film's tags say of it, its pictures as an SDR screen shows them, and the way back.

Light is counted in cd/m2. The way to SDR is the EETF of ITU-R BT.2390-10, 5.4.1, on the largest of red, green and blue,
so that hues stay, to a white of 203 cd/m2, which BT.2408 gives to paper; then the gamut of BT.709, cut off at its
border, and the gamma of BT.1886. Every step can be undone, so what is painted in SDR goes back to where the film's
light was.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from av.video.frame import VideoFrame

PQ, HLG = 16, 18  # code points of ITU-T H.273 for SMPTE ST 2084 and ARIB STD-B67
NAMES = {PQ: "PQ", HLG: "HLG"}
WHITE = 203.0  # cd/m2 of paper (BT.2408), which SDR's white stands for
USUAL_PEAK = 1000.0  # of films that do not say theirs, and of HLG's reference screen
_MOST_LIGHT = 10_000.0
_GAMMA = 2.4  # BT.1886
_SYSTEM_GAMMA = 1.2  # of HLG at 1000 cd/m2 (BT.2100)
_STEPS = 1 << 13  # of tables over the root of light, finer than 16 bits of a picture's dark
_ROWS = 64  # that are handled at once, to stay within the processor's cache

# Chromaticities of red, green, blue by the code points of H.273; all with the white of D65.
_BT709 = (0.640, 0.330), (0.300, 0.600), (0.150, 0.060)
_PRIMARIES = {
    1: _BT709,
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_BT2020 = 9
_D65 = (0.3127, 0.3290)


@dataclass(frozen=True)
class Hdr:
    """How the numbers of a film stand for light.

    `transfer` is PQ or HLG, `primaries` a code point of H.273, `peak` the brightest light in it in cd/m2. `mastering`
    are x, y of red, green, blue and white of the screen it was made on, in 0.00002, and its most and least light in
    0.0001 cd/m2; `content_light` the most light of a pixel and of a frame's mean in cd/m2; None where it does not say.
    `dynamic`: it has metadata frame by frame (Dolby Vision, HDR10+), which are not understood here.
    """

    transfer: int
    primaries: int = _BT2020
    peak: float = USUAL_PEAK
    mastering: tuple[int, ...] | None = None
    content_light: tuple[int, int] | None = None
    dynamic: bool = False

    @property
    def name(self) -> str:
        return NAMES[self.transfer]

    def to_sdr(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint16 RGB as the film has it -> (H, W, 3) uint8 RGB of BT.709."""
        return _in_parts(self._part_to_sdr, picture, np.uint8)

    def from_sdr(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB of BT.709 -> (H, W, 3) uint16 RGB as the film has it: `to_sdr` undone."""
        return _in_parts(self._part_from_sdr, picture, np.uint16)

    def _part_to_sdr(self, codes: np.ndarray) -> np.ndarray:
        light = self._light[codes]
        if self.transfer == HLG:
            light *= (USUAL_PEAK * _power(self._luma_of(light), _SYSTEM_GAMMA - 1))[..., None]
        light *= self._share[_index(_largest(light), self.peak)][..., None]
        return _sdr_codes()[_index(light @ self._to_bt709.T, 1.0)]

    def _part_from_sdr(self, codes: np.ndarray) -> np.ndarray:
        light = np.maximum(_sdr_light()[codes] @ np.linalg.inv(self._to_bt709).T.astype(np.float32), 0)
        light *= self._share_back[_index(_largest(light), 1.0)][..., None]
        if self.transfer == HLG:
            light /= USUAL_PEAK
            light *= _power(self._luma_of(light), 1 / _SYSTEM_GAMMA - 1)[..., None]
        return self._codes[_index(light, self._brightest)]

    @cached_property
    def _light(self) -> np.ndarray:
        """Of each of 65536 codes: cd/m2 (PQ), or the share of the scene's light (HLG)."""
        code = np.linspace(0, 1, 1 << 16)
        return (pq_light(code) if self.transfer == PQ else hlg_light(code)).astype(np.float32)

    @cached_property
    def _codes(self) -> np.ndarray:
        light = self._brightest * np.linspace(0, 1, _STEPS) ** 4
        code = pq_code(light) if self.transfer == PQ else hlg_code(light)
        return np.round(65535 * code.clip(0, 1)).astype(np.uint16)

    @property
    def _brightest(self) -> float:
        return self.peak if self.transfer == PQ else 1.0

    @cached_property
    def _share(self) -> np.ndarray:
        """Over the fourth root of the largest component's light: SDR's light for each cd/m2."""
        light = self.peak * np.linspace(0, 1, _STEPS) ** 4
        return (tone_mapped(light, self.peak) / WHITE / np.maximum(light, 1e-9)).astype(np.float32)

    @cached_property
    def _share_back(self) -> np.ndarray:
        """Over the fourth root of the largest component of SDR's light: cd/m2 for each part of it."""
        fine = self.peak * np.linspace(0, 1, 8 * _STEPS) ** 4
        sdr = np.linspace(0, 1, _STEPS) ** 4
        light = np.interp(sdr, tone_mapped(fine, self.peak) / WHITE, fine)
        return np.where(sdr > 0, light / np.maximum(sdr, 1e-12), WHITE).astype(np.float32)

    @cached_property
    def _to_bt709(self) -> np.ndarray:
        return (np.linalg.inv(_xyz_of(_BT709)) @ _xyz_of(self._corners)).astype(np.float32)

    @property
    def _corners(self) -> tuple[tuple[float, float], ...]:
        return _PRIMARIES.get(self.primaries, _PRIMARIES[_BT2020])

    def _luma_of(self, light: np.ndarray) -> np.ndarray:
        return light @ _xyz_of(self._corners)[1].astype(np.float32)


def hdr_of(frame: VideoFrame) -> Hdr | None:
    """What a decoded frame says of its dynamic range; None for SDR."""
    transfer = int(frame.color_trc)
    if transfer not in NAMES:
        return None
    mastering = _mastering(_side_data(frame, "MASTERING_DISPLAY_METADATA"))
    content = _side_data(frame, "CONTENT_LIGHT_LEVEL") or b""
    light = tuple(np.frombuffer(content[:8], np.uint32).tolist()) if len(content) >= 8 else None
    kinds = ("DOVI_METADATA", "DOVI_RPU_BUFFER", "DYNAMIC_HDR_PLUS")
    dynamic = any(_side_data(frame, kind) is not None for kind in kinds)
    peak = USUAL_PEAK
    if transfer == PQ:
        stated = (light[0] if light else 0) or (mastering[8] / 10_000 if mastering else 0)
        peak = min(max(stated or USUAL_PEAK, WHITE), _MOST_LIGHT)
    primaries = int(frame.color_primaries)
    return Hdr(transfer, primaries if primaries in _PRIMARIES else _BT2020, peak, mastering, light, dynamic)


def tone_mapped(light: np.ndarray, peak: float) -> np.ndarray:
    """The EETF of BT.2390: light up to `peak` cd/m2 -> light up to `WHITE`, both in cd/m2; the dark stays as it is."""
    whole = pq_code(np.float64(peak))
    most = pq_code(np.float64(WHITE)) / whole
    code = pq_code(np.minimum(light, peak)) / whole
    knee = 1.5 * most - 0.5
    if knee >= 1:
        return np.minimum(light, peak)
    t = (code - knee) / (1 - knee)
    curve = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    return pq_light(np.where(code < knee, code, curve) * whole)


def pq_light(code: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084: code in [0, 1] -> cd/m2."""
    root = np.asarray(code) ** (1 / _PQ_M2)
    return _MOST_LIGHT * (np.maximum(root - _PQ_C1, 0) / (_PQ_C2 - _PQ_C3 * root)) ** (1 / _PQ_M1)


def pq_code(light: np.ndarray) -> np.ndarray:
    """SMPTE ST 2084: cd/m2 -> code in [0, 1]."""
    power = (np.asarray(light) / _MOST_LIGHT) ** _PQ_M1
    return ((_PQ_C1 + _PQ_C2 * power) / (1 + _PQ_C3 * power)) ** _PQ_M2


def hlg_light(code: np.ndarray) -> np.ndarray:
    """ARIB STD-B67, BT.2100: code in [0, 1] -> light of the scene in [0, 1]."""
    code = np.asarray(code)
    return np.where(code <= 0.5, code**2 / 3, (np.exp((code - _HLG_C) / _HLG_A) + _HLG_B) / 12)


def hlg_code(light: np.ndarray) -> np.ndarray:
    """ARIB STD-B67, BT.2100: light of the scene in [0, 1] -> code in [0, 1]."""
    light = np.asarray(light)
    bright = _HLG_A * np.log(np.maximum(12 * light - _HLG_B, 1e-9)) + _HLG_C
    return np.where(light <= 1 / 12, np.sqrt(3 * light), bright)


_PQ_M1, _PQ_M2 = 2610 / 16384, 2523 / 4096 * 128
_PQ_C1, _PQ_C2, _PQ_C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_HLG_A, _HLG_B, _HLG_C = 0.17883277, 0.28466892, 0.55991073


def _in_parts(function, picture: np.ndarray, kind: type) -> np.ndarray:
    out = np.empty(picture.shape, kind)
    for top in range(0, len(picture), _ROWS):
        out[top : top + _ROWS] = function(picture[top : top + _ROWS])
    return out


def _largest(light: np.ndarray) -> np.ndarray:
    return np.maximum(np.maximum(light[..., 0], light[..., 1]), light[..., 2])


def _index(light: np.ndarray, most: float) -> np.ndarray:
    """Where light up to `most` lies in a table over its fourth root."""
    root = np.sqrt(np.sqrt((light * np.float32(1 / most)).clip(0, 1)))
    return (root * np.float32(_STEPS - 1) + np.float32(0.5)).astype(np.int32)


def _power(light: np.ndarray, exponent: float) -> np.ndarray:
    return np.maximum(light, np.float32(1e-9)) ** np.float32(exponent)


@lru_cache
def _sdr_light() -> np.ndarray:
    return (np.linspace(0, 1, 256) ** _GAMMA).astype(np.float32)


@lru_cache
def _sdr_codes() -> np.ndarray:
    return np.round(255 * np.linspace(0, 1, _STEPS) ** (4 / _GAMMA)).astype(np.uint8)


def _xyz_of(corners: tuple[tuple[float, float], ...]) -> np.ndarray:
    """(3, 3): XYZ = matrix @ RGB, of light whose white is D65."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in corners]).T
    white = np.array([_D65[0] / _D65[1], 1, (1 - sum(_D65)) / _D65[1]])
    return columns * np.linalg.solve(columns, white)


def _side_data(frame: VideoFrame, kind: str) -> bytes | None:
    try:
        found = frame.side_data.get(kind)
    except ValueError:  # PyAV stumbles over kinds that it has no name for
        return None
    return None if found is None else bytes(found)


def _mastering(data: bytes | None) -> tuple[int, ...] | None:
    """FFmpeg's AVMasteringDisplayMetadata: ratios of red, green, blue, white, least and most light, two flags."""
    if data is None or len(data) < 88:
        return None
    numbers = np.frombuffer(data[:88], np.int32)
    if not numbers[20] or not numbers[21] or not numbers[1:20:2].all():
        return None
    ratios = numbers[0:20:2] / numbers[1:20:2]
    places, (least, most) = np.round(ratios[:8] * 50_000), np.round(ratios[8:] * 10_000)
    return (*places.astype(int).tolist(), int(most), int(least))
