"""Writes Lightning's checkpoints whole or not at all."""

from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from vst.checkpoint import save_whole


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves by `vst.checkpoint.save_whole`: a full disk leaves no torso under a checkpoint's name."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        assert storage_options is None, storage_options
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_whole(path, checkpoint)
