"""Boxes of the chance level: from layouts with as many boxes, else the nearest; by seed, redraw and place alone."""

import numpy as np

from gillnext.split import prior

COUNTS = np.array([0, 2, 1, 2, 5, 0, 1, 2])  # 0: no training row


def drawn(seed=1, images=4, most=6):
    found = prior.draw(COUNTS, images, most, seed)
    # row r's boxes are marked by r and their place
    return found, found.boxes({r: np.array([[r, k, r, k] for k in range(COUNTS[r])]) for r in found.rows})


def test_boxes_are_of_one_layout_with_as_many_in_its_order():
    found, boxes = drawn()
    for d, i in np.ndindex(5, 4):
        for count in (1, 2, 5):
            rows, places = boxes[d, i, count - 1, :count, 0], boxes[d, i, count - 1, :count, 1]
            assert len(set(rows)) == 1 and COUNTS[int(rows[0])] == count
            assert places.tolist() == list(range(count))
            assert not boxes[d, i, count - 1, count:].any()
    assert not found.rows & {0, 5}


def test_every_layout_of_a_number_is_drawn():
    found = prior.draw(COUNTS, 50, 2, 1)
    assert {int(rows[0]) for (_, _, c), (rows, _) in found.picks.items() if c == 2} == {1, 3, 7}


def test_where_no_layout_has_the_number_the_nearest_gives_its_boxes():
    found, boxes = drawn()
    assert found.nearest == {3: 2, 4: 5, 6: 5}
    assert found.instead([3, 3, 2]) == {"3": 2}
    for d, i in np.ndindex(5, 4):
        four, six = boxes[d, i, 3, :4], boxes[d, i, 5, :6]
        assert {*four[:, 0]} == {4} and len({*four[:, 1]}) == 4  # four of five boxes, each once
        assert {*six[:, 0]} == {4} and max(six[:, 1].tolist().count(k) for k in range(5)) <= 2  # of five boxes twice


def test_an_image_gets_the_same_boxes_in_a_set_of_any_size_and_others_by_another_seed():
    _, few = drawn(images=2)
    _, many = drawn(images=6)
    _, other = drawn(seed=2, images=6)
    assert (few == many[:, :2]).all() and (other != many).any()
