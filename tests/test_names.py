from pathlib import Path

import pytest

from vst.errors import UserError
from vst.names import model_names, named_files


def test_names_tell_checkpoints_apart():
    paths = ["a/x/stylizer.pt", "a/y/0/stylizer.pt", "a/z/0/stylizer.pt", "a/v/checkpoints/last.ckpt", "a/swirl.pt"]
    assert model_names([Path("/r") / path for path in paths]) == ["x", "y/0", "z/0", "v", "swirl"]
    assert len(set(model_names([Path("/r/a.pt"), Path("/r/a.pt")]))) == 2


def test_files_are_named_by_their_place_or_by_hand():
    assert list(named_files("runs/starry_night/stylizer.pt", "styles")) == ["starry_night"]
    assert list(named_files(["a/stylizer.pt", "b/stylizer.pt", "c/waves.onnx"], "styles")) == ["a", "b", "waves"]
    assert named_files({"Waves": "a.pt"}, "styles") == {"Waves": Path("a.pt")}
    with pytest.raises(UserError, match=r"checkpoint: give at least one, as checkpoint=\[stylizer.pt\]"):
        named_files([], "checkpoint")
