"""The user's cache folder: where it lies, what it says, how it is cleared."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from vst.cache import PARTS, cache_folder, cache_root, in_words, reason, replacing
from vst.commands.cache import cache
from vst.errors import UserError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "vst"


def fill(part: str, size: int) -> Path:
    path = cache_folder(part) / "below" / "file"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(size))
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="the folder is named by the system")
def test_it_lies_where_the_desktop_says(root: Path, monkeypatch, tmp_path: Path) -> None:
    assert cache_root() == root
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root() == tmp_path / "home" / ".cache" / "vst"


def test_the_command_shows_sizes_and_clears(root: Path, capsys) -> None:
    videos, engines = fill("videos", 2_500_000), fill("engines", 999)
    cache([])
    shown = capsys.readouterr().out
    assert str(root) in shown
    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert "2.5 MB" in lines["videos"] and "999 B" in lines["engines"] and "0 B" in lines["painted"]
    assert videos.exists() and engines.exists(), "to look changes nothing"
    cache(["clear=videos"])
    assert "2.5 MB freed" in capsys.readouterr().out
    assert not videos.exists() and engines.exists()
    fill("painted", 10)
    cache(["clear=[engines,painted]"])
    assert not any(cache_folder(part).exists() for part in PARTS)
    fill("studio", 10)
    cache(["clear=all"])
    assert not any(cache_folder(part).exists() for part in PARTS)


def test_a_part_that_there_is_not_is_one_line(capsys) -> None:
    fill("videos", 10)
    with pytest.raises(SystemExit) as ended:
        cache(["clear=[videos,engine]"])
    said = capsys.readouterr()
    assert ended.value.code == 1 and "did you mean 'engines'" in said.err and len(said.err.strip().splitlines()) == 1
    assert cache_folder("videos").exists(), "a mistake clears nothing"


def test_from_the_console(root: Path) -> None:
    fill("videos", 10)
    call = "import sys; sys.argv[1:] = ['cache']; from vst.cli import main; main()"
    told = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True, cwd=root)
    assert (
        "videos" in told.stdout and "10 B" in told.stdout and sorted(p.name for p in root.parent.iterdir()) == ["vst"]
    )


def test_a_file_appears_when_it_is_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "a.onnx"
    with replacing(target) as part:
        assert part.suffix == ".onnx" and part.parent == target.parent and part.name.startswith(".")
        part.write_text("new")
        with replacing(target) as other:  # another process, at the same time
            assert other != part
            other.write_text("old")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    with pytest.raises(KeyboardInterrupt), replacing(target) as part:
        part.write_text("half")
        raise KeyboardInterrupt
    with replacing(target):
        pass  # nothing was written
    assert target.read_text() == "new" and [path.name for path in target.parent.iterdir()] == ["a.onnx"]


def test_a_full_disk_says_what_helps() -> None:
    assert "vst cache" in reason(OSError(errno.ENOSPC, "No space left on device"))
    assert reason(PermissionError(errno.EACCES, "Permission denied")) == "Permission denied"


def test_what_cannot_be_cleared_is_one_line(root: Path) -> None:
    from vst.cache import clear

    root.mkdir()
    (root / "videos").write_text("a file in its place")
    with pytest.raises(UserError, match="remove it yourself"):
        clear("videos")


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (5_400_000_000, "5.4 GB")]
)
def test_sizes_in_words(size: int, words: str) -> None:
    assert in_words(size) == words
