"""`vst studio`: its styles, its mistakes, its begin and its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.studio.serving import Client
from vst.checkpoint import save_stylizer, stylizer_content
from vst.commands.studio import open_styles, title
from vst.config import compose_or_explain
from vst.errors import UserError
from vst.networks import build_stylizer
from vst.runtime import engine
from vst.schema import StudioConfig

MODEL = {
    "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
    "temporal": {"_target_": "vst.networks.Stateless"},
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "run" / "stylizer.pt"
    path.parent.mkdir()
    save_stylizer(path, stylizer_content(build_stylizer(MODEL), MODEL, "any"))
    return path


def test_styles_get_titles() -> None:
    assert title("first/starry_night") == "Starry night" and title("Waves") == "Waves"


def test_styles_are_opened_before_the_first_guest(checkpoint: Path) -> None:
    styles = open_styles({"first_run": checkpoint}, "torch", "float32", "cpu", 64)
    style = styles["first_run"]
    assert style.title == "First run" and style.key
    frame = torch.randint(0, 255, (32, 48, 3), dtype=torch.uint8).numpy()
    one, other = style.open(), style.open()
    assert one is not other and (one(frame) == other(frame)).all()
    with pytest.raises(UserError, match="float16 is for GPUs"):
        open_styles({"first_run": checkpoint}, "torch", "float16", "cpu", 64)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiortc", None)
    with pytest.raises(UserError, match=re.escape("the studio needs the package aiortc: pip install 'vst[studio]'")):
        engine.require("aiortc", "the studio")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("token=short", "16 letters and digits or more"),
        ("token='has spaces in it and more'", "letters and digits"),
        ("port=70000", "65535 or less"),
        ("max_jobs=0", "1 or more"),
        ("max_upload_mb=big", "max_upload_mb"),
        ("codec=mpeg2", "codec"),
    ],
)
def test_mistakes_are_told_before_anything_is_opened(given: str, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        compose_or_explain("studio", ["styles=[a.pt]", given], StudioConfig)


def test_the_command_serves_until_it_is_told_to_end(checkpoint: Path, tmp_path: Path, film: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    root = Path(__file__).resolve().parents[2]
    call = "from vst.commands.studio import studio; studio()"
    given = [f"styles={checkpoint}", "port=0", f"work={work}", "device=cpu"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "caches"), "PYTHONPATH": str(root)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", call, *given], cwd=tmp_path, env=environment, **pipes)
    try:
        line = process.stdout.readline()
        client = Client(int(re.search(r"http://127\.0\.0\.1:(\d+)/$", line.strip())[1]), work)
        assert [style["title"] for style in client.ask("GET", "/api/studio").json["styles"]] == ["Run"]
        upload = client.upload(film).json["id"]
        render = client.render(upload, "run").json["id"]
        assert client.until(render, "done")["frames"] == 30
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, said) == (0, "")
    assert list(work.iterdir()) == []
    assert len(list((tmp_path / "caches" / "vst" / "studio").glob("*.jpg"))) == 1
