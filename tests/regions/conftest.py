"""Small eyes, a small image-text model and a few edits, all untrained."""

import json

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def eyes_folder(tmp_path_factory):
    """An untrained ViTModel of 4 x 4 patches on 64 pixels."""
    from gillnext.config.regions import Dino
    from gillnext.miniatures.dino import build

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("eyes") / "dino"
    build(Dino(patch=16, hidden=16, layers=2, heads=2), 64).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """An untrained ChineseCLIPModel that knows the characters of a few captions."""
    from gillnext.miniatures.clip import make_model, make_processor

    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("clip") / "clip"
    processor = make_processor(["一只猫和一棵树、一辆汽车"])
    make_model(len(processor.tokenizer)).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture
def eyes(eyes_folder):
    from gillnext.regions.eyes import Eyes

    return Eyes.load(eyes_folder)


@pytest.fixture
def clip(clip_folder):
    from gillnext.regions.objective import ImageText

    return ImageText(clip_folder)


@pytest.fixture(scope="session")
def asked(tmp_path_factory):
    """A folder of three pictures with images.json and truth.jsonl."""
    from PIL import Image

    from gillnext.miniatures.world import scenes

    folder = tmp_path_factory.mktemp("asked")
    (folder / "images").mkdir()
    prompts, truth = {}, []
    for i in range(3):
        scene = scenes.sample(5, "asked", i)
        Image.fromarray(scenes.render(scene)).save(folder / f"images/{i}.png")
        prompts[f"{i}.png"] = ["一只猫和一棵树", "一只猫和一辆汽车"]
        thing = scene.objects[0]
        others = [{"name": one.kind.name, "bbox": list(one.box)} for one in scene.objects[1:]]
        truth.append({
            "file": f"{i}.png", "kind": "replace", "box": list(thing.box), "before": thing.kind.name, "after": "汽车",
            "colours": [], "others": others,
        })  # fmt: skip
    (folder / "images.json").write_text(json.dumps(prompts, ensure_ascii=False), encoding="utf-8")
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in truth)
    (folder / "truth.jsonl").write_text(lines, encoding="utf-8")
    return folder


@pytest.fixture
def noise():
    """A picture (64, 64, 3) uint8 of noise."""
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
