"""The demo's annotator: a few steps of training, its folder, and the command from model to layouts."""

import numpy as np
import pytest
from PIL import Image

from gillnext import cli, layouts
from gillnext.annotate.detector import DetectorAnnotator
from gillnext.config.load import from_dict
from gillnext.miniatures import annotator
from gillnext.miniatures.networks.faster_rcnn import AnnotatorNetwork
from gillnext.miniatures.world import corpus
from gillnext.runtime import files
from gillnext.runtime.errors import UserError


@pytest.fixture(scope="module")
def settings():
    return {"annotator": {"corpus": 24, "steps": 6, "batch": 4}, "annotate": {"threshold": 0.0, "batch": 3}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, settings):
    out = tmp_path_factory.mktemp("annotator") / "annotator"
    scores = annotator.train(from_dict(settings), out)
    assert set(scores) == {"n", "miou", "success50"}
    return out


def test_training_leaves_a_folder_and_no_work_folder(folder):
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors", "training.json"}
    assert not folder.with_name("annotator.work").exists()
    assert len(files.read_json(folder / "config.json")["classes"]) == 12


def test_training_twice_gives_the_same_weights(folder, settings, tmp_path):
    annotator.train(from_dict(settings), tmp_path / "again")
    assert (tmp_path / "again/model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_saved_again_it_is_the_same_model(folder, tmp_path):
    model = AnnotatorNetwork.from_pretrained(folder)
    model.save_pretrained(tmp_path / "copy")
    again = AnnotatorNetwork.from_pretrained(tmp_path / "copy")
    images = corpus.make(1, "tiny", 5).images
    for a, b in zip(model.detect(images, 4), again.detect(images, 4), strict=True):
        assert np.array_equal(a.boxes, b.boxes) and np.array_equal(a.labels, b.labels)
        assert ((a.boxes >= 0) & (a.boxes <= 1)).all() and set(a.labels) <= set(range(12))


def test_neighbours_in_a_batch_change_no_answer(folder):
    annotator = DetectorAnnotator(AnnotatorNetwork.from_pretrained(folder), threshold=0.0)
    images = [Image.fromarray(image) for image in corpus.make(1, "tiny", 20).images]
    names = [["猫", "树"]] * 20
    together = annotator.annotate(images, [""] * 20, names)
    alone = [annotator.annotate([image], [""], [["猫", "树"]])[0] for image in images]
    for a, b in zip(together, alone, strict=True):
        for x, y in zip(a, b, strict=True):
            assert (x.box is None) == (y.box is None)
            assert x.box is None or np.allclose(x.box, y.box, atol=1e-5)


def test_the_commands_go_from_model_to_layouts(folder, settings, tmp_path, capsys):
    data = corpus.make(2, "tiny", 4)
    rows = []
    for i, image in enumerate(data.images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
        rows.append({"image_path": f"{i}.png", "caption": data.captions[i], "url": f"u{i}"})
    files.write_jsonl(tmp_path / "index.jsonl", rows)
    files.write_json(tmp_path / "config.json", settings)
    code = cli.main(
        ["annotate", "--config", str(tmp_path / "config.json"), "--index", str(tmp_path / "index.jsonl"),
         "--images", str(tmp_path), "--model", str(folder), "--out", str(tmp_path / "layouts.jsonl")]
    )  # fmt: skip
    assert code == 0 and "of 4 rows kept" in capsys.readouterr().out
    counts = files.read_json(tmp_path / "layouts.json")
    assert counts["kept"] == len(layouts.read(tmp_path / "layouts.jsonl"))
    assert counts["kept"] + sum(counts["rows_dropped"].values()) == counts["rows"] == 4


def test_another_models_folder_is_refused(folder, tmp_path):
    from gillnext.miniatures.evaluator import Evaluator

    with pytest.raises(UserError, match="gillnext-fcos"):
        Evaluator.from_pretrained(folder)
    with pytest.raises(UserError, match="no model here"):
        AnnotatorNetwork.from_pretrained(tmp_path)
