"""The command line as it is meant: a path is the text that was given, whatever its name looks like."""

import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from tests.schemas import SCHEMAS
from vst.config import _Composer, command, compose_or_explain, plain
from vst.errors import UserError
from vst.overrides import as_meant, parsed_overrides, sweep_values
from vst.schema import (
    TrainConfig,
)

ROOT = Path(__file__).resolve().parents[1]
LIKE_NUMBERS = ["2024", "2024_01", "007", "1e5", "0x10", "12:30", "2024-01-31", "-1", "1.50", "1_000.mp4", ".5", "inf"]
LIKE_WORDS = ["true", "No", "nan", "off"]
STRANGE = [
    "Van Gogh, Vincent", "a,b", "video (1).mp4", "it's.mp4", 'say "hi".mp4', "both'\".mp4", "[2024] trip", "{a: b}",
    "a=b", "50% #1", "für Élise.mp4", "日本.mp4", "a\\b", "end\\", "x;y&z", "tab\there", " blank", "choice(a,b)",
    "glob(*)", "range(1,3)", "a:b", "$HOME", "${seed}", "!tag", "@at", "*", "a  b", "[a,b]", "'quoted'", "null",
]  # fmt: skip
PATH_KEYS = {
    "stylize": ["checkpoint", "input", "output", "mask.file"],
    "train": [
        "resume", "init_from", "teacher", "output_dir", "style.root", "style.image", "style.video", "data.root",
        "data.photos", "data.cache_dir",
    ],
    "evaluate": ["clips", "checkpoint", "videos", "styles", "flow_weights", "flow_truth", "weights.vgg", "output"],
    "export": ["checkpoint", "output", "calibration", "reference"],
    "benchmark": ["input", "output"],
    "live": ["checkpoint", "source", "sink"],
    "studio": ["styles", "work"],
}  # fmt: skip
NEEDED = {"stylize": ["checkpoint=c", "output=o"], "train": ["style=folder"], "export": []}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@cache
def loader(name: str) -> ConfigLoaderImpl:
    return _Composer(name, None).loader


def read(name: str, key: str, value: str, sweep: bool = False):
    """What Hydra's grammar reads of `key=value`; of a sweep the first value."""
    line = f"{key}={value}"
    (parsed,), mistakes = parsed_overrides(as_meant([line], SCHEMAS[name], loader(name), sweep), loader(name))
    assert not mistakes and parsed.is_sweep_override() <= sweep
    if parsed.is_sweep_override():
        (first, *_), _ = parsed_overrides([f"{key}={text}" for text in sweep_values(parsed)], loader(name))
        return first.value()
    return parsed.value()


def composed(name: str, *given: str):
    return compose_or_explain(name, given, SCHEMAS[name])


@pytest.mark.parametrize("name", PATH_KEYS)
def test_names_that_look_like_numbers_stay_text(name: str) -> None:
    for key in PATH_KEYS[name]:
        for value in ("2024_01", "007", "12:30", "2024_01/1e5"):
            assert read(name, key, value) == value


@pytest.mark.parametrize("name", PATH_KEYS)
def test_every_key_of_a_path_takes_a_comma(here: Path, name: str) -> None:
    (here / "Van Gogh, Vincent").mkdir()
    for key in PATH_KEYS[name]:
        assert read(name, key, "Van Gogh, Vincent") == "Van Gogh, Vincent"


def test_the_configuration_has_the_text() -> None:
    keys = [key for key in PATH_KEYS["stylize"]]
    cfg = composed("stylize", *(f"{key}=2024_01" for key in keys))
    assert [cfg.checkpoint, cfg.input, cfg.output, cfg.mask.file] == ["2024_01"] * len(keys)
    cfg = composed("train", "style=folder", "style.root=007", "data=mixed", "data.root=2024_01", "data.photos=1e5")
    assert [cfg.style.root, cfg.data.root, cfg.data.photos] == ["007", "2024_01", "1e5"]
    assert OmegaConf.create(OmegaConf.to_yaml(cfg)).style.root == "007"


@pytest.mark.parametrize("value", [*LIKE_NUMBERS, *LIKE_WORDS])
def test_a_name_need_not_exist_to_stay_text(value: str) -> None:
    assert read("stylize", "output", value) == value
    assert read("train", "style.root", value) == value


@pytest.mark.parametrize("value", [*LIKE_NUMBERS, *LIKE_WORDS, *STRANGE])
def test_a_path_that_exists_is_one_value(here: Path, value: str) -> None:
    (here / value).mkdir()
    kept = value.replace("${", "\\${")  # which the configuration resolves to the name
    assert read("stylize", "input", value) == kept
    assert read("train", "style.root", value, True) == kept
    if value == value.strip():
        assert read("stylize", "input", f"[{value},b.mp4]") == [kept, "b.mp4"]


def test_lists_and_names(here: Path) -> None:
    (here / "a, b.mp4").touch()
    (here / "video (1).mp4").touch()
    listed = read("stylize", "input", "[2024_01/x.mp4, a, b.mp4,video (1).mp4,'c, d.mp4',~/e.mp4]")
    assert list(listed) == ["2024_01/x.mp4", "a, b.mp4", "video (1).mp4", "c, d.mp4", str(Path.home() / "e.mp4")]
    assert dict(read("stylize", "checkpoint", "{waves: 007, mosaic: video (1).mp4}")) == {
        "waves": "007",
        "mosaic": "video (1).mp4",
    }
    assert list(read("benchmark", "models", "[2024_01,convgru]")) == ["2024_01", "convgru"]
    assert list(read("live", "sink", "[window,rtmp://host/a?b=c]")) == ["window", "rtmp://host/a?b=c"]


NAMES = [
    *LIKE_NUMBERS, *LIKE_WORDS, "null", "für", "日本", "Van Gogh", "a, b", "x=y", "(1)", "[1]", "%41", "~", "a{b}",
    "50 %",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_the_names_of_files_stay_text(here: Path, name: str) -> None:
    (here / "c, d.pt").touch()
    expected = {name: "2024_01.pt", "mosaic": "c, d.pt"}
    for quotes in ["'", '"'] + [""] * (not set(name) & set(",:{}[]()")):  # which end a name without quotes
        given = f"{{{quotes}{name}{quotes}: 2024_01.pt, mosaic:c, d.pt}}"
        cfg = composed("stylize", f"checkpoint={given}", "input=i", "output=o")
        assert list(cfg.checkpoint.items()) == list(expected.items()) == list(plain(cfg)["checkpoint"].items())
    assert dict(composed("live", f"checkpoint={given}").checkpoint) == expected
    assert dict(composed("studio", f"styles={given}").styles) == expected


def test_a_job_has_the_names_as_they_were_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    @command("evaluate", SCHEMAS["evaluate"])
    def noted(cfg) -> None:
        seen.append(plain(cfg)["styles"])

    monkeypatch.setattr(sys, "argv", ["evaluate.py"])
    noted(["clips=c", "styles={2024_01: [a.jpg, 2024_02.jpg], für: b.jpg}"])
    assert seen == [{"2024_01": ["a.jpg", "2024_02.jpg"], "für": "b.jpg"}]


def test_what_is_no_pair_is_refused_as_before() -> None:
    for given in ("{a}", "{a: }", "{: a.pt}"):
        with pytest.raises(UserError, match="cannot be read"):
            composed("stylize", f"checkpoint={given}", "input=i", "output=o")
    assert composed("stylize", "checkpoint={12\\:30: a.pt}", "input=i", "output=o").checkpoint == {"12:30": "a.pt"}


def test_a_sweep_over_folders_is_two_jobs(here: Path) -> None:
    for folder in ("a", "b", "2024", "2024_01"):
        (here / folder).mkdir()
    assert read("train", "style.root", "a,b", True) == "a"
    assert read("train", "style.root", "2024_01,2024", True) == "2024_01"
    (here / "a,b").mkdir()
    assert read("train", "style.root", "a,b", True) == "a,b"
    assert read("train", "style.root", "a,b,2024", True) == "a,b"


def test_several_names_without_the_flag_show_the_quotes() -> None:
    with pytest.raises(UserError) as caught:
        composed("stylize", "checkpoint=c", "input=a.mp4,b.mp4", "output=o")
    assert str(caught.value) == (
        "input=a.mp4,b.mp4: several values need -m; several for one job are 'input=[a.mp4,b.mp4]', "
        "one name with commas is 'input=\"a.mp4,b.mp4\"'"
    )
    shown = str(caught.value).rpartition("commas is ")[2]
    typed = subprocess.run(["sh", "-c", f"printf %s {shown}"], capture_output=True, text=True, check=True).stdout
    assert read("stylize", *typed.split("=", 1)) == "a.mp4,b.mp4"


def test_what_is_written_may_have_a_comma() -> None:
    assert read("stylize", "output", "Gogh, Vincent.mp4") == "Gogh, Vincent.mp4"
    assert read("stylize", "output", "a,b.mp4", True) == "a"


def test_nothing_else_becomes_text() -> None:
    assert read("stylize", "mask.file", "null") is None
    assert read("train", "resume", "NULL") is None
    assert read("train", "trainer.strategy", "{_target_: a.B}") == {"_target_": "a.B"}
    assert read("train", "resume", "[3]") == [3]
    assert read("stylize", "output", "[3]") == "[3]"
    assert read("stylize", "crf", "20") == 20
    assert read("stylize", "size", "1280") == 1280
    assert read("stylize", "start", "1.5") == 1.5
    assert read("train", "trainer.devices", "[0]") == [0]
    assert read("train", "seed", "1,2", True) == 1
    assert read("train", "output_dir", "runs/${seed}, 1") == "runs/${seed}, 1"
    assert read("train", "output_dir", "'2024'") == "2024"


@pytest.mark.parametrize(("name", "key"), [("stylize", "input"), ("train", "style.root"), ("export", "checkpoint")])
def test_the_job_gets_what_was_checked(here: Path, name: str, key: str) -> None:
    """Hydra reads the command line once more, for the job."""
    seen = []

    def task(cfg) -> None:
        for part in key.split("."):
            cfg = cfg[part]
        seen.append((cfg, HydraConfig.get().mode.name))

    run = command(name, SCHEMAS[name])(task)
    for value in ("2024_01", "Van Gogh, Vincent (1)", "${seed}", "both'\".mp4"):
        (here / value).mkdir()
        run([*NEEDED[name], f"{key}={value}"])
        run(["-m", *NEEDED[name], f"{key}={value},007", "hydra.sweep.dir=2025_01"])
        assert seen == [(value, "RUN"), (value, "MULTIRUN"), ("007", "MULTIRUN")]
        seen.clear()
    assert (here / "2025_01").is_dir()


def test_a_folder_named_like_a_number_is_painted_from_the_shell(here: Path) -> None:
    line = [sys.executable, str(ROOT / "train.py"), "--cfg", "job", "style=folder", "style.root=2024_01"]
    shown = subprocess.run(line, cwd=here, capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0 and "root: '2024_01'" in shown.stdout


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("input=w/ä b.mp4", "w/ä b.mp4"),
        ("input=it's.mp4", "it's.mp4"),
        ("input=a=b,c.mp4", "a=b,c.mp4"),
        ("input=~/film.mp4", str(Path.home() / "film.mp4")),
        ("input='quoted already.mp4'", "quoted already.mp4"),
        ("crf=23", 23),
        ("preset=very (slow)", "very (slow)"),
    ],
)
def test_values_that_the_grammar_cannot_read_are_quoted(given: str, value: object) -> None:
    assert read("stylize", *given.split("=", 1)) == value


@pytest.mark.parametrize("given", ["-m", "~loss.terms.tv", "seed=1,2", "+loss.terms.a={weight: 1}", "--cfg", "style=a"])
def test_what_the_grammar_reads_stays(given: str) -> None:
    assert as_meant([given], TrainConfig, loader("train"), False) == [given]
