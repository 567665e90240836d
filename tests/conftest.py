import logging
import os
import random
import signal

import numpy as np
import pytest
import torch

# Python that must not keep compiled modules compiles all of vst anew in each of the hundreds of processes of the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


REAL_TIME = ("tests/live/", "tests/studio/test_rtc.py", "tests/callbacks/test_wandb_server.py")
"""Where tests hold what happens against the clock, which a machine that does something else makes late."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What depends on real time has four tries: a defect fails in all of them."""
    for item in items:
        if item.nodeid.startswith(REAL_TIME):
            item.add_marker(pytest.mark.flaky(reruns=3, reruns_delay=1))


def listen():
    """Hear Ctrl-C and SIGTERM, also in what is started from here.

    A shell without job control starts its background commands deaf to Ctrl-C, and a command that was interrupted stays
    deaf to both for the rest of its process.
    """
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


listen()


@pytest.fixture(autouse=True)
def listening():
    listen()


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Tiny tensors only lose time to more; for the session, so that fixtures of modules have it too."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def steady(one_thread):
    """Every test starts from the same random state, on one thread."""
    torch.set_num_threads(1)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def kept_caches(tmp_path_factory):
    """What is slow to make and the same for all tests."""
    folder = tmp_path_factory.mktemp("caches")
    for part in ("engines", "painted", "studio"):
        (folder / part).mkdir()
    return folder


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory, kept_caches):
    """No test writes into the user's cache folder, nor finds the copies of videos that another one made."""
    root = tmp_path_factory.mktemp("cache")
    (root / "vst").mkdir()
    for part in kept_caches.iterdir():
        (root / "vst" / part.name).symlink_to(part)
    monkeypatch.setenv("XDG_CACHE_HOME", str(root))


@pytest.fixture(autouse=True)
def own_logging():
    """What a command does to the root logger ends with its test: its level, and handlers on streams that are closed."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in list(root.handlers):
        if handler not in handlers and not type(handler).__module__.startswith("_pytest"):
            root.removeHandler(handler)
