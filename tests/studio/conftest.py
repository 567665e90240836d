from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.media import make_video


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Client]:  # noqa: F821
    """A studio of its own for each test."""
    from tests.studio.serving import running

    work = tmp_path / "work"
    work.mkdir()
    with running(work) as client:
        yield client


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 numbered frames of 96x64 with sound."""
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", n=30, audio="aac")
