"""The evaluation itself: every network and finished video on every clip, with the controls that keep numbers honest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError
from vst.evaluate.media import PICTURES, VIDEOS, Paths, find_files, match_videos, read_pictures, read_video
from vst.evaluate.models import ATTACKED, Model, load_models
from vst.evaluate.pictures import ClipPictures, make_views
from vst.evaluate.progress import Progress
from vst.evaluate.results import Evaluation, Row
from vst.metrics import (
    Features,
    Reference,
    adain_distance,
    colour_distance,
    content_scores,
    feature_distance,
    gram_distance,
    pair_ewarp,
    patch_distance,
    robustness_scores,
    static_flicker,
    temporal_scores,
    to_tensor,
    warp_errors,
)
from vst.networks.features import VGG19Features

BLUR_SIGMA = 2.0  # pixels
STYLE_TAPS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
SAMPLED = 6  # frames of a video that enter the metrics of pictures
INPUT = "input (identity)"
NEEDS_NETWORK = "flicker_static, cut_recovery_frames, cut_residual, drift, pgd, noise, jpeg, exposure"
NEEDS_WEIGHTS = {
    "warp_lpips, lpips_content, tlp_in": "need AlexNet and LPIPS weights, which this version cannot read",
    "sifid, kid_style, art_fid": "need Inception-v3 weights, which this version cannot read",
    "deception": "needs weights of a classifier of artists, which this version cannot read",
}


def evaluate_videos(
    clips: Paths,
    *,
    checkpoints: Paths | None = None,
    videos: Paths | None = None,
    styles: Paths | None = None,
    width: int = 512,
    frames: int = 60,
    drift_frames: int = 2000,
    attack_steps: int = 10,
    vgg: str | None = None,
    vgg_width: float = 1.0,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> Evaluation:
    """Measure networks, and videos that any tool has made, on clips, beside the controls.

    Args:
        clips: input videos: a file, a folder, a pattern with *, or a list of these; so are the next three.
        checkpoints: stylizer checkpoints; each is run on every clip.
        videos: finished results, matched to the clips by name (`vst.evaluate.media.match_videos`) and compared over the
            frames that both have; another size is scaled to the clip's.
        styles: pictures of the style; without them the metrics of style are skipped.
        width: of the frames, in pixels; the height keeps the shape.
        frames: of each clip, from its begin, at most; 2 or more.
        drift_frames: length of the run that looks for drift, 0 for none.
        attack_steps: of the PGD attack, 0 for no measure of robustness.
        vgg, vgg_width: weights of VGG-19 and their width (`vst.networks.features`); None skips what needs them.

    Nothing is kept between calls. Raises UserError for files that are missing, unreadable or match nothing.
    """
    if frames < 2:
        raise UserError(f"frames={frames}: nothing temporal can be measured; give 2 or more")
    if checkpoints is None and videos is None:
        raise UserError("nothing to evaluate: give checkpoint=stylizer.pt, or videos=results of another tool, or both")
    clip_files = find_files(clips, "clips", VIDEOS)
    matched = match_videos(find_files(videos, "videos", VIDEOS) if videos is not None else [], clip_files)
    style_files = find_files(styles, "styles", PICTURES) if styles is not None else []
    model_files = find_files(checkpoints, "checkpoint", (".pt", ".ckpt")) if checkpoints is not None else []
    models = load_models(model_files, torch.device(device))
    settings = {
        "clips": [str(path) for path in clip_files],
        "checkpoints": {
            model.name: f"{path} (sha256 {model.fingerprint})" for model, path in zip(models, model_files, strict=True)
        },
        "styles": [str(path) for path in style_files],
        "width": width,
        "frames": frames,
        "drift_frames": drift_frames,
        "attack": f"PGD, {attack_steps} steps, central {ATTACKED} pixels of the middle frame",
        "device": str(device),
        "flow_backend": "OpenCV DIS (medium) on the input, t -> t+1",
        "mask_rule": "Sundaram et al. 2010: forward-backward, motion edges, out of frame; pairs under 5 % left out",
        "blur": f"Gaussian, sigma {BLUR_SIGMA} pixels",
        "vgg": vgg,
        "seed": 0,
    }
    features = None if vgg is None else _vgg_features(VGG19Features(vgg, vgg_width))
    judge = _Judge(read_pictures(style_files, width), features)
    run = _Run(Evaluation(settings), models, judge, drift_frames, attack_steps)
    with Progress(sum(run.steps(len(matched[clip])) for clip in clip_files), progress) as bar:
        for clip in clip_files:
            run.clip(clip, matched[clip], frames, width, bar.step)
        bar.step("done")
    run.list_absent(clip_files, matched)
    return run.evaluation


@dataclass(frozen=True)
class _Judge:
    """Of style and content in single pictures. `features` is None without weights for them."""

    styles: list[Tensor]
    features: Features | None

    @torch.no_grad()
    def scores(self, pictures: list[Tensor], contents: list[Tensor]) -> dict[str, float | None]:
        values: dict[str, float | None] = {}
        if self.styles:
            values["patch_style"] = patch_distance(pictures, self.styles)
            values["colour_style"] = colour_distance(pictures, self.styles)
        if self.styles and self.features:
            values["gram"] = gram_distance(pictures, self.styles, self.features)
            values["adain"] = adain_distance(pictures, self.styles, self.features)
        if self.features:
            values["content_vgg"] = feature_distance(pictures, contents, self.features)
        return values | content_scores(pictures, contents)


def _vgg_features(network: VGG19Features) -> Features:
    """Those of STYLE_TAPS that the weights reach."""
    taps = [tap for tap in STYLE_TAPS if tap in network.covered]

    def features(picture: Tensor) -> list[Tensor]:
        found = network(picture, taps)
        return [found[tap] for tap in taps]

    return features


class _Run:
    """One evaluation under way."""

    def __init__(
        self, evaluation: Evaluation, models: list[Model], judge: _Judge, drift_frames: int, attack_steps: int
    ) -> None:
        self.evaluation, self.models, self.judge = evaluation, models, judge
        self.drift_frames, self.attack_steps = drift_frames, attack_steps

    def steps(self, videos: int) -> int:
        """Steps of progress that a clip takes: its motion, and each row; a network's own tests."""
        return 2 + 3 * videos + sum(4 + model.remembers for model in self.models)

    def clip(self, path: Path, videos: dict[str, Path], limit: int, width: int, step: Callable[[str], None]) -> None:
        """Add the rows and pictures of one clip."""
        step(f"{path.stem}: motion")
        source, damaged = read_video(path, limit, width)
        if damaged:
            self.evaluation.notes.append(damaged)
        scores = _Clip(path.stem, Reference.of(source), self.judge, step)
        scores.add(INPUT, "input", source, more=self._identity_values(source))
        for maker, file in videos.items():
            video, damaged = read_video(file, limit, width, size=source.shape[2:0:-1])
            self._note(file, len(video), path, len(source), damaged)
            scores.add_with_controls(maker, "video", video[: len(source)])
        for model in self.models:
            step(f"{path.stem}: tests of {model.name}")
            more = model.scores(source, self.drift_frames, self.attack_steps)
            scores.add_with_controls(model.name, "model", model.stylise(source), more)
            if model.remembers:
                more = {"flicker_static": model.static_flicker(source, remember=False)}
                scores.add(f"{model.name} per frame", "control", model.stylise(source, remember=False), more=more)
        self.evaluation.rows += scores.rows
        self.evaluation.pictures.append(scores.pictures)

    def list_absent(self, clips: Sequence[Path], matched: dict[Path, dict[str, Path]]) -> None:
        """Say of every metric and control that is not there why it is not."""
        skipped = self.evaluation.skipped
        if not self.judge.styles:
            skipped["patch_style, colour_style, gram, adain"] = "no style was given; styles=picture or folder"
        if self.judge.features is None:
            skipped["gram, adain, content_vgg"] = "no weights of VGG-19 were given; weights.vgg=path"
        if any(matched.values()):
            skipped[f"{NEEDS_NETWORK} of videos"] = "a finished video has no network that could be run"
        for model in self.models:
            if not model.remembers:
                skipped[f"{model.name} per frame"] = "this network has no memory: it would be the same numbers"
        if not self.drift_frames:
            skipped["drift"] = "drift_frames=0"
        if not self.attack_steps:
            skipped["pgd, noise, jpeg, exposure"] = "attack_steps=0"
        skipped |= NEEDS_WEIGHTS
        for maker in dict.fromkeys(maker for found in matched.values() for maker in found):
            absent = [clip.stem for clip in clips if maker not in matched[clip]]
            if absent:
                self.evaluation.notes.append(
                    f"{maker} has no video of {', '.join(absent)}: its means are over {len(clips) - len(absent)} clips"
                )

    def _identity_values(self, source: np.ndarray) -> dict[str, float | None]:
        """What the network's own metrics are for the identity."""
        if not self.models:
            return {}
        values: dict[str, float | None] = {
            "flicker_static": static_flicker(lambda image: image, to_tensor(source[0])),
            **{"cut_recovery_frames": 0.0, "cut_residual": 0.0},
        }
        if self.drift_frames:
            values[f"drift_{self.drift_frames}"] = 0.0
        if self.attack_steps:
            values |= robustness_scores(lambda image: image, to_tensor(source[0])[None], steps=1)
        return values

    def _note(self, video: Path, length: int, clip: Path, clip_length: int, damaged: str | None) -> None:
        if damaged:
            self.evaluation.notes.append(damaged)
        if length != clip_length:
            common = min(length, clip_length)
            self.evaluation.notes.append(
                f"{video} has {length} frames of the {clip_length} of {clip.name}: the first {common} are compared"
            )


class _Clip:
    """Collects the rows and pictures of one clip."""

    def __init__(self, name: str, reference: Reference, judge: _Judge, step: Callable[[str], None]) -> None:
        self.name, self.reference, self.judge, self.step = name, reference, judge, step
        self.rows: list[Row] = []
        self.pictures = ClipPictures(name)

    def add_with_controls(
        self, entry: str, kind: str, video: np.ndarray, more: dict[str, float | None] | None = None
    ) -> None:
        """A row for the video, for its blur, and for its first frame repeated."""
        self.add(entry, kind, video, more=more)
        blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), BLUR_SIGMA) for frame in video])
        self.add(f"{entry} blurred", "control", blurred, show=False)
        self.add(f"{entry} frozen", "control", np.repeat(video[:1], len(video), axis=0), show=False)

    def add(
        self,
        entry: str,
        kind: str,
        video: np.ndarray,
        show: bool = True,
        more: dict[str, float | None] | None = None,
    ) -> None:
        """A row of metrics; `show` puts pictures of it into the report, `more` are further values."""
        self.step(f"{self.name}: {entry}")
        reference = self.reference if len(video) == len(self.reference.source) else self.reference.first(len(video))
        values = temporal_scores(video, reference)
        sampled = np.linspace(0, len(video) - 1, min(SAMPLED, len(video))).round().astype(int)
        pictures, contents = ([to_tensor(frames[i]) for i in sampled] for frames in (video, reference.source))
        values |= self.judge.scores(pictures, contents)
        self.rows.append(Row(entry, kind, self.name, len(video), values | (more or {})))
        if show:
            curve = pair_ewarp(warp_errors(video, reference.near))
            self.pictures.views.append(make_views(entry, video, reference.near, curve))
