"""Reading: every kind of file a microscope makes gives its own grey levels, or a clear error."""

from __future__ import annotations

import errno
import hashlib
import io
import struct
import tracemalloc
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from preprocessing.contrast import ContrastConfig
from preprocessing.decoding import is_turned
from preprocessing.errors import UnreadableImage
from preprocessing.fitting import fit_images
from preprocessing.groups import ContrastGroups
from preprocessing.images import encode_png, read_display, read_image, to_display
from preprocessing.prepare import prepare
from preprocessing.sharpness import sharpness_of

GREY_DTYPES = ("uint8", "uint16", "float32")
ORIENTATION = 274


@pytest.mark.parametrize("dtype", GREY_DTYPES)
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_a_grey_tiff_keeps_every_level_and_its_type(discs, tiff, dtype, compression):
    pixels = discs().astype(dtype) * (200 if dtype == "uint16" else 1)
    image = read_image(tiff(pixels, compression=compression))
    assert image.pixels.dtype == dtype
    np.testing.assert_array_equal(image.pixels, pixels)


def test_a_tiled_big_tiff_with_big_endian_levels_reads_as_any_other(discs, tiff):
    pixels = discs().astype("uint16") * 257
    image = read_image(tiff(pixels, bigtiff=True, byteorder=">", tile=(32, 32)))
    assert image.pixels.dtype.isnative
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint32", "float64", "float16"])
def test_other_depths_become_float32_with_the_same_levels(discs, tiff, dtype):
    pixels = discs().astype(dtype)
    image = read_image(tiff(pixels))
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels, pixels)


@pytest.mark.parametrize(
    ("dtype", "least"),
    [
        ("uint32", 2_000_000_000),
        ("int32", -(2**31)),
        ("int64", 2**40),
        ("int64", 2**60),
        ("float64", 1e9),
        ("float64", -1e15),
    ],
)
def test_levels_too_high_for_float32_keep_their_differences(discs, tiff, dtype, least):
    pixels = discs().astype(dtype) + np.array(least, dtype)
    image = read_image(tiff(pixels))
    np.testing.assert_array_equal(image.pixels, pixels - pixels.min())


@pytest.mark.parametrize(("least", "unit"), [(1, 1e-9), (-273.15, 1e-6), (1e6, 1e-3)])
def test_levels_of_64_bits_that_differ_little_keep_their_differences(discs, tiff, least, unit):
    pixels = discs()
    image = read_image(tiff(least + unit * pixels))
    expected = unit * (pixels - float(pixels.min()))
    np.testing.assert_allclose(image.pixels, expected, rtol=0, atol=unit / 1000)


def test_each_page_of_a_stack_can_be_read_and_is_counted(discs, tiff, tmp_path):
    stack = np.stack([discs(seed) for seed in range(3)])
    path = tmp_path / "stack.tif"
    path.write_bytes(tiff(stack, photometric="minisblack"))
    image = read_image(path, page=2)
    assert (image.page, image.pages) == (2, 3)
    np.testing.assert_array_equal(image.pixels, stack[2])


def test_a_page_that_is_not_there_is_named(discs, tiff):
    with pytest.raises(UnreadableImage, match="no page 3; its pages are 0 to 1"):
        read_image(tiff(np.stack([discs()] * 2), photometric="minisblack"), page=3)


@pytest.mark.parametrize("imagej", [True, False])
def test_a_stack_that_tells_of_one_page_is_not_taken_for_a_single_image(discs, tiff, imagej):
    stack = np.stack([discs(seed) for seed in range(3)])
    content = tiff(stack, imagej=imagej, truncate=True, photometric="minisblack")
    with pytest.raises(UnreadableImage, match="3 planes in one page; save it as single planes"):
        read_image(content)


@pytest.mark.parametrize(
    "words",
    [
        "ImageJ=1.54f\nimages=3\nslices=3\n",
        "ImageJ=1.54f\nimages=x\nslices=abc\n",
        '{"shape": [3, 96, 128]}',
        '{"shape": null}',
    ],
)
def test_a_plane_that_was_saved_with_the_words_of_its_stack_is_a_single_image(discs, tiff, words):
    content = tiff(discs(), metadata=None, description=words)
    np.testing.assert_array_equal(read_image(content).pixels, discs())


def test_the_channels_of_an_ome_tiff_are_pages(discs, tiff):
    channels = np.stack([discs(seed).astype("uint16") for seed in range(2)])
    content = tiff(channels, ome=True, photometric="minisblack", metadata={"axes": "CYX"})
    image = read_image(content, page=1)
    assert image.pages == 2
    np.testing.assert_array_equal(image.pixels, channels[1])


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_16_bit_colour_becomes_luminance_without_rounding_to_8_bits(tiff, planar):
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    stored = colours if planar == "contig" else np.moveaxis(colours, -1, 0)
    image = read_image(tiff(stored, photometric="rgb", planarconfig=planar))
    assert image.pixels.dtype == np.uint16
    exact = colours @ np.array([0.299, 0.587, 0.114])
    assert np.abs(image.pixels - exact).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_8_bit_colour_is_as_pillow_makes_it_grey_but_finer(png_or_jpeg, kind):
    colours = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    content = png_or_jpeg(colours, kind)
    with Image.open(io.BytesIO(content)) as opened:
        expected = np.asarray(opened.convert("L"))
    finer = read_image(content).pixels
    assert finer.dtype == np.uint16
    assert np.abs(finer / 256 - expected).max() < 0.51


def test_a_picture_in_blue_alone_keeps_its_levels(png_or_jpeg):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    blue = np.zeros((16, 16, 3), np.uint8)
    blue[..., 2] = levels
    shades = read_image(png_or_jpeg(blue, "PNG")).pixels
    assert len(np.unique(shades)) == 256
    assert np.array_equal(np.argsort(shades, axis=None), np.argsort(levels, axis=None))


def test_grey_that_is_written_as_colour_is_as_it_was(png_or_jpeg):
    levels = np.arange(63, dtype=np.uint8).reshape(9, 7)
    image = read_image(png_or_jpeg(np.repeat(levels[..., None], 3, axis=2), "PNG"))
    assert image.pixels.dtype == np.uint8
    np.testing.assert_array_equal(image.pixels, levels)


def test_alpha_is_ignored(png_or_jpeg):
    opaque = np.random.default_rng(2).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    clear = opaque.copy()
    opaque[..., 3], clear[..., 3] = 255, 0
    first, second = (read_image(png_or_jpeg(p, "PNG")).pixels for p in (opaque, clear))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("samples", [1, 3, 4])
def test_a_16_bit_png_keeps_its_depth(samples):
    levels = np.arange(12 * 10, dtype=np.uint16).reshape(12, 10) * 500
    pixels = levels if samples == 1 else np.repeat(levels[..., None], samples, axis=2)
    image = read_image(imagecodecs.png_encode(pixels))
    assert image.pixels.dtype == np.uint16
    np.testing.assert_array_equal(image.pixels, levels)


@pytest.mark.parametrize("mode", ["1", "P", "LA"])
def test_a_png_of_another_mode_becomes_8_bit_grey(mode):
    levels = np.array([[0, 255], [255, 0]], np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(levels).convert(mode).save(file, format="PNG")
        image = read_image(file.getvalue())
    assert image.pixels.dtype == np.uint8
    np.testing.assert_array_equal(image.pixels, levels)


@pytest.mark.parametrize("colours", ["separated", "cielab"])
def test_a_tiff_in_colours_of_print_is_refused_and_not_read_as_red_green_and_blue(tiff, colours):
    samples = 4 if colours == "separated" else 3
    pixels = np.zeros((8, 9, samples), np.uint8)
    with pytest.raises(UnreadableImage, match=rf"{colours.upper()}; save it as RGB or grey"):
        read_image(tiff(pixels, photometric=colours, planarconfig="contig"))


def test_a_tiff_in_plain_ycbcr_is_refused_and_one_of_unknown_colours_read_as_it_is(tiff):
    plain = bytearray(tiff(np.full((8, 9, 3), 7, np.uint8), photometric="rgb"))
    with tifffile.TiffFile(io.BytesIO(plain)) as opened:
        at = opened.pages[0].tags["PhotometricInterpretation"].valueoffset
    plain[at : at + 2] = (6).to_bytes(2, "little")
    with pytest.raises(UnreadableImage, match="colours are YCBCR; save it as RGB or grey"):
        read_image(bytes(plain))
    plain[at : at + 2] = (40_000).to_bytes(2, "little")
    assert (read_image(bytes(plain)).pixels == 7).all()


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
@pytest.mark.parametrize("by", ["tifffile", "libtiff", "imagej"])
def test_a_stack_that_was_cut_off_is_not_taken_for_a_shorter_one(by, share):
    levels = np.random.default_rng(0).integers(0, 255, (5, 60, 80), dtype=np.uint8)
    with io.BytesIO() as file:
        if by == "libtiff":
            first, *others = (Image.fromarray(page) for page in levels)
            first.save(file, "TIFF", compression="tiff_lzw", save_all=True, append_images=others)
        else:
            tifffile.imwrite(file, levels, imagej=by == "imagej")
        whole = file.getvalue()
    assert read_image(whole).pages == 5
    with pytest.raises(UnreadableImage, match="ends before its pixels do; copy it again"):
        read_image(whole[: int(share * len(whole))])


@pytest.mark.parametrize("imagej", [False, True])
@pytest.mark.parametrize("lost", [100, 1_000, 4_096, 10_000])
def test_a_stack_that_was_cut_off_within_its_table_of_pages_is_not_taken_for_a_whole_one(
    imagej, lost
):
    with io.BytesIO() as file:
        tifffile.imwrite(file, np.zeros((300, 8, 9), np.uint8), imagej=imagej)
        whole = file.getvalue()
    assert read_image(whole).pages == 300
    with pytest.raises(UnreadableImage, match="ends before its pixels do; copy it again"):
        read_image(whole[:-lost])


def test_memory_that_runs_out_is_not_called_a_damaged_file(tiff, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 549 MiB")

    content = tiff(np.zeros((8, 9), np.uint8))
    monkeypatch.setattr(tifffile.TiffPage, "asarray", full)
    with pytest.raises(UnreadableImage, match=r"memory is full \(Unable to allocate 549 MiB\)"):
        read_image(content)


def test_a_disk_that_fails_is_not_called_a_damaged_file(tiff, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    content = tiff(np.zeros((8, 9), np.uint8))
    monkeypatch.setattr(tifffile.TiffPage, "asarray", fail)
    with pytest.raises(
        UnreadableImage, match=r"cannot be read \(Input/output error\); check the d"
    ):
        read_image(content)


def test_files_that_are_cut_off_at_several_places_are_told_alike(png_or_jpeg):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    said = set()
    for kind in ("PNG", "JPEG"):
        content = png_or_jpeg(noise, kind)
        for end in (100, len(content) // 3, len(content) // 2):
            with pytest.raises(UnreadableImage) as told:
                read_image(content[:end])
            said.add(str(told.value))
    assert len(said) == 1
    assert "damaged or incomplete; copy the file again" in said.pop()


def test_a_hash_that_is_known_is_not_made_again(tiff):
    content = tiff(np.zeros((8, 9), np.uint8))
    assert read_image(content, sha256="known").sha256 == "known"
    assert read_image(content).sha256 == hashlib.sha256(content).hexdigest()


def test_a_tiff_in_which_white_is_zero_is_turned_to_light_at_high_levels(discs, tiff):
    pixels = discs()
    image = read_image(tiff(pixels, photometric="miniswhite"))
    np.testing.assert_array_equal(image.pixels, 255 - pixels)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_of_signed_levels_in_which_white_is_zero_the_least_becomes_the_greatest(tiff, dtype):
    ends = np.iinfo(dtype)
    levels = np.array([[ends.min, 0, ends.max]], dtype)
    shown = read_image(tiff(levels, photometric="miniswhite")).pixels
    assert (np.diff(shown[0]) < 0).all()


@pytest.mark.parametrize("white", [255, 65535])
def test_a_tiff_with_a_palette_has_its_levels_whether_the_map_has_8_or_16_bits(discs, tiff, white):
    pixels, grey = discs(), np.arange(256, dtype=np.uint16) * (white // 255)
    image = read_image(tiff(pixels, photometric="palette", colormap=np.stack([grey] * 3)))
    np.testing.assert_array_equal(image.pixels, pixels)


# What the stored pixels look like upright, by orientation (TIFF 6.0, section 8).
UPRIGHT = {
    1: lambda p: p,
    2: np.fliplr,
    3: lambda p: np.rot90(p, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda p: np.rot90(p, -1),
    7: lambda p: np.rot90(p, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_turns_are_undone_in_png_and_tiff_alike(tiff, png_or_jpeg, orientation):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    tag = (ORIENTATION, 3, 1, orientation, True)
    expected = UPRIGHT[orientation](pixels)
    for content in (png_or_jpeg(pixels, "PNG", exif=exif), tiff(pixels, extratags=[tag])):
        np.testing.assert_array_equal(read_image(content).pixels, expected)


def test_a_jpeg_from_a_camera_held_upright_is_turned(png_or_jpeg):
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:, :16] = 200
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image = read_image(png_or_jpeg(pixels, "JPEG", exif=exif, quality=95))
    assert (image.height, image.width) == (32, 16)
    assert image.pixels[:16].mean() > 190
    assert image.pixels[16:].mean() < 10


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("words", ["exif", "xmp"])
def test_the_turn_of_a_png_that_is_told_behind_its_pixels_is_found_without_decoding_them(
    tmp_path, monkeypatch, dtype, words
):
    pixels = np.arange(6, dtype=dtype).reshape(2, 3) * 40
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    body = {
        "exif": chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")),
        "xmp": chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'),
    }[words]
    content = imagecodecs.png_encode(pixels)
    path = tmp_path / "turned.png"
    path.write_bytes(content[:-12] + body + content[-12:])
    np.testing.assert_array_equal(read_image(path).pixels, np.rot90(pixels, -1))
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    assert is_turned(path)


def test_a_16_bit_png_is_decoded_once(monkeypatch):
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", None)
    pixels = np.arange(6, dtype=np.uint16).reshape(2, 3) * 9000
    np.testing.assert_array_equal(read_image(imagecodecs.png_encode(pixels)).pixels, pixels)


def test_an_orientation_that_is_no_number_leaves_an_image_as_it_is_stored(tiff, png_or_jpeg):
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    a_byte = struct.pack("<HHHI4s4s", 1, ORIENTATION, 1, 1, b"\6", b"")
    exif = b"Exif\0\0II*\0\x08\0\0\0" + a_byte
    of_two = tiff(pixels, extratags=[(ORIENTATION, 3, 2, (6, 6), True)])
    for content in (of_two, png_or_jpeg(pixels, "PNG", exif=exif)):
        np.testing.assert_array_equal(read_image(content).pixels, pixels)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("told", [b"no EXIF at all", b"", b"II*\0", b"MM\0*\0\0\0\x08\0\1"])
def test_an_image_whose_exif_cannot_be_parsed_is_as_it_is_stored(png_or_jpeg, tmp_path, kind, told):
    pixels = np.full((16, 24), 40, np.uint8)
    path = tmp_path / "image"
    path.write_bytes(png_or_jpeg(pixels, kind, exif=b"Exif\0\0" + told))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Corrupt EXIF")
        np.testing.assert_array_equal(read_image(path).pixels, pixels)
        assert not is_turned(path)


def test_a_png_that_is_cut_is_refused_though_its_exif_cannot_be_parsed(png_or_jpeg):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8)
    content = png_or_jpeg(noise, "PNG", exif=b"Exif\0\0no EXIF")
    with pytest.raises(UnreadableImage, match="damaged"):
        read_image(content[: len(content) // 2])


def test_pixels_that_are_no_number_become_the_nearest_finite_end(tiff):
    pixels = np.array([[np.nan, 1.0], [5.0, np.inf], [-np.inf, 3.0]], np.float32)
    expected = [[1, 1], [5, 5], [1, 3]]
    np.testing.assert_array_equal(read_image(tiff(pixels)).pixels, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixels_without_data_and_beyond_float32_become_the_nearest_end_too(tiff, dtype):
    far = 3e38 if dtype == np.float32 else 1e300
    no_data = np.finfo(np.float32).min
    pixels = np.array([[no_data, 1.0], [5.0, far], [-far, 3.0]], dtype)
    np.testing.assert_array_equal(read_image(tiff(pixels)).pixels, [[1, 1], [5, 5], [1, 3]])


@pytest.mark.parametrize("mode", ["groups", "flat"])
def test_the_highest_and_lowest_levels_that_are_read_can_be_prepared(tiff, mode):
    levels = np.random.default_rng(0).uniform(-3e38, 3e38, (64, 64)).astype(np.float32)
    image = read_image(tiff(levels))
    assert np.ptp(prepare(image, fit_images([image], ContrastConfig(mode=mode))).pixels) > 0.5
    assert np.isfinite(sharpness_of(image.pixels))


@pytest.mark.parametrize(("dtype", "level"), [(np.float32, np.nan), (np.float64, 1e39)])
def test_an_image_without_one_level_is_refused(tiff, dtype, level):
    with pytest.raises(UnreadableImage, match="a finite number within"):
        read_image(tiff(np.full((4, 4), level, dtype)))


def test_the_hash_is_of_the_raw_file_however_it_is_given(discs, tiff, tmp_path):
    content = tiff(discs())
    path = tmp_path / "field.tif"
    path.write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert read_image(path).sha256 == read_image(content).sha256 == expected


def test_an_image_is_equal_to_itself_alone(tiff):
    content = tiff(np.zeros((8, 9), np.uint8))
    first, second = read_image(content), read_image(content)
    assert {first, second, first} == {second, first}
    assert first != second


def test_one_pixel_is_an_image(tiff):
    image = read_image(tiff(np.array([[7]], np.uint8)))
    assert (image.height, image.width, int(image.pixels[0, 0])) == (1, 1, 7)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"the file is empty .*copy"),
        (b"II*\0", r".*copy"),
        (b"\x89PNG\r\n\x1a\n", r".*save"),
        (b"cells", r"not a TIFF, PNG or JPEG; save"),
        (b"\xff\xd8\xff", r"a JPEG .*save"),
    ],
)
def test_what_is_no_image_is_refused_with_the_way_out(content, told, tmp_path):
    path = tmp_path / "odd.tif"
    path.write_bytes(content)
    with pytest.raises(UnreadableImage, match=rf"odd\.tif: {told}"):
        read_image(path)


@pytest.mark.parametrize("as_file", [False, True])
def test_a_jpeg_of_twelve_bits_is_told_as_one_that_is_not_read(discs, tmp_path, as_file):
    path = tmp_path / "deep.jpg"
    path.write_bytes(imagecodecs.jpeg_encode(discs().astype(np.uint16) * 16, bitspersample=12))
    with pytest.raises(UnreadableImage, match=r"a JPEG of a kind that is not read.*TIFF or PNG"):
        read_image(path if as_file else path.read_bytes())


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a part of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UnreadableImage, match=r"gone\.tif: it cannot be opened"):
        read_image(tmp_path / "gone.tif")


@pytest.mark.parametrize("kind", ["plain", "zlib", "PNG", "JPEG"])
def test_a_truncated_file_is_refused(discs, tiff, png_or_jpeg, kind):
    pixels = discs()
    compression = {"plain": None, "zlib": "zlib"}
    if kind in compression:
        content = tiff(pixels, compression=compression[kind])
    else:
        content = png_or_jpeg(pixels, kind)
    with pytest.raises(UnreadableImage):
        read_image(content[: len(content) * 2 // 3])


def test_a_small_png_that_claims_to_be_huge_is_refused_before_it_fills_the_memory():
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))
    with pytest.raises(UnreadableImage, match=r"179 million pixels.*cut it into tiles"):
        read_image(bomb + chunk(b"IEND", b""))


def test_a_png_that_pillow_would_warn_of_is_read_in_silence(tmp_path):
    path = tmp_path / "large.png"
    Image.fromarray(np.zeros((9_500, 9_500), np.uint8)).save(path, compress_level=1)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        image = read_image(path)
    assert (image.height, image.width, warned) == (9_500, 9_500, [])


def test_a_small_tiff_that_claims_to_be_huge_is_refused(tiff, tmp_path):
    path = tmp_path / "bomb.tif"
    path.write_bytes(tiff(np.zeros((16, 16), np.uint8), compression="zlib"))
    with tifffile.TiffFile(path, mode="r+") as opened:
        for name in ("ImageWidth", "ImageLength"):
            opened.pages[0].tags[name].overwrite(65535)
    with pytest.raises(
        UnreadableImage, match=r"bomb\.tif: 65535 × 65535 pixels are too many; cut it into tiles\."
    ):
        read_image(path)


def test_a_tiff_that_is_too_large_for_its_colours_alone_is_to_be_saved_as_grey(tiff, tmp_path):
    path = tmp_path / "colours.tif"
    path.write_bytes(tiff(np.zeros((16, 16, 3), np.uint8), photometric="rgb"))
    with tifffile.TiffFile(path, mode="r+") as opened:
        for name in ("ImageWidth", "ImageLength"):
            opened.pages[0].tags[name].overwrite(14_000)
    with pytest.raises(UnreadableImage, match=r"14000 × 14000 pixels.* or save it as grey"):
        read_image(path)


@pytest.mark.integration
def test_a_large_tiled_tiff_is_read_and_prepared_in_the_memory_that_its_pixels_fill(tmp_path):
    side, path = 10_000, tmp_path / "slide.tif"
    grains = np.random.default_rng(0).integers(0, 256, (250, 250), dtype=np.uint8)
    tile = grains.repeat(2, axis=0).repeat(2, axis=1)
    tifffile.imwrite(path, np.tile(tile, (20, 20)), tile=(512, 512))
    tracemalloc.start()
    image = read_image(path)
    read_peak = tracemalloc.get_traced_memory()[1]
    prepared = prepare(image, ContrastGroups.none())
    whole_peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read_peak < 1.6 * side**2
    assert whole_peak < 5.3 * side**2
    np.testing.assert_array_equal(image.pixels[-500:, -500:], tile)
    np.testing.assert_array_equal(prepared.pixels[-500:, -500:], prepared.pixels[:500, :500])


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("channels", [2, 3, 4, 6])
def test_a_tiff_of_many_channels_in_one_page_says_so(tiff, channels, planar):
    shape = (8, 9, channels) if planar == "contig" else (channels, 8, 9)
    content = tiff(np.zeros(shape, np.uint8), photometric="minisblack", planarconfig=planar)
    with pytest.raises(UnreadableImage, match=f"{channels} channels in one page; save the one"):
        read_image(content)


@pytest.mark.parametrize("alpha", ["assocalpha", "unassalpha"])
def test_alpha_that_a_grey_tiff_says_it_has_is_ignored(discs, tiff, alpha):
    pixels = np.stack([discs(), discs(1)], axis=-1)
    how = {"photometric": "minisblack", "planarconfig": "contig", "extrasamples": [alpha]}
    np.testing.assert_array_equal(read_image(tiff(pixels, **how)).pixels, pixels[..., 0])


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_a_channel_beside_red_green_and_blue_is_refused_unless_it_is_alpha_or_of_one_level(
    discs, tiff, planar
):
    channels = [discs(seed) for seed in range(4)]

    def written(channels, more):
        pixels = np.stack(channels, axis=-1 if planar == "contig" else 0)
        how = {"photometric": "rgb", "planarconfig": planar, "extrasamples": [more]}
        return tiff(pixels, **how)

    with pytest.raises(UnreadableImage, match="4 channels in one page; save the one"):
        read_image(written(channels, "unspecified"))
    colours = read_image(written(channels, "unassalpha")).pixels
    opaque = [*channels[:3], np.full_like(channels[0], 255)]
    np.testing.assert_array_equal(read_image(written(opaque, "unspecified")).pixels, colours)


@settings(deadline=None, max_examples=150)
@given(data=st.data(), kind=st.sampled_from(["tiff", "zlib", "PNG", "JPEG"]))
def test_a_damaged_file_is_read_or_refused_but_never_crashes(data, kind, damaged_files):
    content = bytearray(damaged_files[kind])
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=8)):
        content[at] = data.draw(st.integers(0, 255))
    try:
        image = read_image(bytes(content))
    except UnreadableImage:
        return
    assert image.pixels.ndim == 2
    assert np.isfinite(image.pixels).all()


@pytest.fixture(scope="module")
def damaged_files() -> dict[str, bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 16), dtype=np.uint8)
    files = {}
    for kind, compression in (("tiff", None), ("zlib", "zlib")):
        with io.BytesIO() as file:
            tifffile.imwrite(file, pixels, compression=compression)
            files[kind] = file.getvalue()
    for kind in ("PNG", "JPEG"):
        with io.BytesIO() as file:
            Image.fromarray(pixels).save(file, format=kind)
            files[kind] = file.getvalue()
    return files


@pytest.mark.parametrize("dtype", GREY_DTYPES)
def test_the_display_image_spreads_a_narrow_range_over_all_grey_levels(discs, dtype):
    pixels = (discs().astype(float) / 16 + 30).astype(dtype)
    shown = to_display(pixels)
    assert shown.dtype == np.uint8
    assert shown.shape == pixels.shape
    assert (shown.min(), shown.max()) == (0, 255)
    order = np.argsort(pixels, axis=None, kind="stable")
    assert (np.diff(shown.reshape(-1)[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("dtype", GREY_DTYPES)
def test_colours_are_shown_with_their_hue_upright_and_spread_over_all_levels(discs, tiff, dtype):
    stain = np.stack([discs(seed) / 4 + 30 for seed in range(3)], axis=-1).astype(dtype)
    tag = (ORIENTATION, 3, 1, 6, True)
    shown = read_display(tiff(stain, photometric="rgb", extratags=[tag]))
    assert (shown.dtype, shown.shape) == (np.uint8, (128, 96, 3))
    assert (shown.min(), shown.max()) == (0, 255)
    stored = np.rot90(stain, -1)
    order = np.argsort(stored, axis=None, kind="stable")
    assert (np.diff(shown.reshape(-1)[order].astype(int)) >= 0).all()


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_one_colour_alone_is_shown_in_grey_as_grey_is(discs, png_or_jpeg, channel):
    blue = np.zeros((96, 128, 3), np.uint8)
    blue[..., channel] = discs()
    for stored in (blue, discs(), np.stack([discs()] * 3, axis=-1)):
        shown = read_display(png_or_jpeg(stored, "PNG"))
        np.testing.assert_array_equal(shown, to_display(discs()))


def test_what_cannot_be_read_cannot_be_shown_and_is_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    (tmp_path / "cut.png").write_bytes(encode_png(noise)[:99])
    with pytest.raises(UnreadableImage, match=r"^cut\.png: damaged or incomplete"):
        read_display(tmp_path / "cut.png")


def test_the_png_shown_is_the_image_pixel_by_pixel(discs):
    shown = to_display(discs())
    np.testing.assert_array_equal(read_image(encode_png(shown)).pixels, shown)
