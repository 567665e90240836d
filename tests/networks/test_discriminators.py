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


def singular_values(discriminator):
    return [
        torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2).item()
        for module in discriminator.modules()
        if isinstance(module, torch.nn.Conv2d)
    ]


@pytest.mark.parametrize("kind", [PatchDiscriminator, MultiScaleDiscriminator])
def test_spectral_norm_brings_every_largest_singular_value_to_1(kind):
    torch.manual_seed(0)
    sizes = {"width": 8, "num_layers": 2} | ({"num_scales": 2} if kind is MultiScaleDiscriminator else {})
    plain, normalised = kind(**sizes), kind(**sizes, spectral_norm=True)
    for _ in range(50):  # one power iteration each
        normalised(torch.rand(1, 3, 64, 64))
    normalised.eval()
    assert len(singular_values(normalised)) == len(singular_values(plain))
    assert singular_values(normalised) == pytest.approx([1.0] * len(singular_values(plain)), abs=0.02)
    assert not singular_values(plain) == pytest.approx([1.0] * len(singular_values(plain)), abs=0.1)


def test_spectral_norm_holds_a_weight_that_grows():
    torch.manual_seed(0)
    pictures, scores = torch.rand(2, 3, 32, 32), []
    discriminator = PatchDiscriminator(4, 2, spectral_norm=True)
    for factor in (1, 100):
        with torch.no_grad():
            for layer in (*discriminator.layers, discriminator.head):
                layer.parametrizations.weight.original.mul_(factor)
                layer.bias.zero_()
            discriminator.train()
            for _ in range(30):
                discriminator(pictures)
            scores.append(discriminator.eval()(pictures)[0])
    torch.testing.assert_close(scores[0], scores[1], rtol=1e-3, atol=1e-5)


def test_spectral_norm_goes_on_from_a_saved_state():
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 32, 32)
    one, other = (PatchDiscriminator(4, 2, spectral_norm=True) for _ in range(2))
    for _ in range(3):
        one(pictures)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(pictures)[0], other(pictures)[0])
    one.eval()
    assert torch.equal(one(pictures)[0], one(pictures)[0]), "in eval mode nothing moves"


def test_spectral_norm_bears_a_gradient_of_a_gradient():
    discriminator = PatchDiscriminator(4, 2, spectral_norm=True)
    x = torch.rand(2, 3, 32, 32, requires_grad=True)
    (gradient,) = torch.autograd.grad(discriminator(x)[0].sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert discriminator.head.parametrizations.weight.original.grad.abs().sum() > 0
