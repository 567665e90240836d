import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.batch_picture import BatchPicture, batch_grid
from vst.batch import ClipBatch


def test_a_row_is_a_clip_and_its_style():
    frames = torch.arange(6).view(3, 2, 1, 1, 1).expand(3, 2, 3, 10, 10) / 10
    batch = ClipBatch(frames, torch.full((3, 3, 5, 5), 0.9), ["a", "b", "c"])
    grid = batch_grid(batch, rows=2)
    assert grid.shape == (3, 2 * 14 + 4, 3 * 14 + 4)
    centres = grid[0, 9::14, 9::14]
    assert centres.tolist() == [pytest.approx([0.0, 0.1, 0.9]), pytest.approx([0.2, 0.3, 0.9])]


def test_the_first_batch_is_written_once(task, data, make_trainer, tmp_path):
    make_trainer(BatchPicture()).fit(task, data)
    picture = np.asarray(Image.open(tmp_path / "batch.png"))
    assert picture.ndim == 3 and picture.std() > 1
    (tmp_path / "batch.png").write_bytes(b"kept")
    make_trainer(BatchPicture()).fit(task, data)
    assert (tmp_path / "batch.png").read_bytes() == b"kept"
