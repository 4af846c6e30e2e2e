"""Buckets and frames: SDXL's own list, crops that show what the boxes say, the largest boxes."""

import itertools
import math

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import functional as transforms

from gillnext.adapter import buckets

# Podell et al. (2023), appendix I: heights, and the widths that each goes with. 1344×704 is not in it, though 704×1344
# is; it is in the list of the authors' generative-models.
SDXL = {
    512: [2048, 1984, 1920, 1856], 576: [1792, 1728, 1664], 640: [1600, 1536], 704: [1472, 1408, 1344],
    768: [1344, 1280], 832: [1216, 1152], 896: [1152, 1088], 960: [1088, 1024], 1024: [1024, 960],
    1088: [960, 896], 1152: [896, 832], 1216: [832], 1280: [768], 1344: [768], 1408: [704], 1472: [704],
    1536: [640], 1600: [640], 1664: [576], 1728: [576], 1792: [576], 1856: [512], 1920: [512], 1984: [512],
    2048: [512],
}  # fmt: skip


def test_the_buckets_of_1024_pixels_are_sdxls():
    expected = {(height, width) for height, widths in SDXL.items() for width in widths}
    assert len(expected) == 40
    assert set(buckets.sizes(1024, 8 * buckets.grid(128, 3))) == expected | {(1344, 704)}


@pytest.mark.parametrize(("cells", "factor", "levels"), [(128, 8, 3), (64, 8, 4), (16, 4, 3), (32, 4, 2)])
def test_every_bucket_of_a_base_goes_through_its_unet(cells, factor, levels):
    found = buckets.sizes(cells * factor, factor * buckets.grid(cells, levels))
    assert (cells * factor,) * 2 in found and {(w, h) for h, w in found} == set(found)
    for side in itertools.chain(*found):
        assert side % factor == 0 and side // factor % 2 ** (levels - 1) == 0


SIZES = [(64, 64), (100, 37), (37, 100), (33, 32), (480, 640), (3000, 500), (17, 1000)]


@pytest.mark.parametrize("size", SIZES)
def test_a_picture_covers_its_bucket_with_the_least_loss(size):
    among = buckets.sizes(64, 16)
    frame = buckets.frame(size, among)
    (height, width), (top, left), (rows, columns) = frame.resized, frame.crop, frame.target
    lost = {b: abs(math.log(b[1] / b[0]) - math.log(size[1] / size[0])) for b in among}
    assert lost[frame.target] == min(lost.values())
    assert height >= rows and width >= columns and (height == rows or width == columns)
    assert abs(height / size[0] - width / size[1]) * max(size) <= 1  # no side is stretched by more than a pixel
    assert abs((height - rows) - 2 * top) <= 1 and abs((width - columns) - 2 * left) <= 1


@pytest.mark.parametrize("size", [(100, 37), (50, 160)])
def test_pixels_and_conditions_are_those_of_torchvision(size):
    """Resized until it covers the bucket, then cropped about the centre, as SDXL's training scripts have it."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    frame = buckets.frame(size, buckets.sizes(64, 16))
    scale = max(frame.target[0] / size[0], frame.target[1] / size[1])
    whole = [max(round(side * scale), least) for side, least in zip(size, frame.target, strict=True)]
    resized = transforms.resize(picture, whole, transforms.InterpolationMode.LANCZOS)
    np.testing.assert_array_equal(frame.pixels(picture), np.asarray(transforms.center_crop(resized, frame.target)))
    assert frame.conditions == [*size, *frame.crop, *frame.target]


@pytest.mark.parametrize("size", [(200, 440), (470, 200)])
@pytest.mark.parametrize("box", [(0.4, 0.4, 0.6, 0.55), (0.0, 0.3, 0.3, 0.9), (0.6, 0.05, 1.0, 0.4)])
def test_a_box_is_where_its_pixels_are_after_the_crop(size, box):
    """A white rectangle at the box; where it stands in the frame's pixels tells where the box is, and what is left."""
    height, width = size
    drawn = np.zeros((*size, 3), dtype=np.uint8)
    drawn[round(box[1] * height) : round(box[3] * height), round(box[0] * width) : round(box[2] * width)] = 255
    frame = buckets.frame(size, [(64, 64), (48, 80), (80, 48)])
    pixels = frame.pixels(Image.fromarray(drawn))[..., 0] > 127
    (x1, y1, x2, y2), share = frame.box(box)
    down, across = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    rows, columns = frame.target
    seen = (across[0] / columns, down[0] / rows, (across[-1] + 1) / columns, (down[-1] + 1) / rows)
    np.testing.assert_allclose((x1, y1, x2, y2), seen, atol=0.03)  # a pixel and a half of 48
    scale = frame.resized[0] * frame.resized[1] / (height * width)
    assert share == pytest.approx(pixels.sum() / (drawn[..., 0] > 0).sum() / scale, abs=0.06)


def test_a_whole_picture_keeps_its_boxes_to_the_bit():
    frame, box = buckets.square(64), (0.1, 1 / 3, 0.7, 0.9)
    assert frame.box(box) == (box, 1.0) and frame.conditions == [64, 64, 0, 0, 64, 64]


def test_boxes_with_too_little_left_go_and_of_too_many_the_largest_stay():
    frame = buckets.frame((64, 128), [(64, 64)])  # shows the middle half
    boxes = [
        (0.0, 0.1, 0.2, 0.4),
        (0.2, 0.1, 0.3, 0.5),
        (0.4, 0.1, 0.5, 0.3),
        (0.4, 0.5, 0.6, 0.9),
        (0.0, 0.0, 1.0, 1.0),
    ]
    names = ["gone", "half", "small", "middle", "all"]
    assert buckets.kept(frame, names, boxes, 0.5, 6)[0] == ["half", "small", "middle", "all"]
    assert buckets.kept(frame, names, boxes, 0.51, 6)[0] == ["small", "middle"]
    found, left, over = buckets.kept(frame, names, boxes, 0.0, 2)
    assert (found, over) == (["middle", "all"], 2) and left == [pytest.approx((0.3, 0.5, 0.7, 0.9)), (0, 0, 1, 1)]
