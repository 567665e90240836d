import random
import signal

import numpy as np
import pytest
import torch


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
