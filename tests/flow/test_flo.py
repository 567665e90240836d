"""The reader of .flo files against bytes put together by hand."""

import struct
from pathlib import Path

import pytest

from vst.errors import UserError
from vst.flow import read_flo


def flo(width: int, height: int, vectors: list[tuple[float, float]], magic: bytes = b"PIEH") -> bytes:
    return magic + struct.pack("<ii", width, height) + b"".join(struct.pack("<ff", *vector) for vector in vectors)


def test_reads_rows_of_vectors_and_marks_the_unknown(tmp_path: Path):
    vectors = [(1.5, -2.0), (0.0, 3.0), (1.6e9, 1.0), (4.0, 5.0), (-7.0, 8.0), (float("nan"), 0.0)]
    (tmp_path / "a.flo").write_bytes(flo(3, 2, vectors))
    flow, known = read_flo(tmp_path / "a.flo")
    assert flow.tolist() == [[[1.5, 0, 0], [4, -7, 0]], [[-2, 3, 0], [5, 8, 0]]]
    assert known.tolist() == [[[True, True, False], [True, True, False]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a .flo file"),
        (flo(1, 1, [(0, 0)], magic=b"HEIP"), "not a .flo file"),
        (flo(2, 2, [(0, 0)] * 3), "2 x 2 vectors"),
        (flo(2, 1, [(0, 0)] * 3), "2 x 1 vectors"),
        (flo(-1, -1, [(0, 0)]), "-1 x -1"),
    ],
)
def test_broken_files_are_one_line(tmp_path: Path, content: bytes, message: str):
    (tmp_path / "a.flo").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_flo(tmp_path / "a.flo")


def test_a_missing_file_is_one_line(tmp_path: Path):
    with pytest.raises(UserError, match="No such file"):
        read_flo(tmp_path / "a.flo")
