"""Quality against training time: the checkpoints of one run, scored, over the minutes at which they were written.

    python train.py ... callbacks.checkpoint.save_top_k=-1 output_dir=RUN          keeps one checkpoint per epoch
    python evaluate.py "checkpoint=[RUN/checkpoints/epoch_000.ckpt,...]" clips=... metrics=quick output=SCORES
    python -m benchmarks.training_curve RUN SCORES/evaluation.json OUTPUT.png

The clock starts when the run writes its configuration, after start-up and before the first batch. Needs matplotlib:
pip install "vst[benchmarks]".
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

SHOWN = {"per_detail": "warping error per detail (the source: 1)", "patch_style": "distance of patches to the style"}


def minutes_of(run: Path) -> dict[str, float]:
    """{name of a checkpoint of an epoch: minutes from the begin of the run}."""
    begin = (run / "config.yaml").stat().st_mtime
    return {path.stem: (path.stat().st_mtime - begin) / 60 for path in sorted(run.glob("checkpoints/epoch_*.ckpt"))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("run", "scores", "output"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    means = json.loads(given.scores.read_text())["means"]
    minutes = minutes_of(given.run)
    rows = [(minutes[name], row) for row in means for name in minutes if row["entry"].endswith(name)]
    figure, axes = plt.subplots(1, len(SHOWN), figsize=(9, 3.2), layout="constrained")
    print("| minutes | " + " | ".join(SHOWN) + " |\n|" + " --- |" * (len(SHOWN) + 1))
    for minute, row in rows:
        print(f"| {minute:.1f} | " + " | ".join(f"{row['values'][key]:.3f}" for key in SHOWN) + " |")
    for axis, (key, label) in zip(axes, SHOWN.items(), strict=True):
        axis.plot([minute for minute, _ in rows], [row["values"][key] for _, row in rows], marker="o")
        axis.set(xlabel="minutes of training", ylabel=label, ylim=(0, None))
        axis.grid(alpha=0.3)
    figure.savefig(given.output, dpi=110)


if __name__ == "__main__":
    main()
