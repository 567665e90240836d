"""Every part is one word: choices alone, in pairs and in sweeps, and what they bring along."""

from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor, nn

import vst.networks
from tests.test_config import GROUP_FILES, only
from vst.commands.train import FEW_PICTURES, build_task, fit_loss, train
from vst.config import command, compose_or_explain, plain
from vst.errors import UserError
from vst.model_rules import crop_fits, margin_fits
from vst.networks import build_stylizer
from vst.schema import TrainConfig

# What cannot do without something of the user's, and how the line begins that asks for it.
NEEDY = {
    "data=images": "data.root: missing; give it as data.root=..., a folder of photographs",
    "data=video": "data.root: missing; give it as data.root=..., a folder",
    "data=mixed": "data.root: missing; give it as data.root=..., a folder",
    "style=folder": "style.root: missing; give it as style.root=..., a folder of pictures",
    "style=image": "style.image: missing; give it as style.image=..., a picture",
    "style=video": "style.video: missing; give it as style.video=..., a film",
    "loss/features=vgg19": "loss.features.weights: missing; give it as loss.features.weights=..., the file of VGG-19",
    "loss=distill": "teacher: missing; give it as teacher=..., the stylizer.pt of a run",
    "loss=distill_game": "teacher: missing; give it as teacher=..., the stylizer.pt of a run",
    "experiment=distill": "teacher: missing; give it as teacher=..., the stylizer.pt of a run",
    "experiment=finetune": "init_from: missing; give it as init_from=..., the stylizer.pt or last.ckpt of a run",
    "experiment=prune": "init_from: missing; give it as init_from=..., the stylizer.pt or last.ckpt of a run",
    "experiment=ablation/a5": "data.root: missing; give it as data.root=..., a folder",
    "experiment=ablation/a6": "data.root: missing; give it as data.root=..., a folder",
}


def composed(*overrides: str):
    return compose_or_explain("train", overrides, TrainConfig)


def kinds(cfg) -> dict[str, str]:
    return {part: node["_target_"].rpartition(".")[2] for part, node in plain(cfg.model).items() if node}


def weights(cfg) -> dict[str, float]:
    return {name: term["weight"] for name, term in plain(cfg.loss)["terms"].items()}


@pytest.mark.parametrize("choice", GROUP_FILES)
def test_each_choice_stands_alone(choice: str) -> None:
    if choice in NEEDY:
        assert only(choice).startswith(NEEDY[choice])
    else:
        build_stylizer(plain(composed(choice).model))


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("model/generator=tiny", {"generator": "GuidedGenerator", "grain": "NoneType", "temporal": "AlignedConvGRU"}),
        ("model=convgru model/generator=tiny", {"generator": "GuidedGenerator", "grain": "NoneType"}),
        ("model=feedforward model/generator=tiny", {"grain": "NoneType", "temporal": "Stateless"}),
        ("model=convgru_tiny model/generator=small", {"generator": "ResidualGenerator", "grain": "NoneType"}),
        ("model=convgru_tiny model/generator=base model/grain=camera", {"grain": "CameraGrain"}),
        ("model=convgru_hd model/grain=camera", {"grain": "CameraGrain"}),
        ("curriculum=images", {"temporal": "Stateless"}),
        ("curriculum=images model=convgru_tiny", {"temporal": "Stateless", "grain": "NoneType"}),
        ("curriculum=images experiment=smoke", {"temporal": "Stateless"}),
        ("model/discriminator=none", {"discriminator": "NoneType"}),
        ("loss=distill teacher=a.pt", {"discriminator": "NoneType"}),
        ("experiment=distill teacher=a.pt model=convgru_tiny", {"discriminator": "NoneType", "grain": "NoneType"}),
        ("experiment=distill loss=distill_game teacher=a.pt", {"discriminator": "MultiScaleDiscriminator"}),
        ("experiment=prune init_from=a.pt", {"discriminator": "NoneType"}),
        ("experiment=finetune init_from=a.pt model/discriminator=none", {"discriminator": "NoneType"}),
        ("experiment=finetune init_from=a.pt loss=distill teacher=b.pt", {"discriminator": "NoneType"}),
        ("loss=distill_game experiment=finetune init_from=a.pt teacher=b.pt", {}),
        ("curriculum=full model/discriminator=none", {"discriminator": "NoneType"}),
        ("experiment=smoke callbacks=none logger=none", {}),
    ],
)
def test_choices_bring_along_what_they_need(pair: str, expected: dict[str, str]) -> None:
    cfg = composed(*pair.split())
    assert expected.items() <= kinds(cfg).items()
    build_stylizer(plain(cfg.model))


@pytest.mark.parametrize("loss", ["default", "gram", "cycle", "temporal_fdb", "temporal_full", "few_pictures"])
def test_without_a_discriminator_its_terms_are_out(loss: str) -> None:
    cfg = composed("model/discriminator=none", f"loss={loss}")
    with_game, without = weights(composed(f"loss={loss}")), weights(cfg)
    assert with_game["adversarial"] > 0 and with_game["texture"] > 0
    assert without == with_game | {"adversarial": 0, "texture": 0}
    assert build_task(cfg, "test").adversarial is None


@pytest.mark.parametrize("loss", ["distill", "gram", "few_pictures"])
def test_finetuning_takes_another_loss_as_it_is(loss: str) -> None:
    given = ["init_from=a.pt", *(["teacher=b.pt"] if loss == "distill" else []), f"loss={loss}"]
    assert plain(composed("experiment=finetune", *given).loss) == plain(composed(*given).loss)
    begins_at_once = plain(composed("experiment=finetune", "init_from=a.pt").loss)["terms"]["adversarial"]
    assert begins_at_once["schedule"]["start"] == 0 and begins_at_once["augment"]["probability"] == 1


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("model/generator=tiny model/grain=camera", "model.grain: GuidedGenerator takes no grain; choose"),
        ("curriculum=images model/temporal=convgru", "curriculum: a recurrent model needs at least 2 frames"),
        ("model/discriminator=none loss=hinge", "loss.terms.adversarial needs a discriminator: choose"),
        ("model/discriminator=none loss.terms.adversarial.weight=2", "loss.terms.adversarial needs a discriminator"),
        ("model/discriminator=none loss.terms.texture.weight=2", "loss.terms.texture needs a discriminator"),
        ("loss=distill teacher=a.pt model/discriminator=patch", "model.discriminator has no adversarial loss term"),
        ("model.grain.cell=8", "model.grain: the generator takes grain in cells of 4 pixels, not of 8"),
        ("model/discriminator=none optimized_metric=loss/discriminator", "optimized_metric: loss/discriminator is not"),
    ],
)
def test_what_was_chosen_explicitly_is_not_replaced(given: str, line: str) -> None:
    assert only(*given.split()).startswith(line)


SWEEP = ["model/generator=tiny,small", "model/discriminator=none,patch", "curriculum=images,default"]


def test_every_job_of_a_sweep_has_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen = []
    run = command("train", TrainConfig)(lambda cfg: seen.append((kinds(cfg), weights(cfg)["adversarial"])))
    run(["-m", *SWEEP])
    assert len(seen) == 8
    for kind, adversarial in seen:
        assert (kind["generator"] == "GuidedGenerator") == (kind["grain"] == "NoneType")
        assert (kind["discriminator"] == "NoneType") == (adversarial == 0)
    assert sum(kind["temporal"] == "Stateless" for kind, _ in seen) == 4


TINY = "experiment=smoke callbacks=none logger=none trainer.max_epochs=1 data.crop=32 margin=4 clip_length=2".split()


def test_the_log_and_the_saved_configuration_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    picture = tmp_path / "2024.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8)).save(picture)
    train([*TINY, "model/generator=tiny", "style=image", "style.image=2024.png", "output_dir=2025_01"])
    said = capsys.readouterr().out.splitlines()
    brought = "model/generator=tiny comes with model/grain=none"
    chosen = (
        "loss=few_pictures is chosen, since a discriminator learns 1 picture by heart (loss=default says otherwise)"
    )
    assert {f"choices   {brought}", f"choices   {chosen}"} <= set(said)
    assert not any("learns so few" in line for line in said)
    text = (tmp_path / "2025_01" / "config.yaml").read_text()
    assert f"# {brought}\n" in text and f"# {chosen}\n" in text
    saved = OmegaConf.create(text)
    assert saved.model.grain._target_ == "types.NoneType" and saved.style.image == "2024.png"
    assert saved.loss.terms.adversarial.augment.probability == 1


def test_showing_the_configuration_says_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    train(["--cfg", "job", "model/discriminator=none", "curriculum=images", "experiment=distill"])
    shown = capsys.readouterr().out
    assert "# curriculum=images comes with model/temporal=none\n" in shown
    assert "# experiment=distill comes with loss=distill\n" in shown
    train(["--cfg", "job", "--resolve", "model/discriminator=none"])
    shown = capsys.readouterr().out
    assert "# model/discriminator=none comes without loss.terms.adversarial, loss.terms.texture\n" in shown
    assert OmegaConf.create(shown).loss.terms.adversarial.weight == 0


# ----------------------------------------------------------------------------------------------------
# Few pictures


@pytest.mark.parametrize("count", [1, 2, FEW_PICTURES - 1])
def test_few_pictures_have_the_fitting_loss(count: int) -> None:
    cfg, fitting = composed(), composed("loss=few_pictures")
    note = fit_loss(cfg, count, [])
    assert note.startswith("loss=few_pictures is chosen") and plain(cfg.loss) == plain(fitting.loss)


@pytest.mark.parametrize(
    ("count", "given"),
    [
        (FEW_PICTURES, []),
        (1, ["loss=default"]),
        (1, ["loss.terms.adversarial.augment.colour=0.5"]),
        (1, ["~loss.terms.texture"]),
        (1, ["loss=few_pictures"]),
        (1, ["model/discriminator=none"]),
        (1, ["resume=last.ckpt"]),
    ],
)
def test_a_loss_that_was_chosen_stays(count: int, given: list[str]) -> None:
    cfg = composed(*given)
    before = plain(cfg.loss)
    assert fit_loss(cfg, count, given) is None and plain(cfg.loss) == before


# ----------------------------------------------------------------------------------------------------
# The generator's stride


class Sixteenth(nn.Module):
    """A stranger's generator: its stride follows from another argument."""

    def __init__(self, width: int, levels: int = 4) -> None:
        super().__init__()
        self.levels = levels
        self.layer = nn.Conv2d(3, width, 2**levels, stride=2**levels)
        self.back = nn.ConvTranspose2d(width, 3, 2**levels, stride=2**levels)

    @property
    def stride(self) -> int:
        return 2**self.levels

    def encode(self, frames: Tensor) -> Tensor:
        return self.layer(frames)

    def decode(self, features: Tensor, frames: Tensor) -> Tensor:
        return self.back(features)


def generator_of(levels: int) -> list[str]:
    node = ["model.generator._target_=vst.networks.Sixteenth", "model.generator.width=8"]
    dropped = [f"~model.generator.{name}" for name in ("num_blocks", "norm", "grain")]
    return [*node, *dropped, f"+model.generator.levels={levels}", "model/grain=none"]


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vst.networks, "Sixteenth", Sixteenth, raising=False)


FITS = [
    ("model=convgru", 4, 2), ("model=convgru_tiny", 8, 4), ("model=convgru_hd", 8, 4),
    ("model/generator=tiny", 8, 4), ("+model.generator.stride=2", 2, 1),
]  # fmt: skip


@pytest.mark.parametrize(("model", "stride", "unit"), FITS)
def test_squares_fit_the_stride_of_the_generator(model: str, stride: int, unit: int) -> None:
    composed(model, f"data.crop={32 + stride}", f"margin={5 * unit}")
    line = only(model, f"data.crop={32 + stride // 2}") if stride > 2 else only(model, "data.crop=33")
    assert f"is not a multiple of {stride} and at least 32; the generator works at " in line
    if unit > 1:
        line = only(model, f"margin={5 * unit - 1}")
        assert line.startswith(f"margin: {5 * unit - 1} is ") and f"has to be a multiple of {stride}, as" in line


def test_the_words_name_the_fraction() -> None:
    assert only("model=convgru_tiny", "data.crop=100") == (
        "data.crop: 100 is not a multiple of 8 and at least 32; the generator works at an eighth of the resolution"
    )
    assert only("model=convgru_hd", "margin=6") == (
        "margin: 6 is not a multiple of 4; data.crop + 2 * margin has to be a multiple of 8, as the generator works at "
        "an eighth of the resolution"
    )


def test_a_strangers_generator_is_asked(stranger: None) -> None:
    for levels, stride, crop in ((4, 16, 72), (5, 32, 80), (6, 64, 32)):
        line = only(*generator_of(levels), f"data.crop={crop}", "margin=32")
        assert line.startswith(f"data.crop: {crop} is not a multiple of {stride} and at least {max(32, stride)};")
    assert "margin: 4 is not a multiple of 8; data.crop + 2" in only(*generator_of(4), "margin=4")
    assert "data.crop + 2 * margin has to be a multiple of 32" in only(*generator_of(5), "margin=24")
    cfg = composed(*generator_of(4), "data.crop=64", "margin=8")
    model = build_stylizer(plain(cfg.model))
    assert model.generator.stride == 16
    assert model(torch.rand(1, 3, 80, 80))[0].shape == (1, 3, 80, 80)


def test_the_rules_leave_the_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    composed("model.generator.width=26")
    assert torch.rand(1) == expected


@pytest.mark.parametrize("model", ["convgru", "convgru_tiny", "convgru_hd"])
def test_what_the_rules_let_through_is_what_needs_no_padding(model: str) -> None:
    """Squares of training are padded at the right and the bottom alone."""
    config = plain(composed(f"model={model}").model)
    stylizer, seen = build_stylizer(config).train(), []
    encode = stylizer.generator.encode
    stylizer.generator.encode = lambda x, *noise: seen.append(x.shape[-1]) or encode(x, *noise)
    for crop, margin in ((40, 4), (40, 2), (36, 4), (36, 6), (44, 0), (48, 8), (40, 12)):
        cfg, side = {"model": config, "data": {"crop": crop}, "margin": margin}, crop + 2 * margin
        with torch.no_grad():
            stylizer(torch.rand(1, 1, 3, side, side))
        fits = margin_fits(cfg) is None and crop_fits(cfg) is None
        assert seen.pop() == side or not fits
        assert fits == (side % stylizer.generator.stride == crop % stylizer.generator.stride == 0)


# ----------------------------------------------------------------------------------------------------
# Lines in place of Hydra's


MEANT = [
    ("stylize", "style=painted", "style=painted: stylize.py has no 'style' to choose; it is for train.py"),
    *[
        (
            name,
            given,
            f"{given}: {name}.py has no 'style' to choose; it is for train.py; styles are a matter of training, "
            f"and a checkpoint has its own",
        )
        for name in ("stylize", "live", "export")
        for given in ("style=painted", "+style=painted", "++style=wikiart", "+style=nonsense", "+style@x=painted")
    ],
    (
        "stylize",
        "+model=convgru_tiny",
        "+model=convgru_tiny: stylize.py has no 'model' to choose; it is for train.py; mo",
    ),
    ("stylize", "+loss=hinge", "+loss=hinge: stylize.py has no 'loss' to choose; it is for train.py"),
    ("studio", "+style=painted", "+style=painted: vst studio has no 'style' to choose; it is for train.py; styles are"),
    ("train", "+style=painted", "+style=painted: 'style' is chosen already; write style=painted"),
    ("train", "+experiment=smok", "+experiment=smok: no such choice (did you mean 'smoke'?); allowed: "),
    ("stylize", "model/temporal=none", "model/temporal=none: stylize.py has no 'model/temporal' to choose; it is for"),
    ("live", "experiment=smoke", "experiment=smoke: live.py has no 'experiment' to choose; it is for train.py"),
    ("export", "~trainer", "~trainer: export.py has no 'trainer' to choose; it is for train.py"),
    (
        "studio",
        "logger=csv",
        "logger=csv: vst studio has no 'logger' to choose; it is for benchmark.py, evaluate.py, train.py",
    ),
    ("train", "callbacks=none callbacks.preview.size=64", "callbacks.preview: no such key; callbacks is empty; callb"),
    ("evaluate", "logger.wandb.project=x", "logger.wandb: no such key; logger is empty; logger=wandb has it"),
    ("stylize", "mask=a.png", "mask: 'a.png' is no value for all of it; give mask.file, mask.color"),
    ("stylize", "crop=1,2,3,4", "crop=1,2,3,4: several values need -m; several for one job are 'crop=[1,2,3,4]'"),
    ("stylize", "~crf", "~crf: 'crf' cannot be dropped; give it another value"),
    ("stylize", "=3", "=3: cannot be read; write it as key=value"),
    ("benchmark", "models=convgru", "models: 'convgru' is not a list; write models=[convgru]"),
    ("evaluate", "styles=1,2", "styles=1,2: several values need -m; several for one job are 'styles=[1,2]', one name"),
    ("train", "model.generator=tiny", "model.generator: 'tiny' is not a part; choose one with model/generator=<name>"),
    ("train", "loss.terms.style=4", "loss.terms.style: 4 is not a term; its weight is loss.terms.style.weight"),
    ("train", "curriculum.phases=[]", "curriculum.phases=[]: 'curriculum.phases' is a mapping; set its keys: images"),
    ("train", "style@x=painted", "style@x=painted: 'style' has one place; write style=painted"),
    ("train", "experiment/ablation=a0", "experiment/ablation=a0: choices of experiment/ablation are those of experi"),
    ("stylize", "model/foo=x", "model/foo=x: no such group; stylize.py has none"),
    ("train", "model.generator={levels:4}", "model.generator={levels:4}: 'levels' is not set there yet; write +mod"),
    (
        "train",
        "loss.features.weights=a.pth",
        "loss.features.weights: no such key; allowed: _target_; loss/features=vgg",
    ),
]


@pytest.mark.parametrize(("name", "given", "line"), MEANT)
def test_a_key_of_another_command_is_said_to_be_one(name: str, given: str, line: str) -> None:
    needed = {"stylize": ["checkpoint=a", "input=b", "output=c"], "evaluate": ["clips=a"], "studio": ["styles=a"]}
    needed |= {"live": ["checkpoint=a"], "export": ["checkpoint=a"]}
    told = only(*needed.get(name, []), *given.split(), name=name)
    assert told.startswith(line) and not told.endswith("allowed: ") and "defaults list" not in told


def test_keys_say_which_choice_or_command_has_them() -> None:
    assert only("style.image=a.png").endswith("; style=image has it")
    assert only("data.root=a").endswith("; data=images, data=video have it")
    assert only("input=a.mp4").endswith("; it is for benchmark.py, stylize.py")


def test_showing_a_wrong_configuration_is_one_line_too(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        train(["--cfg", "job", "style=wikiert"])
    assert capsys.readouterr().err.startswith("error: style=wikiert: no such choice (did you mean 'wikiart'?)")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--input", "a.mp4"], "values are given as input=..."),
        (["-o", "out.mp4"], "values are given as o=..."),
        (["--cfg", "everything"], "choose from 'job'"),
    ],
)
def test_options_of_other_tools_are_one_line(arguments: list[str], told: str, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        train(arguments)
    said = capsys.readouterr().err
    assert caught.value.code == 1 and said.startswith("error: ") and said.count("\n") == 1
    assert told in said


def test_a_flat_folder_is_no_wikiart(tmp_path: Path) -> None:
    from data_modules.styles import WikiArtStyle

    folder = tmp_path / "my pictures"
    folder.mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "a.png")
    with pytest.raises(UserError) as caught:
        WikiArtStyle(folder, "monet")
    assert str(caught.value).endswith(f"to take them all give style=folder 'style.root={folder}'")
