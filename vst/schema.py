"""The keys that each command's configuration has, in plain Python: `vst.config` holds a configuration against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Preset = Literal[
    "ultrafast",
    "superfast",
    "veryfast",
    "faster",
    "fast",
    "medium",
    "slow",
    "slower",
    "veryslow",
    "placebo",
]

EngineChoice = Literal["auto", "torch", "torch_compile", "cuda_graph", "onnxruntime", "tensorrt", "openvino"] | None

Camera = Literal["none", "zoom_in", "zoom_out", "pan_left", "pan_right", "pan_up", "pan_down", "drift"]


class Part:
    """Annotation of a key whose value is a `_target_` node."""


@dataclass
class ModelConfig:
    """`conf/model`."""

    generator: Part
    temporal: Part
    tone: Part
    grain: Part
    motion: Part
    grade: Part
    short_side: int | None
    discriminator: Part


@dataclass
class OptimizerConfig:
    """`conf/optimizer`: partials, which the task completes with the parameters."""

    generator: Part
    discriminator: Part


@dataclass
class TrainConfig:
    """`conf/train.yaml`."""

    model: ModelConfig
    loss: Part
    data: Part
    style: Part
    optimizer: OptimizerConfig
    scheduler: Part
    curriculum: Part
    trainer: Part
    logger: dict[str, Part]
    callbacks: dict[str, Part]
    seed: int
    resume: str | None
    init_from: str | None
    teacher: str | None
    prune: float
    output_dir: str
    ema_decay: float
    clip_norm: float
    clip_length: int
    margin: int
    optimized_metric: str | None


@dataclass
class MaskConfig:
    """Where a film is painted."""

    file: str | None
    color: list | None
    tolerance: float
    softness: float
    invert: bool
    feather: float


@dataclass
class StylizeConfig:
    """`conf/stylize.yaml`."""

    checkpoint: str | list | dict
    input: str | list
    output: str
    items: Literal["auto", "each", "frames", "join"]
    overwrite: bool
    resume: bool
    start: str | float | None
    end: str | float | None
    crossfade: str | float
    fps: float | None
    hwaccel: str | None
    deinterlace: Literal["auto", "yes", "none"]
    transparency: Literal["auto", "keep", "flatten"]
    background: list | None
    crop: list | None
    size: int | str | None
    use: str | list | None
    strength: float | str | list
    calm: float | str | list
    preserve_color: float | str | list
    palette: list
    palette_strength: float | str | list
    stroke: float
    grain: float
    mask: MaskConfig
    compare: Literal["none", "side", "split", "wipe"]
    camera: Camera
    duration: float
    stereo: Literal["none", "side_by_side", "top_bottom"]
    panorama: bool
    device: str | list
    tile: int | Literal["auto"]
    planes: bool
    engine: EngineChoice
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    codec: str | None
    crf: int | None
    preset: str | int | None
    bitrate: str | int | None
    pix_fmt: str | None
    hdr: Literal["auto", "keep", "sdr"]
    format: str | None
    audio: Literal["copy", "aac", "opus", "none"]


@dataclass
class ExportConfig:
    """`conf/export.yaml`."""

    checkpoint: str
    output: str | None
    format: Literal["onnx", "openvino", "torch_export", "aotinductor"]
    compress: Literal["none", "int8"]
    calibration: str | None
    reference: str | None
    opset: int
    overwrite: bool


@dataclass
class WeightsConfig:
    """Weights of networks that measure."""

    vgg: str | None
    vgg_width: float
    alexnet: str | None
    lpips: str | None
    inception: str | None
    art_inception: str | None


@dataclass
class EvaluateConfig:
    """`conf/evaluate.yaml`."""

    clips: str | list
    checkpoint: str | list | dict | None
    videos: str | list | None
    styles: str | list | dict | None
    width: int
    frames: int
    metrics: Literal["all", "quick"]
    controls: bool
    drift_frames: int
    attack_steps: int
    flow: Literal["dis", "lucas_kanade", "raft"]
    flow_weights: str | None
    flow_truth: str | None
    weights: WeightsConfig
    device: str
    output: str
    overwrite: bool
    output_dir: str
    logger: dict[str, Part]


@dataclass
class BenchmarkConfig:
    """`conf/benchmark.yaml`."""

    mode: Literal["models", "pipeline", "training"]
    models: list[str]
    sizes: list
    engines: list | None
    precisions: list
    seconds: float
    rounds: int
    device: str
    input: str | None
    planes: bool
    codec: Literal["libx264", "libx265"]
    crf: int
    preset: Preset
    train: str
    steps: int
    output: str
    overwrite: bool
    output_dir: str
    logger: dict[str, Part]


@dataclass
class LiveConfig:
    """`conf/live.yaml`."""

    checkpoint: str | list | dict
    source: str
    sink: str | list
    ui: Literal["none", "web"]
    first: str | None
    strength: float
    calm: float
    preserve_color: float
    stroke: float
    min_scale: float
    fps: float | None
    size: str | None
    loop: bool
    deinterlace: Literal["auto", "yes", "none"]
    overlay: Literal["window", "all", "none"]
    timeout: float
    reconnect: float
    bitrate: str
    crf: int
    overwrite: bool
    device: str
    engine: EngineChoice
    precision: Literal["auto", "float32", "bfloat16", "float16"]


@dataclass
class StudioConfig:
    """`conf/studio.yaml`."""

    styles: str | list | dict
    engine: EngineChoice
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    device: str
    host: str
    port: int
    token: str | None
    hosts: list[str]
    work: str | None
    max_upload_mb: float
    max_minutes: float
    max_side: int
    max_uploads: int
    max_jobs: int
    max_viewers: int
    live_side: int
    keep_minutes: float
    codec: Literal["libx264", "libx265"]
    crf: int
    preset: Preset


@dataclass
class CacheConfig:
    """`conf/cache.yaml`."""

    clear: str | list | None


PASSED_IN_CODE = {"data": {"style"}}
"""Arguments that the commands add themselves when they build the node of that path."""

WANTED = {
    "data.root": "a folder of photographs (data=images) or of videos",
    "style.root": "a folder of pictures",
    "style.image": "a picture",
    "style.video": "a film",
    "loss.features.weights": "the file of VGG-19's weights, or torchvision to download it (550 MB)",
}
"""What it is that a choice of a group cannot do without."""
