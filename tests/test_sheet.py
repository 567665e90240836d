"""`benchmarks/sheet.py`: a row for each picture, a column for each checkpoint."""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.sheet import MARGIN, make_sheet
from vst.checkpoint import save_stylizer, stylizer_content
from vst.networks import build_stylizer

MODEL = {
    "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
    "temporal": {"_target_": "vst.networks.Stateless"},
}


def test_runs_of_one_name_have_a_column_each(tmp_path: Path) -> None:
    """`a/0` and `b/0`, as two sweeps leave them, beside a picture that is called like one of them."""
    paths = [tmp_path / sweep / "0" / "stylizer.pt" for sweep in "ab"]
    for path in paths:
        path.parent.mkdir(parents=True)
        save_stylizer(path, stylizer_content(build_stylizer(MODEL), MODEL, "test"))
    Image.fromarray(np.full((48, 64, 3), 128, np.uint8)).save(tmp_path / "0.png")
    sheet = make_sheet([tmp_path / "0.png"], paths, [], width=64)
    assert sheet.shape[1] == 3 * (64 + MARGIN)
