"""Captions against independent arithmetic on the boxes, and the two splits against each other."""

import itertools
import re

import pytest

from gillnext.miniatures.world import captions, noise, scenes, spatial_templates
from gillnext.miniatures.world.classes import CLASSES
from gillnext.miniatures.world.words import WORDS
from gillnext.runtime import seeds

SPLITS = ("train", "world")
NAMES = {c.name for c in CLASSES}
OPPOSITES = {"左": "右", "右": "左", "上": "下", "下": "上"}


def stated(split, count=600):
    for i in range(count):
        scene = scenes.sample(11, "caption-test", i)
        found = captions.spatial_family(scene, seeds.rng("caption-test", split, i), split)
        if found:
            yield scene, *found


def offset(scene, relation):
    """How far the subject lies from the reference in the direction stated, by plain arithmetic on corners."""
    subject, direction, reference = relation.to_row()
    x1, y1, x2, y2 = scene.objects[subject].box
    u1, v1, u2, v2 = (0, 0, 1, 1) if reference is None else scene.objects[reference].box
    horizontal, vertical = (x1 + x2 - u1 - u2) / 2, (y1 + y2 - v1 - v2) / 2
    return {"left": -horizontal, "right": horizontal, "above": -vertical, "below": vertical}[direction]


@pytest.mark.parametrize("split", SPLITS)
def test_every_stated_relation_holds_by_the_margin(split):
    relations = [offset(scene, r) for scene, _, _, facts in stated(split) for r in facts]
    assert len(relations) > 600
    assert min(relations) > captions.MARGIN


@pytest.mark.parametrize("split", SPLITS)
def test_a_strong_caption_names_exactly_the_objects_of_its_scene(split):
    for scene, _, caption, facts in stated(split):
        assert {name for name in NAMES if name in caption} == set(scene.names)
        mentioned = {r.subject for r in facts} | {r.reference for r in facts if r.reference is not None}
        assert mentioned == set(range(len(scene.objects)))


def test_the_sentence_read_by_itself_says_what_the_boxes_say():
    """A reader of plain sentence forms, independent of the generator, checks the words themselves."""
    centre = {d: axis for axis, pair in ((0, "左右"), (1, "上下")) for d in pair}
    seen = 0
    for scene, _, caption, _ in stated("world", 1500):
        at = {o.kind.name: captions.centre(o) for o in scene.objects}
        noun = "|".join(at)
        for a, b, d in re.findall(rf"({noun})在(?:一.)?({noun})的([左右上下])[边侧方面]", caption):
            gap = at[a][centre[d]] - at[b][centre[d]]
            assert (gap < 0) == (d in "左上")
            seen += 1
        for a, d in re.findall(rf"({noun})在图的([左右上下]+)[角边侧方面]", caption):
            for side in d:
                assert (at[a][centre[side]] < 0.5) == (side in "左上")
                seen += 1
        for d, a, e, b in re.findall(
            rf"([左右上下])[边侧方面]是一.({noun})，([左右上下])[边侧方面]是一.({noun})[，。]?$", caption
        ):
            if OPPOSITES[d] == e and "图" not in caption and caption.count("，") == 1:
                assert (at[a][centre[d]] < at[b][centre[d]]) == (d in "左上")
                seen += 1
        if found := re.search("从(左到右|上到下)(?:依次)?是(.*)", caption):
            line = re.findall(noun, found[2])
            coordinates = [at[name][0 if "左" in found[1] else 1] for name in line]
            assert coordinates == sorted(coordinates)
            seen += 1
    assert seen > 500


def test_all_object_counts_and_families_occur():
    found = {(len(scene.objects), family) for scene, family, _, _ in stated("world", 1500)}
    assert {n for n, _ in found} == {1, 2, 3, 4}
    assert {family for _, family in found} == {"pair", "row", "chain"}


def test_a_scene_with_one_centred_object_supports_no_strong_caption():
    scene = scenes.sample(1, "x", 0)
    centred = scenes.SceneObject(CLASSES[0], (0.35, 0.35, 0.65, 0.65), (0, 0, 0), 1)
    lonely = scenes.Scene(scene.top, scene.bottom, (centred,))
    assert all(captions.spatial(lonely, seeds.rng("x", i), s) is None for s in SPLITS for i in range(20))


@pytest.mark.parametrize("split", SPLITS)
def test_a_weak_caption_names_all_objects_and_no_side(split):
    for i in range(300):
        scene = scenes.sample(12, "caption-test", i)
        caption = captions.weak(scene, seeds.rng("weak", i), split)
        assert {name for name in NAMES if name in caption} == set(scene.names)
        assert not set("左右") & set(caption)
        assert re.search("旁|附近|周围|靠|挨|中间|之间|身旁", caption)


def test_an_absent_object_is_named_and_not_in_the_scene():
    for i in range(100):
        scene = scenes.sample(13, "caption-test", i)
        caption, name = captions.absent("图", scene, seeds.rng("absent", i))
        assert name in caption and name not in scene.names


def templates(split):
    spatial = itertools.chain.from_iterable(spatial_templates.SPATIAL[split].values())
    noisy = itertools.chain.from_iterable(noise._TEMPLATES[split].values())
    rest = [spatial_templates.WEAK[split], spatial_templates.WEAK_ONE[split], spatial_templates.EXTRA[split]]
    rest += [spatial_templates.BEFORE[split], [a for a in spatial_templates.AFTER[split] if len(a) > 1]]
    return set(itertools.chain(spatial, noisy, *rest))


def test_the_splits_share_no_template_and_no_filler_word():
    assert not templates("train") & templates("world")
    for name in WORDS["train"]:
        if name != "about":
            assert not set(WORDS["train"][name]) & set(WORDS["world"][name]), name


def test_openings_and_endings_hold_no_object_and_no_place():
    for split in SPLITS:
        for text in (*spatial_templates.BEFORE[split], *spatial_templates.AFTER[split]):
            assert not any(name in text for name in NAMES)
            assert not set("左右上下旁近围靠") & set(text)


def test_captions_of_one_split_do_not_occur_in_the_other():
    captions = {s: {caption for _, _, caption, _ in stated(s)} for s in SPLITS}
    noisy = {s: {noise.noise(seeds.rng("n", s, i), s) for i in range(2000)} for s in SPLITS}
    assert not captions["train"] & captions["world"]
    shared = noisy["train"] & noisy["world"]
    assert len(shared) < 5, shared


@pytest.mark.parametrize("split", SPLITS)
def test_noise_has_its_shares_and_its_awkward_characters(split):
    count = 20_000
    found = [noise.noise_family(seeds.rng("shares", split, i), split) for i in range(count)]
    for family, share in noise.FAMILIES.items():
        measured = sum(f == family for f, _ in found) / count
        assert abs(measured - share) < 4 * (share / count) ** 0.5
    text = "".join(caption for _, caption in found)
    assert set(',"\n\r，') <= set(text)
    assert any(ord(c) > 0x1F000 for c in text)
    traps = [caption for f, caption in found if f in ("trap_about", "trap_site")]
    assert sum(bool(set(c) & set("左右上下旁近围靠中间身")) for c in traps) == len(traps)


def test_captions_depend_on_their_generator_alone():
    scene = scenes.sample(1, "x", 3)
    assert captions.spatial(scene, seeds.rng("a", 1)) == captions.spatial(scene, seeds.rng("a", 1))
    assert noise.noise(seeds.rng("a", 2)) == noise.noise(seeds.rng("a", 2))
