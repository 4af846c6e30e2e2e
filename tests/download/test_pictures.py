"""What is kept of a body: pixels against formulas in NumPy, over every mode that the web's formats have."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageFile, ImageOps

from gillnext.config.data import Download
from gillnext.download.pictures import Rejected, check

SIDE = 24
SETTINGS = Download(max_bytes=10_000_000)
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]
ALPHA = RNG.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
ALPHA[:4], ALPHA[4:8] = 0, 255  # none, all, and in between


def encoded(image, form="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png(values, depth, colour, *chunks):
    """A PNG written without Pillow: `values` (H, W) or (H, W, C) of `depth` bits; chunks come before the data."""
    packed = values.reshape(len(values), -1)
    if depth < 8:
        bits = (packed[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        lines = np.packbits(bits.reshape(len(values), -1).astype(np.uint8), axis=1)
    else:
        lines = packed.astype(">u2" if depth == 16 else np.uint8)

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + line.tobytes() for line in lines))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def kept(body):
    """(H, W, 3) of what is kept, as a reader without any care for modes sees it."""
    image = Image.open(io.BytesIO(check(body, SETTINGS).data))
    assert image.mode == "RGB" and not image.has_transparency_data
    return np.asarray(image).astype(int)


def on_white(colour, alpha):
    """Alpha compositing over 255, rounded (Porter and Duff 1984)."""
    alpha = alpha[..., None] / 255.0
    return np.rint(colour * alpha + 255 * (1 - alpha)).astype(int)


def rgb(grey):
    return np.repeat(np.asarray(grey)[..., None], 3, -1)


RGBA = Image.fromarray(np.dstack([COLOUR, ALPHA]))
LA = Image.fromarray(np.dstack([GREY, ALPHA]))


@pytest.mark.parametrize(
    ("body", "colour"),
    [
        (encoded(RGBA), COLOUR),
        (encoded(RGBA, "WEBP", lossless=True, exact=True), COLOUR),
        (encoded(LA), rgb(GREY)),
        (encoded(RGBA, save_all=True, append_images=[Image.new("RGBA", (SIDE, SIDE), "red")]), COLOUR),
        (encoded(RGBA, "WEBP", lossless=True, exact=True, save_all=True, append_images=[RGBA.rotate(90)]), COLOUR),
    ],
    ids=["rgba", "webp", "grey", "animated-png", "animated-webp"],
)  # fmt: skip
def test_what_is_transparent_lies_on_white_by_the_share_that_it_is(body, colour):
    assert np.array_equal(kept(body), on_white(colour, ALPHA))


def test_a_palettes_transparent_entries_lie_on_white():
    index = RNG.integers(0, 8, (SIDE, SIDE), dtype=np.uint8)
    palette, alphas = RNG.integers(0, 256, (8, 3), dtype=np.uint8), np.array([0, 60, 128, 250, 255, 255, 255, 255])
    image = Image.fromarray(index, "P")
    image.putpalette(palette.tobytes())
    half = encoded(image, transparency=bytes(alphas.tolist()))
    assert np.array_equal(kept(half), on_white(palette[index], alphas[index]))
    for form in ("PNG", "GIF"):  # one entry, and nothing in between
        body = encoded(image, form, transparency=3)
        assert np.array_equal(kept(body), on_white(palette[index], np.where(index == 3, 0, 255)))
    frames = encoded(image, "GIF", transparency=3, save_all=True, append_images=[image.rotate(90)])
    assert np.array_equal(kept(frames), on_white(palette[index], np.where(index == 3, 0, 255)))


def test_a_first_frame_that_is_smaller_than_its_canvas_lies_on_white():
    index = RNG.integers(0, 8, (SIDE, SIDE), dtype=np.uint8)
    image = Image.fromarray(index, "P")
    palette = RNG.integers(0, 200, (8, 3), dtype=np.uint8)
    image.putpalette(palette.tobytes())
    body = bytearray(encoded(image, "GIF"))
    body[6:10] = struct.pack("<HH", SIDE + 6, SIDE + 9)  # the canvas, of the screen descriptor
    frame = body.index(b"," + struct.pack("<HHHH", 0, 0, SIDE, SIDE))
    body[frame + 1 : frame + 5] = struct.pack("<HH", 2, 3)  # the frame's left and top
    expected = np.full((SIDE + 9, SIDE + 6, 3), 255)
    expected[3 : SIDE + 3, 2 : SIDE + 2] = palette[index]
    assert np.array_equal(kept(bytes(body)), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("clear", [False, True], ids=["opaque", "clear"])
def test_grey_of_any_depth_is_scaled_and_its_transparent_value_is_white(depth, clear):
    most = 2**depth - 1
    values = np.linspace(0, most, SIDE * SIDE).astype(int).reshape(SIDE, SIDE)
    gone = int(values[SIDE // 2, 0])
    chunks = [(b"tRNS", struct.pack(">H", gone))] if clear else []
    expected = rgb(np.rint(values * 255 / most).astype(int))
    if clear:
        expected[values == gone] = 255
    assert np.array_equal(kept(png(values, depth, 0, *chunks)), expected)


@pytest.mark.parametrize("depth", [8, 16])
def test_colour_of_any_depth_is_scaled_and_its_transparent_colour_is_white(depth):
    values = RNG.integers(0, 2**depth, (SIDE, SIDE, 3))
    values[0, :5] = gone = values[5, 5]
    expected = values * 255 / (2**depth - 1)
    expected[(values == gone).all(-1)] = 255
    found = kept(png(values, depth, 2, (b"tRNS", struct.pack(">3H", *gone))))
    assert np.abs(found - expected).max() <= 1  # of 16 bits Pillow drops the lower eight


@pytest.mark.parametrize("channels", [2, 4])
def test_16_bits_with_alpha_are_scaled_and_lie_on_white(channels):
    values = RNG.integers(0, 65536, (SIDE, SIDE, channels))
    values[:4, :, -1] = 0
    eight = values / 257
    colour = rgb(eight[..., 0]) if channels == 2 else eight[..., :3]
    assert np.abs(kept(png(values, 16, 4 if channels == 2 else 6)) - on_white(colour, eight[..., -1])).max() <= 2


def test_a_cmyk_jpeg_has_the_colours_of_its_inks():
    """Files of Adobe's, as Pillow writes them, hold 255 - ink."""
    inks = np.zeros((SIDE, SIDE, 4), np.uint8)
    inks[:12], inks[12:] = (0, 200, 100, 30), (250, 10, 0, 0)
    expected = (255 - inks[..., :3].astype(int)) * (255 - inks[..., 3:].astype(int)) / 255
    body = encoded(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)
    assert b"Adobe" in body
    ycck = body.replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2")
    assert np.abs(kept(body) - expected).max() <= 4
    assert np.abs(kept(body)[0, 0] - kept(ycck)[0, 0]).max() > 20  # the same numbers as YCC and K


def turned(value, form, exif=None):
    exif = exif or Image.Exif()
    exif[0x0112] = value
    return encoded(Image.fromarray(COLOUR[:16]), form, exif=exif)


# Where the first row and the first column of the file lie in the scene (EXIF 2.3, section 4.6.4): what undoes it.
UPRIGHT = {
    2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a),
}  # fmt: skip


@pytest.mark.parametrize("value", UPRIGHT)
def test_every_orientation_is_turned_upright(value):
    assert np.array_equal(kept(turned(value, "PNG")), UPRIGHT[value](COLOUR[:16]))


@pytest.mark.parametrize("value", [0, 1, 9, 65535])
def test_an_orientation_that_turns_nothing_leaves_a_jpeg_as_it_is(value):
    body = turned(value, "JPEG")
    assert check(body, SETTINGS).data == body
    assert np.array_equal(kept(turned(value, "PNG")), COLOUR[:16])


# The head of a TIFF and nothing behind it; a directory past the end; no TIFF at all; an entry of a type unknown.
BROKEN = (b"II*\0", b"II*\0\xff\0\0\0", b"\xff" * 20, b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\xff\0\0\0\x01\0\0\0\0")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", BROKEN)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_broken_exif_block_costs_no_picture_here_nor_later(exif, form):
    options = {"PNG": {}, "JPEG": {"dpi": (72, 72)}, "WEBP": {"lossless": True}}[form]
    body = encoded(Image.fromarray(COLOUR), form, exif=exif if form == "PNG" else b"Exif\0\0" + exif, **options)
    expected = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))
    assert np.array_equal(kept(body), expected)
    later = ImageOps.exif_transpose(Image.open(io.BytesIO(check(body, SETTINGS).data)))  # as the annotator reads it
    assert np.array_equal(np.asarray(later), expected)


def test_a_jpeg_with_a_second_picture_behind_it_is_kept_as_it_is():
    """As telephones write them (multi-picture format)."""
    body = encoded(Image.fromarray(COLOUR), "MPO", save_all=True, append_images=[Image.fromarray(COLOUR[::-1])])
    assert Image.open(io.BytesIO(body)).format == "MPO" and check(body, SETTINGS).data == body


def test_a_colour_profile_stays_with_the_colours_that_it_is_of():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = srgb[:16] + b"GRAY" + srgb[20:]
    found = check(encoded(RGBA, icc_profile=srgb), SETTINGS)
    assert Image.open(io.BytesIO(found.data)).info["icc_profile"] == srgb
    for image, form in ((LA, "PNG"), (Image.fromarray(GREY), "JPEG")):
        found = check(encoded(image, form, icc_profile=other), SETTINGS)
        assert "icc_profile" not in Image.open(io.BytesIO(found.data)).info


@pytest.mark.parametrize("image", [RGBA, LA, RGBA.convert("RGB"), Image.fromarray(GREY.astype(np.uint16) * 257)])
def test_a_picture_that_breaks_off_is_still_rejected(image):
    body = encoded(image)
    with pytest.raises(Rejected, match="truncated"):
        check(body[: len(body) // 2], SETTINGS)


def test_a_tiff_is_no_picture_of_the_web():
    with pytest.raises(Rejected, match="not_image"):
        check(encoded(Image.fromarray(GREY.astype(np.float32)), "TIFF"), SETTINGS)


def test_the_settings_limits_hold_before_anything_is_decoded(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(Rejected, match="too_large"):
        check(encoded(RGBA), Download(max_pixels=100))
