"""Stories, dialogues and captioned pictures against a reader of plain Chinese and arithmetic on boxes."""

import itertools
import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import cutout_folder

from gillnext import conversations, layouts
from gillnext.config.load import from_dict
from gillnext.conversations import text_of
from gillnext.miniatures.world import captions, sentences
from gillnext.miniatures.world import conversations as stage
from gillnext.miniatures.world.objects import DRAWN, Objects
from gillnext.planner.augment import mirror_caption
from gillnext.relations import holds

SEED = 5
NOUN = "|".join(sorted(DRAWN.names, key=len, reverse=True))
PHRASE = re.compile("一[棵座辆只朵条艘个把颗](" + NOUN + ")")
SIZES = {"captions": 6, "stories": 4, "dialogues": 3, "val": 2, "test": 3, "gallery": 4}
SETTINGS = from_dict({"run": {"seed": SEED, "threads": 1}, "gill": {"conversations": SIZES}})


@cache
def made(kind, split="train", count=40):
    return [stage.make(SEED, kind, split, row, DRAWN)[0] for row in range(count)]


def middle(box):
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def shared(a, b):
    """What two boxes share, as a share of the smaller one."""
    sides = [max(0.0, min(a[i + 2], b[i + 2]) - max(a[i], b[i])) for i in (0, 1)]
    return sides[0] * sides[1] / min((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))


def by_name(layout):
    return dict(zip(layout.names, layout.boxes, strict=True))


def shown(kind):
    return [turn for row in made(kind) for turn in row.turns if turn.layout]


@pytest.mark.parametrize("kind", ["story", "dialogue", "caption"])
def test_what_was_told_holds_between_the_centres(kind):
    told = 0
    for turn in shown(kind):
        for subject, relation, other in turn.relations:
            at = (0.5, 0.5) if other is None else middle(turn.layout.boxes[other])
            assert holds(relation, middle(turn.layout.boxes[subject]), at, captions.MARGIN)
            told += 1
    assert told >= 40


@pytest.mark.parametrize("kind", ["story", "dialogue"])
def test_boxes_lie_in_the_picture_and_apart(kind):
    for turn in shown(kind):
        boxes = turn.layout.boxes
        assert all(0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1 for x1, y1, x2, y2 in boxes)
        assert all(shared(a, b) <= 0.04 + 1e-3 for a, b in itertools.combinations(boxes, 2))


def test_a_story_shows_what_has_been_said_and_no_more():
    """Objects come as 一只猫; who is 走了, 不见, 离开, 擦掉, 消失 or 不在 leaves."""
    left = 0
    for row in made("story"):
        here = []
        for turn in row.turns:
            here += [name for name in PHRASE.findall(turn.text) if name not in here]
            if gone := re.search(
                rf"({NOUN})(?:.?走了|.?开了|被拿走了|不见了|离开了|擦掉了|从画里消失了|不在了)", turn.text
            ):
                here.remove(gone[1])
                left += 1
            assert list(turn.layout.names) == here
            assert PHRASE.findall(turn.layout.caption) == here
    assert left > 5


def test_a_story_has_two_objects_told_by_earlier_ones_and_a_change():
    for row in made("story"):
        assert len(row.turns) == 5
        pairs = list(itertools.pairwise(turn.layout for turn in row.turns))
        came = sum(len(set(b.names) - set(a.names)) for a, b in pairs)
        beside = [
            turn for before, turn in itertools.pairwise(row.turns)
            if (new := set(turn.layout.names) - set(before.layout.names))
            and any(turn.layout.names[s] in new and o is not None for s, _, o in turn.relations)
        ]  # fmt: skip
        assert came >= 2 and len(beside) >= 2
        places = [(by_name(a), by_name(b)) for a, b in pairs]
        moved = [name for a, b in places for name in a if name in b and a[name] != b[name]]
        gone = [name for a, b in places for name in a if name not in b]
        assert moved or gone
        for a, b in places:
            changed = [name for name in {*a, *b} if a.get(name) != b.get(name)]
            assert len(changed) == 1, "a sentence changes one object"
            if changed[0] in a and changed[0] in b:
                (x, y), (u, v) = middle(a[changed[0]]), middle(b[changed[0]])
                assert max(abs(x - u), abs(y - v)) > 0.24


def test_the_last_sentence_alone_does_not_tell_the_picture():
    for row in made("story"):
        last = row.turns[-1]
        assert len(set(re.findall(NOUN, last.text)) & set(last.layout.names)) < len(last.layout.names)
        assert len(set(re.findall(NOUN, last.text))) <= 2 <= len(last.layout.names)


def test_what_moves_is_told_where_and_what_was_told_of_it_is_forgotten():
    """A reader of moves: 猫走到了左上角, 猫走到了树的左边."""
    sides, seen = {"左": "left", "右": "right", "上": "above", "下": "below"}, 0
    for before, turn in itertools.chain.from_iterable(itertools.pairwise(row.turns) for row in made("story")):
        moves = rf"({NOUN}).*(?:到了?|在)(?:画的)?(?:({NOUN})的)?([左右上下]+)[边侧方面角]"
        if set(turn.layout.names) != set(before.layout.names) or not (found := re.search(moves, turn.text)):
            continue
        name, other, place = found.groups()
        index = turn.layout.names.index(name)
        about = [r for r in turn.relations if index in (r[0], r[2])]
        wanted = None if other is None else turn.layout.names.index(other)
        assert about == [(index, sides[c], wanted) for c in place]
        seen += 1
    assert seen > 20


def answers(row):
    turns = [re.fullmatch("问：(.*)？答：(.*)。", turn.text) for turn in row.turns]
    assert all(turns)
    return [turn.groups() for turn in turns]


def test_ten_answers_name_all_objects_and_nothing_else():
    absent = 0
    for row in made("dialogue"):
        said, pairs = [], answers(row)
        for question, answer in pairs:
            denied = re.search("没(?!错)|不要|看不到", answer)
            asked = re.search(NOUN, question)
            if denied and asked:
                assert asked[0] not in row.turns[-1].layout.names
                absent += 1
            elif not denied:
                said += [name for name in PHRASE.findall(answer) if name not in said]
        assert len(pairs) == 10
        assert said == list(row.turns[-1].layout.names)
        assert len({question + answer for question, answer in pairs}) == 10
        assert all(turn.layout is None and not turn.picture for turn in row.turns[:-1])
    assert absent > 40


def test_a_dialogue_places_every_object_and_counts_them():
    counted = 0
    for row in made("dialogue"):
        last = row.turns[-1]
        assert {subject for subject, _, _ in last.relations} == set(range(len(last.layout.names)))
        for _, answer in answers(row):
            if number := re.search("(.)样", answer):
                assert sentences.NUMBERS.index(number[1]) == len(last.layout.names)
                counted += 1
    assert counted > 5


def test_what_an_answer_says_of_places_is_so():
    """A reader of answers that name both objects: 猫在树的左边."""
    axis, seen = {"左": (0, -1), "右": (0, 1), "上": (1, -1), "下": (1, 1)}, 0
    for row in made("dialogue"):
        shown = row.turns[-1].layout
        at = dict(zip(shown.names, map(middle, shown.boxes), strict=True))
        for _, answer in answers(row):
            for a, b, side in re.findall(rf"({NOUN})(?:放|在)+({NOUN})的([左右上下])", answer):
                index, sign = axis[side]
                assert sign * (at[a][index] - at[b][index]) > captions.MARGIN
                seen += 1
            for a, place in re.findall(rf"({NOUN})在([左右上下]+)[边侧方面角]", answer):
                assert all(axis[c][1] * (at[a][axis[c][0]] - 0.5) > captions.MARGIN for c in place)
                seen += 1
    assert seen > 30


def test_every_sentence_is_used_and_can_be_mirrored():
    text = "\n".join(text_of(row.turns) for kind in ("story", "dialogue") for row in made(kind, count=300))
    opening = (sentences.OPENING, sentences.OPENING_PLACED, sentences.OPENING_TWO, sentences.OPENING_PAIR)
    later = (sentences.BESIDE, sentences.ADDED, sentences.MOVED, sentences.MOVED_BESIDE, sentences.LEFT)
    for templates in (*opening, *later):
        for template in templates:
            parts = re.split(r"\{.\}", template)
            assert re.search(".{1,5}".join(map(re.escape, parts)), text), template
        assert len(templates) >= 6
    for line in text.splitlines():
        assert mirror_caption(line, 0) is not None and mirror_caption(line, 1) is not None, line


def test_a_conversation_is_the_same_alone_and_among_others():
    for kind in ("story", "dialogue", "caption"):
        alone, scenes = stage.make(SEED, kind, "train", 7, DRAWN)
        assert alone == made(kind)[7]
        assert set(scenes) == {turn.picture for turn in alone.turns if turn.picture}
        assert made(kind)[7] != made(kind, "test", 8)[7]


def test_splits_share_no_scene():
    found = {}
    for kind, split in itertools.product(("story", "dialogue", "caption"), ("train", "val", "test")):
        turns = [turn for row in made(kind, split, 20) for turn in row.turns if turn.layout]
        found[kind, split] = {box for turn in turns for box in turn.layout.boxes}
    for a, b in itertools.combinations(found, 2):
        assert not found[a] & found[b]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("conversations") / "out"
    stage.run(SETTINGS, out)
    return out


def test_the_folder_holds_what_the_settings_ask_for(folder):
    rows = {path.stem: conversations.read(path) for path in folder.glob("*.jsonl")}
    assert {split: len(found) for split, found in rows.items()} == {"train": 13, "val": 4, "test": 6, "gallery": 4}
    report = json.loads((folder / "conversations.json").read_text())
    assert report["counts"]["train"] == {"caption": 6, "story": 4, "dialogue": 3}
    assert report["in_train"]["test"]["texts"] == 0
    pictures = [turn.picture for found in rows.values() for row in found for turn in row.turns if turn.picture]
    assert sorted(pictures) == sorted(f"pictures/{path.name}" for path in (folder / "pictures").iterdir())
    assert report["pictures"] == len(pictures)


def test_pictures_are_those_of_the_scenes(folder):
    for row in conversations.read(folder / "test.jsonl"):
        _, scenes = stage.make(SEED, row.kind, "test", int(row.id[-5:]), DRAWN)
        for turn in row.turns:
            if turn.picture:
                assert (np.asarray(Image.open(folder / turn.picture)) == DRAWN.render(scenes[turn.picture])).all()
                assert scenes[turn.picture].names and set(scenes[turn.picture].names) == set(turn.layout.names)


def test_layouts_are_of_the_first_turns(folder):
    rows = {row.id: row for row in conversations.read(folder / "train.jsonl")}
    found = layouts.read(folder / "layouts/train.jsonl")
    assert len(found) == 7
    for layout in found:
        turns = rows[layout.id].turns
        (k,) = [k for k in range(1, len(turns) + 1) if text_of(turns[:k]) == layout.caption]
        assert layout.names == turns[k - 1].layout.names and layout.boxes == turns[k - 1].layout.boxes
        assert layout.extra["complete"] is True
        assert layout.extra["relations"] == [list(r) for r in turns[k - 1].relations]


def test_the_same_settings_give_the_same_bytes(folder, tmp_path):
    stage.run(SETTINGS, tmp_path / "again")
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert all((tmp_path / "again" / path).read_bytes() == (folder / path).read_bytes() for path in files)
    assert Path("layouts/val.jsonl") in files


def test_stories_and_dialogues_of_cut_outs(tmp_path):
    world = Objects.cutouts(cutout_folder.make(tmp_path / "cutouts"), 96)
    for kind, row in itertools.product(("story", "dialogue", "caption"), range(3)):
        found, scenes = stage.make(SEED, kind, "test", row, world)
        last = found.turns[-1]
        assert set(last.layout.names) <= set(world.names)
        picture = world.render(scenes[last.picture])
        assert picture.shape == (96, 96, 3)
        empty = world.render(replace(scenes[last.picture], objects=()))
        for x1, y1, x2, y2 in last.layout.boxes:
            x, y = int((x1 + x2) * 48), int((y1 + y2) * 48)
            assert (picture[y, x] != empty[y, x]).any(), "an object stands where its box is"
        for subject, relation, other in last.relations:
            at = (0.5, 0.5) if other is None else middle(last.layout.boxes[other])
            assert holds(relation, middle(last.layout.boxes[subject]), at, captions.MARGIN)
