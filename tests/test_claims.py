"""One process at a time has a folder, and of two that want the same new name each gets one."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest

from vst.claims import claim, claim_new, release_claims
from vst.errors import UserError


@pytest.fixture(autouse=True)
def released():
    yield
    release_claims()


def _claimed(folder: Path, queue, done) -> None:
    queue.put(claim_new(folder, "output").name)
    done.wait(60)


def test_processes_that_want_one_name_in_one_moment_get_a_folder_each(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue, done = context.Queue(), context.Event()
    processes = [context.Process(target=_claimed, args=(tmp_path / "a/b", queue, done)) for _ in range(4)]
    for process in processes:
        process.start()
    names = sorted(queue.get(timeout=60) for _ in processes)
    done.set()
    for process in processes:
        process.join(60)
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
