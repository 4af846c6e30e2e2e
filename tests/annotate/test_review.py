"""The review page: a seeded choice, whole boxes and names, and nothing that a caption could smuggle in."""

import itertools
import re
import weakref
from collections import Counter

import pytest
from PIL import Image

from gillnext import layouts
from gillnext.annotate.review import chosen, review
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError


@pytest.fixture
def source(tmp_path):
    rows = []
    for i in range(12):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (40, 20 + i), (20 * i, 0, 0)).save(path)
        box = (0.1, 0.2, 0.2 + 0.05 * i, 0.9)
        rows.append(Layout(f"一只猫 {i}", ("猫",), (box,), str(i), path.name))
    layouts.write(tmp_path / "layouts.jsonl", rows)
    return tmp_path / "layouts.jsonl"


def page_of(source, **kind):
    out = source.parent / "review.html"
    settings = {"count": 5, "seed": 0, "worst": False} | kind
    assert review([source], source.parent, out, **settings) == min(settings["count"], 12)
    return out.read_text(encoding="utf-8")


def shown(page):
    return re.findall(r'<figure id="(\d+)"', page)


def test_the_choice_is_the_seeds_and_without_repeats(source):
    one, again, other = (shown(page_of(source, seed=seed)) for seed in (0, 0, 1))
    assert one == again != other and len(set(one)) == 5
    assert sorted(shown(page_of(source, count=99)), key=int) == [str(i) for i in range(12)]


def test_the_smallest_boxes_come_first_where_the_worst_are_wanted(source):
    assert shown(page_of(source, worst=True)) == ["0", "1", "2", "3", "4"]


def test_each_image_stands_with_its_caption_box_and_name(source):
    page = page_of(source, count=12)
    assert page.count("data:image/jpeg;base64,") == page.count("<rect") == 12
    assert "一只猫 7" in page and "5 of 12" not in page and "12 of 12" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)


def test_a_caption_is_text_and_no_markup(tmp_path):
    row = Layout('<script>alert("x")</script>', ("<b>",), ((0.1, 0.1, 0.5, 0.5),), "0", "gone.png")
    layouts.write(tmp_path / "l.jsonl", [row])
    review([tmp_path / "l.jsonl"], tmp_path, tmp_path / "r.html", 5, 0, False)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<script>" not in page and "&lt;script&gt;" in page and "<b>" not in page


def test_no_layouts_are_told(tmp_path):
    (tmp_path / "l.jsonl").write_text("")
    with pytest.raises(UserError, match="no layouts"):
        review([tmp_path / "l.jsonl"], None, tmp_path / "r.html", 5, 0, False)


def test_a_layout_without_an_image_is_told(tmp_path):
    layouts.write(tmp_path / "l.jsonl", [Layout("一只猫", ("猫",), ((0.1, 0.1, 0.5, 0.5),))])
    for images in (None, tmp_path):
        with pytest.raises(UserError, match="without an image"):
            review([tmp_path / "l.jsonl"], images, tmp_path / "r.html", 5, 0, False)


def rows_of(count):
    return [Layout("猫", ("猫",), ((0.1, 0.1, 0.5, 0.5),), str(i), f"{i}.png") for i in range(count)]


def test_every_set_of_rows_is_drawn_as_often_as_any_other():
    """All ten pairs of five rows, over 4,000 seeds: chi-squared with 9 degrees of freedom (27.9: one in a thousand)."""
    rows, seeds = rows_of(5), 4000
    drawn = Counter(frozenset(row.id for row in chosen(iter(rows), 2, seed, False)) for seed in range(seeds))
    assert drawn.keys() == {frozenset(pair) for pair in itertools.combinations("01234", 2)}
    assert sum((n - seeds / 10) ** 2 / (seeds / 10) for n in drawn.values()) < 27.9


def test_the_choice_hangs_on_no_order_and_a_row_more_takes_one_place_at_most():
    rows = rows_of(60)
    one = [row.id for row in chosen(rows, 10, 3, False)]
    assert [row.id for row in chosen(rows[::-1], 10, 3, False)] == one
    assert all(len({row.id for row in chosen(rows_of(n), 10, 3, False)} - set(one)) <= n - 60 for n in range(61, 66))
    worst = sorted(rows, key=lambda row: row.boxes[0][2])[:10]
    assert chosen(iter(rows), 10, 3, True) == worst  # all alike: the first


def test_rows_that_are_not_shown_are_not_kept():
    alive, most = weakref.WeakSet(), 0

    def passing():
        nonlocal most
        for i in range(2000):
            row = Layout("猫", ("猫",), ((0.1, 0.1, 0.5, 0.5),), str(i), f"{i}.png")
            alive.add(row)
            most = max(most, len(alive))
            yield row

    assert len(chosen(passing(), 20, 0, False)) == 20
    assert most < 30


def test_fewer_rows_than_wanted_are_all_shown():
    rows = [Layout("猫", ("猫",), ((0.1, 0.1, 0.5, 0.5),), str(i)) for i in range(3)]
    assert sorted(row.id for row in chosen(rows, 10, 0, False)) == ["0", "1", "2"]
