"""Edits of the drawn world: what a prompt asks, what changes, and what does not."""

import json

import numpy as np
import pytest

from gillnext.miniatures.world import colours, edits
from gillnext.miniatures.world.objects import DRAWN
from gillnext.miniatures.world.scenes import render
from gillnext.regions import asks, measures


@pytest.fixture(scope="module")
def made():
    return [edits.make(3, "test", i, DRAWN) for i in range(30)]


def pixels(edit, k=0):
    """Source and edited picture."""
    return render(edit.scene).astype(int), render(edits.result(edit, "test", k)).astype(int)


def test_kinds_take_turns_and_an_edit_is_a_function_of_its_name(made):
    assert [edit.kind for edit in made[:6]] == [*edits.KINDS, *edits.KINDS]
    assert edits.make(3, "test", 7, DRAWN) == made[7] != edits.make(3, "val", 7, DRAWN)


def test_nothing_but_the_box_changes(made):
    for k, edit in enumerate(made):
        source, edited = pixels(edit, k)
        changed = np.argwhere((source != edited).any(-1))
        x1, y1, x2, y2 = (v * 64 for v in edit.box)
        assert len(changed)
        assert changed[:, 0].min() >= y1 - 2 and changed[:, 0].max() <= y2 + 1
        assert changed[:, 1].min() >= x1 - 2 and changed[:, 1].max() <= x2 + 1


def test_prompts_list_all_objects_before_and_after(made):
    for edit in made:
        before, after = (set(asks.parts(text)) for text in edit.prompts)
        new = asks.change(*edit.prompts)
        assert {new} == after - before and edit.after in new
        if edit.kind == "add":
            assert before < after and edit.before == ""
        else:
            assert edit.before in asks.removed(*edit.prompts) and len(before) == len(after)
        named = {one.kind.name for one in edit.scene.objects}
        assert all(any(name in part for part in before) for name in named)


def test_a_recoloured_object_has_the_other_colour(made):
    for k, edit in enumerate(edit for edit in made if edit.kind == "recolour"):
        source, edited = pixels(edit, k)
        assert measures.has_colour(edited.astype(np.uint8), edit.box, *edit.colours)
        assert not measures.has_colour(source.astype(np.uint8), edit.box, *edit.colours)


def test_colours_are_told_by_the_palette():
    for kind in DRAWN.kinds:
        if kind.key in colours.NAMES:
            one, other = colours.NAMES[kind.key]
            assert one != other and len(kind.palette) == 2
            assert np.abs(np.subtract(*kind.palette)).sum() > 2 * 0.12  # more than the jitter of a colour


def test_files_are_what_regions_reads(tmp_path, tiny_config):
    import dataclasses

    from gillnext.config.regions import Edits, Regions

    config = dataclasses.replace(tiny_config, regions=Regions(edits=Edits(test=4, val=3)))
    edits.run(config, tmp_path / "edits")
    folder = tmp_path / "edits/test"
    found = asks.read(folder / "images.json", folder / "images")
    rows = [json.loads(line) for line in (folder / "truth.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 4 and {ask.file for ask in found} == {row["file"] for row in rows}
    assert all(0 <= v <= 1 for row in rows for v in row["box"])
