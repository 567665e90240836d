import pytest

from vst.curriculum import Curriculum, Phase, longest, mistake

TERMS = {"style": {}, "temporal": {}}
NODE = {"_target_": "vst.curriculum.Phase"}


def phases():
    return Curriculum(
        {
            "content": Phase(share=0.1, frames=1),
            "images": Phase(share=0.5, frames=1, terms=["style"], ramp=0.2),
            "clips": Phase(share=0.3, frames=4, single=0.4),
            "long": Phase(share=0.1, frames=6, terms=["temporal"], ramp=1.0),
        }
    )


def test_a_phase_begins_at_the_sum_of_the_shares_before_it():
    curriculum = phases()
    expected = {0.0: "content", 0.0999: "content", 0.1: "images", 0.5999: "images", 0.6: "clips", 0.9: "long"}
    assert {progress: curriculum.name_at(progress) for progress in expected} == expected
    assert curriculum.name_at(1.0) == "long"


def test_batches_of_a_run_have_the_frames_that_their_phase_says():
    curriculum, total = phases(), 1000
    frames = [curriculum.frames(n, n / total) for n in range(total)]
    assert set(frames[:600]) == {1} and set(frames[900:]) == {6} and set(frames[600:900]) == {1, 4}
    assert frames[600:900].count(1) == pytest.approx(0.4 * 300, abs=2)
    for start in range(600, 890, 7):  # evenly spread, also among every second batch
        assert 3 <= frames[start : start + 10].count(1) <= 5
    assert frames[600:900:2].count(1) == pytest.approx(0.4 * 150, abs=3)


def test_single_frames_throughout_or_never():
    for single, expected in ((0.0, {4}), (1.0, {1})):
        curriculum = Curriculum({"clips": Phase(share=1.0, frames=4, single=single)})
        assert {curriculum.frames(n, n / 50) for n in range(50)} == expected


def test_a_term_joins_at_its_phase_by_a_ramp():
    style, temporal = (phases().schedule_of(name) for name in ("style", "temporal"))
    assert [style(p) for p in (0.05, 0.1, 0.15, 0.2, 0.9)] == pytest.approx([0, 0, 0.5, 1, 1])
    assert [temporal(p) for p in (0.9, 0.95, 1.0)] == pytest.approx([0, 0.5, 1])
    assert phases().schedule_of("content") is None


def test_the_log_line():
    assert phases().describe().startswith("content 10 % on 1 frame, images 50 % on 1 frame, clips 30 % on 4 frames")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share": 0.0}, "share: 0.0 is not above 0"),
        ({"share": 1.5}, "share: 1.5 is not above 0 and 1 or less"),
        ({"frames": 0}, "frames: 0 is not 1 or more"),
        ({"single": 1.1}, "single: 1.1 is not 0 or more and 1 or less"),
        ({"reset": -0.1}, "reset: -0.1"),
        ({"splice": 2}, "splice: 2"),
        ({"ramp": 0}, "ramp: 0"),
    ],
)
def test_a_number_out_of_range_is_refused(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Phase(**{"share": 1.0, "frames": 1} | change)
    nodes = {"a": NODE | {"share": 1.0, "frames": 1} | change}
    assert mistake(nodes, 4, 4, TERMS).startswith(f"curriculum.phases.a.{message}")


def test_shares_are_a_whole():
    for shares in ((), (0.5,), (0.6, 0.6)):
        with pytest.raises(ValueError, match="have to sum to 1"):
            Curriculum({str(i): Phase(share=share, frames=1) for i, share in enumerate(shares)})
    Curriculum({str(i): Phase(share=0.1, frames=1) for i in range(10)})
    with pytest.raises(ValueError, match="'style' joins more than once"):
        Curriculum({name: Phase(share=0.5, frames=1, terms=["style"]) for name in "ab"})


def test_phases_have_to_fit_the_data_and_the_loss():
    def told(clip_length=4, batch_size=4, **changes):
        nodes = {"a": NODE | {"share": 0.5, "frames": 1}, "b": NODE | {"share": 0.5, "frames": 4} | changes}
        return mistake(nodes, clip_length, batch_size, TERMS)

    assert told() is None and told(terms=["temporal"], splice=0.5) is None
    assert told(clip_length=3) == "curriculum.phases.b.frames: 4 is more than clip_length=3; raise clip_length"
    assert told(batch_size=1) is None
    assert told(batch_size=1, splice=0.1).startswith("curriculum.phases.b.splice: joins two clips of a batch")
    line = told(terms=["style", "temporl"])
    assert line.startswith("curriculum.phases.b.terms: there is no loss.terms.temporl (did you mean 'temporal'?)")
    assert line.endswith("give curriculum.phases.b.terms=[style]")
    assert told(share=0.4) == "curriculum.phases: their shares sum to 0.9 (0.5 + 0.4); they have to sum to 1"
    assert told(terms=[3, "style", ["a"]]) == (
        "curriculum.phases.b.terms: there is no loss.terms.3; or give curriculum.phases.b.terms=[style]"
    )
    assert told(terms="texture") is None and told(terms=None) is None
    assert told(frames="x") is None and told(colour=1) is None, "types and arguments are for the signatures to tell"
    assert mistake({"a": {"share": 1.0}}, 4, 4, TERMS).startswith("curriculum.phases.a: not a phase")


def test_the_longest_phase():
    nodes = {name: NODE | {"share": 0.5, "frames": frames} for name, frames in {"a": 5, "b": 2}.items()}
    assert longest(nodes) == 5 and longest(None) is None and longest({"a": 3}) is None
