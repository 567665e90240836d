"""One reader of pictures: what comes out is compared to values that were known before the picture was written."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from tests import icc
from vst.errors import UserError
from vst.video import open_source, stills
from vst.video.formats import PICTURES, passed_over
from vst.video.stills import PictureError, is_animation, read_header, read_still

RAMP = np.linspace(0, 255, 64).round().astype(np.uint8)
GREY = np.tile(RAMP, (48, 1))
RGB = np.stack([GREY, GREY[:, ::-1], np.tile(np.linspace(0, 255, 48).round().astype(np.uint8)[:, None], (1, 64))], 2)
ALPHA = np.tile(np.linspace(0, 255, 48).round().astype(np.uint8)[:, None], (1, 64))
ON_WHITE = np.rint(RGB * (ALPHA[..., None] / 255) + 255 - ALPHA[..., None].astype(float))
GREY_ON_WHITE = np.rint(GREY * (ALPHA / 255) + 255 - ALPHA.astype(float))


def off(path: Path, expected: np.ndarray) -> int:
    """The largest difference of what is read from (H, W) or (H, W, 3) of 0 to 255."""
    found = read_still(path).image
    expected = np.dstack([expected] * 3) if expected.ndim == 2 else expected
    assert found.dtype == np.uint8 and found.shape == expected.shape and found.flags.writeable
    header = read_header(path)
    assert (header.width, header.height) == found.shape[1::-1]
    return int(np.abs(found - expected.astype(float)).max())


def png16(path: Path, values: np.ndarray) -> Path:
    """Write (H, W, C) uint16 as a PNG, by hand: Pillow cannot."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


# ----------------------------------------------------------------------------------------------------
# Modes and depths


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp", ".jp2", ".ppm", ".tga", ".qoi", ".pcx", ".PNG"])
def test_colour_of_8_bits_in_every_lossless_kind(tmp_path: Path, suffix: str) -> None:
    options = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}", **options)
    assert suffix.lower() in PICTURES and off(tmp_path / f"a{suffix}", RGB) == 0


@pytest.mark.parametrize(("suffix", "most"), [(".jpg", 6), (".avif", 6), (".webp", 12)])
def test_colour_of_8_bits_in_lossy_kinds(tmp_path: Path, suffix: str, most: int) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}", quality=100, subsampling="4:4:4")
    assert off(tmp_path / f"a{suffix}", RGB) <= most


def test_transparency_lies_on_white_in_every_mode(tmp_path: Path) -> None:
    Image.fromarray(np.dstack([RGB, ALPHA])).save(tmp_path / "rgba.png")
    Image.fromarray(np.dstack([RGB, ALPHA])).save(tmp_path / "rgba.webp", lossless=True, exact=True)
    Image.fromarray(np.dstack([RGB, ALPHA])).save(tmp_path / "rgba.tif")
    Image.fromarray(np.dstack([GREY, ALPHA])).save(tmp_path / "la.png")
    png16(tmp_path / "rgba16.png", np.dstack([RGB, ALPHA]).astype(np.uint16) * 257)
    png16(tmp_path / "la16.png", np.dstack([GREY, ALPHA]).astype(np.uint16) * 257)
    tifffile.imwrite(
        tmp_path / "la16.tif", np.dstack([GREY, ALPHA]).astype(np.uint16) * 257, photometric="minisblack",
        extrasamples=["unassalpha"],
    )  # fmt: skip
    for name in ("rgba.png", "rgba.webp", "rgba.tif", "rgba16.png"):
        assert off(tmp_path / name, ON_WHITE) <= 1, name
    for name in ("la.png", "la16.png", "la16.tif"):
        assert off(tmp_path / name, GREY_ON_WHITE) <= 1, name


def test_a_palette_with_transparent_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(GREY // 64, "P")
    picture.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    picture.save(tmp_path / "p.png")
    picture.save(tmp_path / "one.png", transparency=1)
    picture.save(tmp_path / "all.png", transparency=bytes([0, 255, 127, 255]))
    palette = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]])
    assert off(tmp_path / "p.png", palette[GREY // 64]) == 0
    palette[1] = 255
    assert off(tmp_path / "one.png", palette[GREY // 64]) == 0
    palette = np.array([[255, 255, 255], [0, 255, 0], [128, 128, 255], [9, 9, 9]])
    assert off(tmp_path / "all.png", palette[GREY // 64]) <= 1


def test_other_modes_of_8_bits(tmp_path: Path) -> None:
    black_and_white = np.where(GREY > 127, 255, 0).astype(np.uint8)
    Image.fromarray(black_and_white).convert("1").save(tmp_path / "one.png")
    assert off(tmp_path / "one.png", black_and_white) == 0
    Image.fromarray(RGB).convert("YCbCr").save(tmp_path / "ycbcr.tif")
    assert off(tmp_path / "ycbcr.tif", RGB) <= 3
    tifffile.imwrite(tmp_path / "inverted.tif", GREY, photometric="miniswhite")
    assert off(tmp_path / "inverted.tif", 255 - GREY) == 0


def test_lab_is_the_colour_that_it_measures(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8, 3), (128, 0, 0), np.uint8), "LAB").save(tmp_path / "grey.tif")
    Image.fromarray(np.full((8, 8, 3), (135, 81, 70), np.uint8), "LAB").save(tmp_path / "red.tif")
    lightness = 128 / 255 * 100
    grey = icc.encoded(np.array(((lightness + 16) / 116) ** 3))
    assert off(tmp_path / "grey.tif", np.full((8, 8, 3), grey)) <= 2
    red = read_still(tmp_path / "red.tif").image[4, 4].astype(int)
    assert red[0] > 230 and red[1] < 40 and red[2] < 40


def test_cmyk_also_inverted_as_adobe_writes_it(tmp_path: Path) -> None:
    cmyk = np.dstack([GREY, GREY[:, ::-1], np.zeros_like(GREY), np.full_like(GREY, 50)])
    expected = np.rint((255 - cmyk[..., :3].astype(float)) * (255 - cmyk[..., 3:].astype(float)) / 255)
    Image.fromarray(cmyk, "CMYK").save(tmp_path / "a.tif")
    Image.fromarray(cmyk, "CMYK").save(tmp_path / "adobe.jpg", quality=100)
    data = (tmp_path / "adobe.jpg").read_bytes()
    assert b"Adobe" in data, "Pillow writes CMYK as Adobe does, inverted and with its mark"
    assert off(tmp_path / "a.tif", expected) <= 2
    assert off(tmp_path / "adobe.jpg", expected) <= 6


@pytest.mark.parametrize("order", ["<", ">"])
def test_grey_of_16_bits_keeps_its_tones(tmp_path: Path, order: str) -> None:
    values = np.linspace(0, 65535, 48 * 64).reshape(48, 64).round().astype(np.uint16)
    expected = np.rint(values / 257)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=order)
    tifffile.imwrite(tmp_path / "inverted.tif", values, byteorder=order, photometric="miniswhite")
    png16(tmp_path / "a.png", values[..., None])
    Image.fromarray(values).save(tmp_path / "a.jp2")
    (tmp_path / "a.pgm").write_bytes(b"P5 64 48 65535\n" + values.astype(">u2").tobytes())
    for name in ("a.tif", "a.png", "a.jp2", "a.pgm"):
        assert off(tmp_path / name, expected) <= 1, name
    assert off(tmp_path / "inverted.tif", 255 - expected) <= 1


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("plan", ["contig", "separate"])
def test_colour_of_16_bits(tmp_path: Path, order: str, plan: str) -> None:
    deep = RGB.astype(np.uint16) * 257
    stored = deep if plan == "contig" else deep.transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", stored, byteorder=order, photometric="rgb", planarconfig=plan)
    assert off(tmp_path / "a.tif", RGB) <= 1
    assert off(png16(tmp_path / "a.png", deep), RGB) <= 1


@pytest.mark.parametrize("white", [255, 65535, 2**31 - 1])
def test_integers_of_32_bits_by_the_smallest_white_that_fits(tmp_path: Path, white: int) -> None:
    values = np.rint(GREY / 255.0 * white).astype(np.int32)
    tifffile.imwrite(tmp_path / "a.tif", values)
    Image.fromarray(values).save(tmp_path / "b.tif")
    assert off(tmp_path / "a.tif", GREY) <= 1 and off(tmp_path / "b.tif", GREY) <= 1


def test_other_integers(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "u32.tif", np.rint(GREY / 255.0 * (2**32 - 1)).astype(np.uint32))
    tifffile.imwrite(tmp_path / "s16.tif", np.rint(GREY / 255.0 * 32767).astype(np.int16))
    assert off(tmp_path / "u32.tif", GREY) <= 1 and off(tmp_path / "s16.tif", GREY) <= 1


@pytest.mark.parametrize("white", [1, 255, 65535])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floating_point_by_the_smallest_white_that_fits(tmp_path: Path, white: int, kind: type) -> None:
    if kind is np.float16 and white == 65535:
        pytest.skip("half precision ends before")
    tifffile.imwrite(tmp_path / "grey.tif", (GREY / 255.0 * white).astype(kind))
    tifffile.imwrite(tmp_path / "colour.tif", (RGB / 255.0 * white).astype(kind), photometric="rgb")
    assert off(tmp_path / "grey.tif", GREY) <= 1 and off(tmp_path / "colour.tif", RGB) <= 1


def test_what_overshoots_white_a_little_is_clipped(tmp_path: Path) -> None:
    Image.fromarray((GREY / 255.0 * 1.02 - 0.01).astype(np.float32)).save(tmp_path / "a.tif")
    assert off(tmp_path / "a.tif", np.clip(GREY * 1.02 - 2.55, 0, 255)) <= 1


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.float32([[0.5, np.nan]]), "not finite"),
        (np.float32([[0.5, np.inf]]), "not finite"),
        (np.float32([[-3.0, 1.0]]), "from -3 to 1"),
        (np.float32([[0.0, 5.0]]), "0 to 1 or 0 to 255 or 0 to 65,535"),
        (np.float32([[0.0, 900000.0]]), "cannot be told"),
        (np.int32([[0, 1000]]), "from 0 to 1000"),
        (np.int32([[-7, 1000]]), "from -7"),
    ],
)
def test_values_that_cannot_be_told_are_refused_in_one_line(tmp_path: Path, values: np.ndarray, words: str) -> None:
    Image.fromarray(np.tile(values, (4, 4))).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif cannot be read: it") as told:
        read_still(tmp_path / "a.tif")
    assert words in str(told.value) and "\n" not in str(told.value)


# ----------------------------------------------------------------------------------------------------
# Colour profiles


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp", ".avif"])
@pytest.mark.parametrize(("primaries", "gamma"), [(icc.DISPLAY_P3, 2.2), (icc.ADOBE_RGB, 2.19921875)])
def test_wide_gamuts_are_shown_in_srgb(tmp_path: Path, suffix: str, primaries: np.ndarray, gamma: float) -> None:
    colours = np.array([[200, 60, 60], [70, 190, 80], [60, 90, 200], [128, 128, 128], [240, 220, 90]], np.uint8)
    image = np.repeat(np.repeat(colours[None], 16, axis=0), 16, axis=1)
    options = {"quality": 100} | ({"lossless": True} if suffix == ".webp" else {}) | {"subsampling": "4:4:4"}
    options = options if suffix not in (".png", ".tif") else {}
    Image.fromarray(image).save(tmp_path / f"a{suffix}", icc_profile=icc.profile(primaries, gamma), **options)
    expected = np.repeat(np.repeat(icc.in_srgb(colours, primaries, gamma)[None], 16, axis=0), 16, axis=1)
    assert np.abs(expected - image).max() > 15, "the profile matters"
    assert off(tmp_path / f"a{suffix}", expected) <= (2 if suffix in (".png", ".tif") else 6)


def test_profiles_of_grey_transparent_and_deep_pictures(tmp_path: Path) -> None:
    dark = icc.grey_profile(1.5)
    expected = icc.encoded((GREY / 255.0) ** 1.5)
    Image.fromarray(GREY).save(tmp_path / "grey.png", icc_profile=dark)
    Image.fromarray(np.dstack([GREY, np.full_like(GREY, 255)])).save(tmp_path / "la.png", icc_profile=dark)
    tifffile.imwrite(tmp_path / "deep.tif", GREY.astype(np.uint16) * 257, iccprofile=dark)
    for name in ("grey.png", "la.png", "deep.tif"):
        assert off(tmp_path / name, expected) <= 2, name
    p3 = icc.profile(icc.DISPLAY_P3, 2.2)
    Image.fromarray(GREY).save(tmp_path / "colour_of_grey.png", icc_profile=p3)
    assert off(tmp_path / "colour_of_grey.png", icc.in_srgb(np.dstack([GREY] * 3), icc.DISPLAY_P3, 2.2)) <= 2
    Image.fromarray(np.dstack([RGB, ALPHA])).save(tmp_path / "rgba.png", icc_profile=p3)
    shown = icc.in_srgb(RGB, icc.DISPLAY_P3, 2.2)
    assert off(tmp_path / "rgba.png", shown * (ALPHA[..., None] / 255) + 255 - ALPHA[..., None].astype(float)) <= 3


def test_srgb_stays_as_it_is_and_a_profile_that_does_not_fit_is_said(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RGB).save(tmp_path / "srgb.png", icc_profile=srgb)
    assert off(tmp_path / "srgb.png", RGB) <= 1 and read_still(tmp_path / "srgb.png").note is None
    for name, wrong in (("garbage.png", b"no profile at all"), ("grey.png", icc.grey_profile(2.2))):
        Image.fromarray(RGB).save(tmp_path / name, icc_profile=wrong)
        assert off(tmp_path / name, RGB) == 0 and "colour profile" in read_still(tmp_path / name).note


# ----------------------------------------------------------------------------------------------------
# Orientation


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".avif"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_all_eight_orientations(tmp_path: Path, suffix: str, tag: int) -> None:
    upright = np.zeros((64, 96, 3), np.uint8)
    upright[:32, :48], upright[:32, 48:], upright[32:, :48] = (220, 30, 30), (30, 220, 30), (30, 30, 220)
    # How a picture with this tag is stored, in words of the standard: what its row 0 and its column 0 show.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1), 7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[tag]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = tag
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / f"a{suffix}", exif=exif, quality=100)
    assert np.abs(read_still(tmp_path / f"a{suffix}").image.astype(int) - upright)[8:24, 8:40].max() < 12
    assert off(tmp_path / f"a{suffix}", upright) < 120, "and the edges, as far as the compression lets them"


def test_a_deep_picture_is_turned_too(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.uint16) * 257, extratags=[(274, 3, 1, 6, True)])
    tifffile.imwrite(tmp_path / "f.tif", RGB / np.float32(255), photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    assert off(tmp_path / "a.tif", np.rot90(GREY, -1)) <= 1
    assert off(tmp_path / "f.tif", np.rot90(RGB, -1)) <= 1


# ----------------------------------------------------------------------------------------------------
# Size


def test_a_jpeg_beyond_the_limit_is_decoded_reduced(tmp_path: Path, monkeypatch) -> None:
    Image.fromarray(np.kron(RGB, np.ones((16, 16, 1), np.uint8))).save(tmp_path / "a.jpg", quality=95)  # 768 x 1024
    monkeypatch.setattr(stills, "LARGEST", 300_000)
    monkeypatch.setattr(stills, "LARGEST_REDUCED", 1_000_000)
    reduced = read_still(tmp_path / "a.jpg", least=100).image
    assert reduced.shape == (96 * 2, 128 * 2, 3)
    assert np.abs(reduced[2::4, 2::4].astype(int) - RGB).mean() < 4
    with pytest.raises(PictureError, match="has 1 megapixels") as told:
        read_still(tmp_path / "a.jpg")
    assert "scale it down" in str(told.value) and "\n" not in str(told.value)
    monkeypatch.setattr(stills, "LARGEST_REDUCED", 700_000)
    with pytest.raises(PictureError, match="megapixels"):
        read_still(tmp_path / "a.jpg", least=100)


def test_two_hundred_megapixels(tmp_path: Path) -> None:
    """Pillow by itself refuses them. The file is small, so that its decoding is quick."""
    picture = Image.new("L", (16000, 12500), 200)
    picture.paste(40, (0, 0, 8000, 12500))
    picture.save(tmp_path / "a.jpg")
    found = read_still(tmp_path / "a.jpg", least=640).image
    assert found.shape == (1563, 2000, 3)
    assert (
        np.abs(found[:, 100:900].astype(int) - 40).max() <= 2 and np.abs(found[:, 1100:].astype(int) - 200).max() <= 2
    )
    header = read_header(tmp_path / "a.jpg")
    assert (header.width, header.height) == (16000, 12500)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_bomb_is_refused_by_its_header_with_the_reason(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
        chunk = b"IHDR" + header
        path.write_bytes(
            b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
            + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
        )  # fmt: skip
    else:
        Image.new("1", (20000, 20000)).save(path, compression="group4")
    with pytest.raises(PictureError, match=r"megapixels, and at most 268 are decoded.* 4 GB .*scale it down") as told:
        read_still(path)
    assert "\n" not in str(told.value)


def test_pillows_own_guard_stays_for_others(tmp_path: Path) -> None:
    before = Image.MAX_IMAGE_PIXELS
    Image.fromarray(RGB).save(tmp_path / "a.png")
    read_still(tmp_path / "a.png")
    assert before is not None and before == Image.MAX_IMAGE_PIXELS


# ----------------------------------------------------------------------------------------------------
# Frames


def animation(path: Path, count: int = 5, **options) -> Path:
    frames = [
        Image.fromarray(np.full((48, 64, 3), (40 * number, 100, 250 - 40 * number), np.uint8))
        for number in range(count)
    ]
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    return path


TIMES = [40, 40, 100, 60, 200]


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.apng", "a.avif", "a.gif"])
def test_an_animation_is_a_film_with_its_own_times(tmp_path: Path, name: str) -> None:
    options = {"lossless": True} if name == "a.webp" else {"quality": 100} if name == "a.avif" else {}
    if name == "a.apng":
        options["format"] = "PNG"
    path = animation(tmp_path / name, duration=TIMES, **options)
    assert is_animation(path)
    with open_source(path) as source:
        frames = list(source)
    begins = [float(frame.pts * frame.time_base) for frame in frames]
    lasts = [float(frame.duration * frame.time_base) for frame in frames]
    assert begins == pytest.approx([0, 0.04, 0.08, 0.18, 0.24]) and lasts == pytest.approx([t / 1000 for t in TIMES])
    for number, frame in enumerate(frames):
        expected = np.array([40 * number, 100, 250 - 40 * number])
        assert np.abs(frame.image.astype(int) - expected).max() <= (5 if name == "a.avif" else 0)
    with open_source(path, start=0.05, end=0.2) as source:
        assert [frame.image[0, 0, 0].item() // 36 for frame in source] == [2, 3]


def test_a_transparent_animation_lies_on_white(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.dstack([RGB, np.full_like(ALPHA, alpha)])) for alpha in (0, 128, 255)]
    frames[0].save(
        tmp_path / "a.webp", save_all=True, append_images=frames[1:], duration=100, lossless=True, exact=True
    )
    with open_source(tmp_path / "a.webp") as source:
        for alpha, frame in zip((0, 128, 255), source, strict=True):
            assert np.abs(frame.image - (RGB * (alpha / 255) + 255 - alpha)).max() <= 1


def test_as_a_picture_its_first_frame_is_taken_and_said(tmp_path: Path) -> None:
    for name in ("a.webp", "a.gif", "a.png"):
        still = read_still(animation(tmp_path / name, **({"lossless": True} if name == "a.webp" else {})))
        assert still.image[0, 0].tolist() == [0, 100, 250] and still.note == "the first of its 5 frames is taken"
    pages = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (10, 200)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    still = read_still(tmp_path / "a.tif")
    assert still.image.max() == 10 and still.note == "the first of its 2 pages is taken"
    assert not is_animation(tmp_path / "a.tif")


def test_a_damaged_animation_is_told_in_one_line(tmp_path: Path) -> None:
    path = animation(tmp_path / "a.webp", lossless=True)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"a\.webp") as told, open_source(path) as source:
        list(source)
    assert "\n" not in str(told.value)


# ----------------------------------------------------------------------------------------------------
# Mistakes and what is passed over


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"no picture", "give .jpg"), (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "give .jpg")],
)
def test_what_is_no_picture_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    for read in (read_still, read_header):
        with pytest.raises(PictureError, match=words) as told:
            read(tmp_path / "a.jpg")
        assert "\n" not in str(told.value) and str(tmp_path / "a.jpg") in str(told.value)
    with pytest.raises(PictureError, match="no such file"):
        read_still(tmp_path / "missing.png")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".gif", ".jp2", ".avif", ".bmp"])
def test_damaged_files_never_end_in_a_traceback(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(RGB).save(tmp_path / f"a{suffix}")
    whole = (tmp_path / f"a{suffix}").read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(30):
        broken = bytearray(whole[: rng.integers(4, len(whole))])
        for place in rng.integers(4, len(whole), 8):
            if place < len(broken):
                broken[place] = rng.integers(256)
        (tmp_path / f"b{suffix}").write_bytes(broken)
        for read in (read_still, read_header):
            try:
                read(tmp_path / f"b{suffix}")
            except PictureError as error:
                assert "\n" not in str(error)


def test_what_is_passed_over_is_counted_and_named() -> None:
    assert passed_over(["notes.txt", "table.csv", ".hidden.heic", "x/.DS_Store"]) is None
    assert passed_over(["a.MP4"]) == "1 file was passed over: a.MP4 (a film)"
    line = passed_over(["z/drawing.svg", "b.CR2", "c.jpg"])
    assert line.startswith("3 files were passed over: b.CR2 (a camera's raw file") and "drawing.svg (of a kind" in line
    assert passed_over([f"{n}.svg" for n in range(9)]).endswith("and 4 more")


def test_heic_is_read_or_what_it_needs_is_said(tmp_path: Path) -> None:
    if ".heic" not in PICTURES:
        assert passed_over(["a.heic"]) == "1 file was passed over: a.heic (needs pip install pillow-heif)"
        pytest.skip("pillow-heif is not installed")
    import pillow_heif

    pillow_heif.register_heif_opener()
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "HEIF", quality=100, chroma=444)
    (tmp_path / "a.heic").write_bytes(buffer.getvalue())
    assert off(tmp_path / "a.heic", RGB) <= 6
