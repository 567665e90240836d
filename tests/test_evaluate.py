"""The evaluation as a whole: entries and controls, what is skipped and why, files, errors, the command."""

import csv
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import torchvision
from PIL import Image

import vst.evaluate.judge
import vst.evaluate.models
import vst.metrics.temporal
from tests.media import make_video, pattern_frames, read_number
from vst.checkpoint import save_stylizer, stylizer_content
from vst.errors import UserError
from vst.evaluate import Evaluation, Row, evaluate_videos, log_evaluation, write_reports
from vst.evaluate.circumstances import commit
from vst.evaluate.judge import Judge, Networks, load_networks
from vst.evaluate.matching import match_style, match_videos
from vst.evaluate.media import find_clips, find_files, read_truth, read_video
from vst.evaluate.pictures import ClipPictures
from vst.evaluate.plots import frontier, pareto
from vst.metrics import Reference
from vst.networks import build_stylizer

LOSSLESS = {"crf": "0"}
QUICK = {"width": 96, "frames": 12, "drift_frames": 20, "attack_steps": 2, "progress": False}


def checkpoint(path, temporal):
    torch.manual_seed(0)
    parts = {"ConvGRU": {"channels": 8}, "Stateless": {}}
    model = {
        "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
        "temporal": {"_target_": f"vst.networks.{temporal}", **parts[temporal]},
    }
    path.parent.mkdir(exist_ok=True)
    save_stylizer(path, stylizer_content(build_stylizer(model), model, "test"))
    return path


@pytest.fixture(scope="module", autouse=True)
def quick_style():
    """Fewer places of the style metrics than for real videos: these are small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vst.metrics.style.PLACES", 1024)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two clips; of one a finished video (the negative, shorter); two checkpoints; a style."""
    root = tmp_path_factory.mktemp("media")
    for name in ("clips", "other"):
        (root / name).mkdir()
    for name, seed in (("street", 0), ("street_night", 2)):
        make_video(root / "clips" / f"{name}.mp4", pattern_frames(14, 96, 64, seed), options=LOSSLESS)
    make_video(root / "other" / "street_scream.mp4", 255 - pattern_frames(9, 96, 64), options=LOSSLESS)
    checkpoint(root / "run" / "stylizer.pt", "ConvGRU")
    checkpoint(root / "plain.pt", "Stateless")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 60, 3), np.uint8)).save(root / "style.png")
    return root


@pytest.fixture(scope="module")
def evaluation(folder):
    return evaluate_videos(
        folder / "clips",
        checkpoints=[folder / "run" / "stylizer.pt", folder / "plain.pt"],
        videos=folder / "other",
        styles=folder / "style.png",
        **QUICK,
    )


def value(evaluation, entry, metric, clip="street"):
    (row,) = [row for row in evaluation.rows if row.entry == entry and row.clip == clip]
    return row.values.get(metric)


def test_every_entry_stands_beside_its_controls(evaluation):
    entries = [(row.entry, row.kind) for row in evaluation.means()]
    assert entries == [
        ("input (identity)", "input"),
        *(
            ("other/scream" + more, kind)
            for more, kind in (("", "video"), (" blurred", "control"), (" frozen", "control"))
        ),
        *(("run" + more, "control" if more else "model") for more in ("", " blurred", " frozen", " per frame")),
        *(("plain" + more, "control" if more else "model") for more in ("", " blurred", " frozen")),
    ]
    assert len(evaluation.rows) == 3 + 2 * 8, "the video exists for one clip"


def test_the_controls_are_what_they_claim(evaluation):
    identity = "input (identity)"
    for metric, expected in (("ratio", 1), ("detail", 1), ("change", 0), ("tof_in", 0), ("ssim", 1), ("pgd@8", 1)):
        assert value(evaluation, identity, metric) == pytest.approx(expected, abs=1e-6), metric
    for entry in ("run", "plain", "other/scream"):
        assert value(evaluation, f"{entry} blurred", "detail") < 0.8 * value(evaluation, entry, "detail")
        assert value(evaluation, f"{entry} frozen", "ratio") > value(evaluation, entry, "ratio"), "the camera moves"
    assert value(evaluation, "other/scream", "ratio") == pytest.approx(1, rel=0.1), "a negative is as calm as its input"
    assert value(evaluation, "other/scream", "detail") == pytest.approx(1, rel=0.05)
    assert value(evaluation, "run", "ratio") != value(evaluation, "run per frame", "ratio"), "the memory is at work"


def test_networks_have_the_metrics_that_videos_cannot_have(evaluation):
    for metric in ("flicker_static", "cut_recovery_frames", "drift_20", "pgd@4", "noise@4", "jpeg@50", "exposure@1.2"):
        assert value(evaluation, "run", metric) is not None, metric
        assert value(evaluation, "other/scream", metric) is None, metric
    assert value(evaluation, "plain", "cut_recovery_frames") == value(evaluation, "plain", "drift_20") == 0
    assert value(evaluation, "run", "patch_style") > 0 and value(evaluation, "run", "colour_style") > 0
    assert value(evaluation, "input (identity)", "flicker_static") == pytest.approx(2 / 255, rel=0.2)


def test_what_is_absent_is_listed_with_its_reason(evaluation):
    skipped = evaluation.skipped
    assert "no memory" in skipped["plain per frame"] and "run per frame" not in skipped
    assert "weights.vgg" in skipped["gram, adain, content_vgg"]
    assert "network" in next(why for what, why in skipped.items() if what.startswith("flicker_static"))
    for metrics, key in (("warp_lpips@1", "alexnet"), ("kid_style", "inception"), ("art_fid", "art_inception")):
        assert f"weights.{key}" in next(why for what, why in skipped.items() if metrics in what)
    assert any("9 frames of the 12" in note and "first 9" in note for note in evaluation.notes)
    assert any("other/scream has no video of street_night" in note for note in evaluation.notes)


def test_every_metric_is_in_the_table_or_skipped_with_its_reason(evaluation):
    found, skipped = evaluation.metrics(), ", ".join(evaluation.skipped).split(", ")
    temporal = "ewarp_mean@1 ewarp_l2@1 ratio per_detail detail change e_stab rmse_rerevst@1 tof_in flicker"
    far = "ewarp_mean@10 ratio@10"
    of_networks = (
        "flicker_static cut_recovery_frames cut_residual drift_20 pgd@2 pgd@4 pgd@8 noise@8 jpeg@50 exposure@1.2"
    )
    pictures = "patch_style colour_style ssim psnr"
    assert set(f"{temporal} {far} {of_networks} {pictures}".split()) <= set(found)
    given_weights = (
        "warp_lpips@1 warp_lpips@10 tlp_in lpips_content gram adain content_vgg sifid kid_style fid_style art_fid"
    )
    assert set(given_weights.split()) <= set(skipped) and not set(given_weights.split()) & set(found)


def test_without_style_and_tests_their_columns_are_skipped(folder):
    found = evaluate_videos(
        folder / "clips" / "street.mp4", checkpoints=folder / "plain.pt",
        **{**QUICK, "frames": 3, "drift_frames": 0, "attack_steps": 0},
    )  # fmt: skip
    assert "styles=" in found.skipped["patch_style, colour_style, gram, adain"]
    assert {"drift", "pgd, noise, jpeg, exposure"} <= found.skipped.keys()
    assert not {"patch_style", "drift_20", "pgd@2"} & set(found.metrics())


def test_numbers_that_are_not_finite_are_left_out_and_noted(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(vst.evaluate.models.Model, "scores", lambda *_: {"noise@4": float("nan"), "noise@8": 2.0})
    monkeypatch.setattr(vst.evaluate.judge.Judge, "pooled", lambda *_: {"fid_style": float("inf")})
    found = evaluate_videos(
        folder / "clips" / "street.mp4", checkpoints=folder / "plain.pt", styles=folder / "style.png", controls=False,
        **{**QUICK, "frames": 3},
    )  # fmt: skip
    assert value(found, "plain", "noise@4") is None and value(found, "plain", "noise@8") == 2
    assert "plain, street: noise@4 is nan, left out" in found.notes
    assert "plain, all clips: fid_style is inf, left out" in found.notes
    means = json.loads(write_reports(found, tmp_path)[0].read_text())["means"]
    assert means[-1]["values"]["fid_style"] is means[-1]["values"]["noise@4"] is None


def test_a_second_evaluation_gives_the_same_numbers(folder, evaluation):
    again = evaluate_videos(
        folder / "clips" / "street.mp4", checkpoints=folder / "plain.pt", styles=folder / "style.png", **QUICK
    )
    assert again.rows[1].values == next(r for r in evaluation.rows if r.entry == "plain" and r.clip == "street").values


def test_features_of_vgg_weights_by_path(folder):
    torch.manual_seed(0)
    sizes = ((0, 3, 16), (2, 16, 16), (5, 16, 32))
    state = {f"features.{n}.weight": 0.1 * torch.randn(b, a, 3, 3) for n, a, b in sizes}
    state |= {f"features.{n}.bias": torch.zeros(b) for n, _, b in sizes}
    torch.save(state, folder / "vgg.pth")
    found = evaluate_videos(
        folder / "clips" / "street.mp4", checkpoints=folder / "plain.pt", styles=folder / "style.png",
        vgg=str(folder / "vgg.pth"), vgg_width=0.25, **{**QUICK, "frames": 3, "drift_frames": 0, "attack_steps": 0},
    )  # fmt: skip
    networks = load_networks(str(folder / "vgg.pth"), 0.25, *[None] * 4, device=torch.device("meta"))
    with pytest.raises(NotImplementedError, match="meta"):  # a device that computes nothing: the network is there
        networks.features(torch.rand(1, 3, 16, 16))
    assert value(found, "plain", "gram") > 0 and value(found, "plain", "adain") > 0
    assert value(found, "plain", "content_vgg") > 0 == value(found, "input (identity)", "content_vgg")


def test_quick_is_a_part_of_all(folder, evaluation):
    quick = evaluate_videos(
        folder / "clips", checkpoints=folder / "run" / "stylizer.pt", styles=folder / "style.png",
        metrics="quick", controls=False, **QUICK,
    )  # fmt: skip
    assert [row.entry for row in quick.means()] == ["input (identity)", "run"]
    assert {"ratio", "detail", "per_detail", "change", "patch_style", "colour_style"} <= set(quick.metrics())
    assert not {"ssim", "tof_in", "flicker_static", "drift_20", "pgd@2"} & set(quick.metrics())
    for clip in ("street", "street_night"):
        for metric in quick.metrics():
            assert value(quick, "run", metric, clip) == pytest.approx(value(evaluation, "run", metric, clip)), metric
    assert quick.skipped["blurred, frozen, per frame"] == "controls=false"


def test_a_mean_of_quotients_is_the_mean_of_the_clips(evaluation):
    (mean,) = [row for row in evaluation.means() if row.entry == "run"]
    each = [value(evaluation, "run", "per_detail", clip) for clip in ("street", "street_night")]
    assert mean.values["per_detail"] == pytest.approx(np.mean(each)) and mean.clip == "2 clips"


def test_the_motion_of_a_clip_is_estimated_once(folder, monkeypatch):
    calls = []
    real = vst.metrics.temporal.DIS.__call__
    monkeypatch.setattr(vst.metrics.temporal.DIS, "__call__", lambda self, a, b: calls.append(1) or real(self, a, b))
    paths = [folder / "run" / "stylizer.pt", folder / "plain.pt"]
    street = folder / "clips" / "street.mp4"
    evaluate_videos(street, checkpoints=paths, videos=folder / "other", metrics="quick", **{**QUICK, "frames": 5})
    assert len(calls) == 2 * 4, "both ways, of four pairs of frames"


def test_every_entry_is_held_against_its_own_style(folder, tmp_path):
    """The checkpoint says `test`, the video's name says `scream`."""
    Image.fromarray(np.full((64, 64, 3), (200, 40, 40), np.uint8)).save(tmp_path / "red.png")
    both = {"test": folder / "style.png", "Scream": [tmp_path / "red.png"]}
    street, common = folder / "clips" / "street.mp4", {**QUICK, "frames": 3, "metrics": "quick", "controls": False}
    entries = {"checkpoints": {"mine": folder / "plain.pt"}, "videos": folder / "other"}
    found = evaluate_videos(street, **entries, styles=both, **common)
    assert [(row.entry, row.style) for row in found.means()] == [
        ("input (identity), test", "test"), ("input (identity), Scream", "Scream"),
        ("other/scream", "Scream"), ("mine", "test"),
    ]  # fmt: skip
    for entry, style in (("other/scream", "Scream"), ("mine", "test")):
        alone = evaluate_videos(street, **entries, styles=both[style], **common)
        assert value(found, entry, "patch_style") == value(alone, entry, "patch_style")
    both["wave"] = both.pop("test")
    with pytest.raises(UserError, match=r"none of Scream, wave fits mine \(its checkpoint says 'test'\)"):
        evaluate_videos(street, **entries, styles=both, **common)


def test_styles_by_name():
    styles = ["scream", "van gogh", "gogh"]
    assert match_style("anything", "van-gogh", styles) == "van gogh"
    assert match_style("microast/munch-the-scream", "", styles) == "scream"
    assert match_style("Van_Gogh/last", "", styles) == "van gogh", "the longest part"
    assert match_style("scream", "gogh", styles) == "gogh", "the checkpoint knows best"


def test_lpips_and_inception_by_path(folder, tmp_path):
    torch.manual_seed(0)
    shapes = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
    state = {f"features.{n}.weight": 0.05 * torch.randn(a, b, k, k) for n, (a, b, k) in shapes.items()}
    torch.save(state | {f"features.{n}.bias": torch.zeros(a) for n, (a, _, _) in shapes.items()}, tmp_path / "alex.pth")
    network = torchvision.models.inception_v3(weights=None, init_weights=False)
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    for name in ("a", "b"):
        (tmp_path / "styles").mkdir(exist_ok=True)
        picture = np.random.default_rng(ord(name)).integers(0, 255, (80, 96, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / "styles" / f"{name}.png")
    weights = {"alexnet": "alex.pth", "inception": "inception.pth", "art_inception": "inception.pth"}
    paths = {name: str(tmp_path / file) for name, file in weights.items()}
    found = evaluate_videos(
        folder / "clips", checkpoints=folder / "plain.pt", styles=tmp_path / "styles", controls=False, **paths,
        **{**QUICK, "frames": 2, "width": 128, "drift_frames": 0, "attack_steps": 0},
    )  # fmt: skip
    assert value(found, "input (identity)", "lpips_content") == value(found, "input (identity)", "tlp_in") == 0
    assert value(found, "plain", "lpips_content") > 0 and value(found, "plain", "warp_lpips@1") > 0
    assert value(found, "plain", "warp_lpips@10") is None, "two frames have no pair over ten"
    (mean,) = [row for row in found.means() if row.entry == "plain"]
    assert mean.values["fid_style"] > 0 and mean.values["sifid"] > 0 and mean.values["kid_style"] is not None
    assert mean.values["art_fid"] > 1 + mean.values["lpips_content"]
    assert not any("alexnet" in why or "inception" in why for why in found.skipped.values())


def test_art_fid_is_the_product_of_both_distances():
    """(1 + LPIPS) (1 + FID) of Wright and Ommer 2022, Eq. 5; FID of two Gaussians by scipy."""

    def art(picture):
        return torch.stack([picture.mean(), picture.std(), picture[0].mean()]).double()

    rng = np.random.default_rng(0)
    styles = [torch.rand(3, 32, 32) * 0.5 for _ in range(5)]
    videos = [rng.integers(0, 200, (4, 48, 48, 3), np.uint8) for _ in range(2)]
    judge = Judge({"only": styles}, Networks(art=art), quick=True)
    for video in videos:
        reference = Reference.of(video, quick=True)
        judge.scores("a", video, reference, judge.contents(video), "only")
    own = np.stack([art(torch.from_numpy(f).permute(2, 0, 1) / 255).numpy() for video in videos for f in video])
    theirs = np.stack([art(style).numpy() for style in styles])
    (m, c), (n, d) = ((x.mean(0), np.cov(x.T)) for x in (own, theirs))
    fid = ((m - n) ** 2).sum() + np.trace(c + d - 2 * scipy.linalg.sqrtm(c @ d).real)
    assert judge.pooled("a", "only", 0.25)["art_fid"] == pytest.approx(1.25 * (1 + fid), rel=1e-6)
    assert judge.pooled("nobody", "only", 0.25)["art_fid"] is None


# ----------------------------------------------------------------------------------------------------
# The kit's own tool


KIT = Path(os.environ.get("VST_KIT", ""))
PEERS = "bikes_272p_scenecuts", "davis_car-roundabout_480p", "juggle_720p"


@pytest.mark.kit
@pytest.mark.parametrize("clip", PEERS)
def test_the_scores_agree_with_the_kits_tool(clip):
    """It reads, warps and masks with OpenCV alone and shares no code with this one."""
    tool, source = KIT.parent / "tools" / "score_video.py", KIT / "videos" / f"{clip}.mp4"
    video = KIT / "peers" / "microast" / f"{clip}_munch-the-scream.mp4"
    if "VST_KIT" not in os.environ or not (tool.is_file() and source.is_file() and video.is_file()):
        pytest.skip(
            f"{clip}: set VST_KIT to the folder that holds videos/ and peers/, with tools/score_video.py beside"
        )
    frames = 12
    command = [sys.executable, str(tool), str(source), str(video), "--frames", str(frames)]
    expected = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    found = evaluate_videos(source, videos=video, frames=frames, metrics="quick", controls=False, progress=False)
    (row,) = [row for row in found.rows if row.kind == "video"]
    assert row.frames == expected["frames"] == frames
    named = {"ewarp_mean@1": "ewarp_out", "ewarp_in@1": "ewarp_in"}
    for name in ("ewarp_mean@1", "ewarp_in@1", "ratio", "detail", "per_detail", "change", "flicker"):
        theirs = expected[named.get(name, name)]
        assert row.values[name] == (None if theirs is None else pytest.approx(theirs, rel=0.02)), name


# ----------------------------------------------------------------------------------------------------
# Reports


def test_reports_hold_every_number(evaluation, tmp_path):
    paths = write_reports(evaluation, tmp_path / "out")
    assert [path.name for path in paths] == ["evaluation.json", "evaluation.csv", "evaluation.html"]
    content = json.loads(paths[0].read_text())
    assert [row["values"] for row in content["rows"]] == [row.values for row in evaluation.rows]
    assert content["skipped"] == evaluation.skipped and content["settings"]["width"] == 96
    with paths[1].open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(evaluation.rows) + len(evaluation.means())
    assert float(lines[0]["ratio"]) == 1 and lines[0]["entry"] == "input (identity)"
    with pytest.raises(UserError, match="overwrite=true"):
        write_reports(evaluation, tmp_path / "out")
    write_reports(evaluation, tmp_path / "out", overwrite=True)


def test_the_page_is_self_contained(evaluation, tmp_path):
    page = write_reports(evaluation, tmp_path)[2].read_text()
    assert not re.findall(r"(?:src|href)='(?!data:)", page) and "<script" not in page
    assert page.count("data:image/jpeg;base64,") == 5 * (1 + 1 + 3 + 1 + 3), "input, video, models and per frame"
    plots = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(plots) == 2 + 2, "two Pareto plots, a curve for each clip"
    circles = [element for element in ElementTree.fromstring(plots[0]).iter() if element.tag.endswith("circle")]
    assert len(circles) == 2 * 3, "circles are results, each in the plot and in the legend"
    shapes = [element for element in ElementTree.fromstring(plots[0]).iter() if element.tag.endswith("title")]
    assert len(shapes) == len(evaluation.means())
    for reason in evaluation.skipped.values():
        assert reason.replace("'", "&#x27;") in page


def test_names_are_escaped_and_commit_and_versions_are_told(evaluation, tmp_path):
    named = Evaluation(
        {**evaluation.settings, "clips": ["<b>.mp4"]},
        [replace(row, entry=row.entry.replace("run", "<script>&'\"")) for row in evaluation.rows],
        pictures=[ClipPictures("<i>", [replace(p, entry="<u>") for p in c.views]) for c in evaluation.pictures],
    )
    paths = write_reports(named, tmp_path)
    page = paths[2].read_text()
    assert "&lt;script&gt;" in page and not re.search(r"<script|<b>\.mp4|<u>|<i>", page)
    settings = json.loads(paths[0].read_text())["settings"]
    assert settings["versions"]["torch"] == torch.__version__ and settings["device"].startswith("cpu: ")
    assert datetime.fromisoformat(settings["date"]).tzinfo is not None
    assert "dis-medium" in settings["flow_backend"] and "Sundaram" in settings["mask_rule"]


def test_the_commit_of_a_checkout(tmp_path):
    assert commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("one")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "one"]):
        subprocess.run([*git, *command], check=True)
    assert re.fullmatch("[0-9a-f]{40}", commit(tmp_path))
    (tmp_path / "file").write_text("two")
    assert commit(tmp_path).endswith(" with changes")


def test_the_frontier():
    points = [(3.0, 1.0), (1.0, 3.0), (2.0, 2.0), (2.5, 2.5), (1.0, 4.0)]
    assert frontier(points) == [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0)]
    assert frontier([]) == []


def test_no_number_of_the_plot_lies_on_another():
    """Twelve results at nearly one place."""
    values = [{"x": 1 + 0.001 * i, "y": 0.5 + 0.001 * i} for i in range(12)] + [{"x": 4.0, "y": 1.0}]
    rows = [Row(f"entry {i}", "model", "c", 2, v) for i, v in enumerate(values)]
    drawing = ElementTree.fromstring(pareto(rows, "x", "y"))
    texts = [t for t in drawing.iter() if t.get("text-anchor") == "middle" and t.get("fill")]
    places = [(float(t.get("x")), float(t.get("y"))) for t in texts]
    assert len(places) == 13
    for i, (x, y) in enumerate(places):
        assert all(abs(x - a) > 12 or abs(y - b) > 10 for a, b in places[:i])


def test_loggers_get_tables_or_numbers(evaluation):
    class Board:
        tables: dict = {}  # noqa: RUF012

        def log_table(self, key, columns, data):
            self.tables[key] = (columns, data)

    class Numbers:
        seen: dict = {}  # noqa: RUF012

        def log_metrics(self, values):
            self.seen.update(values)

    log_evaluation(evaluation, Board())
    columns, data = Board.tables["evaluation/means"]
    assert len(data) == len(evaluation.means()) and all(len(line) == len(columns) for line in data)
    log_evaluation(evaluation, Numbers())
    assert Numbers.seen["input (identity)/ratio"] == 1 and None not in Numbers.seen.values()


# ----------------------------------------------------------------------------------------------------
# Media


def test_videos_go_to_the_clip_with_the_longest_fitting_name():
    clips = [Path("a/street.mp4"), Path("a/street_night.mkv"), Path("a/street2.mp4")]
    videos = [Path(f"b/{name}.mp4") for name in ("street", "street_night-scream", "street2", "streetcar", "street_x")]
    matched = match_videos(videos, clips)
    assert matched == {
        clips[0]: {"b": videos[0], "b/x": videos[4]},
        clips[1]: {"b/scream": videos[1]},
        clips[2]: {"b": videos[2]},
    }


def test_videos_of_equal_names_are_refused():
    with pytest.raises(UserError, match="rename one"):
        match_videos([Path("b/street.mp4"), Path("b/street.mov")], [Path("street.mp4")])
    with pytest.raises(UserError, match="two are named 'street'"):
        match_videos([], [Path("a/street.mp4"), Path("b/street.mp4")])


def test_photographs_are_no_clip(tmp_path):
    for name in ("beach.png", "cat.png", "dog.png"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    with pytest.raises(UserError, match="no folder of frames in this folder"):
        find_clips(tmp_path, "clips")
    for number in range(3):
        (tmp_path / "shots").mkdir(exist_ok=True)
        Image.new("RGB", (64, 48)).save(tmp_path / "shots" / f"{number:03}.png")
    assert find_clips(tmp_path, "clips") == [tmp_path / "shots"]


def test_clips_may_be_folders_of_frames(tmp_path):
    """DAVIS's layout; frames without leading zeros come in the order of their numbers."""
    frames = pattern_frames(11, 96, 64)
    for name in ("dog", "car.v2"):
        folder = tmp_path / "JPEGImages" / "480p" / name
        folder.mkdir(parents=True)
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / f"{number}.png")
    clips = find_clips(tmp_path, "clips")
    assert [clip.name for clip in clips] == ["car.v2", "dog"]
    assert find_clips(str(tmp_path / "*" / "480p" / "d*"), "clips") == clips[1:]
    read, damaged = read_video(clips[1], limit=11, width=96)
    assert (read == frames).all() and damaged is None
    assert match_videos([clips[0]], clips)[clips[0]] == {"480p": clips[0]}
    Image.fromarray(frames[0][:40]).save(clips[1] / "3.png")
    with pytest.raises(UserError, match="another shape"):
        read_video(clips[1], limit=11, width=96)


def test_known_motion_is_taken(folder, tmp_path):
    """Sintel's layout. Half the size, half the vectors; with wrong motion a still video has an error."""
    (tmp_path / "street").mkdir()
    for number in (1, 2):
        header = np.float32(202021.25).tobytes() + np.array([96, 64], "<i4").tobytes()
        content = np.full((64, 96, 2), 8 * number, "<f4")
        content[:, :4] = 2e9
        (tmp_path / "street" / f"frame_{number}.flo").write_bytes(header + content.tobytes())
    truth = read_truth(tmp_path, "street", (32, 48), 5)
    assert list(truth) == [0, 1] and read_truth(tmp_path, "other", (32, 48), 5) == {}
    assert truth[1][0].shape == (2, 32, 48) and torch.allclose(truth[1][0][:, 16, 24], torch.tensor(8.0))
    assert not truth[1][1][0, :, :2].any() and truth[1][1][0, :, 2:].all()
    common = {**QUICK, "frames": 4, "metrics": "quick", "controls": False, "checkpoints": folder / "plain.pt"}
    found = evaluate_videos(folder / "clips" / "street.mp4", flow_truth=str(tmp_path), **common)
    assert "street: known motion of 2 of 3 pairs of frames, the others estimated" in found.notes
    other = evaluate_videos(folder / "clips" / "street.mp4", flow="lucas_kanade", **common)
    assert "lucas" in other.settings["flow_backend"]


def test_frames_are_upright_and_scaled(tmp_path):
    make_video(tmp_path / "turned.mp4", pattern_frames(4, 96, 64), rotation=90, options=LOSSLESS)
    frames, damaged = read_video(tmp_path / "turned.mp4", limit=3, width=128)
    assert frames.shape == (3, 192, 128, 3) and damaged is None
    assert [read_number(frame, rotation=90) for frame in frames] == [0, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to evaluate"),
        ({"checkpoints": {}}, "nothing to evaluate"),
        ({"checkpoints": "nope.pt"}, "checkpoint=nope.pt: no such file"),
        ({"checkpoints": "clips/street.mp4"}, "give the stylizer.pt of a run"),
        ({"clips": "clips/steet.mp4", "checkpoints": "plain.pt"}, "did you mean 'street.mp4'"),
        ({"clips": "run", "checkpoints": "plain.pt"}, "clips=run: no .mp4"),
        ({"checkpoints": "plain.pt", "metrics": "some"}, "metrics=some is not one of all, quick"),
        ({"checkpoints": "plain.pt", "flow": "raft"}, "flow=raft needs flow_weights"),
        ({"checkpoints": "plain.pt", "flow_truth": "nope"}, "flow_truth=nope: no such folder"),
        ({"checkpoints": {"a": "run", "b": "nope.pt"}}, "checkpoint.b=nope.pt: no such file"),
        ({"checkpoints": "plain.pt", "styles": {"-": "style.png"}}, "'-' is not a name"),
        ({"checkpoints": "plain.pt", "lpips": "plain.pt"}, "give weights.alexnet"),
        ({"checkpoints": {"other/scream": "plain.pt"}, "videos": "other"}, "both have a 'other/scream'"),
        ({"checkpoints": "plain.pt", "art_inception": "plain.pt"}, "give weights.alexnet"),
        ({"checkpoints": "plain.pt", "inception": "plain.pt"}, "weights.inception=plain.pt: holds no state dict"),
        ({"clips": "style.png", "checkpoints": "plain.pt"}, "a picture"),
        ({"clips": [], "checkpoints": "plain.pt"}, "clips: the list is empty"),
        ({"videos": "clips/street_night.mp4", "clips": "other/street_scream.mp4"}, "none of 1 matches a clip"),
        ({"checkpoints": "plain.pt", "styles": "clips/street.mp4"}, "is not a picture"),
        ({"checkpoints": "plain.pt", "frames": 1}, "frames=1"),
        ({"checkpoints": "plain.pt", "width": 16}, "give a larger width"),
        ({"checkpoints": "plain.pt", "vgg": "nope.pth"}, "nope.pth"),
    ],
)
def test_mistakes_are_one_line(folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        evaluate_videos(**{"clips": "clips", **QUICK, **arguments})
    assert "\n" not in str(error.value)


def test_files_by_pattern(folder):
    assert [p.name for p in find_files(str(folder / "clips" / "*night*"), "clips", (".mp4",))] == ["street_night.mp4"]


def test_the_command(folder, tmp_path, monkeypatch, capsys):
    from vst.commands.evaluate import evaluate

    monkeypatch.chdir(tmp_path)
    evaluate(
        [
            f"checkpoint={folder}/plain.pt", f"clips={folder}/clips/street.mp4", f"styles={folder}/style.png",
            "output=report", "logger=csv", "width=96", "frames=4", "drift_frames=0", "attack_steps=1", "device=cpu",
        ]
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert "plain frozen" in printed and "per_detail" in printed and "skipped drift" in printed
    assert printed.strip().splitlines()[-1] == "report/evaluation.html"
    assert "plain/ratio" in (tmp_path / "report" / "metrics.csv").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"report"}
