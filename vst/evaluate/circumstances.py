"""Under what circumstances an evaluation was made."""

from __future__ import annotations

import platform
import subprocess
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import cv2
import torch

from vst import __version__

PACKAGES = ("torchvision", "torchmetrics", "kornia", "numpy")


def circumstances(device: torch.device) -> dict[str, object]:
    """Date, commit, versions and hardware, as text."""
    return {
        "date": datetime.now().astimezone().isoformat(timespec="seconds"),
        "vst": __version__,
        "commit": commit() or "not a git checkout",
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            **{name: version(name) for name in PACKAGES},
            "opencv": cv2.__version__,
        },
        "device": _device(device),
    }


def commit(folder: Path | None = None) -> str | None:
    """Hash of the checkout of `folder`, this code's own if None, and whether files differ; None if there is none."""
    folder = folder or Path(__file__).resolve().parent
    try:
        head, changes = (
            subprocess.run(["git", "-C", str(folder), *command], capture_output=True, text=True, timeout=10, check=True)
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + (" with changes" if changes.stdout.strip() else "")


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device}: {torch.cuda.get_device_name(device)}"
    return f"{device}: {_processor()}, {torch.get_num_threads()} threads"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
