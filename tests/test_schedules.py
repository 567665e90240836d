import pytest

from vst.schedules import Constant, Cosine, FlatLinear, Ramp


def test_values_at_the_corners():
    assert [Ramp(0.2, 0.4)(p) for p in (0, 0.2, 0.3, 0.4, 1)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert [FlatLinear(0.5, 0.1)(p) for p in (0, 0.5, 0.75, 1)] == pytest.approx([1, 1, 0.55, 0.1])
    assert [Cosine(0.1)(p) for p in (0, 0.5, 1)] == pytest.approx([1, 0.55, 0.1])
    assert [Constant()(p) for p in (0, 1)] == [1, 1]


def test_a_ramp_backwards_is_refused():
    with pytest.raises(ValueError, match="start < end"):
        Ramp(0.5, 0.5)
