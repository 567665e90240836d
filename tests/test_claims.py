"""One process at a time has a folder, and of two that want the same new name each gets one."""

import subprocess
import sys

import pytest

from vst.claims import claim, claim_new, release_claims
from vst.commands.benchmark import benchmark
from vst.commands.evaluate import evaluate
from vst.errors import UserError


@pytest.fixture(autouse=True)
def released():
    yield
    release_claims()


def test_processes_that_want_one_name_in_one_moment_get_a_folder_each(tmp_path):
    folder = str(tmp_path / "a/b")
    script = f"import sys, vst.claims as c; input(); print(c.claim_new({folder!r}, 'x').name, flush=True); input()"
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    processes = [subprocess.Popen([sys.executable, "-c", script], **options) for _ in range(4)]
    for turn in ("claim", "end"):
        for process in processes:
            process.stdin.write(f"{turn}\n")
        if turn == "claim":
            names = sorted(process.stdout.readline().strip() for process in processes)
    assert [process.wait(60) for process in processes] == [0] * 4
    assert names == ["b", "b_2", "b_3", "b_4"] == sorted(path.name for path in (tmp_path / "a").iterdir())


def test_a_claimed_folder_is_refused_to_others_until_its_process_ends_however_that_is(tmp_path):
    script = (
        f"import time; from vst.claims import claim; claim({str(tmp_path)!r}, 'x'); print(flush=True); time.sleep(99)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    process.stdout.readline()
    with pytest.raises(UserError, match=f"^output={tmp_path}: another process is writing there"):
        claim(tmp_path, "output")
    process.kill()
    process.wait()
    assert claim(tmp_path, "output") == claim(tmp_path, "output") == tmp_path, "also twice in one process"
    release_claims()
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    for take in (claim, claim_new):
        with pytest.raises(UserError, match=r"output=.*file/run: cannot be made"):
            take(tmp_path / "file/run", "output")


@pytest.mark.parametrize(("command", "given"), [(evaluate, "clips=nowhere"), (benchmark, "models=[nothing]")])
def test_reports_take_the_next_free_name_made_of_the_time(tmp_path, monkeypatch, command, given):
    monkeypatch.chdir(tmp_path)
    for names in (["now"], ["now", "now_2"], ["now", "now_2", "now_3"]):
        with pytest.raises(SystemExit):
            command([given, "output=${now:now}"])
        assert sorted(path.name for path in tmp_path.iterdir()) == names
    with pytest.raises(SystemExit):
        command([given, "output=chosen"])
    assert not list((tmp_path / "chosen").iterdir()), "which is free again"


def test_the_jobs_of_a_sweep_of_evaluations_have_a_report_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        evaluate(["-m", "clips=nowhere,anywhere", "output=${now:now}", "hydra.sweep.dir=sweep"])
    assert sorted(path.name for path in tmp_path.glob("now*")) == ["now", "now_2"]
