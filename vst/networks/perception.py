"""The package's own feature network: a thin network of VGG's kind, distilled from VGG-19, for every perceptual term.

How it was trained and how near it comes to its teachers stands in its card, `thin_vgg.md`; `python -m
benchmarks.distill_features` repeats it.
"""

from __future__ import annotations

from pathlib import Path

from vst.errors import UserError
from vst.networks.features import FeatureNetwork, layers_of, names_of
from vst.weights import read_state_dict

BLOCKS = ((24, 2), (48, 2), (80, 3), (96, 2), (112, 1))
TAPS = names_of(BLOCKS)
WEIGHTS = Path(__file__).with_name("thin_vgg.pt")


class ThinVGG(FeatureNetwork):
    """Features relu1_1 to relu5_1, each of mean activation 1 on photographs and paintings; see FeatureNetwork.

    Knowledge distillation onto intermediate features as in Wang et al. 2020 ("Collaborative Distillation", Eq. 4),
    from random weights.

    Args:
        weights: a file of `benchmarks.distill_features`; None for the one in the package.

    Raises:
        UserError: no such file, or weights of another network.
    """

    title = "the thin VGG"

    def __init__(self, weights: str | None = None) -> None:
        path = WEIGHTS if weights is None else Path(weights)
        state, layers = read_state_dict(path, f"weights={path}"), layers_of(BLOCKS)
        try:
            for name, layer in zip(TAPS, layers, strict=True):
                layer.load_state_dict({key: state[f"{name}.{key}"].float() for key in ("weight", "bias")})
        except (KeyError, RuntimeError) as error:
            raise UserError(f"weights={path}: not those of the thin VGG ({str(error).splitlines()[0]})") from error
        super().__init__(layers, TAPS, TAPS, str(path))
