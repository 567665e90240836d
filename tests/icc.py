"""Small ICC profiles with known primaries, and the sRGB colour that they stand for, computed without an ICC library."""

from __future__ import annotations

import struct

import numpy as np

# Red, green and blue primaries as columns of XYZ under D50, as their makers publish them.
DISPLAY_P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
D50 = (0.9642, 1.0, 0.8249)


def profile(primaries: np.ndarray, gamma: float) -> bytes:
    """A display profile of version 2: three primaries and one exponent."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    named = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    tags = {b"desc": named, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": _xyz(D50)}
    tags |= {name: _xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    return _packed(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    """A profile of one grey channel with an exponent."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    named = b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)
    return _packed(
        b"GRAY", {b"desc": named, b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": _xyz(D50), b"kTRC": curve}
    )


def in_srgb(values: np.ndarray, primaries: np.ndarray, gamma: float) -> np.ndarray:
    """`values` (..., 3) uint8 of such a profile as sRGB in [0, 255], float, clipped to what sRGB can show."""
    linear = (values / 255.0) ** gamma @ (np.linalg.inv(SRGB) @ primaries).T
    return encoded(linear)


def encoded(linear: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] as sRGB in [0, 255]."""
    linear = np.clip(linear, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _xyz(values) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(float(value) * 65536) for value in values))


def _packed(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    body, table, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, offset + len(body), len(content))
        body += content
    size = offset + len(body)
    head = (
        struct.pack(">I4sI4s4s4s", size, b"test", 0x02400000, b"mntr", space, b"XYZ ") + bytes(12) + b"acsp" + bytes(24)
    )
    head += struct.pack(">I", 0) + b"".join(struct.pack(">i", round(value * 65536)) for value in D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body
