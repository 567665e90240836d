import random
import signal

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def listening():
    """A shell without job control starts its background commands deaf to Ctrl-C, and what they start is deaf too.

    So is a command that was interrupted, for the rest of its process.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
