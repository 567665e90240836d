"""The help of each command, which is quick, explains every key, and shows examples that work."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import yaml

from tests.schemas import SCHEMAS
from vst import __version__
from vst.cli import COMMANDS, main
from vst.config import compose_or_explain, explained
from vst.errors import UserError
from vst.flags import read_flags
from vst.help import SHOWN, Explained, about, comments

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
WITHOUT_SCRIPT = {"studio", "cache"}
GROUPS = {
    "train": {
        "model", "model/generator", "model/temporal", "model/tone", "model/grade", "model/motion", "model/grain",
        "model/discriminator", "loss", "loss/features",
        "curriculum", "data", "style", "optimizer", "scheduler", "trainer", "logger", "callbacks", "recipe",
        "experiment",
    },
    "evaluate": {"logger"},
    "benchmark": {"logger"},
}  # fmt: skip
FILES = Explained([CONF])
CHOICES = [
    path.relative_to(CONF).with_suffix("").as_posix() for path in sorted(CONF.rglob("*.yaml")) if path.parent != CONF
]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """A function: a command and its arguments -> the help of `vst <command>`, or of its script."""

    def ask(command: str, *arguments: str, script: bool = False) -> str:
        monkeypatch.setattr(sys, "argv", [f"/somewhere/{command}.py" if script else "/bin/vst"])
        monkeypatch.delenv("COLUMNS", raising=False)
        assert explained(command, [*arguments, "--help"])
        return capsys.readouterr().out

    return ask


def block(text: str, title: str) -> dict[str, str]:
    """Left column -> right column of the lines below `title`."""
    (lines,) = [part.splitlines()[1:] for part in text.split("\n\n") if part.startswith(title)]
    rows, last = {}, ""
    for line in lines:
        if line.startswith(" " * 8):
            rows[last] = f"{rows[last]} {line.strip()}".strip()
        else:
            last, *sentence = re.split(r"\s{2,}", line.strip(), maxsplit=1)
            rows[last] = "".join(sentence)
    return rows


def keys_of(schema: type, path: str = "") -> set[str]:
    """Dotted keys of a dataclass, without those that are groups."""
    hints = get_type_hints(schema)
    found: set[str] = set()
    for field in fields(schema):
        if is_dataclass(hints[field.name]):
            found |= keys_of(hints[field.name], f"{path}{field.name}.")
        else:
            found.add(path + field.name)
    return found


def test_the_commands_are_the_modules() -> None:
    modules = {path.stem for path in (ROOT / "vst" / "commands").glob("*.py")} - {"__init__", "common"}
    assert set(COMMANDS) == modules == {path.stem for path in CONF.glob("*.yaml")} - {"common"}
    assert {path.stem for path in ROOT.glob("*.py")} == set(COMMANDS) - WITHOUT_SCRIPT
    for path in ROOT.glob("*.py"):
        assert f'run("{path.stem}")' in path.read_text()


def test_the_readme_promises_commands_that_there_are() -> None:
    readme = (ROOT / "README.md").read_text()
    promised = {after.partition("`")[0].split()[0] for after in readme.split("`vst ")[1:]}
    assert "live" in promised and promised <= set(COMMANDS)


def test_the_version_is_that_of_the_package() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == __version__


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains_every_key_of_the_command(command: str, told) -> None:
    text = told(command)
    rows = {row.partition("=")[0]: sentence for row, sentence in block(text, "keys").items()}
    groups = {group.partition("/")[0] for group in GROUPS.get(command, ())}
    expected = {key for key in keys_of(SCHEMAS[command]) if key.partition(".")[0] not in groups}
    assert set(rows) == expected
    assert all(len(sentence.split()) >= 2 for sentence in rows.values()), rows
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_groups_of_the_command_alone(command: str, told) -> None:
    text = told(command)
    if command not in GROUPS:
        assert "\ngroups" not in text
        return
    rows = {row.partition("=")[0]: (row, sentence) for row, sentence in block(text, "groups").items()}
    assert set(rows) == GROUPS[command]
    for group, (row, sentence) in rows.items():
        choices = {path.relative_to(CONF / group).with_suffix("").as_posix() for path in (CONF / group).glob("*.yaml")}
        before, _, others = sentence.rpartition("; or ")
        assert before and {row.partition("=")[2], *others.split(", ")} == choices


def test_values_are_those_that_the_files_give(told) -> None:
    rows = set(block(told("stylize"), "keys"))
    assert {"input=???", "crf=null", "palette=[]", "overwrite=false", "mask.tolerance=0.4"} <= rows
    assert 'train=""' in block(told("benchmark"), "keys")


def test_a_sentence_may_go_on_in_the_next_line(told) -> None:
    mode = block(told("benchmark"), "keys")["mode=models"]
    assert mode == (
        "models: a table; pipeline: decode, model, encode of input, alone and overlapped; training: clips a second, "
        "and the share of the time spent waiting for data"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_three_examples_are_shown_as_they_are_typed_and_work(command: str, told) -> None:
    examples = list(block(told(command), "examples"))
    assert len(examples) == 3 and all(example.startswith(f"vst {command} ") for example in examples)
    for example in examples:
        compose_or_explain(command, shlex.split(example)[2:], SCHEMAS[command])
    if command not in WITHOUT_SCRIPT:
        assert list(block(told(command, script=True), "examples")) == [
            f"python {command}.py {example.removeprefix(f'vst {command} ')}" for example in examples
        ]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_and_its_keys_have_a_sentence(choice: str, told) -> None:
    assert FILES.sentence(choice), f"conf/{choice}.yaml begins with what it is"
    group = choice.rpartition("/")[0]
    if group.startswith(("experiment", "recipe")):
        return
    rows = block(told("train", f"{group}={choice.rpartition('/')[2]}"), f"{group}:")
    explained_above = [row for row in rows if "=" not in row]
    for row, sentence in rows.items():
        assert sentence or row.startswith(("keys of", *(f"{mapping}." for mapping in explained_above))), row


def test_keys_of_a_group_are_shown_for_the_choice_that_is_given(told) -> None:
    text = told("train", "data=video", "data.crop=96")
    rows = block(text, "data:")
    assert "data.root=???" in rows and "data.crop=96" in rows and "data.speed=7.0" not in rows
    assert "trainer:" not in text
    assert [f"{group}:" in told("train") for group in SHOWN] == [True] * len(SHOWN)


def test_help_of_a_folder_of_ones_own(told, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("# my films\ndefaults: [video]\nroot: films\n")
    text = told("train", "data=mine", "--config-dir", str(tmp_path))
    rows = block(text, "data:")
    assert rows["data=mine"] == "my films" and "data.root=films" in rows


def test_the_reader_of_comments() -> None:
    text = (
        "# Does this.\n# python a.py b=1\n#   an aside\ndefaults:\n  - group: choice   # chosen\n"
        'a: "x # y"   # about a\nb: [1, 2]\nc:   # about c\n  d: {e: 1}   # about d,\n'
        "             # in two lines\n  # no comment of d\n  f: 1\n"
    )
    assert about(text) == ("Does this.", ["python a.py b=1"])
    assert comments(text) == {
        "defaults.group": "chosen", "a": "about a", "c": "about c", "c.d": "about d, in two lines",
    }  # fmt: skip


def leaves(node: Any, path: str = "") -> set[str]:
    if not isinstance(node, dict):
        return {path}
    return {leaf for key, value in node.items() for leaf in leaves(value, f"{path}.{key}".strip("."))}


def test_comments_belong_to_keys() -> None:
    for path in CONF.rglob("*.yaml"):
        text = path.read_text()
        content = yaml.safe_load(text) or {}
        groups = [entry for entry in content.pop("defaults", []) if isinstance(entry, dict)]
        names = {f"defaults.{name}" for entry in groups for name in entry} | leaves(content)
        prefixes = {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)}
        assert set(comments(text)) <= names | prefixes, path


# ----------------------------------------------------------------------------------------------------
# The processes


def ran(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, *command]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120, **options)


VST = "import sys; from vst.cli import main; sys.argv[0] = 'vst'; main()"


@pytest.mark.parametrize("flag", ["--help", "-h", "--version"])
def test_help_waits_for_no_library(flag: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.argv = ['train.py', '{flag}']\nfrom vst.cli import run\n"
        "try:\n    run('train')\n"
        "finally:\n    print(*{'torch', 'pytorch_lightning', 'av', 'numpy'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = ran("-c", code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "\n")
    assert done.stdout == f"vst {__version__}\n" if flag == "--version" else "usage: python train.py" in done.stdout


@pytest.fixture
def vst(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, str]]:
    """A function: the words after `vst` -> what it prints, and its errors."""

    def run(*words: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["vst", *words])
        monkeypatch.delenv("COLUMNS", raising=False)
        main()
        printed = capfd.readouterr()
        return printed.out, printed.err

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_help_by_either_name(command: str, tmp_path: Path, monkeypatch, capfd, vst) -> None:
    monkeypatch.chdir(tmp_path)
    text, errors = vst(command, "--help")
    assert not errors and f"usage: vst {command}" in text
    assert vst("help", command) == (text, "")
    if command not in WITHOUT_SCRIPT:
        script = ran(str(ROOT / f"{command}.py"), "--help", cwd=tmp_path)
        assert (script.returncode, script.stderr) == (0, "")
        # Lines may break elsewhere.
        assert script.stdout.replace(f"python {command}.py", f"vst {command}").split() == text.split()
    with pytest.raises(SystemExit) as ended:
        vst(command, "--version")
    assert not ended.value.code and capfd.readouterr() == (f"vst {__version__}\n", "")
    assert not list(tmp_path.iterdir())


def test_help_and_version_of_a_process(tmp_path: Path) -> None:
    text = ran("-c", VST, "cache", "--help", cwd=tmp_path)
    assert (text.returncode, text.stderr) == (0, "") and "usage: vst cache" in text.stdout
    version = ran("-c", VST, "cache", "--version", cwd=tmp_path)
    assert (version.returncode, version.stdout, version.stderr) == (0, f"vst {__version__}\n", "")
    assert not list(tmp_path.iterdir())


def test_vst_alone_names_its_commands(tmp_path: Path, vst) -> None:
    alone = ran("-c", VST, cwd=tmp_path)
    assert alone.returncode == 0 and all(f"vst {command} " in alone.stdout for command in COMMANDS)
    for word in ("--help", "-h", "help"):
        assert vst(word)[0].split() == alone.stdout.split()
    assert vst("--version")[0] == f"vst {__version__}\n"
    wrong = ran("-c", VST, "trian", cwd=tmp_path)
    assert wrong.returncode == 1 and wrong.stderr.startswith(
        "error: vst trian: no such command (did you mean 'train'?)"
    )


def test_help_of_hydra_is_still_there(tmp_path: Path) -> None:
    assert "--multirun" in ran("-c", VST, "cache", "--hydra-help", cwd=tmp_path).stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--crf", "18"], "--crf: no such flag (--help lists them); values are given as crf=..."),
        (["--crf=18"], "--crf: no such flag (--help lists them); values are given as crf=18"),
        (["-x"], "-x: no such flag"),
        (["--cfg"], "argument --cfg/-c: expected one argument"),
        (["--cfg", "jub"], "argument --cfg/-c: invalid choice: 'jub'"),
        (["--resolve"], "--resolve is for --cfg"),
        (["-m", "--cfg", "job"], "only one of --run, --multirun, --cfg"),
    ],
)
def test_a_wrong_flag_is_one_line(words: list[str], line: str) -> None:
    with pytest.raises(UserError) as caught:
        read_flags(["input=a", *words])
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


def test_a_wrong_flag_is_one_line_of_the_process(tmp_path: Path) -> None:
    done = ran(str(ROOT / "stylize.py"), "--input", "a.mp4", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: --input: no such flag (--help lists them); values are given as input=...\n"


def test_flags_may_stand_among_overrides() -> None:
    flags, words = read_flags(["style=painted", "-m", "seed=1,2", "--config-dir", "mine", "~loss.terms.tv"])
    assert flags.multirun and flags.config_dir == "mine"
    assert words == ["-m", "--config-dir", "mine", "style=painted", "seed=1,2", "~loss.terms.tv"]
