"""What a rehearsal hands over: pictures as the web has them, checkpoints in folders, settings that name them."""

import io

import numpy as np
import pytest
from PIL import Image

from gillnext.config.data import Download
from gillnext.download.pictures import check
from gillnext.miniatures.rehearsal import pictures
from gillnext.miniatures.world import scenes
from gillnext.miniatures.world.stage import STREAM

LOSS = {"cmyk": 14, "palette": 12, "gif": 12}  # of a channel's mean, by format; 6 for the others


@pytest.mark.parametrize("kind", list(pictures.FORMATS))
def test_a_picture_of_every_format_arrives_upright_with_its_colours(kind):
    """Against the same scene at the same size, drawn and resized by itself."""
    name = next(str(i) for i in range(1000) if pictures.kind(str(i)) == kind)
    scene = scenes.sample(0, STREAM, int(name))
    arrived = check(pictures.encoded(scene, name), Download())
    width, height = pictures.size(name)
    expected = Image.fromarray(scenes.render(scene, max(width, height))).resize(
        (width, height), Image.Resampling.LANCZOS
    )
    assert (arrived.width, arrived.height) == (width, height)
    got = np.asarray(Image.open(io.BytesIO(arrived.data)).convert("RGB"), dtype=float)
    assert np.abs(got - np.asarray(expected, dtype=float)).mean() < LOSS.get(kind, 6)


def test_sizes_and_aspects_are_all_over_the_place():
    found = [pictures.size(str(i)) for i in range(300)]
    assert len(set(found)) > 250
    ratios = [width / height for width, height in found]
    assert min(ratios) < 0.6 and max(ratios) > 1.7 and min(min(size) for size in found) >= 64
