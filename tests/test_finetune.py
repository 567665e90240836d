"""`experiment=finetune`: a trained model takes on the style of a picture."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.media import make_video, pattern_frames
from vst.checkpoint import load_stylizer, save_stylizer, stylizer_content
from vst.commands.train import run_training, train
from vst.config import compose_or_explain
from vst.errors import UserError
from vst.networks import build_stylizer
from vst.schema import TrainConfig

STYLE = (0.9, 0.3, 0.1)
GENERATOR = {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1}
STATELESS = {"_target_": "vst.networks.Stateless"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a picture in the style, and an image model without memory."""
    Image.new("RGB", (80, 64), tuple(round(255 * c) for c in STYLE)).save(tmp_path / "style.png")
    model = {"generator": GENERATOR, "temporal": STATELESS}
    save_stylizer(tmp_path / "image.pt", stylizer_content(build_stylizer(model), model, style="other"))
    return tmp_path


def finetune(folder: Path, *overrides: str):
    cfg = compose_or_explain(
        "train",
        [
            "experiment=finetune", f"init_from={folder}/image.pt", "style=image", f"style.image={folder}/style.png",
            "model.generator.width=8", "model.generator.num_blocks=1", "model.discriminator.width=4", "data.crop=32",
            "margin=4", "data.batch_size=2", "data.steps_per_epoch=10", "data.num_workers=0", "data.val_clips=1",
            "trainer=cpu", "trainer.log_every_n_steps=1", "logger=none", f"output_dir={folder}/run",
            "callbacks=none", *overrides,
        ],
        TrainConfig,
    )  # fmt: skip
    return run_training(cfg)[1]["task"]


def test_it_changes_the_style_from_the_weights_that_it_is_given(folder: Path) -> None:
    task = finetune(folder, "optimizer.generator.lr=0.004")
    frames = torch.rand(1, 1, 3, 48, 48)
    before = load_stylizer(folder / "image.pt")(frames)[0].mean(dim=(0, 1, 3, 4))
    after = task.inference_stylizer()(frames)[0].mean(dim=(0, 1, 3, 4))
    target = torch.tensor(STYLE)
    assert (after - target).norm() < 0.8 * (before - target).norm()
    assert task.batches_seen == 30 and sum(p.numel() for p in task.stylizer.temporal.parameters()) > 0


def test_the_first_step_begins_at_the_loaded_model(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        task = finetune(folder, "optimizer.generator.lr=0", "trainer.max_epochs=1", "model/tone=none")
    frames = torch.rand(1, 1, 3, 48, 48)
    torch.testing.assert_close(task.inference_stylizer()(frames)[0], load_stylizer(folder / "image.pt")(frames)[0])
    said = f"{folder}/image.pt (style other): generator taken, memory new, discriminator new"
    assert [r.getMessage() for r in caplog.records if "init_from" in r.getMessage()] == [f"init_from {said}"]


def test_a_model_of_another_width_is_refused_before_the_data_are_looked_for(folder: Path) -> None:
    with pytest.raises(UserError, match="another architecture") as caught:
        finetune(folder, "model.generator.width=16", "data=video", f"data.root={folder}/nowhere")
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------------------
# Through the command line, from a trained recurrent model with its discriminator


SMALL = (
    "model.generator.width=8", "model.generator.num_blocks=1", "model/temporal=convgru", "model.discriminator.width=4",
    "data.crop=32", "margin=4", "data.batch_size=2", "data.num_workers=0", "data.val_clips=1", "trainer=cpu",
    "trainer.log_every_n_steps=1", "logger=none", "~callbacks.preview", "~callbacks.benchmark", "~callbacks.progress",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run on green paintings."""
    root = tmp_path_factory.mktemp("trained")
    Image.new("RGB", (80, 64), (40, 200, 60)).save(root / "green.png")
    train(
        [
            "style=image", f"style.image={root}/green.png", f"output_dir={root}/run", "data.steps_per_epoch=4",
            "trainer.max_epochs=1", *SMALL,
        ]
    )  # fmt: skip
    return root / "run" / "checkpoints" / "last.ckpt"


def red_film(path: Path) -> Path:
    """Ten seconds in which a texture moves, in reds alone; without its frame numbers, which are black and white."""
    frames = pattern_frames(20, 96, 80)[:, 24:].astype(np.float32)
    return make_video(
        path, np.stack([frames[..., 0] / 2 + 120, frames[..., 1] / 8, frames[..., 2] / 8], -1).astype(np.uint8), fps=2
    )


def two_red_pictures(folder: Path) -> Path:
    folder.mkdir()
    for seed in range(2):
        picture = np.random.default_rng(seed).integers(0, 40, (64, 80, 3), np.uint8)
        picture[..., 0] += 180
        Image.fromarray(picture).save(folder / f"{seed}.png")
    return folder


@pytest.mark.parametrize("style", ["video", "folder"])
def test_a_trained_model_takes_on_a_film_or_two_pictures(
    trained: Path, tmp_path: Path, style: str, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = {
        "video": lambda: [f"style.video={red_film(tmp_path / 'film.mp4')}"],
        "folder": lambda: [f"style.root={two_red_pictures(tmp_path / 'pictures')}"],
    }[style]()
    train(
        [
            "experiment=finetune", f"init_from={trained}", f"style={style}", *given, "output_dir=run",
            "data.steps_per_epoch=12", "optimizer.generator.lr=0.004", *SMALL,
        ]
    )  # fmt: skip
    log = (tmp_path / "run" / "train.log").read_text()
    assert "(style green): generator taken, memory taken, discriminator taken" in log

    frames = torch.rand(1, 2, 3, 48, 48)
    before, after = (
        load_stylizer(path)(frames)[0].mean(dim=(0, 1, 3, 4)) for path in (trained, tmp_path / "run" / "stylizer.pt")
    )
    assert after[0] - after[1:].max() > before[0] - before[1:].max() + 0.1, "it has turned red"
    content = torch.load(tmp_path / "run" / "stylizer.pt", weights_only=True)["stylizer"]
    assert content["style"] == {"video": "film", "folder": "pictures"}[style]
