import random

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def steady():
    """Every test starts from the same random state, on one thread (tiny tensors only lose time to more)."""
    torch.set_num_threads(1)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
