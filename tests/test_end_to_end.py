"""The whole line through the commands' own front door: train, resume, stylise a real encoded video, sweep."""

import csv
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.media import make_video, pattern_frames
from vst.checkpoint import load_stylizer, read_training
from vst.commands.stylize import stylize
from vst.commands.train import train

ROOT = Path(__file__).resolve().parent.parent
SMOKE = ["experiment=smoke", "model.generator.width=8", "data.num_workers=1"]


def vst(script, *arguments, cwd, check=True):
    """Run an entry script as a user would, from another folder, without network or account."""
    environment = {**os.environ, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    environment.pop("WANDB_SERVICE", None)  # of a test in this process; a user's shell has none
    command = [sys.executable, str(ROOT / script), *arguments]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
        assert "Traceback" not in result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished training run of two epochs, its printed output, and the folder it was started from."""
    cwd = tmp_path_factory.mktemp("user")
    result = vst("train.py", *SMOKE, "output_dir=run", cwd=cwd)
    return cwd / "run", result.stdout, cwd


def video_of(path):
    with av.open(str(path)) as container:
        frames = [(f.pts, f.width, f.height) for f in container.decode(video=0)]
        return frames, float(container.streams.video[0].time_base)


def audio_packets(path):
    with av.open(str(path)) as container:
        packets = container.demux(audio=0)
        return [hashlib.sha256(bytes(p)).hexdigest() for p in packets if p.dts is not None]


def test_training_leaves_everything_it_promises(run):
    folder, printed, _ = run
    for name in (
        "stylizer.pt",
        "preview.png",
        "preview.mp4",
        "batch.png",
        "metrics.csv",
        "config.yaml",
        "checkpoints/last.ckpt",
    ):
        assert (folder / name).stat().st_size > 0, name
        assert name in printed or name == "batch.png", f"{name} is not told of"
    assert list(folder.glob("wandb/offline-run-*/*.wandb")), "an offline W&B run"
    assert list(folder.glob("wandb/offline-run-*/files/media/**/*.png")), "with the preview"
    assert list(folder.glob("wandb/offline-run-*/files/media/**/*.mp4")), "and the video"
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    for name in (
        "loss/style",
        "loss/adversarial",
        "loss/discriminator",
        "loss/temporal",
        "val/total",
        "val/ssim",
        "fps/160x96",
    ):
        assert any(row.get(name) for row in rows), name
    assert "embedded painted collection" in printed, "that no WikiArt folder was there must be said"
    assert printed.strip().splitlines()[-1].startswith("python stylize.py checkpoint=run/stylizer.pt")


def test_the_next_command_that_is_printed_works(run):
    _, printed, cwd = run
    frames = pattern_frames(12, 96, 64)
    pts = [0, 40, 80, 160, 200, 240, 360, 400, 440, 520, 560, 800]  # a variable frame rate
    make_video(cwd / "clip.mp4", frames=frames, pts=pts, audio="aac", rotation=90)
    words = shlex.split(printed.strip().splitlines()[-1].replace("your_video.mp4", "clip.mp4"))
    vst(words[1], *words[2:], cwd=cwd)
    (before, base), (after, base_after) = video_of(cwd / "clip.mp4"), video_of(cwd / "stylised.mp4")
    assert [size[1:] for size in before] == [size[1:] for size in after]
    assert [f[0] * base for f in before] == pytest.approx([f[0] * base_after for f in after])
    assert audio_packets(cwd / "clip.mp4") == audio_packets(cwd / "stylised.mp4") != []
    with av.open(str(cwd / "clip.mp4")) as a, av.open(str(cwd / "stylised.mp4")) as b:
        one, other = (next(c.decode(video=0)) for c in (a, b))
        assert one.rotation == other.rotation != 0
        difference = np.abs(one.to_ndarray(format="rgb24").astype(int) - other.to_ndarray(format="rgb24"))
        assert difference.mean() > 1, "the picture must have changed"


def test_an_interrupted_run_resumes_bit_for_bit(run):
    """With a worker process, whose first items are asked for before Lightning says which epoch it is; and with a
    phase for each of the four batches, so that the resumed half is clips that are cut and lose their memory."""
    _, _, cwd = run
    phases = [f"curriculum.phases.{name}.share=0.25" for name in ("content", "images", "clips", "ping_pong")]
    disturbed = [f"curriculum.phases.clips.{what}" for what in ("single=0", "splice=1", "reset=0.5")]
    course = ["curriculum=full", *phases, *disturbed]
    vst("train.py", *SMOKE, *course, "output_dir=kept", "callbacks.checkpoint.save_top_k=-1", cwd=cwd)
    vst("train.py", "resume=kept/checkpoints/epoch_000.ckpt", "output_dir=resumed", cwd=cwd)
    straight, resumed = (
        torch.load(cwd / name / "checkpoints/last.ckpt", weights_only=True) for name in ("kept", "resumed")
    )
    assert straight["epoch"] == resumed["epoch"] == 1
    assert straight["state_dict"].keys() == resumed["state_dict"].keys()
    for name, value in straight["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name
    for a, b in zip(straight["optimizer_states"], resumed["optimizer_states"], strict=True):
        for index, state in a["state"].items():
            assert all(torch.equal(value, b["state"][index][key]) for key, value in state.items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_what_resuming_and_stylising_need(tmp_path, number):
    """Pressed twice, in a terminal, which also sends it to worker processes."""
    command = [sys.executable, str(ROOT / "train.py"), *SMOKE, "output_dir=run", "trainer.max_epochs=500", "logger=csv"]
    process = subprocess.Popen(
        [*command, "~callbacks.preview"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 60
    while not last.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    os.killpg(process.pid, number)
    time.sleep(0.3)
    os.killpg(process.pid, number)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in printed, printed
    assert load_stylizer(tmp_path / "run" / "stylizer.pt")
    assert read_training(last)["trainer"]["max_epochs"] == 500
    assert printed.splitlines()[-1] == "python train.py resume=run/checkpoints/last.ckpt"


def test_resuming_keeps_to_the_settings_of_the_run(run, monkeypatch, capsys):
    folder, _, cwd = run
    monkeypatch.chdir(cwd)
    (cwd / "other").mkdir()
    (cwd / "other/config.yaml").touch()
    last = f"resume={folder}/checkpoints/last.ckpt"
    for arguments, message in (
        ([last, "output_dir=a"], "has finished its 2 epochs"),
        ([last, "output_dir=b", "trainer.max_epochs=3", "seed=7"], "seed=7: the run to resume has other settings"),
        ([last, "output_dir=other", "trainer.max_epochs=3"], "output_dir=other: holds a run already"),
    ):
        with pytest.raises(SystemExit) as ended:
            train(arguments)
        errors = capsys.readouterr().err
        assert ended.value.code == 1 and message in errors and "Traceback" not in errors


def test_training_on_a_folder_of_videos(run, tmp_path):
    """Real decoding: cache, probing, a broken file among the good ones, flow from the frames."""
    (tmp_path / "films").mkdir()
    for i in range(3):
        make_video(tmp_path / "films" / f"{i}.mp4", frames=pattern_frames(20, 160, 120, seed=i))
    (tmp_path / "films" / "broken.mp4").write_text("not a video")
    result = vst("train.py", *SMOKE, "data=video", "data.root=films", "margin=8", "output_dir=run", cwd=tmp_path)
    assert "broken.mp4" in result.stdout + result.stderr
    assert load_stylizer(tmp_path / "run" / "stylizer.pt")
    assert (tmp_path / "run" / "preview.png").is_file()


def test_a_sweep_runs_every_combination_in_its_own_folder(tmp_path):
    vst(
        "train.py",
        "-m",
        *SMOKE,
        "model/temporal=convgru,none",
        "seed=1,2",
        "trainer.max_epochs=1",
        "data.crop=32",
        "margin=8",
        "logger=csv",
        "~callbacks.preview",
        "~callbacks.benchmark",
        cwd=tmp_path,
    )
    (sweep,) = (tmp_path / "outputs" / "sweep").iterdir()
    assert sorted(p.name for p in sweep.iterdir() if p.is_dir()) == ["0", "1", "2", "3"]
    configs = [(sweep / str(i) / "config.yaml").read_text() for i in range(4)]
    assert ["ConvGRU" in c for c in configs] == [True, True, False, False]
    metrics = {(sweep / str(i) / "metrics.csv").read_text() for i in range(4)}
    assert len(metrics) == 4, "four different runs"


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (train, ["experiment=smoke", "output_dir=file/run"], "output_dir=file/run: cannot be made"),
        (train, ["experiment=smoke", "resume=none.ckpt", "output_dir=r"], "checkpoint 'none.ckpt': not found"),
        (train, ["data=video", "data.root=nowhere", "output_dir=r"], "data.root=nowhere: no such folder"),
        (stylize, ["checkpoint=none.pt", "input=a.mp4", "output=b.mp4"], "checkpoint 'none.pt': not found"),
        (stylize, ["checkpoint=file", "input=a.mp4", "output=b.mp4"], "checkpoint 'file': not a readable"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(tmp_path, monkeypatch, capsys, command, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("a file")
    with pytest.raises(SystemExit) as ended:
        command(arguments)
    assert ended.value.code == 1
    output, errors = capsys.readouterr()
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and message in lines[0]
    assert "Traceback" not in output + errors
    assert command is not stylize or [p.name for p in tmp_path.iterdir()] == ["file"], "nothing else is left behind"


def test_a_mistake_ends_the_process_with_1(tmp_path):
    result = vst("stylize.py", "checkpoint=none.pt", "input=a.mp4", "output=b.mp4", cwd=tmp_path, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: checkpoint 'none.pt': not found") and result.stderr.count("\n") == 1
