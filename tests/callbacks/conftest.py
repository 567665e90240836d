"""A task and data that are as small as can be, with the interface that the callbacks rely on."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from vst.batch import Clip, ClipBatch

SIZE, LENGTH, BATCH, STEPS = 32, 4, 2, 2


class CountingStylizer(nn.Module):
    """Inverts the frame and adds state / 100 to red: its output tells how often the state was handed back."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.calls: list[tuple[tuple[int, ...], bool, bool, bool]] = []

    def forward(self, frames: Tensor, style: Tensor | None = None, state: tuple[Tensor, ...] | None = None):
        assert style is None and frames.ndim == 4
        count = torch.zeros((), device=frames.device) if state is None else state[0]
        self.calls.append((tuple(frames.shape), state is None, self.training, torch.is_inference_mode_enabled()))
        red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1) * count / 100
        return ((1 - frames) / 2 * self.weight + red).clamp(0, 1), (count + 1,)


class TinyTask(pl.LightningModule):
    """Two optimizers in manual optimisation, as in adversarial training."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.discriminator = nn.Linear(1, 1), nn.Linear(1, 1)
        self.stylizer = CountingStylizer()
        self.clips_seen = 0
        self.fail_at: int | None = None

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.SGD(net.parameters(), lr=0.01) for net in (self.generator, self.discriminator)]

    def inference_stylizer(self) -> nn.Module:
        return self.stylizer.eval()

    def training_step(self, batch: ClipBatch, batch_idx: int) -> None:
        if self.fail_at is not None and self.clips_seen // BATCH == self.fail_at:
            raise RuntimeError("planned failure")
        for optimizer, net in zip(self.optimizers(), (self.generator, self.discriminator), strict=True):
            optimizer.zero_grad()
            self.manual_backward(net(batch.frames.mean().view(1)).square().sum())
            optimizer.step()
        self.clips_seen += len(batch.frames)
        self.log("loss/total", float(self.clips_seen))
        self.log("loss/style", 0.5)

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> None:
        pass

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["clips_seen"] = self.clips_seen

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.clips_seen = checkpoint["clips_seen"]


class Style:
    """A style source as far as previews use it."""

    name = "blue"

    def reference(self) -> Tensor:
        return torch.tensor([0.0, 0.0, 1.0]).view(3, 1, 1).expand(3, 24, 48)


class TinyData(pl.LightningDataModule):
    """Frame t of every clip is uniformly grey of value t / 10, in previews of t / length."""

    def __init__(self) -> None:
        super().__init__()
        self.style = Style()

    def train_dataloader(self) -> DataLoader:
        return self._loader(STEPS)

    def val_dataloader(self) -> DataLoader:
        return self._loader(1)

    def preview_clips(self, count: int, length: int, size: int) -> list[Clip]:
        frames = torch.arange(length).view(length, 1, 1, 1).expand(length, 3, size, size) / length
        return [Clip(frames, "grey")] * count

    def _loader(self, steps: int) -> DataLoader:
        frames = torch.arange(LENGTH).view(LENGTH, 1, 1, 1).expand(LENGTH, 3, SIZE, SIZE) / 10
        items = [frames] * (steps * BATCH)
        return DataLoader(items, BATCH, collate_fn=_collate)


def _collate(items: list[Tensor]) -> ClipBatch:
    return ClipBatch(torch.stack(items), torch.zeros(len(items), 3, 8, 8), ["grey"] * len(items))


@pytest.fixture
def task() -> TinyTask:
    torch.manual_seed(0)
    return TinyTask()


@pytest.fixture
def data() -> TinyData:
    return TinyData()


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., pl.Trainer]:
    """Build a CPU trainer of two epochs that writes below `tmp_path` and stays silent."""

    def make(*callbacks: pl.Callback, **options: object) -> pl.Trainer:
        defaults = {"max_epochs": 2, "logger": False, "enable_checkpointing": False}
        return pl.Trainer(
            accelerator="cpu", devices=1, default_root_dir=tmp_path, callbacks=list(callbacks),
            enable_progress_bar=False, enable_model_summary=False, log_every_n_steps=1,
            num_sanity_val_steps=0, **(defaults | options),
        )  # fmt: skip

    return make


@pytest.fixture
def wandb_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep W&B away from the user's account and folders, and from the network; close the run afterwards."""
    import wandb

    home = tmp_path / "home"
    home.mkdir()
    for variable in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NETRC", str(home / "netrc"))
    for variable in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_DIR"):
        monkeypatch.setenv(variable, str(home))
    wandb.teardown()  # it reads the environment once, and remembers keys
    yield home
    wandb.finish()
    wandb.teardown()
