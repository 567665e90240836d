import logging
import pickle
import time

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from data_modules import styles
from data_modules.painted import ARTISTS, WORKS, paint
from data_modules.styles import DEFAULT_ARTIST, FolderStyle, ImageStyle, PaintedStyle, WikiArtStyle
from vst.errors import UserError


@pytest.fixture(autouse=True)
def no_wikiart_here(monkeypatch, tmp_path):
    monkeypatch.delenv("VST_WIKIART", raising=False)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def save(path, size=(80, 64), colour=None, seed=0):
    """A noise picture of `size` (w, h), or one of a single colour; lossless where the suffix allows it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(np.full_like(noise, colour) if colour is not None else noise).save(path)
    return path


def colour_of(style, n=40):
    """Mean colours (rounded, 0..255) seen in `n` draws."""
    draws = (style.sample(np.random.default_rng(k)) for k in range(n))
    return {tuple(int(v) for v in (crop.mean((1, 2)) * 255).round()) for crop in draws}


def one_line(call, *words):
    with pytest.raises(UserError) as error:
        call()
    message = str(error.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


# ---- crops


def test_a_crop_is_a_square_in_range_and_a_function_of_the_generator(tmp_path):
    style = ImageStyle(save(tmp_path / "a.png", (300, 200)), crop=48, short_side=96)
    one, same = (style.sample(np.random.default_rng(3)) for _ in range(2))
    other = style.sample(np.random.default_rng(4))
    assert one.shape == (3, 48, 48) and one.dtype == torch.float32
    assert one.min() >= 0 and one.max() <= 1
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_draws_do_not_depend_on_what_was_drawn_before(tmp_path):
    for k in range(4):
        save(tmp_path / f"{k}.png", seed=k)
    (tmp_path / "broken.png").write_bytes(b"nothing")
    fresh = FolderStyle(tmp_path, crop=32, short_side=48, cache=2)
    used = FolderStyle(tmp_path, crop=32, short_side=48, cache=2)
    for k in range(20):
        used.sample(np.random.default_rng(100 + k))
    assert torch.equal(fresh.sample(np.random.default_rng(5)), used.sample(np.random.default_rng(5)))


def test_the_channels_are_red_green_blue(tmp_path):
    style = ImageStyle(save(tmp_path / "a.png", colour=(250, 100, 10)), crop=32, short_side=64)
    assert colour_of(style, 3) == {(250, 100, 10)}
    assert style.reference().mean((1, 2)).mul(255).round().tolist() == [250, 100, 10]


def test_short_side_sets_the_scale_of_the_strokes(tmp_path):
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[:, (np.arange(256) // 16) % 2 == 0] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")

    def stripe_width(short_side):
        widths = []
        style = ImageStyle(tmp_path / "stripes.png", crop=64, short_side=short_side)
        for k in range(60):
            row = style.sample(np.random.default_rng(k))[0, 30] > 0.5
            widths.append(64 / max(1, int((row[1:] != row[:-1]).sum())))
        return np.mean(widths)

    assert stripe_width(256) == pytest.approx(16, rel=0.15)
    assert stripe_width(128) == pytest.approx(8, rel=0.15)


def test_zoom_stays_between_0_8_and_1_25_and_both_mirrorings_occur(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3))
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    style = ImageStyle(tmp_path / "ramp.png", crop=64, short_side=256)
    crops = [style.sample(np.random.default_rng(k))[0, 30] * 255 for k in range(100)]
    slopes = np.array([float(c[-1] - c[0]) / 63 for c in crops])
    zooms = 1 / np.abs(slopes)
    assert zooms.min() > 0.78 and zooms.max() < 1.29 and zooms.min() < 0.85 and zooms.max() > 1.18
    assert 25 < (slopes > 0).sum() < 75


def test_crops_reach_all_corners_of_the_picture(tmp_path):
    quarters = np.zeros((100, 100, 3), np.uint8)
    quarters[:8, :8], quarters[-8:, -8:] = (255, 0, 0), (0, 255, 0)
    Image.fromarray(quarters).save(tmp_path / "corners.png")
    style = ImageStyle(tmp_path / "corners.png", crop=50, short_side=100)
    peak = torch.stack([style.sample(np.random.default_rng(k)).amax((1, 2)) for k in range(200)]).amax(0)
    assert peak[0] > 0.9 and peak[1] > 0.9


def test_a_small_picture_is_scaled_up_to_the_crop_and_said(tmp_path):
    save(tmp_path / "tiny.png", (30, 20))
    style = FolderStyle(tmp_path, crop=64, short_side=128)
    assert style.sample(np.random.default_rng(0)).shape == (3, 64, 64)
    assert min(style.reference().shape[1:]) == 64
    assert "scaled up" in style.describe() and "tiny.png" in style.describe()
    assert "scaled up" not in ImageStyle(save(tmp_path / "b.png", (99, 77)), crop=64, short_side=128).describe()


def test_any_picture_works_with_a_crop_larger_than_the_short_side(tmp_path):
    style = ImageStyle(save(tmp_path / "a.png", (400, 90)), crop=80, short_side=32)
    assert all(style.sample(np.random.default_rng(k)).shape == (3, 80, 80) for k in range(20))


def test_reference_is_the_whole_picture_at_the_short_side(tmp_path):
    style = ImageStyle(save(tmp_path / "a.png", (300, 200)), crop=32, short_side=100)
    assert style.reference().shape == (3, 100, 150)


def test_memory_is_bounded_and_small_pictures_are_kept(tmp_path):
    for k in range(6):
        save(tmp_path / f"{k}.png", (200, 160), seed=k)
    style = FolderStyle(tmp_path, crop=16, short_side=40, cache=3)
    for k in range(30):
        style.sample(np.random.default_rng(k))
    assert len(style._kept) == 3
    assert all(picture.dtype == np.uint8 and min(picture.shape[:2]) == 40 for picture in style._kept.values())


def test_a_small_collection_is_read_once(tmp_path, monkeypatch):
    for k in range(3):
        save(tmp_path / f"{k}.png", seed=k)
    style = FolderStyle(tmp_path, crop=16, short_side=40)
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("read again"))
    for k in range(20):
        style.sample(np.random.default_rng(k))


def test_sampling_takes_less_than_two_milliseconds(tmp_path):
    style = ImageStyle(save(tmp_path / "a.png", (640, 512)), crop=160, short_side=320)
    times = []
    for k in range(60):
        start = time.perf_counter()
        style.sample(np.random.default_rng(k))
        times.append(time.perf_counter() - start)
    assert np.quantile(times, 0.1) < 0.002  # a quantile: other processes share the machine


def test_sources_can_be_sent_to_worker_processes(tmp_path):
    style = pickle.loads(pickle.dumps(ImageStyle(save(tmp_path / "a.png"), crop=16, short_side=32)))
    assert style.sample(np.random.default_rng(0)).shape == (3, 16, 16)


# ---- one picture


def test_image_name_and_description(tmp_path):
    style = ImageStyle(save(tmp_path / "The Great_Wave (1831).png"), crop=16, short_side=32)
    assert style.name == "the-great-wave-1831"
    assert "The Great_Wave (1831).png" in style.describe() and "\n" not in style.describe()


def test_image_mistakes_are_one_line(tmp_path):
    one_line(lambda: ImageStyle(None), "style.image")
    one_line(lambda: ImageStyle(tmp_path / "none.jpg"), "none.jpg", "no such file")
    one_line(lambda: ImageStyle(tmp_path), "folder", "style=folder")
    (tmp_path / "notes.jpg").write_text("not a picture")
    one_line(lambda: ImageStyle(tmp_path / "notes.jpg"), "notes.jpg", "not a readable picture")
    (tmp_path / "empty.jpg").touch()
    one_line(lambda: ImageStyle(tmp_path / "empty.jpg"), "empty.jpg")
    half = save(tmp_path / "half.jpg", (200, 200))
    half.write_bytes(half.read_bytes()[:3000])
    one_line(lambda: ImageStyle(half), "half.jpg", "truncated")
    good = save(tmp_path / "good.png")
    one_line(lambda: ImageStyle(good, crop=2), "style.crop", "16")
    one_line(lambda: ImageStyle(good, short_side=0), "style.short_side", "16")


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "RGBA", "LA"])
def test_every_common_colour_mode_is_read(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.fromarray(np.full((40, 40), 255, np.uint8)).convert("RGB").convert(mode).save(path)
    style = ImageStyle(path, crop=16, short_side=32)
    assert style.sample(np.random.default_rng(0)).min() > 0.98


def test_transparency_is_white_and_exif_rotation_is_applied(tmp_path):
    Image.fromarray(np.zeros((40, 40, 4), np.uint8)).save(tmp_path / "clear.png")
    assert ImageStyle(tmp_path / "clear.png", crop=16, short_side=32).reference().min() == 1
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    Image.fromarray(np.zeros((40, 80, 3), np.uint8)).save(tmp_path / "turned.jpg", exif=exif)
    assert ImageStyle(tmp_path / "turned.jpg", crop=16, short_side=40).reference().shape == (3, 80, 40)


def test_a_large_jpeg_keeps_its_resolution_at_the_short_side(tmp_path):
    checks = (np.indices((1200, 1200)).sum(0) // 6 % 2 * 255).astype(np.uint8)
    Image.fromarray(checks).convert("RGB").save(tmp_path / "big.jpg", quality=95)
    ours = ImageStyle(tmp_path / "big.jpg", crop=64, short_side=400).reference()
    whole = cv2.resize(cv2.imread(str(tmp_path / "big.jpg")), (400, 400), interpolation=cv2.INTER_AREA)
    assert np.abs(ours.numpy().transpose(1, 2, 0) * 255 - whole[..., ::-1]).mean() < 8


# ---- folders


def test_folder_is_searched_recursively_and_other_files_are_left_alone(tmp_path):
    save(tmp_path / "art/a.png", colour=(200, 0, 0))
    save(tmp_path / "art/deep/er/b.PNG", colour=(0, 200, 0))
    save(tmp_path / "art/._a.png", colour=(0, 0, 200))
    (tmp_path / "art/readme.txt").write_text("hello")
    style = FolderStyle(tmp_path / "art", crop=16, short_side=32)
    assert colour_of(style) == {(200, 0, 0), (0, 200, 0)}
    assert style.name == "art" and "2 pictures" in style.describe()


def test_folder_mistakes_are_one_line(tmp_path):
    one_line(lambda: FolderStyle(None), "style.root")
    one_line(lambda: FolderStyle(tmp_path / "none"), "none", "no such folder")
    (tmp_path / "empty").mkdir()
    one_line(lambda: FolderStyle(tmp_path / "empty"), "no picture", "empty")
    one_line(lambda: FolderStyle(save(tmp_path / "a.png")), "is a file", "style=image")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/x.jpg").write_text("no")
    one_line(lambda: FolderStyle(tmp_path / "bad"), "no readable picture", "x.jpg")


@pytest.mark.parametrize("cache", [256, 1])
def test_unreadable_pictures_are_skipped_and_named(tmp_path, caplog, cache):
    for k in range(3):
        save(tmp_path / f"b{k}.png", colour=(60 * k, 9, 9))
    (tmp_path / "a.jpg").write_text("no")
    (tmp_path / "z.png").touch()
    with caplog.at_level(logging.WARNING):
        style = FolderStyle(tmp_path, crop=16, short_side=32, cache=cache)
        assert colour_of(style, 60) == {(0, 9, 9), (60, 9, 9), (120, 9, 9)}
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (1 if cache == 256 else 2)
    assert "a.jpg" in "".join(messages) and "z.png" in "".join(messages)
    assert "2 of 5 unreadable" in style.describe()
    assert "cannot identify" in style.describe()  # the reason


def test_the_count_is_that_of_the_readable_pictures(tmp_path):
    for k in range(3):
        save(tmp_path / f"{k}.png", seed=k)
    (tmp_path / "bad.png").touch()
    assert FolderStyle(tmp_path, crop=16, short_side=32).count == 3
    assert ImageStyle(tmp_path / "0.png", crop=16, short_side=32).count == 1


def test_pictures_without_colour_are_told_in_one_line(tmp_path, caplog):
    def told(**settings):
        caplog.clear()
        FolderStyle(tmp_path, crop=16, short_side=32, **settings)
        return [r.getMessage() for r in caplog.records if "colour" in r.getMessage()]

    ramp = np.tile(np.arange(0, 240, 3, dtype=np.uint8), (64, 1))
    Image.fromarray(ramp).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([ramp, ramp + 2, ramp])).save(tmp_path / "nearly.jpg", quality=40)
    (message,) = told()
    assert f"no picture has colour (2 pictures below {tmp_path})" in message and "\n" not in message
    Image.fromarray(np.dstack([ramp, ramp * 0.8, ramp * 0.6]).astype(np.uint8)).save(tmp_path / "sepia.png")
    assert not told()
    assert not told(cache=1), "not all are known"


def test_hidden_folders_are_passed_over(tmp_path):
    save(tmp_path / "art/a.png", colour=(200, 0, 0))
    save(tmp_path / "art/.trash/b.png", colour=(0, 200, 0))
    assert FolderStyle(tmp_path / "art", crop=16, short_side=32).count == 1


# ---- WikiArt


RED, GREEN, BLUE, GRAY = (200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90)


def by_artist(root):
    for name, colour in (("claude-monet", RED), ("Vincent_van_Gogh", GREEN), ("edouard manet", BLUE)):
        for k in range(2):
            save(root / name / f"work_{k}.png", colour=colour)
    return root


def by_movement(root):
    save(root / "Impressionism/claude-monet_water-lilies-1899.png", colour=RED)
    save(root / "Realism/claude-monet_the-road.png", colour=RED)
    save(root / "Post_Impressionism/vincent-van-gogh_irises.png", colour=GREEN)
    save(root / "Impressionism/edouard-manet_a-bar.png", colour=BLUE)
    return root


def by_movement_and_artist(root):
    save(root / "train/Impressionism/Claude Monet/1899/lilies.png", colour=RED)
    save(root / "val/Realism/claude_monet/road.png", colour=RED)
    save(root / "train/Impressionism/Vincent-van-Gogh/irises.png", colour=GREEN)
    save(root / "train/Impressionism/Édouard Manet/bar.png", colour=BLUE)
    return root


def wiki(root, artist):
    return WikiArtStyle(root, artist, crop=16, short_side=32)


@pytest.mark.parametrize("layout", [by_artist, by_movement, by_movement_and_artist])
def test_layouts_and_spellings(tmp_path, layout):
    root = layout(tmp_path / "wikiart")
    for spelling in ("claude-monet", "Claude Monet", "CLAUDE_MONET", "monet", "Monet"):
        style = wiki(root, spelling)
        assert colour_of(style) == {RED}, spelling
        assert style.name == "claude-monet" and "2 pictures by claude monet" in style.describe()
    for spelling in ("van gogh", "van-gogh", "vangogh", "gogh", "vincent_van_gogh"):
        assert colour_of(wiki(root, spelling)) == {GREEN}, spelling
    for spelling in ("manet", "Édouard Manet", "edouard-manet"):
        assert colour_of(wiki(root, spelling)) == {BLUE}, spelling


def test_a_movement_can_be_chosen(tmp_path):
    assert colour_of(wiki(by_movement(tmp_path / "w"), "impressionism")) == {RED, BLUE}


def test_an_ambiguous_name_lists_the_artists(tmp_path):
    for name, n in (("max-ernst", 1), ("ernst-ludwig-kirchner", 3)):
        for k in range(n):
            save(tmp_path / name / f"{k}.png", colour=GRAY)
    one_line(lambda: wiki(tmp_path, "ernst"), "max-ernst (1)", "ernst-ludwig-kirchner (3)", "name one")
    save(tmp_path / "ernst/a.png", colour=RED)
    assert colour_of(wiki(tmp_path, "ernst")) == {RED}  # the exact name wins


def test_an_unknown_artist_lists_the_nearest_with_counts(tmp_path):
    root = by_artist(tmp_path / "w")
    one_line(lambda: wiki(root, "claude-mone"), "claude-monet (2)")
    one_line(lambda: wiki(root, "monnet"), "claude-monet (2)")
    one_line(lambda: wiki(root, "zzzz"), "vincent-van-gogh (2)")
    one_line(lambda: wiki(root, ""), "no artist")
    one_line(lambda: wiki(root, "mone"), "claude-monet (2)")  # a part of a word is a typing mistake
    one_line(lambda: wiki(by_movement(tmp_path / "m"), "monett"), "claude-monet (2)")


def test_no_artist_means_all_pictures_and_is_said(tmp_path):
    style = wiki(by_artist(tmp_path / "w"), None)
    assert colour_of(style) == {RED, GREEN, BLUE}
    assert "all 6 pictures" in style.describe() and "no style.artist" in style.describe()


def test_a_named_folder_is_never_replaced_silently(tmp_path, monkeypatch):
    one_line(lambda: wiki(tmp_path / "none", None), "style.root", "no such folder")
    one_line(lambda: wiki(tmp_path / "none", DEFAULT_ARTIST), "no such folder")
    (tmp_path / "empty").mkdir()
    one_line(lambda: wiki(tmp_path / "empty", None), "no picture")
    monkeypatch.setenv("VST_WIKIART", str(tmp_path / "gone"))
    one_line(lambda: wiki(None, None), "$VST_WIKIART", "no such folder")


def test_the_folder_is_found_through_the_environment_or_the_working_directory(tmp_path, monkeypatch):
    save(tmp_path / "cwd/data/wikiart/someone/a.png", colour=GREEN)
    here = wiki(None, None)
    assert colour_of(here, 4) == {GREEN} and "data/wikiart" in here.describe()
    monkeypatch.setenv("VST_WIKIART", str(by_artist(tmp_path / "elsewhere")))
    assert "elsewhere" in wiki(None, "monet").describe()


def test_without_a_folder_the_embedded_collection_is_used_and_said(tmp_path, monkeypatch):
    monkeypatch.setattr(styles, "painted_work", lambda artist, index, size, cache: paint(artist, index, 64))
    style = WikiArtStyle(crop=16, short_side=32)
    for text in (style.describe(), style.origin()):
        assert "no WikiArt folder found" in text and "style.root" in text
        assert f"embedded painted collection '{DEFAULT_ARTIST}', {WORKS} works" in text
    assert style.name == DEFAULT_ARTIST and style.sample(np.random.default_rng(0)).shape == (3, 16, 16)


def test_an_embedded_artist_is_chosen_by_name_even_where_a_folder_exists(tmp_path, monkeypatch):
    monkeypatch.setenv("VST_WIKIART", str(by_artist(tmp_path / "w")))
    style = WikiArtStyle(artist="mosaic", cache_dir=tmp_path / "cache")
    assert style.name == "mosaic" and "embedded" in style.describe() and "no WikiArt" not in style.describe()


def test_a_real_artist_without_a_folder_is_a_mistake_not_a_substitute():
    one_line(lambda: WikiArtStyle(artist="monet"), "monet", "style.root", *ARTISTS)


# ---- painted


def test_painted_crops_come_from_the_painted_works(tmp_path):
    cache = tmp_path / "cache"
    style = PaintedStyle("pointillism", crop=32, short_side=64, works=2, size=64, cache_dir=cache)
    assert not cache.exists()  # nothing is painted before it is drawn
    first = torch.from_numpy(paint("pointillism", 0, 64)).permute(2, 0, 1) / 255
    assert torch.equal(style.reference(), first)
    for k in range(6):
        assert style.sample(np.random.default_rng(k)).shape == (3, 32, 32)
    assert len(list(cache.iterdir())) == 2
    assert style.name == "pointillism" and "2 works" in style.describe()


def test_painted_mistakes_are_one_line():
    one_line(lambda: PaintedStyle("mozaic"), "mozaic", "did you mean 'mosaic'")
    one_line(lambda: PaintedStyle("mosaic", works=0), "style.works")
    one_line(lambda: PaintedStyle("mosaic", size=8), "style.size", "64")


def test_a_picture_of_one_colour_is_named(tmp_path, caplog):
    Image.new("RGB", (64, 64), (200, 30, 30)).save(tmp_path / "flat.png")
    ImageStyle(tmp_path / "flat.png", crop=32, short_side=64)
    assert "flat.png is of one colour all over, there are no strokes to learn" in caplog.text
    caplog.clear()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "busy.png")
    ImageStyle(tmp_path / "busy.png", crop=32, short_side=64)
    assert "one colour" not in caplog.text
