"""Channels are taken out of a stylizer: which ones, and what is left."""

from pathlib import Path

import pytest
import torch
from PIL import Image

import vst.commands.train as train_module
from vst.checkpoint import load_stylizer, read_stylizer, save_stylizer, stylizer_content
from vst.commands.train import run_training
from vst.config import compose_or_explain
from vst.errors import UserError
from vst.networks import Stylizer, build_stylizer
from vst.pruning import prune
from vst.schema import TrainConfig

RESIDUAL, GUIDED, TWO_SCALE = (f"vst.networks.{kind}Generator" for kind in ("Residual", "Guided", "TwoScale"))
GRAIN = "vst.networks.CameraGrain"
MEMORIES = {"gru": "ConvGRU", "aligned": "AlignedConvGRU", "none": "Stateless"}


def model_of(memory: str = "gru", width: int = 16, **generator) -> dict:
    temporal = {"_target_": f"vst.networks.{MEMORIES[memory]}"}
    return {
        "generator": {"_target_": RESIDUAL, "width": width, "num_blocks": 2, **generator},
        "temporal": temporal if memory == "none" else {**temporal, "channels": width},
    }


def content_of(model: dict) -> dict:
    """As after training: weights off their special starting point, so that the memory matters."""
    torch.manual_seed(0)
    made = build_stylizer(model)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return stylizer_content(made, model, style="swirl")


def loaded(content: dict) -> Stylizer:
    made = build_stylizer(content["model"])
    made.load_state_dict(content["weights"])
    return made.eval()


def painted(content: dict) -> torch.Tensor:
    frames = torch.rand(1, 4, 3, 40, 48, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return loaded(content)(frames)[0]


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize(
    "generator",
    [{}, {"norm": "instance"}, {"_target_": GUIDED}, {"_target_": TWO_SCALE}],
    ids=["", "norm", "guided", "two_scale"],
)
def test_pruning_nothing_changes_nothing(memory: str, generator: dict) -> None:
    content = content_of({**model_of(memory, **generator), "tone": {"_target_": "vst.networks.SlowTone"}})
    same = prune(content, 0.0)
    assert same["weights"].keys() == content["weights"].keys() and same["style"] == "swirl"
    assert torch.equal(painted(same), painted(content))


def silence(weights: dict[str, torch.Tensor], channels: list[int], half: int, writers: bool) -> None:
    """Zero what makes these channels of the stream, or what reads them."""
    memory = [c - half for c in channels if c >= half]
    gru = "temporal.gru" if "temporal.gru.gates.weight" in weights else "temporal"
    for name, value in weights.items():
        if "strokes" in name:
            continue
        if writers and ("second" in name or "stem" in name):
            value[channels] = 0
        if writers and name.startswith(f"{gru}.candidate"):
            value[memory] = 0
        reading = ("first", "rise" if "generator.rise.weight" in weights else "head", "key")
        if not writers and name.endswith("weight") and any(part in name for part in reading):
            value[:, channels] = 0
        if not writers and name in (f"{gru}.gates.weight", f"{gru}.candidate.weight"):
            value[:, [*memory, *(c + half for c in memory)]] = 0


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize("target", [RESIDUAL, GUIDED], ids=["residual", "guided"])
@pytest.mark.parametrize("writers", [True, False], ids=["that are zero", "that nobody reads"])
def test_channels_that_do_not_count_go_and_nothing_is_lost(memory: str, writers: bool, target: str) -> None:
    content = content_of(model_of(memory, _target_=target))
    weights = content["weights"]
    silence(weights, [1, 2, 5, 7, 8, 11, 13, 14], half=8, writers=writers)
    for block, dead in enumerate(([0, 3, 4, 6, 9, 10, 12, 15], [1, 2, 5, 7, 8, 11, 13, 14])):
        part = f"generator.blocks.{block}"
        if writers:
            weights[f"{part}.first.weight"][dead] = weights[f"{part}.first.bias"][dead] = 0
        else:
            weights[f"{part}.second.weight"][:, dead] = 0
    small = prune(content, 0.5)
    assert (small["model"]["generator"]["width"], small["model"]["generator"]["inner"]) == (8, 8)
    torch.testing.assert_close(painted(small), painted(content), atol=1e-6, rtol=0)
    assert (painted(prune(content, 0.7)) - painted(content)).abs().max() > 1e-3, "or these channels never counted"


def test_the_channels_that_stay_are_those_of_the_largest_product_of_norms() -> None:
    """By hand, for the inside of a block; and scaling a layer up and the next one down changes nothing."""
    content = content_of(model_of("none"))
    weights = content["weights"]
    first, bias, second = (weights[f"generator.blocks.1.{n}"] for n in ("first.weight", "first.bias", "second.weight"))
    made = torch.tensor([float(first[c].abs().sum() + bias[c].abs()) for c in range(16)])
    read = torch.tensor([float(second[:, c].abs().sum()) for c in range(16)])
    chosen = sorted((made * read).topk(4).indices.tolist())
    assert chosen != sorted(made.topk(4).indices.tolist()), "or this test would not tell the two rules apart"
    kept = prune(content, 0.75)["weights"]["generator.blocks.1.first.bias"]
    torch.testing.assert_close(kept, bias[chosen])
    factors = torch.linspace(0.1, 10, 16)
    first *= factors.view(-1, 1, 1, 1)
    second /= factors.view(1, -1, 1, 1)
    bias *= factors
    torch.testing.assert_close(
        prune(content, 0.75)["weights"]["generator.blocks.1.first.bias"], (bias / factors)[chosen] * factors[chosen]
    )


@pytest.mark.parametrize(("share", "width", "inner"), [(0.25, 12, 12), (0.6, 6, 6), (0.9, 2, 2), (0.95, 2, 1)])
def test_both_halves_keep_as_many(share: float, width: int, inner: int) -> None:
    content = content_of(model_of("aligned"))
    content["weights"]["generator.stem.weight"][:8] *= 100  # the first half counts far more, and yet
    small = prune(content, share)
    assert small["model"]["generator"]["width"] == small["model"]["temporal"]["channels"] == width
    assert small["model"]["generator"]["inner"] == inner
    assert painted(small).isfinite().all()


def test_a_pruned_model_can_be_pruned_again_and_the_given_one_stays() -> None:
    content = content_of(model_of())
    before = {name: value.clone() for name, value in content["weights"].items()}
    twice = prune(prune(content, 0.5), 0.5)
    assert (twice["model"]["generator"]["width"], twice["model"]["generator"]["inner"]) == (4, 4)
    assert painted(twice).shape == (1, 4, 3, 40, 48)
    assert content["model"] == model_of() and all(torch.equal(before[n], w) for n, w in content["weights"].items())


def test_what_is_not_known_is_not_cut() -> None:
    content = content_of(model_of())
    content["weights"]["generator.attention.weight"] = torch.ones(16, 16)
    with pytest.raises(UserError, match=r"generator.attention.weight is not known") as caught:
        prune(content, 0.5)
    assert "\n" not in str(caught.value) and "experiment=distill" in str(caught.value)
    strange = content_of(model_of())
    strange["weights"]["tone.mean"] = torch.zeros(3)  # of a part that this model does not have
    with pytest.raises(UserError, match=r"tone.mean is not known"):
        prune(strange, 0.5)
    other = content_of(model_of())
    other["weights"]["generator.head.weight"] = torch.ones(49, 4, 3, 3)  # as of a convolution in groups
    with pytest.raises(UserError, match=r"generator.head.weight is not known"):
        prune(other, 0.5)


# ----------------------------------------------------------------------------------------------------
# The commands


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a trained model, and a picture."""
    Image.new("RGB", (80, 64), (230, 77, 26)).save(tmp_path / "style.png")
    save_stylizer(tmp_path / "large.pt", content_of(model_of("aligned")))
    return tmp_path


def train(folder: Path, name: str, *overrides: str) -> Path:
    """The stylizer.pt of a short run."""
    tiny = [
        "style=image", f"style.image={folder}/style.png", "data.crop=32", "margin=4", "data.batch_size=2",
        "clip_length=2", "data.steps_per_epoch=8", "data.num_workers=0", "data.val_clips=1", "trainer=cpu",
        "trainer.max_epochs=1",
        "trainer.log_every_n_steps=1", "logger=none", f"output_dir={folder}/{name}", "callbacks=none",
        "+callbacks.stylizer._target_=callbacks.stylizer.SaveStylizer",
        "+callbacks.checkpoint={_target_: pytorch_lightning.callbacks.ModelCheckpoint, save_last: true, "
        f"dirpath: {folder}/{name}/checkpoints}}",
    ]  # fmt: skip
    run_training(compose_or_explain("train", [*tiny, *overrides], TrainConfig))
    return folder / name / "stylizer.pt"


def distance(path: Path, other: Path, frames: torch.Tensor) -> float:
    a, b = (load_stylizer(p)(frames)[0] for p in (path, other))
    return float((a - b).abs().mean())


def test_a_pruned_model_trains_saves_loads_and_comes_nearer_again(folder: Path) -> None:
    large, frames = folder / "large.pt", torch.rand(1, 3, 3, 64, 64)
    options = [f"init_from={large}", "prune=0.5"]
    untrained = train(folder, "untrained", "experiment=prune", *options, "optimizer.generator.lr=0")
    small = train(folder, "small", "experiment=prune", *options)
    content = read_stylizer(small)
    assert content["model"]["generator"]["width"] == content["model"]["temporal"]["channels"] == 8
    assert content["style"] == "swirl", "what it paints is the teacher's style"
    expected = prune(read_stylizer(large), 0.5)
    assert all(torch.equal(value, expected["weights"][n]) for n, value in read_stylizer(untrained)["weights"].items())
    assert distance(small, large, frames) < 0.9 * distance(untrained, large, frames)


def test_a_student_learns_and_its_checkpoint_is_its_own(folder: Path) -> None:
    large, frames = folder / "large.pt", torch.rand(1, 3, 3, 64, 64)
    options = [f"teacher={large}", "model.generator.width=8"]
    untrained = train(folder, "untrained", "experiment=distill", *options, "optimizer.generator.lr=0")
    small = train(folder, "small", "experiment=distill", *options)
    assert distance(small, large, frames) < 0.9 * distance(untrained, large, frames)
    last = torch.load(folder / "small" / "checkpoints" / "last.ckpt", weights_only=True)
    assert read_stylizer(small)["style"] == "swirl"
    assert not [n for n in last["state_dict"] if n.startswith("losses.") or "teacher" in n]
    assert sum(v.numel() for v in last["state_dict"].values()) < 3 * sum(
        v.numel() for v in last["stylizer"]["weights"].values()
    )


def test_a_pruned_run_goes_on_without_cutting_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(folder, "half", "experiment=prune", f"init_from={folder}/large.pt")
    longer = ["trainer.max_epochs=2"]
    monkeypatch.setattr(train_module, "_given_overrides", lambda: longer)
    resumed = [f"resume={folder}/half/checkpoints/last.ckpt", *longer, f"output_dir={folder}/on"]
    task = run_training(compose_or_explain("train", resumed, TrainConfig))[1]["task"]
    assert task.model_config["generator"]["width"] == 8 and task.batches_seen == 16


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["experiment=distill", "teacher={folder}/none.pt"], "none.pt': not found"),
        (["experiment=distill", "teacher={folder}/old.pt"], "old.pt: checkpoint format 99, this vst reads 1"),
        (["experiment=prune", "init_from={folder}/old.pt"], "old.pt: checkpoint format 99, this vst reads 1"),
        (["experiment=distill", "teacher={folder}/dabs.pt", "model=convgru"], "add model.grain.streak=0"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_built(folder: Path, overrides: list[str], said: str) -> None:
    save_stylizer(folder / "old.pt", {**content_of(model_of()), "format": 99})
    save_stylizer(folder / "dabs.pt", content_of(model_of(grain=4) | {"grain": {"_target_": GRAIN}}))
    broken = [line.format(folder=folder) for line in overrides]
    # The style and the data are missing too, but nobody has looked for them yet.
    with pytest.raises(UserError, match=said) as caught:
        train(folder, "run", *broken, "data=video", f"data.root={folder}/nowhere", f"style.image={folder}/nowhere.png")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["experiment=distill"], "teacher: missing; give it as teacher=..., the stylizer.pt of a run"),
        (["experiment=prune"], "init_from: missing; give it as init_from=..., the stylizer.pt or last.ckpt of a run"),
        (["prune=0.5"], "init_from: missing; give it as init_from=..., the stylizer.pt or last.ckpt of a run"),
        (["prune=1", "init_from=a.pt"], "prune: 1 is not 0 or more and 0.95 or less"),
        (["teacher=a.pt"], "teacher: a.pt has nothing to teach: no loss term repeats it; choose experiment=distill"),
    ],
)
def test_mistakes_in_the_configuration_are_one_line(overrides: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        compose_or_explain("train", overrides, TrainConfig)
    assert str(caught.value) == said


def test_the_game_goes_with_a_teacher() -> None:
    choices = ["experiment=distill", "loss=distill_game", "model/discriminator=multiscale", "teacher=a.pt"]
    cfg = compose_or_explain("train", choices, TrainConfig)
    assert {"adversarial", "distillation", "style"} <= set(cfg.loss.terms)


def test_a_generator_of_two_scales_with_a_motion_is_narrowed() -> None:
    model = model_of("none", 16, _target_=TWO_SCALE, half=8, grain=4) | {
        "grain": {"_target_": "vst.networks.FlowGrain", "channels": 4, "cell": 2},
        "motion": {"_target_": "vst.networks.DenseMotion", "rows": 32},
        "short_side": 360,
    }
    small = prune(content_of(model), 0.5)
    assert small["model"]["generator"]["width"] == 8 and small["model"]["short_side"] == 360
    assert loaded(small).motion is not None and painted(small).isfinite().all()
