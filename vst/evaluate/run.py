"""The evaluation itself: every network and finished video on every clip, with the controls that keep numbers honest."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vst.errors import UserError
from vst.evaluate.circumstances import circumstances
from vst.evaluate.judge import Contents, Judge, load_networks
from vst.evaluate.matching import check_styles, match_style, match_videos
from vst.evaluate.media import (
    Paths,
    clip_name,
    find_clips,
    find_files,
    find_pictures,
    read_pictures,
    read_truth,
    read_video,
)
from vst.evaluate.models import ATTACKED, Model, load_models
from vst.evaluate.pictures import ClipPictures, make_views
from vst.evaluate.progress import Progress
from vst.evaluate.results import Evaluation, Row, finite
from vst.flow import FlowEstimator, build_estimator
from vst.metrics import (
    Reference,
    pair_ewarp,
    robustness_scores,
    static_flicker,
    temporal_scores,
    to_tensor,
    warp_errors,
)
from vst.names import model_names

BLUR_SIGMA = 2.0  # pixels
INPUT = "input (identity)"
ONLY = "style"  # what a style is called that is the only one
MANY = 4  # entries above which the report shows fewer pictures of each
KINDS = ("all", "quick")
SLOW = (
    "ewarp_mean@10, ratio@10, tof_in, ssim, psnr, flicker_static, cut_recovery_frames, cut_residual, drift, pgd, "
    "noise, jpeg, exposure"
)
NEEDS_NETWORK = "flicker_static, cut_recovery_frames, cut_residual, drift, pgd, noise, jpeg, exposure"


def evaluate_videos(
    clips: Paths,
    *,
    checkpoints: Paths | Mapping[str, str | Path] | None = None,
    videos: Paths | None = None,
    styles: Paths | Mapping[str, Paths] | None = None,
    width: int = 512,
    frames: int = 60,
    metrics: str = "all",
    controls: bool = True,
    drift_frames: int = 2000,
    attack_steps: int = 10,
    flow: str = "dis",
    flow_weights: str | None = None,
    flow_truth: str | None = None,
    vgg: str | None = None,
    vgg_width: float = 1.0,
    alexnet: str | None = None,
    lpips: str | None = None,
    inception: str | None = None,
    art_inception: str | None = None,
    device: str | torch.device = "cpu",
    progress: bool = True,
) -> Evaluation:
    """Measure networks, and videos that any tool has made, on clips, beside the controls.

    The motion of a clip is estimated once, for all of them.

    Args:
        clips: input videos or folders of frames: one, a folder of them, a pattern with *, or a list of these; the next
            three are given alike.
        checkpoints: stylizer checkpoints; each is run on every clip. A mapping gives them names.
        videos: finished results, matched to the clips by name (`vst.evaluate.matching.match_videos`) and compared over
            the frames that both have; another size is scaled to the clip's.
        styles: pictures of the style; without them the metrics of style are skipped. A mapping of names to pictures
            holds every entry against its own (`vst.evaluate.matching.match_style`).
        width: of the frames, in pixels; the height keeps the shape.
        frames: of each clip, from its begin, at most; 2 or more.
        metrics: "all", or "quick" for the warping errors between neighbouring frames, detail, change and style alone.
        controls: whether each entry stands beside its blur, its first frame and its network without memory.
        drift_frames: length of the run that looks for drift, 0 for none.
        attack_steps: of the PGD attack, 0 for no measure of robustness.
        flow, flow_weights: estimator of the input's motion and its weights (`vst.flow.build_estimator`).
        flow_truth: folder of known motion, `<folder>/<clip>/*.flo`, which is taken instead where there is some.
        vgg, vgg_width: weights of VGG-19 and their width (`vst.networks.features`); None skips what needs them.
        alexnet, lpips: weights of LPIPS (`vst.metrics.LPIPS`).
        inception, art_inception: weights of Inception-v3 (`vst.metrics.Inception`).

    Nothing is kept between calls. Raises UserError for files that are missing, unreadable or match nothing.
    """
    if frames < 2:
        raise UserError(f"frames={frames}: nothing temporal can be measured; give 2 or more")
    if metrics not in KINDS:
        raise UserError(f"metrics={metrics} is not one of {', '.join(KINDS)}")
    if not checkpoints and not videos:
        raise UserError("nothing to evaluate: give checkpoint=stylizer.pt, or videos=results of another tool, or both")
    begin, quick = time.perf_counter(), metrics == "quick"
    clip_files = find_clips(clips, "clips")
    matched = match_videos(find_clips(videos, "videos") if videos is not None else [], clip_files)
    style_files = _style_files(styles)
    model_files = _model_files(checkpoints)
    estimate = build_estimator(flow, flow_weights, device)
    truth = _existing_folder(flow_truth)
    models = load_models(model_files, torch.device(device))
    makers = dict.fromkeys(maker for found in matched.values() for maker in found)
    double = next((maker for maker in makers if maker in model_files), None)
    if double is not None:
        raise UserError(f"videos and checkpoint: both have a '{double}'; name one, checkpoint={{another: file}}")
    style_of = _style_of(models, list(makers), list(style_files))
    weights = {"alexnet": alexnet, "lpips": lpips, "inception": inception, "art_inception": art_inception}
    networks = load_networks(vgg, vgg_width, device=torch.device(device), **weights)
    judge = Judge({name: read_pictures(files, width) for name, files in style_files.items()}, networks, quick)
    settings = {
        **circumstances(torch.device(device)),
        "clips": [str(path) for path in clip_files],
        "checkpoints": {m.name: f"{model_files[m.name]} (sha256 {m.fingerprint})" for m in models},
        "styles": {name: [str(file) for file in files] for name, files in style_files.items()},
        "width": width,
        "frames": frames,
        "metrics": metrics,
        "drift_frames": drift_frames,
        "attack": f"PGD, {attack_steps} steps, central {ATTACKED} pixels of the middle frame",
        "flow_backend": f"{estimate.key} on the input, t -> t+k",
        "flow_truth": flow_truth,
        "mask_rule": "Sundaram et al. 2010: forward-backward, motion edges, out of frame; pairs under 5 % left out",
        "blur": f"Gaussian, sigma {BLUR_SIGMA} pixels",
        "weights": {"vgg": vgg, "vgg_width": vgg_width, **weights},
        "seed": 0,
    }
    options = Options(
        frames, width, controls, quick, 0 if quick else drift_frames, 0 if quick else attack_steps, estimate, truth
    )
    run = Run(Evaluation(settings), options, models, matched, judge, style_of)
    with Progress(sum(run.steps(clip) for clip in clip_files), progress) as bar:
        for clip in clip_files:
            run.clip(clip, bar.step)
        bar.step("done")
    run.pool()
    run.list_absent()
    settings["seconds"] = round(time.perf_counter() - begin, 1)
    return run.evaluation


@dataclass(frozen=True)
class Options:
    """What was asked of `evaluate_videos`."""

    frames: int
    width: int
    controls: bool
    quick: bool
    drift_frames: int
    attack_steps: int
    estimate: FlowEstimator
    truth: Path | None


@dataclass
class Run:
    """One evaluation under way; `style_of` has the style of each entry, None for a single one or none."""

    evaluation: Evaluation
    options: Options
    models: list[Model]
    matched: dict[Path, dict[str, Path]]
    judge: Judge
    style_of: dict[str, str | None]
    few: bool = field(init=False)

    def __post_init__(self) -> None:
        self.few = len(self.style_of) <= MANY

    def steps(self, clip: Path) -> int:
        """Steps of progress that a clip takes: its motion, and each row; a network's own tests."""
        controls = 2 * self.options.controls
        remembering = sum(model.remembers for model in self.models) * self.options.controls
        tests = len(self.models) * (not self.options.quick)
        entries = len(self.matched[clip]) + len(self.models)
        return 1 + max(1, len(self.judge.styles)) + entries * (1 + controls) + remembering + tests

    def clip(self, path: Path, step: Callable[[str], None]) -> None:
        """Add the rows and pictures of one clip."""
        options, name = self.options, clip_name(path)
        step(f"{name}: motion")
        source, damaged = read_video(path, options.frames, options.width)
        if damaged:
            self.evaluation.notes.append(damaged)
        reference = Reference.of(source, options.estimate, self._truth(name, source), options.quick)
        scores = _Clip(name, reference, self.judge, self.few, options.controls, step)
        for style in self.judge.styles or [None]:
            entry = INPUT if style in (None, ONLY) else f"{INPUT}, {style}"
            scores.add(entry, "input", source, style, show=not scores.rows, more=self._identity_values(source))
        for maker, file in self.matched[path].items():
            video, damaged = read_video(file, options.frames, options.width, size=source.shape[2:0:-1])
            self._note(file, len(video), path, len(source), damaged)
            scores.add_with_controls(maker, "video", video[: len(source)], self.style_of[maker])
        for model in self.models:
            style, more = self.style_of[model.name], None
            if not options.quick:
                step(f"{name}: tests of {model.name}")
                more = model.scores(source, options.drift_frames, options.attack_steps)
            scores.add_with_controls(model.name, "model", model.stylise(source), style, more)
            if model.remembers and options.controls:
                more = None if options.quick else {"flicker_static": model.static_flicker(source, remember=False)}
                alone = model.stylise(source, remember=False)
                scores.add(f"{model.name} per frame", "control", alone, style, self.few, more)
        self.evaluation.rows += scores.rows
        self.evaluation.notes += scores.notes
        self.evaluation.pictures.append(scores.pictures)

    def pool(self) -> None:
        """Add what is measured of all clips of an entry together."""
        if not self.judge.styles:
            return
        for row in self.evaluation.means():
            style = row.style or next(iter(self.judge.styles))
            values = self.judge.pooled(row.entry, style, row.values.get("lpips_content"))
            if values:
                self.evaluation.pooled[row.entry], notes = finite(values, f"{row.entry}, all clips")
                self.evaluation.notes += notes

    def list_absent(self) -> None:
        """Say of every metric and control that is not there why it is not."""
        skipped, options = self.evaluation.skipped, self.options
        if options.quick:
            skipped[SLOW] = "metrics=quick"
        if not self.judge.styles:
            skipped["patch_style, colour_style, gram, adain"] = "no style was given; styles=picture or folder"
        networks = self.judge.networks
        if networks.features is None:
            skipped["gram, adain, content_vgg"] = "no weights of VGG-19 were given; weights.vgg=path"
        if networks.lpips is None:
            skipped["warp_lpips@1, warp_lpips@10, tlp_in, lpips_content"] = (
                "no weights of AlexNet were given; weights.alexnet=path"
            )
        elif options.quick:
            skipped["warp_lpips@1, warp_lpips@10, tlp_in"] = "metrics=quick"
        if networks.inception is None:
            skipped["kid_style, fid_style, sifid"] = "no weights of Inception-v3 were given; weights.inception=path"
        if networks.art is None:
            skipped["art_fid"] = "no weights of ArtFID's network were given; weights.art_inception=path"
        if any(self.matched.values()) and not options.quick:
            skipped[f"{NEEDS_NETWORK} of videos"] = "a finished video has no network that could be run"
        if not options.controls:
            skipped["blurred, frozen, per frame"] = "controls=false"
        for model in self.models if options.controls else ():
            if not model.remembers:
                skipped[f"{model.name} per frame"] = "this network has no memory: it would be the same numbers"
        if not options.drift_frames and not options.quick:
            skipped["drift"] = "drift_frames=0"
        if not options.attack_steps and not options.quick:
            skipped["pgd, noise, jpeg, exposure"] = "attack_steps=0"
        skipped["deception"] = "needs weights of a classifier of artists, which this version cannot read"
        for maker in dict.fromkeys(maker for found in self.matched.values() for maker in found):
            absent = [clip_name(clip) for clip, found in self.matched.items() if maker not in found]
            if absent:
                there = len(self.matched) - len(absent)
                self.evaluation.notes.append(
                    f"{maker} has no video of {', '.join(absent)}: its means are over {there} clips"
                )

    def _truth(self, clip: str, source: np.ndarray) -> dict[int, tuple[Tensor, Tensor]]:
        if self.options.truth is None:
            return {}
        truth = read_truth(self.options.truth, clip, source.shape[1:3], len(source) - 1)
        self.evaluation.notes.append(
            f"{clip}: known motion of {len(truth)} of {len(source) - 1} pairs of frames, the others estimated"
        )
        return truth

    def _identity_values(self, source: np.ndarray) -> dict[str, float | None]:
        """What the network's own metrics are for the identity."""
        if not self.models or self.options.quick:
            return {}
        values: dict[str, float | None] = {
            "flicker_static": static_flicker(lambda image: image, to_tensor(source[0])),
            **{"cut_recovery_frames": 0.0, "cut_residual": 0.0},
        }
        if self.options.drift_frames:
            values[f"drift_{self.options.drift_frames}"] = 0.0
        if self.options.attack_steps:
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

    def __init__(
        self,
        name: str,
        reference: Reference,
        judge: Judge,
        few: bool,
        controls: bool,
        step: Callable[[str], None],
    ) -> None:
        self.name, self.judge, self.few, self.controls, self.step = name, judge, few, controls, step
        self.references: dict[int, tuple[Reference, Contents]] = {}
        self.whole = reference
        self.rows: list[Row] = []
        self.notes: list[str] = []
        self.pictures = ClipPictures(name)

    def add_with_controls(
        self,
        entry: str,
        kind: str,
        video: np.ndarray,
        style: str | None,
        more: dict[str, float | None] | None = None,
    ) -> None:
        """A row for the video, for its blur, and for its first frame repeated."""
        self.add(entry, kind, video, style, more=more)
        if self.controls:
            blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), BLUR_SIGMA) for frame in video])
            self.add(f"{entry} blurred", "control", blurred, style, show=False)
            frozen = np.repeat(video[:1], len(video), axis=0)
            self.add(f"{entry} frozen", "control", frozen, style, show=False)

    def add(
        self,
        entry: str,
        kind: str,
        video: np.ndarray,
        style: str | None,
        show: bool = True,
        more: dict[str, float | None] | None = None,
    ) -> None:
        """A row of metrics; `show` puts pictures of it into the report, `more` are further values."""
        self.step(f"{self.name}: {entry}")
        reference, contents = self._reference(len(video))
        near = warp_errors(video, reference.near)
        values = temporal_scores(video, reference, near)
        values |= self.judge.scores(entry, video, reference, contents, style)
        values, notes = finite(values | (more or {}), f"{entry}, {self.name}")
        self.notes += notes
        label = "" if style in (None, ONLY) else style
        self.rows.append(Row(entry, kind, self.name, len(video), values, label))
        if show:
            self.pictures.views.append(make_views(entry, video, reference.near, pair_ewarp(near), not self.few))

    def _reference(self, length: int) -> tuple[Reference, Contents]:
        if length not in self.references:
            reference = self.whole if length == len(self.whole.source) else self.whole.first(length)
            self.references[length] = reference, self.judge.contents(reference.source)
        return self.references[length]


def _style_files(styles: Paths | Mapping[str, Paths] | None) -> dict[str, list[Path]]:
    if styles is None:
        return {}
    if not isinstance(styles, Mapping):
        return {ONLY: find_pictures(styles, "styles")}
    check_styles(styles)
    return {name: find_pictures(paths, f"styles.{name}") for name, paths in styles.items()}


def _model_files(checkpoints: Paths | Mapping[str, str | Path] | None) -> dict[str, Path]:
    if checkpoints is None:
        return {}
    if isinstance(checkpoints, Mapping):
        found = {name: find_files(path, f"checkpoint.{name}", (".pt", ".ckpt")) for name, path in checkpoints.items()}
        for name, files in found.items():
            if len(files) > 1:
                raise UserError(f"checkpoint.{name}: {len(files)} files, and this name is for one; give one")
        return {name: files[0] for name, files in found.items()}
    files = find_files(checkpoints, "checkpoint", (".pt", ".ckpt"))
    return dict(zip(model_names(files), files, strict=True))


def _style_of(models: list[Model], makers: list[str], styles: list[str]) -> dict[str, str | None]:
    """The style of each entry; decided before work begins."""
    stored = {**dict.fromkeys(makers, ""), **{model.name: model.style for model in models}}
    if styles in ([], [ONLY]):
        return dict.fromkeys(stored, styles[0] if styles else None)
    return {entry: match_style(entry, said, styles) for entry, said in stored.items()}


def _existing_folder(folder: str | None) -> Path | None:
    if folder is not None and not Path(folder).expanduser().is_dir():
        raise UserError(f"flow_truth={folder}: no such folder; give one that has <clip>/*.flo")
    return None if folder is None else Path(folder).expanduser()
