import os
import subprocess
import sys
from pathlib import Path

import pytest

from vst import threads

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder that stands for /sys/fs/cgroup, on a machine of eight processors."""
    monkeypatch.setattr(threads, "CGROUPS", tmp_path)
    monkeypatch.setattr(threads, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(threads, "_affinity", lambda: range(8))
    return tmp_path


def state(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("1600000 100000", 8)],
)
def test_a_quota_of_version_2_counts_rounded_up(machine: Path, quota: str, expected: int) -> None:
    state(machine / "own", "0::/\n")
    state(machine / "cpu.max", f"{quota}\n")
    assert threads.cpus() == expected


def test_a_quota_of_a_group_around_counts(machine: Path) -> None:
    state(machine / "own", "0::/pod/container\n")
    state(machine / "pod" / "cpu.max", "300000 100000\n")
    state(machine / "pod" / "container" / "cpu.max", "max 100000\n")
    assert threads.cpus() == 3


@pytest.mark.parametrize(("quota", "expected"), [("-1", 8), ("400000", 4)])
def test_a_quota_of_version_1_counts(machine: Path, quota: str, expected: int) -> None:
    state(machine / "own", "3:memory:/docker/a\n2:cpu,cpuacct:/docker/a\n")
    state(machine / "cpu" / "docker" / "a" / "cpu.cfs_quota_us", f"{quota}\n")
    state(machine / "cpu" / "docker" / "a" / "cpu.cfs_period_us", "100000\n")
    assert threads.cpus() == expected


def test_without_control_groups_the_affinity_counts(machine: Path) -> None:
    assert threads.cpus() == 8


def in_a_new_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name not in (*threads.PASSIVE, "OMP_NUM_THREADS")}
    clean |= {"PYTHONPATH": str(ROOT), **environment}
    return subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP tells its settings on Linux")
@pytest.mark.parametrize(
    ("given", "policy"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")], ids=["default", "the user's"]
)
@pytest.mark.parametrize("first", ["vst", "vst.networks", "vst.commands.stylize", "vst.commands.train"])
def test_openmp_is_loaded_with_passive_threads(first: str, given: dict[str, str], policy: str) -> None:
    """What OpenMP itself says of its settings, whichever module is imported first; torch loads it before its own C."""
    stop = "lambda event, args: event == 'import' and args[0] == 'torch._C' and os._exit(0)"
    code = f"import os, sys; sys.addaudithook({stop}); import {first}, torch; sys.exit('torch was not loaded')"
    told = in_a_new_process(code, OMP_DISPLAY_ENV="TRUE", **given).stderr
    assert f"OMP_WAIT_POLICY = '{policy}'" in told


def test_a_quota_limits_the_threads_of_torch() -> None:
    code = "import vst.threads as t; t.cpus = lambda: 1; t._affinity = lambda: range(8); t.wait_passively()"
    code += "; import torch; print(torch.get_num_threads())"
    assert in_a_new_process(code).stdout.split() == ["1"]
