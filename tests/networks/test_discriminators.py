import pytest
import torch

from vst.networks import MultiScaleDiscriminator, PatchDiscriminator


@pytest.mark.parametrize(
    ("discriminator", "maps"), [(PatchDiscriminator(4, 3), 1), (MultiScaleDiscriminator(4, 2, 3), 3)]
)
def test_returns_one_logit_map_a_scale(discriminator, maps):
    logits = discriminator(torch.rand(2, 3, 64, 64))
    assert len(logits) == maps
    assert all(logit.shape[:2] == (2, 1) for logit in logits)


def test_receptive_field_is_what_the_docstring_says():
    picture = torch.rand(1, 3, 128, 128, requires_grad=True)
    (logits,) = PatchDiscriminator(4, 3)(picture)
    logits[0, 0, 7, 7].backward()
    rows = picture.grad.abs().sum(dim=(0, 1, 3)).nonzero().flatten()
    assert rows[-1] - rows[0] + 1 == 46


def test_judges_each_picture_by_itself():
    discriminator = PatchDiscriminator(4, 2)
    a, b = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(discriminator(torch.cat([a, b]))[0][:1], discriminator(a)[0])
