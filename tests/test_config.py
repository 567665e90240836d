"""Configurations: every YAML composes, validates and builds; mistakes are named, all in one message."""

import inspect
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object, instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from torchvision.models.vgg import make_layers

from tests.media import make_video
from tests.schemas import SCHEMAS
from vst.batch import ClipBatch
from vst.checkpoint import save_stylizer, stylizer_content
from vst.commands.train import FEW_PICTURES, continued, few_pictures
from vst.config import command, compose_or_explain, plain, validate
from vst.errors import UserError
from vst.losses import LossTerm, Outputs, temporal
from vst.networks import NO_PART, build_stylizer
from vst.rules import FLOW_TERMS, RULES
from vst.schema import (
    Part,
    StylizeConfig,
    TrainConfig,
)
from vst.signatures import argument_names, check_targets

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
GROUP_FILES = sorted(
    f"{path.parent.relative_to(CONF).as_posix()}={path.stem}".replace("experiment/ablation=", "experiment=ablation/")
    for path in CONF.rglob("*.yaml")
    if path.parent not in (CONF, CONF / "local")
)
# What a choice cannot do without.
COMPANIONS = {
    "data=video": ["data.root={videos}"],
    "data=images": ["data.root={pictures}"],
    "data=mixed": ["data.root={videos}"],
    "style=folder": ["style.root={pictures}"],
    "style=image": ["style.image={picture}"],
    "style=video": ["style.video={video}"],
    "logger=wandb": ["logger.wandb.mode=offline"],
    "logger=default": ["logger.wandb.mode=offline"],
    "loss/features=vgg19": ["loss.features.weights={vgg}", "loss.features.width=0.25"],
    "loss=temporal_full": ["clip_length=3"],
    "curriculum=full": ["clip_length=6", "data.batch_size=2"],
    "curriculum=accumulated": ["clip_length=5"],
    "recipe=quick": ["clip_length=5"],
    "recipe=full": ["clip_length=5"],
    "experiment=ablation/a5": ["data.root={videos}"],
    "experiment=ablation/a6": ["data.root={videos}"],
    "experiment=finetune": ["init_from=stylizer.pt"],
    "experiment=prune": ["init_from=stylizer.pt"],
    "experiment=distill": ["teacher=stylizer.pt"],
    "loss=distill": ["teacher={stylizer}"],
    "loss=distill_game": ["teacher={stylizer}"],
}
TINY = [
    "data.crop=32",
    "margin=4",
    "clip_length=2",
    "data.batch_size=1",
    "data.steps_per_epoch=1",
    "data.num_workers=0",
]
OURS = {"vst", "data_modules", "callbacks"}
LIBRARIES = {"torch", "pytorch_lightning", "types"}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders with two pictures and two short videos, a thin VGG-19 of random weights up to relu4_1, and a stylizer."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "videos").mkdir()
    (folder / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for i in range(2):
        make_video(folder / "videos" / f"{i}.mp4", n=12, width=96, height=64)
        Image.fromarray(rng.integers(0, 255, (64, 80, 3), dtype=np.uint8)).save(folder / "pictures" / f"{i}.png")
    layers = make_layers([16, 16, "M", 32, 32, "M", *[64] * 4, "M", 128])
    torch.save({f"features.{name}": value for name, value in layers.state_dict().items()}, folder / "vgg.pth")
    model = {"generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1}}
    model["temporal"] = {"_target_": "vst.networks.Stateless"}
    save_stylizer(folder / "stylizer.pt", stylizer_content(build_stylizer(model), model, style="test"))
    return {
        "stylizer": str(folder / "stylizer.pt"),
        "vgg": str(folder / "vgg.pth"),
        "videos": str(folder / "videos"),
        "pictures": str(folder / "pictures"),
        "picture": str(folder / "pictures" / "0.png"),
        "video": str(folder / "videos" / "0.mp4"),
    }


@pytest.fixture(scope="module")
def composed(media: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., DictConfig]:
    """A function: choices of groups -> the validated, tiny training configuration with them (made once)."""
    run = f"output_dir={tmp_path_factory.mktemp('run')}"

    @cache
    def checked(*choices: str) -> DictConfig:
        return compose_or_explain("train", [*complete(choices, media), run], TrainConfig)

    return checked


def complete(choices: Iterable[str], media: dict[str, str]) -> list[str]:
    """The overrides of `choices`, of what they need, and of tiny sizes."""
    return [*choices, *TINY, *(line.format(**media) for c in choices for line in COMPANIONS.get(c, []))]


def mistakes(*overrides: str, name: str = "train", multirun: bool = False) -> list[str]:
    """The lines of the message, the headline left out."""
    with pytest.raises(UserError) as caught:
        compose_or_explain(name, overrides, SCHEMAS[name], multirun=multirun)
    lines = str(caught.value).splitlines()
    if len(lines) == 1:
        return lines
    assert lines[0] == f"{len(lines) - 1} mistakes in the configuration"
    return [line.strip() for line in lines[1:]]


def only(*overrides: str, **kwargs: Any) -> str:
    (line,) = mistakes(*overrides, **kwargs)
    return line


# ----------------------------------------------------------------------------------------------------
# The YAML files


@pytest.mark.parametrize("choice", GROUP_FILES)
def test_every_yaml_composes_and_validates(choice: str, composed, media: dict[str, str]) -> None:
    cfg = composed(choice)
    with initialize_config_module("conf", version_base="1.3"):
        expected = compose("train", [*complete([choice], media), f"output_dir={cfg.output_dir}"])
    assert plain(cfg) == plain(expected)


@pytest.mark.parametrize("choice", [c for c in GROUP_FILES if not c.startswith(("experiment=", "recipe="))])
def test_every_yaml_builds(choice: str, composed) -> None:
    if choice == "trainer=gpu" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    cfg = composed(choice)
    group = choice.partition("=")[0]
    node = OmegaConf.select(cfg, group.replace("/", "."))
    built = instantiate(node, style=instantiate(cfg.style)) if group == "data" else instantiate(node)
    for target, thing in built_parts(node, built):
        assert thing is None if target == "types.NoneType" else thing is not None, target
        if inspect.isclass(get_object(target)) and "_partial_" not in node:
            assert isinstance(thing, get_object(target))


def built_parts(node: DictConfig, built: Any) -> list[tuple[str, Any]]:
    if "_target_" in node:
        return [] if node.get("_partial_") else [(node["_target_"], built)]
    assert set(node) == set(built)
    parts = [name for name in node if isinstance(node[name], DictConfig)]
    return [part for name in parts for part in built_parts(node[name], built[name])]


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_dataclass_names_the_keys_of_the_primary_config(name: str) -> None:
    needed = {"stylize": ["checkpoint=a", "input=b", "output=c"], "evaluate": ["clips=a"], "export": ["checkpoint=a"]}
    needed |= {"live": ["checkpoint=a"], "studio": ["styles=[a]"]}
    overrides = needed.get(name, [])
    cfg = compose_or_explain(name, overrides, SCHEMAS[name])
    assert set(cfg) == {field.name for field in fields(SCHEMAS[name])}


def test_every_primary_config_has_a_schema() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} - {"common"} == set(SCHEMAS)


def targets(node: Any) -> set[str]:
    if isinstance(node, list):
        return {t for child in node for t in targets(child)}
    if not isinstance(node, dict):
        return set()
    own = {node["_target_"]} if "_target_" in node else set()
    return own | {t for child in node.values() for t in targets(child)}


ALL_TARGETS = sorted(
    {t for path in CONF.rglob("*.yaml") for t in targets(OmegaConf.to_container(OmegaConf.load(path)) or {})}
)


@pytest.mark.parametrize("target", ALL_TARGETS)
def test_every_target_is_our_file_or_the_intended_library(target: str) -> None:
    package = target.partition(".")[0]
    assert package in OURS | LIBRARIES
    found = get_object(target)
    assert callable(found)
    if package in OURS:
        assert Path(inspect.getfile(found)).resolve().is_relative_to(ROOT / package)
    else:
        assert not (ROOT / package).exists()


def test_the_config_package_is_ours() -> None:
    assert Path(import_module("conf").__file__).parent == CONF


def test_none_is_an_ordinary_choice(composed) -> None:
    cfg = composed(
        "logger=none", "callbacks=none", "model/temporal=none", "model/discriminator=none", "experiment=none"
    )
    assert instantiate(cfg.logger) == {} and instantiate(cfg.callbacks) == {}
    assert instantiate(cfg.model.discriminator) is None
    assert type(instantiate(cfg.model.temporal)).__name__ == "Stateless"


def test_numbers_are_said_once() -> None:
    cfg = plain(compose_or_explain("train", ["clip_length=5", "margin=6", "seed=9"], TrainConfig))
    assert (cfg["data"]["clip_length"], cfg["data"]["margin"], cfg["data"]["seed"]) == (5, 6, 9)
    assert cfg["model"]["temporal"]["channels"] == cfg["model"]["generator"]["width"]


# ----------------------------------------------------------------------------------------------------
# Mistakes on the command line


def test_all_mistakes_come_in_one_message() -> None:
    lines = mistakes("trainer.max_epoch=3", "+sedd=3", "seed=abc", "style=wikiert", "model/temporal=foo")
    assert [line.partition(":")[0] for line in lines] == [
        "trainer.max_epoch", "style=wikiert", "model/temporal=foo", "seed", "sedd",
    ]  # fmt: skip


# Each batch is one command line; for each override: how its one line begins, and what else it says.
BATCHES = {
    "keys": {
        "trainer.max_epoch=3": ("trainer.max_epoch: no such key (did you mean 'max_epochs'?)", ""),
        "loss.terms.tv.wieght=1": ("loss.terms.tv.wieght: no such key (did you mean 'weight'?)", "allowed: "),
        "sedd=3": ("sedd: no such key (did you mean 'seed'?)", ""),
        "stile=wikiart": ("stile: no such key (did you mean 'style'?)", ""),
        "trainer.limit_val_batches=1": ("trainer.limit_val_batches=1: ", "write +trainer.limit_val_"),
        "seed.deep=3": ("seed.deep=3: 'seed' is a single value", "no key 'deep'"),
        "+seed=3": ("+seed=3: 'seed' exists already", "write seed=3"),
        "~loss.terms.tw": ("loss.terms.tw: no such key (did you mean 'tv'?)", ""),
        "data.root=x": ("data.root: no such key", "allowed: "),
        "hydra.jbo.name=x": ("hydra.jbo: no such key (did you mean 'job'?)", ""),
        "seed": ("seed: cannot be read; write it as key=value", ""),
    },
    "choices": {
        "style=wikiert": ("style=wikiert: no such choice (did you mean 'wikiart'", "allowed: folder, "),
        "model=convgrru": ("model=convgrru: no such choice (did you mean 'convgru'?)", "allowed: "),
        "model/temporal=foo": ("model/temporal=foo: no such choice; allowed: aligned, convgru, none", ""),
        "model/temporl=none": ("model/temporl=none: no such group (did you mean 'model/t", "groups: "),
        "trainer=null": ("trainer=null: no such choice", "allowed: auto, "),
        "+data=images": ("+data=images: 'data' is chosen already; write data=images", ""),
        "experiment=smok": ("experiment=smok: no such choice (did you mean 'smoke'?)", ""),
        "hydra/launcher=slurmm": ("hydra/launcher=slurmm: no such choice", "basic"),
    },
    "added": {
        "+sedd=3": ("sedd: no such key (did you mean 'seed'?)", ""),
        "+trainer.max_epoch=3": (
            "trainer.max_epoch: pytorch_lightning.Trainer has no argument 'max_epoch' ",
            "(did you mean 'max_epochs'?); it takes accelerator, ",
        ),
        "+model.widht=3": ("model.widht: no such key", "allowed: discriminator, generator, "),
        "+callbacks.preveiw.every=2": ("callbacks.preveiw: no _target_", "is the name right?"),
        "+loss.terms.tvv.weight=2": ("loss.terms.tvv: no _target_", "did you mean 'tv'?"),
        "+trainer.gradient_clip_val=1.0": ("trainer.gradient_clip_val does not work", "use clip_norm"),
    },
    "types": {
        "seed=abc": ("seed: 'abc' is not an integer", ""),
        "ema_decay=null": ("ema_decay: null is not a number", ""),
        "clip_norm=true": ("clip_norm: True is not a number", ""),
        "trainer.max_epochs=abc": ("trainer.max_epochs: 'abc' is not an integer or null", ""),
        "trainer.precision=half": ("trainer.precision: 'half' is not one of ", ", bf16-mixed, "),
        "trainer.enable_progress_bar=maybe": ("trainer.enable_progress_bar: 'maybe' is not true or ", ""),
        "scheduler.flat=[1]": ("scheduler.flat: [1] is not a number", ""),
        "loss.terms.adversarial.objective=hing": (
            "loss.terms.adversarial.objective: 'hing' is not one of minmax, nonsaturating, lsgan, hinge, wgan",
            "",
        ),
        "model.discriminator=none": (
            "model.discriminator: 'none' is not a part; choose one with model/discriminator=<name>",
            "",
        ),
        "callbacks.preview=null": ("callbacks.preview: null is not a part; drop it", "~callbacks.preview"),
        "loss.terms.tv=null": ("loss.terms.tv: null is not a term; drop it with ~loss.terms.tv", ""),
    },
    "values": {
        "margin=${nowhere}": ("margin: Interpolation key 'nowhere' not found", ""),
        "data=video": ("data.root: missing; give it as data.root=...", ""),
        "style=image": ("style.image: missing", ""),
        "trainer._target_=pytorch_lightning.Trainr": (
            "trainer._target_: 'pytorch_lightning' has no 'Trainr' (did you mean 'Trainer'?)",
            "",
        ),
        "scheduler._target_=lightnin.Cosine": ("scheduler._target_: cannot import 'lightnin'", "No mod"),
        "clip_length=0": ("clip_length: 0 is not 1 or more", ""),
        "ema_decay=1.5": ("ema_decay: 1.5 is not 0 or more and 1 or less", ""),
        "data.crop=8": ("data.crop: 8 is not a multiple of 4 and at least 32; the generator works at a quarter", ""),
        "model.temporal.channels=16": (
            "model.temporal.channels: 16 differs from model.generator.width, which is 32",
            "",
        ),
        "~model/discriminator": ("model.discriminator: missing", ""),
    },
    "rules": {
        "clip_length=1": ("clip_length=1: a recurrent model needs at least 2 frames", "model/temporal=none"),
        "loss.terms.texture._target_=vst.losses.FeatureGram": ("loss.terms.texture needs a feature network", ""),
        "model.generator.width=33": ("model.generator.width: 33 is odd", ""),
        "trainer.precision=16-mixed": ("trainer.precision: 16-mixed would clip", "use bf16-mixed"),
        "margin=-1": ("margin: -1 is not 0 or more", ""),
    },
    "sizes": {
        "data.crop=66": ("data.crop: 66 is not a multiple of 4 and at least 32", "a quarter of the resolution"),
        "margin=7": ("margin: 7 is odd; data.crop + 2 * margin has to be a multiple of 4", "a quarter of the res"),
    },
    "said twice": {
        "style.crop=64": ("style.crop: 64 differs from data.crop, which is 128; set only data.crop", ""),
        "data.margin=8": ("data.margin: 8 differs from margin, which is 24; set only margin", ""),
        "data.clip_length=1": ("data.clip_length: 1 differs from clip_length, which is 3; set only clip_length", ""),
    },
    "length of the run": {
        "trainer.max_epochs=-1": ("trainer.max_epochs: -1 is not an integer of 1 or more", "the schedules need"),
        "+trainer.max_steps=100": ("trainer.max_steps: 100 would end the run early", "use trainer.max_epochs and "),
        "optimized_metric=val/stile": (
            "optimized_metric: val/stile is not measured in this run (did you mean 'val/style'?)",
            "allowed: val/style, val/adversarial, ",
        ),
    },
    "phases": {
        "curriculum=ful": ("curriculum=ful: no such choice (did you mean 'full'?)", "allowed: accumulated, default"),
        "curriculum.phases.clips.singel=0.5": (
            "curriculum.phases.clips.singel: no such key (did you mean 'single'?)",
            "",
        ),
        "curriculum.phases.clips.share=0.3": (
            "curriculum.phases: their shares sum to 0.8 (0.5 + 0.3); they have to sum to 1",
            "",
        ),
        "prune=much": ("prune: 'much' is not a number", ""),
    },
    "frames of a phase": {
        "curriculum.phases.clips.frames=5": ("curriculum.phases.clips.frames: 5 is more than clip_length=3", "raise"),
    },
    "a game without its term": {
        "~loss.terms.adversarial": ("model.discriminator has no adversarial loss term", "=none"),
        "+trainer.accumulate_grad_batches=2": ("trainer.accumulate_grad_batches does not work with two", ""),
        "seed=1.5": ("seed: 1.5 is not an integer", ""),
    },
}  # fmt: skip


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_each_mistake_is_one_line_that_helps(batch: dict[str, tuple[str, str]]) -> None:
    lines = mistakes(*batch)
    for start, contains in batch.values():
        matching = [line for line in lines if line.startswith(start)]
        assert len(matching) == 1 and contains in matching[0], (start, lines)
    assert len(lines) == len(batch), lines


def test_a_single_mistake_is_one_line() -> None:
    assert only("seed=true") == "seed: True is not an integer"


def test_a_temporal_term_needs_two_frames_without_recurrence_too() -> None:
    overrides = ["model/temporal=none", "clip_length=1"]
    assert only(*overrides).startswith("clip_length=1: loss.terms.temporal needs at least 2 frames")
    compose_or_explain("train", [*overrides, "~loss.terms.temporal", "~loss.terms.fdb"], TrainConfig)


def test_a_recurrent_model_needs_a_phase_of_clips() -> None:
    recurrent = ["curriculum=images", "model/temporal=convgru"]
    assert only(*recurrent).startswith("curriculum: a recurrent model needs at least 2 frames")
    compose_or_explain("train", ["curriculum=images", "model=feedforward"], TrainConfig)


def test_phases_name_terms_that_are_there() -> None:
    line = only("curriculum=full", "~loss.terms.texture")
    assert line.startswith("curriculum.phases.images.terms: there is no loss.terms.texture")
    compose_or_explain("train", ["curriculum=full", "~loss.terms.texture", line.rpartition("give ")[2]], TrainConfig)
    assert only("curriculum=full", "data.batch_size=1").startswith("curriculum.phases.clips.splice: joins two clips")
    compose_or_explain("train", ["curriculum=full", "loss=temporal_full"], TrainConfig)


def test_finetuning_needs_a_model_to_start_from() -> None:
    wanted = "init_from: missing; give it as init_from=..., the stylizer.pt or last.ckpt of a run"
    assert only("experiment=finetune") == wanted


@pytest.mark.parametrize("curriculum", ["default", "full"])
def test_finetuning_goes_with_another_curriculum(curriculum: str) -> None:
    chosen = [f"curriculum={curriculum}", "init_from=stylizer.pt"]
    cfg = compose_or_explain("train", ["experiment=finetune", *chosen], TrainConfig)
    assert cfg.curriculum.phases == compose_or_explain("train", chosen, TrainConfig).curriculum.phases


def test_a_long_term_needs_three_frames() -> None:
    assert only("loss=temporal_full", "clip_length=2") == (
        "clip_length=2: loss.terms.long_term needs at least 3 frames; or drop ~loss.terms.long_term"
    )
    compose_or_explain("train", ["loss=temporal_full", "clip_length=2", "loss.terms.long_term.weight=0"], TrainConfig)
    short = ["loss=temporal_full", "curriculum.phases.clips.frames=2"]
    assert only(*short) == (
        "curriculum: loss.terms.long_term needs at least 3 frames, and the longest phase has 2; give it more, or drop "
        "~loss.terms.long_term"
    )
    for remedy in ("curriculum.phases.clips.frames=3", "~loss.terms.long_term", "loss.terms.long_term.weight=0"):
        compose_or_explain("train", [*short, remedy], TrainConfig)


def test_perceptual_terms_need_a_feature_network_and_its_weights() -> None:
    gram = "+loss.terms.gram={_target_: vst.losses.FeatureGram, weight: 1}"
    line = only(gram)
    assert line.startswith("loss.terms.gram needs a feature network: choose loss/features=thin, or ")
    for remedy in (["loss/features=thin"], line.rpartition(", or ")[2].split()):
        compose_or_explain("train", [gram, *remedy], TrainConfig)


def test_terms_are_added_by_the_commands_that_the_loss_files_show() -> None:
    shown = [line for path in (CONF / "loss").glob("*.yaml") for line in path.read_text().splitlines()]
    added = [part for line in shown if line.startswith("#") for part in line.split("'") if part.startswith("+")]
    assert len(added) >= 8
    compose_or_explain("train", [*added, "loss/features=thin"], TrainConfig)


def test_a_feedforward_model_without_a_game_is_fine() -> None:
    overrides = ["model/discriminator=none", "~loss.terms.adversarial", "~loss.terms.texture"]
    overrides += ["model.generator.width=33"]
    compose_or_explain("train", [*overrides, "model/temporal=none"], TrainConfig)


def test_the_norm_of_a_generator_is_an_ordinary_key() -> None:
    with_norm = [path for path in (CONF / "model" / "generator").glob("*.yaml") if "\nnorm:" in path.read_text()]
    assert len(with_norm) >= 3
    for path in with_norm:
        generator = [f"model/generator={path.stem}", "model.generator.norm=instance"]
        assert compose_or_explain("train", generator, TrainConfig).model.generator.norm == "instance"


def test_features_of_a_discriminator_need_one() -> None:
    line = only("model/discriminator=none", "loss.terms.texture.weight=5")
    assert line.startswith("loss.terms.texture needs a discriminator") and line.endswith("drop ~loss.terms.texture")


@pytest.mark.parametrize("kind", ["WarpConsistency", "RelaxedLuminance", "FeatureWarp"])
def test_terms_that_warp_need_the_flow(kind: str) -> None:
    term = f"loss.terms.temporal._target_=vst.losses.{kind}"
    overrides = ["data=video", "data.root=films", "data.flow=none", term]
    assert only(*overrides) == (
        "data.flow=none: loss.terms.temporal needs the flow between frames; "
        "drop ~loss.terms.temporal, or choose data.flow=dis"
    )
    for remedy in ("data.flow=dis", "loss.terms.temporal.weight=0", "loss=temporal_fdb"):
        kept = overrides[:-1] if remedy.startswith("loss=") else overrides
        compose_or_explain("train", [*kept, remedy], TrainConfig)
    compose_or_explain("train", [*overrides[:-1], "~loss.terms.temporal"], TrainConfig)


def test_all_terms_that_need_the_flow_are_named() -> None:
    overrides = ["data=video", "data.root=films", "data.flow=none", "loss=temporal_full"]
    assert "drop ~loss.terms.temporal ~loss.terms.long_term, or" in only(*overrides)
    compose_or_explain("train", [*overrides, "~loss.terms.temporal", "~loss.terms.long_term"], TrainConfig)


def test_the_schema_lists_the_terms_that_assert_a_flow() -> None:
    batch = ClipBatch(torch.rand(1, 3, 3, 16, 16), torch.rand(1, 3, 16, 16), None, None, ["a"])
    outputs = Outputs(
        clip=batch.frames,
        still=batch.frames[:, 0],
        photo=batch.frames[:, 0],
        encode=lambda x: x,
        frames=batch.frames,
        stylise=lambda x: x,
    )
    needy = set()
    for name, kind in vars(temporal).items():
        if inspect.isclass(kind) and issubclass(kind, LossTerm) and kind is not LossTerm:
            try:
                kind(weight=1.0)(batch, outputs)
            except AssertionError as error:
                assert "needs clips with flow" in str(error)
                needy.add(name)
    assert needy == set(FLOW_TERMS)


@pytest.mark.parametrize("name", ["data.crop=32", "margin=0", "+trainer.max_steps=-1", "+trainer.max_time=null"])
def test_the_least_sizes_and_the_unset_limits_pass(name: str) -> None:
    compose_or_explain("train", [name], TrainConfig)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("trainer.max_epochs=null", "trainer.max_epochs: null is not an integer of 1 or more"),
        ("~trainer.max_epochs", "trainer.max_epochs: null is not an integer of 1 or more"),
        ("trainer.max_epochs=0", "trainer.max_epochs: 0 is not an integer of 1 or more"),
        ("trainer.max_epochs=1.5", "trainer.max_epochs: 1.5 is not an integer"),
        ("+trainer.max_steps=x", "trainer.max_steps: 'x' is not an integer"),
        ("+trainer.max_time='00:01:00:00'", "trainer.max_time: 00:01:00:00 would end the run early"),
    ],
)
def test_a_run_is_as_long_as_its_epochs(override: str, expected: str) -> None:
    assert only(override).startswith(expected)


@pytest.mark.parametrize(
    "override",
    [
        "trainer.devices=2", "trainer.devices=-1", "trainer.devices=[0,1]", "trainer.devices='2'",
        "trainer.devices='0,1'", "+trainer.num_nodes=2", "+trainer.strategy=ddp", "+trainer.strategy=ddp_spawn",
        "+trainer.strategy={_target_: pytorch_lightning.strategies.DDPStrategy}",
    ],
)  # fmt: skip
def test_a_run_has_one_device(override: str) -> None:
    """On several, Lightning exchanges the sampler, and neither epochs nor phases would reach the data."""
    line = only(override)
    assert line.startswith(override.lstrip("+").partition("=")[0] + ": ")
    assert "training runs on one device: leave it out or give trainer." in line


@pytest.mark.parametrize(
    "override",
    [
        "trainer.devices=auto", "trainer.devices='1'", "trainer.devices=[1]", "trainer.devices='1,'",
        "~trainer.devices", "+trainer.num_nodes=1", "+trainer.strategy=auto",
        "+trainer.strategy={_target_: pytorch_lightning.strategies.SingleDeviceStrategy, device: cpu}",
    ],
)  # fmt: skip
def test_one_device_in_other_words_passes(override: str) -> None:
    compose_or_explain("train", [override], TrainConfig)


def test_the_metric_of_a_sweep_is_measured() -> None:
    for metric in ("style", "lr", "train/style", "val/jacobian", "val/discriminator", "loss/ssim", "loss/success"):
        assert only(f"optimized_metric={metric}").startswith(f"optimized_metric: {metric} is not measured in this run")
    assert "(did you mean 'loss/total'?)" in only("optimized_metric=loss/totl")
    compose_or_explain("train", ["~loss.terms.style"], TrainConfig)
    for metric in ("val/total", "val/ssim", "val/tv", "loss/tv", "loss/total", "loss/discriminator"):
        compose_or_explain("train", [f"optimized_metric={metric}"], TrainConfig)
    compose_or_explain("train", ["optimized_metric=loss/penalty_gradient"], TrainConfig)
    assert "(did you mean 'loss/penalty_gradient'?)" in only("optimized_metric=loss/penalty_grad")
    assert only("optimized_metric=loss/penalty_r1").startswith("optimized_metric: loss/penalty_r1 is not measured")
    compose_or_explain("train", ["optimized_metric=loss/success", "loss=gated"], TrainConfig)
    compose_or_explain("train", ["optimized_metric=val/jacobian", "loss.terms.jacobian.weight=1"], TrainConfig)


def test_a_resumed_run_has_terms_of_its_own() -> None:
    compose_or_explain("train", ["optimized_metric=val/gram", "resume=last.ckpt"], TrainConfig)


def test_a_run_from_before_tone_and_grain_goes_on_without_them() -> None:
    now = compose_or_explain("train", ["resume=last.ckpt"], TrainConfig)
    saved = plain(now)
    for part in ("tone", "grain"):
        del saved["model"][part]
    whole = continued(now, saved, [])
    assert whole.model.grain == whole.model.tone == NO_PART and whole.resume == "last.ckpt"
    with pytest.raises(UserError, match="the run to resume has other settings there"):
        continued(now, saved, ["model/grain=camera"])


def test_a_wasserstein_critic_must_be_bounded() -> None:
    unbounded = ["loss=wgan", "loss.terms.adversarial.penalties.gradient.weight=0"]
    assert only(*unbounded).startswith("loss.terms.adversarial.objective: wgan needs a bounded discriminator")
    for bound in ("model.discriminator.spectral_norm=true", "loss.terms.adversarial.penalties.r1.weight=1"):
        compose_or_explain("train", [*unbounded, bound], TrainConfig)
    compose_or_explain("train", ["loss=wgan"], TrainConfig)


def test_few_pictures_against_a_discriminator_are_worth_a_warning() -> None:
    def loss(*overrides: str) -> dict[str, Any]:
        return plain(compose_or_explain("train", overrides, TrainConfig).loss)

    default = loss()
    assert few_pictures(default, FEW_PICTURES) is None
    assert few_pictures(default, FEW_PICTURES - 1).startswith(f"{FEW_PICTURES - 1} pictures: ")
    line = few_pictures(default, 1)
    assert line.startswith("1 picture: ") and "\n" not in line and "loss=few_pictures" in line
    game = ["model/discriminator=none", "~loss.terms.adversarial", "~loss.terms.texture"]
    for remedy in (["loss=few_pictures"], [line.rpartition("(or ")[2].rstrip(")")], game):
        assert few_pictures(loss(*remedy), 1) is None


def test_stylize_asks_for_its_three_paths() -> None:
    assert mistakes(name="stylize") == [f"{k}: missing; give it as {k}=..." for k in ("checkpoint", "input", "output")]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("crf=70", "crf: 70 is not 0 or more and 51 or less"),
        ("compare=slide", "compare: 'slide' is not one of none, side, split, wipe"),
        ("overwrite=1", "overwrite: 1 is not true or false"),
        ("ouput=x", "ouput: no such key (did you mean 'output'?)"),
    ],
)
def test_mistakes_of_stylize(override: str, expected: str) -> None:
    paths = ["checkpoint=a", "input=b", "output=c"]
    assert only(*paths, override, name="stylize").startswith(expected)


def test_a_choice_may_need_a_later_one() -> None:
    """An override that fits only together with a later one is not blamed for another one's mistake."""
    assert only("style.image=a.png", "style=image", "sede=1").startswith("sede: ")


def test_a_users_own_group_file(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 77\nmargin: x\n")
    with pytest.raises(UserError, match=r"^margin: 'x' is not an integer$"):
        compose_or_explain("train", ["experiment=mine"], TrainConfig, config_dir=str(tmp_path))
    cfg = compose_or_explain("train", ["experiment=mine", "margin=0"], TrainConfig, config_dir=str(tmp_path))
    assert cfg.seed == 77
    with pytest.raises(UserError, match="there is no folder"):
        compose_or_explain("train", [], TrainConfig, config_dir=str(tmp_path / "no"))


def test_composing_leaves_hydra_as_it_was() -> None:
    with pytest.raises(UserError):
        compose_or_explain("train", ["seed=x"], TrainConfig)
    assert not GlobalHydra.instance().is_initialized() and not HydraConfig.initialized()


# ----------------------------------------------------------------------------------------------------
# Sweeps


def test_each_value_of_a_sweep_is_checked() -> None:
    lines = mistakes("model=convgru,convgrru", "seed=1,abc", "clip_length=3,1", "sedd=1", multirun=True)
    assert [line.partition(":")[0] for line in lines] == ["sedd", "model=convgrru", "seed", "clip_length=1"]


def test_a_sweep_needs_the_flag() -> None:
    assert only("seed=1,2") == "seed=1,2: several values need -m"
    cfg = compose_or_explain("train", ["seed=1,2", "ema_decay=interval(0.9,0.99)"], TrainConfig, multirun=True)
    assert (cfg.seed, cfg.ema_decay) == (1, 0.9)
    compose_or_explain("train", ["seed=range(1,3)", "model=glob(*)", "hydra.mode=MULTIRUN"], TrainConfig)


def test_a_value_is_named_where_only_its_consequence_is_wrong() -> None:
    line = only("model/discriminator=patch,none", "loss=hinge", multirun=True)
    assert line.startswith("with model/discriminator=none: loss.terms.adversarial needs a discriminator")


# ----------------------------------------------------------------------------------------------------
# validate, on small configurations


class Engine:
    def __init__(
        self,
        power: int,
        fuel: Literal["oil", "gas"] = "oil",
        name: str | None = None,
        *,
        tags: list[str] = (),
    ):
        self.power = power


class Loose:
    def __init__(self, size: int = 1, **kwargs: Any) -> None: ...


class Turbo(Engine):
    def __init__(self, boost: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)


@dataclass
class Small:
    part: Part
    number: float


def small(**node: Any) -> DictConfig:
    return OmegaConf.create({"part": {"_target_": f"{__name__}.Engine", **node}, "number": 1})


def refused(cfg: DictConfig) -> list[str]:
    with pytest.raises(UserError) as caught:
        validate(cfg, Small)
    return [line.strip() for line in str(caught.value).splitlines()]


def test_validate_accepts() -> None:
    validate(small(power=3, fuel="gas", name=None, tags=["a"]), Small)
    validate(small(_partial_=True), Small)
    validate(OmegaConf.create({"part": {"_target_": f"{__name__}.Loose", "any": 1}, "number": 0.5}), Small)
    validate(OmegaConf.create({"part": {"_target_": "builtins.dict", "x": 1}, "number": 0.5}), Small)


def test_validate_collects_everything() -> None:
    cfg = small(pover=3, fuel="coal", tags="a", inner={"_target_": f"{__name__}.Loose", "size": "big"})
    cfg.number, cfg.extra, cfg.lost = "${gone}", 1, "???"
    target, allowed = f"{__name__}.Engine", "it takes fuel, name, power, tags"
    assert refused(cfg) == [
        "10 mistakes in the configuration",
        "number: Interpolation key 'gone' not found",
        "lost: missing; give it as lost=...",
        "extra: no such key; allowed: number, part",
        "lost: no such key; allowed: number, part",
        f"part.pover: {target} has no argument 'pover' (did you mean 'power'?); {allowed}",
        "part.fuel: 'coal' is not one of oil, gas",
        "part.tags: 'a' is not a list; write part.tags=[a]",
        f"part.inner: {target} has no argument 'inner'; {allowed}",
        f"part.power: missing; {target} needs it",
        "part.inner.size: 'big' is not an integer",
    ]


def test_arguments_passed_in_code_need_not_stand_in_the_yaml() -> None:
    tree = {"engine": {"_target_": f"{__name__}.Engine"}}
    assert list(check_targets(tree, {})) == [f"engine.power: missing; {__name__}.Engine needs it"]
    assert list(check_targets(tree, {"engine": {"power"}})) == []


def test_a_class_passes_its_kwargs_on_to_its_base() -> None:
    target = f"{__name__}.Turbo"
    assert list(check_targets({"_target_": target, "power": 3, "boost": 1.5}, {}, "part")) == []
    wrong = {"_target_": target, "bost": 2.0, "fuel": "coal", "power": "x"}
    assert list(check_targets(wrong, {}, "part")) == [
        f"part.bost: {target} has no argument 'bost' (did you mean 'boost'?); it takes boost, fuel, name, power, tags",
        "part.fuel: 'coal' is not one of oil, gas",
        "part.power: 'x' is not an integer",
        f"part.boost: missing; {target} needs it",
    ]
    assert set(argument_names(target)) == {"boost", "power", "fuel", "name", "tags"}


def test_argument_names() -> None:
    assert argument_names(f"{__name__}.Engine") == ["power", "fuel", "name", "tags"]
    assert argument_names(f"{__name__}.Loose") == argument_names("nowhere.Thing") == argument_names(None) == []


def test_rules_bear_a_broken_configuration() -> None:
    for cfg in (
        {},
        {"loss": None, "model": 3, "trainer": []},
        {"loss": {"terms": [1]}, "data": {"clip_length": "x"}},
        {"loss": {"terms": {"a": [1]}}, "data": {"crop": "x"}, "trainer": {"max_epochs": 0}, "margin": "x"},
    ):
        assert [rule(cfg) for rule in RULES] == [None] * len(RULES)


# ----------------------------------------------------------------------------------------------------
# The console command


@command("stylize", StylizeConfig)
def small_command(cfg: DictConfig) -> None:
    """Ends as the name of its input says."""
    if cfg.input == "bad.mp4":
        raise UserError("bad.mp4: not a video")
    if cfg.input == "part.mp4":
        instantiate({"_target_": "fractions.Fraction", "numerator": "x"})
    if cfg.input == "bug.mp4":
        raise RuntimeError("a defect")
    if cfg.input == "stop.mp4":
        raise KeyboardInterrupt
    if cfg.input == "lightning.mp4":
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)
    print("did", cfg.input)


Ended = tuple[int, str, str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """A function: arguments of `small_command` -> its exit status, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)

    def start(*arguments: str) -> Ended:
        code = 0
        try:
            small_command([*arguments, "checkpoint=a", "output=o"])
        except SystemExit as end:
            code = end.code
        return code, *capsys.readouterr()

    return start


SCRIPT = """
from vst.config import command
from vst.errors import UserError
from vst.schema import StylizeConfig

@command("stylize", StylizeConfig)
def stylize(cfg):
    if cfg.input == "bad.mp4":
        raise UserError("bad.mp4: not a video")
    print("did", cfg.input)

stylize()
"""


@pytest.mark.parametrize(
    ("given", "expected"),
    [("good.mp4", (0, "did good.mp4\n", "")), ("bad.mp4", (1, "", "error: bad.mp4: not a video\n"))],
)
def test_a_command_in_a_process(tmp_path: Path, given: str, expected: Ended) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("HYDRA_FULL_ERROR", None)
    line = [sys.executable, "-c", SCRIPT, f"input={given}", "checkpoint=a", "output=o"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == expected


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["input=bad.mp4"], 1, "error: bad.mp4: not a video\n"),
        (["input=part.mp4"], 1, "error: Invalid literal for Fraction: 'x'\n"),
        ([], 1, "error: input: missing; give it as input=...\n"),
        (["input=a", "crf=x", "+q=1"], 1, "error: 2 mistakes in the configuration\n"),
        (["input=stop.mp4"], 130, "interrupted\n"),
        (["input=lightning.mp4"], 130, "interrupted\n"),
    ],
)
def test_a_users_mistake_is_a_line_and_an_exit_code(run, arguments: list[str], code: int, message: str) -> None:
    ended, output, errors = run(*arguments)
    assert (ended, output) == (code, "")
    assert errors.startswith(message) and "Traceback" not in errors
    assert "mistakes" in message or errors == message


def test_a_defect_keeps_its_traceback(run) -> None:
    code, _, errors = run("input=bug.mp4")
    assert code == 1 and "Traceback" in errors and "RuntimeError: a defect" in errors


def test_a_mistaken_sweep_starts_no_job(run) -> None:
    assert run("-m", "input=good.mp4", "crf=18,99") == (1, "", "error: crf: 99 is not 0 or more and 51 or less\n")


def test_showing_the_config_needs_no_complete_one(run) -> None:
    code, output, _ = run("--cfg", "job")
    assert code == 0 and "input: ???" in output


def test_a_command_can_be_called_with_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []
    show = command("stylize", StylizeConfig)(lambda cfg: seen.append(cfg.input))
    before = list(sys.argv)
    show(["checkpoint=a", "output=b", "input=c.mp4"])
    with pytest.raises(SystemExit) as caught:
        show(["input=c.mp4", "checkpoint=a"])
    assert seen == ["c.mp4"] and sys.argv == before and caught.value.code == 1
    assert capsys.readouterr().err == "error: output: missing; give it as output=...\n"
