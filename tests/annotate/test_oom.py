"""Injected memory errors: what survives them, against a replay of the same draws."""

import numpy as np
import pytest
from PIL import Image

from gillnext.annotate import oom
from gillnext.annotate.base import Found, Vocabulary
from gillnext.boxes import Convention
from gillnext.config import Config
from gillnext.config.data import Annotate
from gillnext.runtime import files, seeds

IMAGES = 100


class Brightness:
    """A box that depends on the image alone."""

    name, convention, needs_names, max_image_size = "fake", Convention.UNIT, True, None

    def annotate(self, images, captions, names):
        levels = [float(np.asarray(image).mean()) / 510 for image in images]
        return [
            [Found(n, (v, 0.1, v + 0.4, 0.9), 0.8) for n in wanted] for v, wanted in zip(levels, names, strict=True)
        ]


@pytest.fixture
def index(tmp_path, monkeypatch):
    rows = []
    for i in range(IMAGES):
        path = tmp_path / f"{i}.png"
        Image.new("RGB", (8, 8), (2 * i,) * 3).save(path)
        rows.append({"image_path": str(path), "caption": f"第{i}幅是一只猫"})
    rows.insert(3, {"image_path": str(tmp_path / "gone.png"), "caption": "一只猫"})
    rows.insert(5, {"image_path": str(tmp_path / "0.png"), "caption": "包邮"})
    files.write_jsonl(tmp_path / "index.jsonl", rows)
    monkeypatch.setattr(oom, "load_annotator", lambda config, model: (Brightness(), Vocabulary(["猫"])))
    return tmp_path / "index.jsonl"


def replay(batch):
    """(images that survive, images of batches that fail at no call), by the draws' own order."""
    rng, never = seeds.rng("oom", Config().run.seed), set(range(oom.TOO_LARGE // 2, IMAGES, oom.TOO_LARGE))

    def call(part):
        return len(part) > rng.integers(1, 2 * batch, endpoint=True) or bool(never & set(part))

    def halves(part):
        if not call(part):
            return len(part), True
        if len(part) == 1:
            return 0, False
        middle = len(part) // 2
        return halves(part[:middle])[0] + halves(part[middle:])[0], False

    done = [(halves(list(range(i, min(i + batch, IMAGES)))), min(batch, IMAGES - i)) for i in range(0, IMAGES, batch)]
    return sum(n for (n, _), _ in done), sum(size for (_, whole), size in done if whole)


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_halving_loses_only_what_never_fits(index, batch):
    found = oom.survival(Config(annotate=Annotate(batch=batch)), "", [index])
    survived, plain = replay(batch)
    assert survived == IMAGES - 2  # every 64th
    assert found["annotation_oom_survived"] == (survived / IMAGES, IMAGES)
    assert found["annotation_oom_survived_plain"] == (plain / IMAGES, IMAGES)
    assert (plain == survived) == (batch == 1)
    assert found["annotation_oom_same"] == (1.0, survived)


def test_another_answer_after_an_error_would_be_told(index, monkeypatch):
    class Weary(Brightness):
        def annotate(self, images, captions, names):
            small = len(images) < 8
            return [[Found("猫", (0.1, 0.1, 0.5 + 0.1 * small, 0.9), 0.8)] for _ in images]

    monkeypatch.setattr(oom, "load_annotator", lambda config, model: (Weary(), Vocabulary(["猫"])))
    share, _ = oom.survival(Config(annotate=Annotate(batch=8)), "", [index])["annotation_oom_same"]
    assert 0 < share < 1


def test_without_images_there_is_nothing_to_tell(tmp_path, index):
    files.write_jsonl(tmp_path / "empty.jsonl", [])
    assert oom.survival(Config(), "", [tmp_path / "empty.jsonl"]) == {}
