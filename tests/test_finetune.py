"""`experiment=finetune`: a trained model takes on the style of a picture."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from vst.checkpoint import load_stylizer, save_stylizer, stylizer_content
from vst.commands.train import run_training
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
        task = finetune(folder, "optimizer.generator.lr=0", "trainer.max_epochs=1")
    frames = torch.rand(1, 1, 3, 48, 48)
    torch.testing.assert_close(task.inference_stylizer()(frames)[0], load_stylizer(folder / "image.pt")(frames)[0])
    said = f"{folder}/image.pt (style other): generator taken, memory new, discriminator new"
    assert [r.getMessage() for r in caplog.records if "init_from" in r.getMessage()] == [f"init_from {said}"]


def test_a_model_of_another_width_is_refused_before_the_data_are_looked_for(folder: Path) -> None:
    with pytest.raises(UserError, match="another architecture") as caught:
        finetune(folder, "model.generator.width=16", "data=video", f"data.root={folder}/nowhere")
    assert "\n" not in str(caught.value)
