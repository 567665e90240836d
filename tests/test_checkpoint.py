import os

import pytest
import torch
from PIL import Image

from vst.checkpoint import (
    check_resumable,
    initialise,
    load_stylizer,
    read_training,
    save_stylizer,
    stylizer_content,
)
from vst.errors import UserError
from vst.export import FORMATS
from vst.networks import PatchDiscriminator, build_stylizer
from vst.runtime import FILE_ENGINES

MODEL = {
    "generator": {"_target_": "vst.networks.ResidualGenerator", "width": 8, "num_blocks": 1},
    "temporal": {"_target_": "vst.networks.ConvGRU", "channels": 8},
    "discriminator": {"_target_": "vst.networks.PatchDiscriminator", "width": 8, "num_layers": 2},
}


def content():
    torch.manual_seed(0)
    return stylizer_content(build_stylizer(MODEL), MODEL, style="test")


def test_a_stylizer_comes_back_as_it_was(tmp_path):
    save_stylizer(tmp_path / "s.pt", content())
    torch.manual_seed(0)
    original, frames = build_stylizer(MODEL).eval(), torch.rand(1, 2, 3, 32, 32)
    loaded = load_stylizer(tmp_path / "s.pt")
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert torch.equal(loaded(frames)[0], original(frames)[0])


def test_the_discriminator_does_not_travel(tmp_path):
    assert content()["model"].keys() == {"generator", "temporal"}


class Payload:
    def __reduce__(self):
        return os.system, ("echo executed > executed",)


def test_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"stylizer": {**content(), "style": Payload()}}, tmp_path / "bad.pt")
    with pytest.raises(UserError, match="holds code"):
        load_stylizer(tmp_path / "bad.pt")
    assert not (tmp_path / "executed").exists()


def test_a_picture_is_no_checkpoint(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "painting.png")
    with pytest.raises(UserError, match=r"painting\.png': not a readable checkpoint"):
        load_stylizer(tmp_path / "painting.png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "checkpoint format 99, this vst reads 1"),
        ({"model": {**MODEL, "generator": {"_target_": "torch.nn.Linear"}}}, r"only networks of vst\.networks"),
        ({"model": {**MODEL, "generator": {**MODEL["generator"], "width": 16}}}, "do not fit"),
        ({"model": "text"}, "missing"),
        ({"weights": [1, 2]}, "do not fit"),
        ({"weights": {"generator.stem.bias": 3}}, "do not fit"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(tmp_path, change, message):
    save_stylizer(tmp_path / "s.pt", {**content(), **change})
    with pytest.raises(UserError, match=message) as caught:
        load_stylizer(tmp_path / "s.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("weights", [[1, 2], {"generator.stem.bias": 3}])
def test_weights_that_are_no_tensors_start_nothing(tmp_path, weights):
    save_stylizer(tmp_path / "s.pt", {**content(), "weights": weights})
    with pytest.raises(UserError, match="do not fit"):
        initialise(build_stylizer(MODEL), None, tmp_path / "s.pt")


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, number):
    diverged = content()
    diverged["weights"]["temporal.gates.bias"][0] = number
    save_stylizer(tmp_path / "s.pt", diverged)
    opponent = PatchDiscriminator(8, 2)
    state = {f"discriminator.{name}": value + number for name, value in opponent.state_dict().items()}
    torch.save({"stylizer": content(), "state_dict": state}, tmp_path / "last.ckpt")
    for attempt, tensor in (
        (lambda: load_stylizer(tmp_path / "s.pt"), "temporal.gates.bias"),
        (lambda: initialise(build_stylizer(MODEL), None, tmp_path / "s.pt"), "temporal.gates.bias"),
        (lambda: initialise(build_stylizer(MODEL), opponent, tmp_path / "last.ckpt"), ""),
    ):
        with pytest.raises(UserError, match=rf"{tensor}.* holds NaN or infinity") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_other_files_are_refused_in_one_line(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    for name, message in {
        "text.pt": "not a readable checkpoint",
        "empty.pt": "not a readable checkpoint",
        "other.ckpt": "another kind",
        "missing.pt": "not found",
        "": "a folder",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            load_stylizer(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    save_stylizer(tmp_path / "s.pt", content())
    before = (tmp_path / "s.pt").read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="No space"):
        save_stylizer(tmp_path / "s.pt", content())
    assert (tmp_path / "s.pt").read_bytes() == before


def test_resuming_from_a_checkpoint_that_does_not_fit_is_refused_in_one_line(tmp_path):
    state = {"stylizer.weight": torch.zeros(2, 3)}
    training = {"state_dict": state, "optimizer_states": [], "progress": {}, "config": {"seed": 1}, "epoch": 0}
    torch.save(training, tmp_path / "last.ckpt")
    save_stylizer(tmp_path / "stylizer.pt", content())
    assert read_training(tmp_path / "last.ckpt") == {"seed": 1}
    check_resumable(tmp_path / "last.ckpt", state, max_epochs=2)
    for attempt, message in (
        (lambda: read_training(tmp_path / "stylizer.pt"), "not the state of a training"),
        (lambda: read_training(tmp_path / "none.ckpt"), "not found"),
        (lambda: check_resumable(tmp_path / "last.ckpt", {"stylizer.weight": torch.zeros(3)}, 2), "1 tensors differ"),
        (lambda: check_resumable(tmp_path / "last.ckpt", {**state, "more": torch.zeros(1)}, 2), "such as more"),
        (lambda: check_resumable(tmp_path / "last.ckpt", state, 1), "has finished its 1 epochs"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            attempt()
        assert "\n" not in str(caught.value)


STATELESS = {**MODEL, "temporal": {"_target_": "vst.networks.Stateless"}}


def test_an_image_model_starts_one_with_memory_and_the_other_way_round(tmp_path):
    frames = torch.rand(1, 2, 3, 32, 32)
    for name, model in (("image", STATELESS), ("film", MODEL)):
        save_stylizer(tmp_path / f"{name}.pt", stylizer_content(build_stylizer(model), model, style=name))
    image, film = load_stylizer(tmp_path / "image.pt"), load_stylizer(tmp_path / "film.pt")

    new = build_stylizer(MODEL).eval()
    memory = {name: value.clone() for name, value in new.temporal.state_dict().items()}
    said = initialise(new, None, tmp_path / "image.pt")
    assert said == f"{tmp_path / 'image.pt'} (style image): generator taken, memory new"
    torch.testing.assert_close(new(frames[:, 0])[0], image(frames[:, 0])[0])  # the memory takes over from there
    assert all(torch.equal(value, memory[name]) for name, value in new.temporal.state_dict().items())

    still = build_stylizer(STATELESS).eval()
    assert initialise(still, PatchDiscriminator(8, 2), tmp_path / "film.pt").endswith(
        "generator taken, memory left out, discriminator new"
    )
    torch.testing.assert_close(still(frames[:, 0])[0], film(frames[:, 0])[0])
    assert all(p.requires_grad for p in still.parameters())


def test_starting_from_another_architecture_is_refused_in_one_line(tmp_path):
    save_stylizer(tmp_path / "s.pt", content())
    for change in ({"width": 16}, {"num_blocks": 2}):
        generator = {**MODEL["generator"], **change}
        width = generator["width"]
        other = build_stylizer({"generator": generator, "temporal": {**MODEL["temporal"], "channels": width}})
        before = {name: value.clone() for name, value in other.state_dict().items()}
        with pytest.raises(UserError, match=r"another architecture: .* tensors of the generator differ") as caught:
            initialise(other, None, tmp_path / "s.pt")
        assert "\n" not in str(caught.value)
        assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items()), "nothing is taken"
    with pytest.raises(UserError, match="not found"):
        initialise(build_stylizer(MODEL), None, tmp_path / "none.pt")


def test_a_discriminator_is_taken_whole_or_not_at_all(tmp_path):
    opponent = PatchDiscriminator(8, 2)
    state = {f"discriminator.{name}": value for name, value in opponent.state_dict().items()}
    torch.save({"stylizer": content(), "state_dict": state}, tmp_path / "last.ckpt")
    ours = PatchDiscriminator(8, 2)
    assert initialise(build_stylizer(MODEL), ours, tmp_path / "last.ckpt").endswith("discriminator taken")
    assert all(torch.equal(value, opponent.state_dict()[name]) for name, value in ours.state_dict().items())
    wider = PatchDiscriminator(8, 3)
    before = {name: value.clone() for name, value in wider.state_dict().items()}
    assert initialise(build_stylizer(MODEL), wider, tmp_path / "last.ckpt").endswith("discriminator new")
    assert all(torch.equal(value, before[name]) for name, value in wider.state_dict().items())


def test_a_model_with_grain_starts_from_one_without_and_the_other_way_round(tmp_path):
    torch.manual_seed(0)
    grained = {
        **MODEL,
        "generator": {**MODEL["generator"], "grain": 4},
        "grain": {"_target_": "vst.networks.CameraGrain"},
    }
    plain, frame = build_stylizer(MODEL).eval(), torch.rand(1, 3, 40, 48)
    save_stylizer(tmp_path / "plain.pt", stylizer_content(plain, MODEL, "x"))
    new = build_stylizer(grained).eval()
    assert "generator taken" in initialise(new, None, tmp_path / "plain.pt")
    torch.testing.assert_close(new(frame)[0], plain(frame)[0])
    save_stylizer(tmp_path / "grained.pt", stylizer_content(new, grained, "x"))
    again = build_stylizer(MODEL).eval()
    initialise(again, None, tmp_path / "grained.pt")
    torch.testing.assert_close(again(frame)[0], plain(frame)[0])


def test_other_streaks_than_those_of_the_file_are_told(tmp_path):
    def model(streak):
        grain = {"_target_": "vst.networks.CameraGrain", "streak": streak}
        return {**MODEL, "generator": {**MODEL["generator"], "grain": 4}, "grain": grain}

    save_stylizer(tmp_path / "s.pt", stylizer_content(build_stylizer(model(3)), model(3), "x"))
    assert "model.grain.streak=3 keeps them" in initialise(build_stylizer(model(8)), None, tmp_path / "s.pt")
    assert "grain.streak" not in initialise(build_stylizer(model(3)), None, tmp_path / "s.pt")


@pytest.mark.parametrize("suffix", sorted({*FILE_ENGINES, *FORMATS.values()}))
def test_an_exported_file_is_no_checkpoint_and_says_where_it_runs(tmp_path, suffix):
    """It names the commands that run it, and only such a file has engines."""
    file = tmp_path / f"model{suffix}"
    file.write_bytes(b"exported")
    said = r"only engines run \(stylize, live, studio" if suffix in FILE_ENGINES else "no command here runs"
    with pytest.raises(UserError, match=rf"{said}.*; give the stylizer\.pt that it was made from$"):
        load_stylizer(file)
