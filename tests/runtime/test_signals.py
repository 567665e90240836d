"""Signals still reach a process that has used OpenVINO, whose plugin lends threads a stack for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.test_engines import stylizer
from vst.runtime import build
from vst.runtime.build import cached_onnx

SCRIPT = """
import gc, os, signal, sys, threading
import numpy as np
from vst.runtime import open_engine

def used():
    engine = open_engine(sys.argv[1], "openvino")
    engine(np.zeros((32, 48, 3), np.uint8))
    return engine

def forget_in_another_thread(engines):
    thread = threading.Thread(target=engines.clear)
    thread.start()
    thread.join()

def forget_the_oldest_first(engines):
    while engines:
        del engines[0]
        gc.collect()

engines = [used(), used()]
{how}(engines)
gc.collect()
heard = []
signal.signal(signal.SIGCHLD, lambda *_: heard.append("child"))
signal.signal(signal.SIGINT, lambda *_: heard.append("Ctrl-C"))
os.kill(os.getpid(), signal.SIGINT)
os.waitpid(os.posix_spawn("/bin/true", ["true"], {{}}), 0)
print(*sorted(heard))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("how", ["forget_in_another_thread", "forget_the_oldest_first"])
def test_a_signal_is_handled_after_engines_of_openvino_have_gone(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnx", "onnxscript", "openvino"):
        pytest.importorskip(package)
    monkeypatch.setattr(build, "cache_folder", lambda: tmp_path)
    file = cached_onnx(stylizer(), packed=True)
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(how=how), str(file)], capture_output=True, text=True)
    assert done.returncode == 0, f"status {done.returncode}: {done.stderr}"
    assert done.stdout.split("\n")[0] == "Ctrl-C child"
