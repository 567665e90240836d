"""Where engines keep other forms of a network, and what is said where they cannot."""

from pathlib import Path

import pytest

from vst.errors import UserError
from vst.networks import ResidualGenerator, Stateless, Stylizer
from vst.runtime.build import cache_folder, open_engine


def test_the_folder_is_where_the_system_keeps_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache_folder() == tmp_path / "caches" / "vst" / "engines"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "vst" / "engines"


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError) as caught:
        open_engine(Stylizer(ResidualGenerator(8, 1), Stateless()).eval(), "onnxruntime")
    line = str(caught.value)
    assert "\n" not in line and str(tmp_path / "file") in line and "Not a directory" in line
    assert "set XDG_CACHE_HOME or HOME to a folder that can" in line
