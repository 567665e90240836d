"""Paints frames with an ONNX file of export.py, by numpy and ONNX Runtime alone; docs/export.md says how it works.

    python onnx_numpy.py model.onnx frames.npy painted.npy [--no-grain]

frames.npy holds a film, (T, H, W, 3) uint8 RGB of at least 16 pixels a side; painted.npy gets the same shape.
"""

import base64
import sys
import zlib

import numpy as np
import onnxruntime

PERIOD = 256  # places after which the noise repeats


class Painter:
    """Paints a film frame by frame: `paint(frame)`, and `cut()` before a frame that begins another scene."""

    def __init__(self, path, grain=True):
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        given = self.session.get_modelmeta().custom_metadata_map
        self.stride, self.border = int(given["vst_stride"]), int(given["vst_border"])
        self.states = [int(channels) for channels in given["vst_states"].split(",") if channels]
        tone = [float(number) for number in given["vst_tone"].split(",") if number]
        if len(tone) > 8:
            raise SystemExit("this example knows the tone of mean and deviation, not model/tone=transport; use vst")
        self.tone = Tone(*tone[:2], np.array(tone[2:5]), np.array(tone[5:])) if tone else None
        self.channels, self.cell = int(given["vst_grain"]), int(given["vst_grain_cell"])
        self.noise = None
        if self.channels and grain:
            levels = zlib.decompress(base64.b64decode(given["vst_noise"]))
            self.noise = np.frombuffer(levels, np.uint8).reshape(PERIOD, PERIOD, self.channels)
        self.cut()

    def cut(self):
        self.first = True

    def paint(self, frame):
        """(H, W, 3) uint8 RGB, of the same size until the next cut -> the same, painted."""
        height, width = frame.shape[:2]
        if self.tone is not None:
            frame = self.tone(frame, self.first)
        inputs = {"frame": self.padded(frame)[None]}
        rows, columns = inputs["frame"].shape[1:3]
        if self.states:
            if self.first:  # what is in the states does not matter then, but their shapes do
                shape = rows // self.stride, columns // self.stride
                self.memory = [np.zeros((1, channels, *shape), np.float32) for channels in self.states]
            inputs["first"] = np.array([self.first])
            inputs |= {f"state_{number}": state for number, state in enumerate(self.memory)}
        if self.channels:
            inputs["grain"] = self.grain(height, width, rows // self.cell, columns // self.cell)
        image, *self.memory = self.session.run(None, inputs)
        self.first = False
        return image[0, :height, :width]

    def padded(self, frame):
        """With the border reflected on each side, and more below and to the right, up to a multiple of the stride."""
        border, sides = self.border, frame.shape[:2]
        after = [border + (-side - 2 * border) % self.stride for side in sides]
        mode = "reflect" if max(after) < min(sides) else "edge"  # as there have to be pixels to reflect
        return np.pad(frame, ((border, after[0]), (border, after[1]), (0, 0)), mode)

    def grain(self, height, width, rows, columns):
        """Noise that stands still, from a plane whose middle is that of the frame; 128 is none."""
        if self.noise is None:
            return np.full((1, rows, columns, self.channels), 128, np.uint8)
        lines = [sampled(count, side, self.border, self.cell) for count, side in ((rows, height), (columns, width))]
        (up, down, low), (left, right, far) = lines
        low, far = low[:, None, None], far[None, :, None]
        plane = self.noise.astype(np.float32)
        above = plane[up][:, left] * (1 - far) + plane[up][:, right] * far
        below = plane[down][:, left] * (1 - far) + plane[down][:, right] * far
        return np.rint(above * (1 - low) + below * low).astype(np.uint8)[None]


def sampled(count, side, border, cell):
    """Of `count` places along a side: the samples of the noise before and behind each, and the share of the latter."""
    at = (np.arange(count) + 0.5) - (border + side / 2) / cell
    before = np.floor(at).astype(int)
    return before % PERIOD, (before + 1) % PERIOD, (at - before).astype(np.float32)


class Tone:
    """Gives each frame the mean and deviation of the style's colours, by moments that follow the film slowly."""

    def __init__(self, pace, max_gain, mean, deviation):
        self.pace, self.max_gain, self.mean, self.deviation = pace, max_gain, mean, deviation

    def __call__(self, frame, first):
        step = max(1, min(frame.shape[:2]) // 64)
        pixels = frame[::step, ::step].reshape(-1, 3) / 255
        now = np.stack([pixels.mean(0), (pixels**2).mean(0)])
        film = now if first else self.film
        here, usual = now[0].mean(), film[0].mean()
        light = min(1.0, here / max(0.5 * usual, 0.04))
        if not first:
            light = min(light, self.light + 0.1)
        leap = (here / 1.25 - usual) / max(here - usual, 1e-6)
        self.film, self.light = film + max(self.pace * light, leap) * (now - film), light
        mean = self.film[0]
        deviation = np.sqrt(np.maximum(self.film[1] - mean**2, 1e-4))
        gain = np.clip(self.deviation / deviation, 1 / self.max_gain, self.max_gain)
        shift = light * (self.mean - gain * mean)
        table = np.rint(255 * np.clip(np.arange(256)[:, None] / 255 * gain + shift, 0, 1)).astype(np.uint8)
        return np.stack([table[frame[..., colour], colour] for colour in range(3)], -1)


def main(model, source, target, *options):
    painter = Painter(model, grain="--no-grain" not in options)
    np.save(target, np.stack([painter.paint(frame) for frame in np.load(source)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
