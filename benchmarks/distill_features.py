"""Trains the package's feature network (`vst.networks.perception`) from random weights, and measures it.

    python -m benchmarks.distill_features PICTURES [PICTURES ...] --vgg19 vgg19.pth --thin thin.pth --output FOLDER

PICTURES are folders of photographs and of paintings; every eighth picture is kept out of training. The student repeats
relu1_1, relu2_1 and relu3_1 of a VGG-19 and relu4_1 and relu5_1 of a thin one, each through a 1x1 convolution that is
thrown away in the end (relative squared error, Adam, cosine). A quarter of the crops are blended with each other and
get noise, since the network will look at paintings in the making. `FOLDER/state.pt` is kept every hundred steps and
taken up again. At the end FOLDER holds `thin_vgg.pt` (float16, each tap of mean activation 1) and `card.json`:
correlation and relative error to the teachers on the pictures kept out, and the test of the nearest artist.

`--artists` are folders of paintings, one for each artist, for that test: two crops of 256 pixels of each painting, grey
and of equal contrast; whose picture is the nearest other one, by relative distance of Gram matrices?
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vst.networks.features import FeatureNetwork, VGG19Features, layers_of
from vst.networks.perception import BLOCKS, TAPS

SHALLOW, DEEP = ("relu1_1", "relu2_1", "relu3_1"), ("relu4_1", "relu5_1")
TAUGHT = (*SHALLOW, *DEEP)
CROP, BATCH, HELD_OUT, BORDER = 128, 8, 8, {"relu1_1": 4, "relu2_1": 4, "relu3_1": 2, "relu4_1": 1, "relu5_1": 1}
SUFFIXES = (".jpg", ".jpeg", ".png")


class Student(nn.Module):
    """The network in training, with a head for each teacher's tap."""

    def __init__(self, widths: dict[str, int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers_of(BLOCKS))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
        own = dict(zip(TAPS, (layer.out_channels for layer in self.layers), strict=True))
        self.heads = nn.ModuleDict({tap: nn.Conv2d(own[tap], widths[tap], 1) for tap in TAUGHT})

    def network(self) -> FeatureNetwork:
        return FeatureNetwork(self.layers, TAPS, TAPS, "training")

    def guess(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {tap: head(features[tap]).relu() for tap, head in self.heads.items()}


def read(paths: Sequence[Path]) -> list[np.ndarray]:
    pictures = (cv2.imread(str(path)) for path in paths)
    return [picture[..., ::-1] for picture in pictures if picture is not None]


def files_of(folders: Sequence[str]) -> list[Path]:
    return [p for folder in folders for p in sorted(Path(folder).rglob("*")) if p.suffix.lower() in SUFFIXES]


def crop(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A square of `CROP` out of the picture, reduced or enlarged to a random size, mirrored or not."""
    short = round(np.exp(rng.uniform(np.log(CROP), np.log(min(4 * CROP, 2 * min(picture.shape[:2]))))))
    factor = short / min(picture.shape[:2])
    size = [max(CROP, round(side * factor)) for side in picture.shape[1::-1]]
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    x, y = (rng.integers(0, side - CROP + 1) for side in size)
    return small[y : y + CROP, x : x + CROP, :: rng.choice([-1, 1])]


def batch_of(pictures: Sequence[np.ndarray], rng: np.random.Generator) -> Tensor:
    crops = [crop(pictures[rng.integers(len(pictures))], rng) for _ in range(BATCH)]
    batch = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255
    strange = torch.from_numpy(rng.random(BATCH) < 0.25)
    share = torch.from_numpy(rng.random((BATCH, 1, 1, 1))).float()
    noise = torch.from_numpy(rng.standard_normal(batch.shape)).float() * float(rng.uniform(0, 0.15))
    blended = batch + share * (batch.roll(1, 0) - batch) + noise
    return torch.where(strange[:, None, None, None], blended, batch).clamp(0, 1)


def inner(features: Tensor, tap: str) -> Tensor:
    border = BORDER[tap]
    return features[..., border:-border, border:-border]


def relative_error(guess: Tensor, truth: Tensor) -> Tensor:
    return (guess - truth).square().mean() / truth.square().mean()


def correlation(guess: Tensor, truth: Tensor) -> float:
    """Of all values, each channel about its own mean."""
    a, b = (x.double() - x.double().mean(dim=(0, 2, 3), keepdim=True) for x in (guess, truth))
    return float((a * b).sum() / (a.norm() * b.norm()))


class Teachers:
    def __init__(self, vgg19: str, thin: str) -> None:
        self._shallow, self._deep = VGG19Features(vgg19), VGG19Features(thin, width=0.25)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> dict[str, Tensor]:
        return self._shallow(pictures, SHALLOW) | self._deep(pictures, DEEP)


def train(asked: argparse.Namespace, pictures: list[np.ndarray], teachers: Teachers) -> tuple[Student, float]:
    torch.manual_seed(0)
    student = Student({tap: f.shape[1] for tap, f in teachers(torch.rand(1, 3, 32, 32)).items()})
    network = student.network()
    network._network[0].requires_grad_(True)
    optimizer = torch.optim.Adam(student.parameters(), 2e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, asked.steps)
    path, first, minutes = asked.output / "state.pt", 0, 0.0
    if path.exists():
        kept = torch.load(path, weights_only=True)
        first, minutes = kept["step"], kept["minutes"]
        for part, name in ((student, "student"), (optimizer, "optimizer"), (scheduler, "scheduler")):
            part.load_state_dict(kept[name])
    begin = time.monotonic() - 60 * minutes
    for step in range(first, asked.steps):
        batch = batch_of(pictures, np.random.default_rng([1, step]))
        truth, guess = teachers(batch), student.guess(network(batch, TAUGHT))
        errors = {tap: relative_error(inner(guess[tap], tap), inner(truth[tap], tap)) for tap in TAUGHT}
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(errors.values())).mean().backward()
        optimizer.step()
        scheduler.step()
        if (step + 1) % 100 == 0:
            minutes = (time.monotonic() - begin) / 60
            left = minutes / (step + 1) * (asked.steps - step - 1)
            told = " ".join(f"{tap} {error.item():.3f}" for tap, error in errors.items())
            print(f"step {step + 1} of {asked.steps}, {minutes:.1f} min, {left:.0f} min left: {told}", flush=True)
            kept = {"student": student.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(kept | {"scheduler": scheduler.state_dict(), "minutes": minutes}, path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)
    return student, minutes


@torch.no_grad()
def even_out(student: Student, batches: Sequence[Tensor]) -> None:
    """Give each tap a mean activation of 1 and take it back where it is used: ReLU lets factors through.

    Not each channel: those that hardly ever fire would become as loud as the others, and the deep taps lose half of
    what they know of artists.
    """
    network = student.network()
    means = dict.fromkeys(TAPS, 0.0)
    for batch in batches:
        for tap, features in network(batch, TAPS).items():
            means[tap] += float(features.mean()) / len(batches)
    before = 1.0
    for tap, layer in zip(TAPS, student.layers, strict=True):
        layer.weight.mul_(before / means[tap])
        layer.bias.div_(means[tap])
        if tap in student.heads:
            student.heads[tap].weight.mul_(means[tap])
        before = means[tap]


@torch.no_grad()
def fidelity(student: Student, teachers: Teachers, pictures: Sequence[np.ndarray]) -> dict[str, dict[str, float]]:
    """Correlation and relative squared error to the teachers on the middle of each picture, at short side 256."""
    network = student.network()
    pairs: dict[str, list[tuple[Tensor, Tensor]]] = {tap: [] for tap in TAUGHT}
    for picture in pictures:
        batch = torch.from_numpy(middle(picture)).permute(2, 0, 1)[None].float() / 255
        truth, guess = teachers(batch), student.guess(network(batch, TAUGHT))
        for tap in TAUGHT:
            pairs[tap].append((inner(guess[tap], tap), inner(truth[tap], tap)))
    found = {}
    for tap, both in pairs.items():
        guess, truth = (torch.cat(side) for side in zip(*both, strict=True))
        error = float(relative_error(guess, truth))
        found[tap] = {"correlation": round(correlation(guess, truth), 3), "error": round(error, 3)}
    return found


def reduced(picture: np.ndarray, short: int) -> np.ndarray:
    factor = short / min(picture.shape[:2])
    size = [max(short, round(side * factor)) for side in picture.shape[1::-1]]
    return cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)


def middle(picture: np.ndarray, side: int = 256) -> np.ndarray:
    small = reduced(picture, side)
    y, x = ((length - side) // 2 for length in small.shape[:2])
    return small[y : y + side, x : x + side]


def corners(picture: np.ndarray) -> list[Tensor]:
    """Two crops of 256 pixels from opposite corners, at short side 384, grey, of mean 127 and deviation 50."""
    small = reduced(picture, 384)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    found = []
    for part in (grey[:256, :256], grey[-256:, -256:]):
        even = np.clip((part - part.mean()) / (part.std() + 1e-6) * 50 + 127, 0, 255)
        found.append(torch.from_numpy(even / 255).expand(1, 3, 256, 256))
    return found


@torch.no_grad()
def nearest_artist(grams: Callable[[Tensor], Tensor], paintings: Sequence[tuple[str, np.ndarray]]) -> float:
    """Share of crops whose nearest crop of another painting is by the same artist."""
    seen = [(artist, n, grams(part)) for n, (artist, picture) in enumerate(paintings) for part in corners(picture)]
    hits = 0
    for artist, number, own in seen:
        others = [(float((own - g).norm() / (own.norm() + g.norm())), a) for a, n, g in seen if n != number]
        hits += min(others)[1] == artist
    return hits / len(seen)


def gram_of(network: FeatureNetwork, tap: str) -> Callable[[Tensor], Tensor]:
    def grams(picture: Tensor) -> Tensor:
        features = network(picture, [tap])[tap].flatten(2)
        return features @ features.transpose(1, 2) / features.shape[-1]

    return grams


def artists_of(folders: Sequence[str], per_artist: int) -> list[tuple[str, np.ndarray]]:
    found = []
    for folder in folders:
        files = files_of([folder])
        chosen = files[:: max(1, len(files) // per_artist)][:per_artist]
        found += [(Path(folder).name, picture) for picture in read(chosen)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--vgg19", required=True, help="state dict in torchvision's layout, to relu3_1 at least")
    parser.add_argument("--thin", required=True, help="one of a quarter of the channels, to relu5_1")
    parser.add_argument("--artists", nargs="*", default=[])
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    pictures, teachers = read(files_of(asked.pictures)), Teachers(asked.vgg19, asked.thin)
    kept_out = pictures[::HELD_OUT]
    seen = [picture for number, picture in enumerate(pictures) if number % HELD_OUT]
    print(f"{len(seen)} pictures to learn from, {len(kept_out)} kept out", flush=True)
    student, minutes = train(asked, seen, teachers)
    even_out(student, [batch_of(seen, np.random.default_rng([2, number])) for number in range(64)])
    named = {
        f"{tap}.{key}": v
        for tap, layer in zip(TAPS, student.layers, strict=True)
        for key, v in layer.state_dict().items()
    }
    torch.save({key: value.half() for key, value in named.items()}, asked.output / "thin_vgg.pt")
    card = {"pictures": len(seen), "kept out": len(kept_out), "steps": asked.steps, "minutes": round(minutes, 1)}
    card |= {"threads": torch.get_num_threads(), "parameters": sum(value.numel() for value in named.values())}
    card["fidelity"] = fidelity(student, teachers, kept_out)
    if asked.artists:
        card["nearest artist"] = judged(asked, student.network())
    (asked.output / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(json.dumps(card, indent=2))


def judged(asked: argparse.Namespace, student: FeatureNetwork) -> dict[str, dict[str, float]]:
    paintings = artists_of(asked.artists, per_artist=12)
    torch.manual_seed(1)
    random = Student(dict.fromkeys(TAUGHT, 1)).network()
    networks = {"student": student, "random": random, "thin VGG-19": VGG19Features(asked.thin, width=0.25)}
    return {
        name: {tap: round(nearest_artist(gram_of(network, tap), paintings), 2) for tap in TAUGHT}
        for name, network in networks.items()
    }


if __name__ == "__main__":
    main()
