"""Pictures put together by boxes: what is outside keeps its bits."""

import numpy as np
import pytest

from gillnext.regions import crops, masks

BOX = (0.25, 0.25, 0.75, 0.5)


@pytest.mark.parametrize("feather", [0, 1, 3])
def test_outside_the_box_the_source_is_kept_to_the_bit(noise, feather):
    filled = 255 - noise
    (edited,) = masks.compose(noise[None], filled[None], [BOX], feather)
    inside = masks.mask(BOX, (64, 64)) > 0
    assert (edited[~inside] == noise[~inside]).all()
    core = masks.mask((0.25 + feather / 64, 0.25 + feather / 64, 0.75 - feather / 64, 0.5 - feather / 64), (64, 64)) > 0
    assert (edited[core] == filled[core]).all()


def test_the_seam_is_a_ramp_inside_the_box():
    alpha = masks.feathered(BOX, (64, 64), 3)
    row = alpha[24]  # the box's middle row
    assert row[15] == 0 and np.allclose(row[16:20], [0.25, 0.5, 0.75, 1.0])
    assert (alpha == alpha[:, ::-1]).all()


def test_no_seam_is_faded_along_the_border_of_the_picture():
    assert (masks.feathered((0.0, 0.0, 1.0, 1.0), (64, 64), 3) == 1).all()
    assert masks.feathered((0.0, 0.0, 0.5, 0.5), (64, 64), 3)[0, 0] == 1


def test_a_square_about_a_box_lies_in_the_picture_and_holds_the_box():
    for box in [(0.0, 0.0, 0.2, 0.3), (0.7, 0.6, 1.0, 1.0), BOX, (0.0, 0.0, 1.0, 1.0)]:
        x, y, side = crops.square(box, (64, 64), 1.5)
        assert x >= 0 and y >= 0 and x + side <= 64 + 1e-9 and y + side <= 64 + 1e-9
        x1, y1, x2, y2 = crops.within(box, (x, y, side), (64, 64))
        assert (x2 - x1) * side == pytest.approx((box[2] - box[0]) * 64)
        assert (y2 - y1) * side == pytest.approx((box[3] - box[1]) * 64)
    assert crops.square(BOX, (64, 64), 0) == (0.0, 0.0, 64.0)


def test_what_is_cut_out_at_its_own_size_is_put_back_as_it_was(noise):
    where = (8.0, 16.0, 32.0)
    assert (crops.put(noise, crops.cut(noise, where, 32), where) == noise).all()
    changed = crops.put(noise, np.zeros((32, 32, 3), np.uint8), where)
    assert (changed[16:48, 8:40] == 0).all() and (changed[:16] == noise[:16]).all()
