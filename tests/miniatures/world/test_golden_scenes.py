"""The drawn world's values to the bit: where they change, so do all downstream numbers."""

import hashlib

import pytest

from gillnext.miniatures.world import corpus, heldout

# SHA-256 of 64 scenes' pictures, boxes, captions and names, and of held-out layouts as text, at seed 20260: written
# down when only drawn worlds were known, before cut-outs came.
SCENES = {"base": "fee23d652c6ba867", "clip": "054a63e02ff234a4", "world": "e891027bd4dab726"}
HELD_OUT = "38d791a6bc9263a8"


def digest(*parts):
    found = hashlib.sha256()
    for part in parts:
        found.update(part if isinstance(part, bytes) else str(part).encode())
    return found.hexdigest()[:16]


@pytest.mark.parametrize(("stream", "expected"), SCENES.items())
def test_drawn_scenes_are_those_of_the_first_release(stream, expected):
    made = corpus.make(20260, stream, 64)
    boxes, names = [scene.boxes.tobytes() for scene in made.scenes], [scene.names for scene in made.scenes]
    assert digest(made.images.tobytes(), *boxes, *made.captions, *names) == expected


def test_held_out_layouts_are_those_of_the_first_release():
    sets = [repr(heldout.make(20260, split, 40)) for split in ("val", "test", "relations")]
    assert digest(*sets) == HELD_OUT
