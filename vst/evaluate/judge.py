"""What single pictures of a video are measured by: style, content, and the networks that see both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError
from vst.metrics import (
    LPIPS,
    Features,
    Inception,
    Look,
    Reference,
    adain_distance,
    colour_distance,
    content_scores,
    feature_distance,
    frechet,
    gram_distance,
    kernel_distance,
    look,
    neighbour_lpips,
    patch_distance,
    sifid,
    tlp,
    to_tensor,
    warp_lpips,
)
from vst.networks.features import VGG19Features

STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
SAMPLED = 6  # frames of a video that enter the metrics of pictures


@dataclass(frozen=True)
class Networks:
    """Pretrained networks that measure, None without their weights: VGG-19, LPIPS, Inception-v3, that of ArtFID."""

    features: Features | None = None
    lpips: LPIPS | None = None
    inception: Inception | None = None
    art: Inception | None = None


@dataclass(frozen=True)
class Style:
    """What is known of a style's pictures: `pooled`, `art` (N, 2048) and `shallow` (places, 64) of the networks."""

    look: Look
    pooled: Tensor | None
    art: Tensor | None
    shallow: list[Tensor]


@dataclass(frozen=True)
class Contents:
    """Frames of an input (3, H, W); with the networks for it their look, and LPIPS between all neighbouring frames."""

    pictures: list[Tensor]
    look: Look | None
    neighbours: np.ndarray | None


class Judge:
    """Holds pictures against styles, by name, and against the input; everything that recurs is computed once.

    A `quick` one leaves out what takes longer than painting does.
    """

    def __init__(self, styles: Mapping[str, list[Tensor]], networks: Networks, quick: bool) -> None:
        self.networks, self.quick = networks, quick
        self.styles = {name: self._known(pictures) for name, pictures in styles.items()}
        self._collected: dict[str, list[tuple[Tensor | None, Tensor | None]]] = {}

    def contents(self, source: np.ndarray) -> Contents:
        """The pictures of an input that videos of its length are held against."""
        pictures, networks = sampled(source), self.networks
        neighbours = None if networks.lpips is None or self.quick else neighbour_lpips(source, networks.lpips)
        return Contents(pictures, None if networks.features is None else look(pictures, networks.features), neighbours)

    @torch.no_grad()
    def scores(
        self, entry: str, video: np.ndarray, reference: Reference, contents: Contents, style: str | None
    ) -> dict[str, float | None]:
        """Of a video (T, H, W, 3) uint8; `style` is a name, None where there are no styles."""
        pictures, networks = sampled(video), self.networks
        values: dict[str, float | None] = {}
        if style is not None or networks.features is not None:
            own = look(pictures, networks.features)
            if style is not None:
                values |= self._style(entry, own, pictures, self.styles[style])
            if contents.look is not None:
                values["content_vgg"] = feature_distance(own, contents.look)
        if networks.lpips is not None:
            values["lpips_content"] = mean_lpips(pictures, contents.pictures, networks.lpips)
        if networks.lpips is not None and contents.neighbours is not None and reference.far is not None:
            values["warp_lpips@1"] = warp_lpips(video, reference.near, networks.lpips)
            values["warp_lpips@10"] = warp_lpips(video, reference.far, networks.lpips)
            values["tlp_in"] = tlp(video, contents.neighbours, networks.lpips)
        return values if self.quick else values | content_scores(pictures, contents.pictures)

    def pooled(self, entry: str, style: str, lpips_content: float | None) -> dict[str, float | None]:
        """What needs the pictures of all clips together; None where there are fewer than two pictures of a side."""
        values: dict[str, float | None] = {}
        known, pictures = self.styles[style], self._collected.get(entry, [])
        own, own_art = ([p[i] for p in pictures if p[i] is not None] for i in (0, 1))
        if known.pooled is not None:
            enough = min(len(own), len(known.pooled)) > 1
            values["kid_style"] = kernel_distance(torch.stack(own), known.pooled) if enough else None
            values["fid_style"] = frechet(torch.stack(own), known.pooled) if enough else None
        if known.art is not None and lpips_content is not None:
            enough = min(len(own_art), len(known.art)) > 1
            distance = frechet(torch.stack(own_art), known.art) if enough else None
            values["art_fid"] = None if distance is None else (1 + lpips_content) * (1 + distance)
        return values

    def _known(self, pictures: list[Tensor]) -> Style:
        inception, art = self.networks.inception, self.networks.art
        few = [pictures[i] for i in np.linspace(0, len(pictures) - 1, min(SAMPLED, len(pictures))).round().astype(int)]
        return Style(
            look(pictures, self.networks.features),
            None if inception is None else torch.stack([inception(picture) for picture in pictures]),
            None if art is None else torch.stack([art(picture) for picture in pictures]),
            [] if inception is None else [inception.shallow(picture) for picture in few],
        )

    def _style(self, entry: str, own: Look, pictures: list[Tensor], style: Style) -> dict[str, float | None]:
        values: dict[str, float | None] = {
            "patch_style": patch_distance(own, style.look),
            "colour_style": colour_distance(own, style.look),
        }
        inception, art = self.networks.inception, self.networks.art
        if self.networks.features is not None:
            values |= {"gram": gram_distance(own, style.look), "adain": adain_distance(own, style.look)}
        if inception is not None:
            values["sifid"] = sifid([inception.shallow(picture) for picture in pictures], style.shallow)
        self._collected.setdefault(entry, []).extend(
            (None if inception is None else inception(picture), None if art is None else art(picture))
            for picture in pictures
        )
        return values


def load_networks(
    vgg: str | None,
    vgg_width: float,
    alexnet: str | None,
    lpips: str | None,
    inception: str | None,
    art_inception: str | None,
    device: torch.device,
) -> Networks:
    """The networks of these weights (`conf/evaluate.yaml`). Raises UserError for weights that are not theirs."""
    if lpips is not None and alexnet is None:
        raise UserError(f"weights.lpips={lpips} alone is of no use: give weights.alexnet=<torchvision's AlexNet> too")
    if art_inception is not None and alexnet is None:
        raise UserError("weights.art_inception: art_fid needs LPIPS too; give weights.alexnet=<torchvision's AlexNet>")
    return Networks(
        None if vgg is None else vgg_features(VGG19Features(vgg, vgg_width), device),
        None if alexnet is None else LPIPS(alexnet, lpips).to(device),
        None if inception is None else Inception(inception, "weights.inception").to(device),
        None if art_inception is None else Inception(art_inception, "weights.art_inception", resize=False).to(device),
    )


def mean_lpips(pictures: list[Tensor], contents: list[Tensor], lpips: LPIPS) -> float:
    """LPIPS of each picture to its content, on average."""
    return float(np.mean([lpips(a[None], b[None]) for a, b in zip(pictures, contents, strict=True)]))


def sampled(video: np.ndarray) -> list[Tensor]:
    """Up to SAMPLED frames, evenly spread, as (3, H, W) in [0, 1]."""
    places = np.linspace(0, len(video) - 1, min(SAMPLED, len(video))).round().astype(int)
    return [to_tensor(video[place]) for place in places]


def vgg_features(network: VGG19Features, device: torch.device) -> Features:
    """Those of STYLE_TAPS that the weights reach, computed on the device and given on the CPU."""
    network, taps = network.to(device), [tap for tap in STYLE_TAPS if tap in network.covered]

    def features(picture: Tensor) -> list[Tensor]:
        found = network(picture.to(device), taps)
        return [found[tap].cpu() for tap in taps]

    return features
