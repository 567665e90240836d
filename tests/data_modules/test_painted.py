import socket

import cv2
import numpy as np
import pytest

from data_modules import painted
from data_modules.motifs import LANDSCAPES, PHOTOGRAPHS, landscape, photograph
from data_modules.painted import ARTISTS, WORKS, paint, painted_work
from vst.errors import UserError

SIZE = 112
INDICES = (0, 1, 3, 6)


@pytest.fixture(scope="module")
def gallery():
    return {artist: [paint(artist, index, SIZE) for index in INDICES] for artist in ARTISTS}


def flat_texture(picture, side=8):
    """Fine detail (0..255) in the flattest quarter of the blocks of a picture."""
    gray = picture.astype(np.float32).mean(-1)
    gray = gray - cv2.GaussianBlur(gray, (0, 0), 1.5)
    h, w = (n // side * side for n in gray.shape)
    blocks = gray[:h, :w].reshape(h // side, side, w // side, side)
    return np.percentile(blocks.std(axis=(1, 3)), 25)


def fingerprint(picture):
    """Colour histogram and the energy of each octave of detail: what a style is, not what it shows."""
    colours = np.histogramdd(picture.reshape(-1, 3), bins=4, range=[(0, 256)] * 3)[0].ravel()
    gray, octaves = picture.mean(-1), []
    for sigma in (0.7, 1.4, 2.8, 5.6):
        blurred = cv2.GaussianBlur(gray, (0, 0), sigma)
        octaves.append((gray - blurred).std())
        gray = blurred
    return np.concatenate([np.sqrt(colours / colours.sum()), np.log(octaves)])


def test_five_artists_at_least():
    assert len(ARTISTS) >= 5 and len(set(ARTISTS)) == len(ARTISTS) and WORKS >= 8


@pytest.mark.parametrize("artist", ARTISTS)
def test_a_work_is_a_picture_of_the_asked_size_and_always_the_same(artist, gallery):
    first = gallery[artist][0]
    assert first.dtype == np.uint8 and first.shape[2] == 3 and min(first.shape[:2]) == SIZE
    assert np.array_equal(first, paint(artist, INDICES[0], SIZE))


@pytest.mark.parametrize("artist", ARTISTS)
def test_works_of_an_artist_are_different_pictures(artist, gallery):
    small = [cv2.resize(work, (16, 16), interpolation=cv2.INTER_AREA).astype(float) for work in gallery[artist]]
    for k, one in enumerate(small):
        for other in small[:k]:
            assert np.abs(one - other).mean() > 15


def test_works_are_nearest_to_the_other_works_of_their_artist(gallery):
    prints = {artist: np.stack([fingerprint(work) for work in works]) for artist, works in gallery.items()}
    hits = 0
    for artist, own in prints.items():
        for k, print_ in enumerate(own):
            rest = {name: np.delete(p, k, 0) if name == artist else p for name, p in prints.items()}
            nearest = min(rest, key=lambda name: np.linalg.norm(print_ - rest[name].mean(0)))
            hits += nearest == artist
    assert hits >= 0.75 * len(ARTISTS) * len(INDICES)  # 0.2 by chance


@pytest.mark.parametrize("artist", ARTISTS)
def test_flat_regions_of_the_motif_are_painted_with_texture(artist, gallery):
    motif = landscape("sea", "day", SIZE, SIZE, np.random.default_rng(0))
    assert flat_texture(motif.image * 255) < 1
    assert min(flat_texture(work) for work in gallery[artist]) > 5


def test_palettes_are_rich_and_pictures_use_the_range(gallery):
    for works in gallery.values():
        for work in works:
            low, high = np.percentile(work.mean(-1), (2, 98))
            assert high - low > 100


def test_painting_every_subject_opens_no_connection(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("network used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    for index in range(12):
        paint("pointillism", index, 64)


def test_motifs_fill_the_canvas_within_the_range():
    for hour in ("night", "dusk", "day", "gold"):
        for kind in LANDSCAPES:
            image = landscape(kind, hour, 48, 60, np.random.default_rng(1)).image
            assert image.shape == (48, 60, 3) and image.min() >= 0 and image.max() <= 1
            assert image.std() > 0.05
    for name in PHOTOGRAPHS:
        assert photograph(name, 48, 60, np.random.default_rng(1)).image.shape == (48, 60, 3)


def test_unknown_artist_is_one_line_with_a_suggestion():
    with pytest.raises(UserError, match="did you mean 'swirl'") as error:
        paint("swril", 0)
    assert "\n" not in str(error.value) and "mosaic" in str(error.value)


def test_a_cached_work_is_read_back_and_not_painted_again(tmp_path, monkeypatch):
    fresh = painted_work("pointillism", 2, 64, tmp_path)
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".png" and "pointillism" in file.name and "64" in file.name
    assert np.array_equal(fresh, paint("pointillism", 2, 64))
    monkeypatch.setattr(painted, "paint", lambda *_: pytest.fail("painted again"))
    assert np.array_equal(painted_work("pointillism", 2, 64, tmp_path), fresh)


def test_a_broken_cache_file_is_painted_again(tmp_path):
    fresh = painted_work("pointillism", 1, 64, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:40])
    assert np.array_equal(painted_work("pointillism", 1, 64, tmp_path), fresh)
    assert np.array_equal(cv2.imread(str(file))[..., ::-1], fresh)


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert painted_work("pointillism", 0, 64, blocked / "painted").shape[0] == 64
    assert blocked.read_text() == "not a folder"


def test_without_a_cache_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    painted_work("pointillism", 0, 64, None)
    assert list(tmp_path.iterdir()) == []
