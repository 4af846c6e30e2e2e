"""A miniature Gill on the tiny base: an untrained Qwen2, the tiny cache's rows as a batch, and a few conversations."""

import dataclasses

import pytest
import torch

SIZES = {"captions": 8, "images": 3, "prefix": 2, "retrieval": 16, "mapper_width": 32, "mapper_layers": 1}


@pytest.fixture
def gill(tiny_pipeline, tiny_config, tiny_language, awake):
    """All of its adapter's gates are open, so that every gradient is at work."""
    from gillnext.adapter.objective import Denoiser
    from gillnext.adapter.trainer import arm_of, build_adapter
    from gillnext.gill.model import Gill, Sizes
    from gillnext.language import model

    adapter = awake(build_adapter(tiny_config, arm_of(tiny_config, "attn2"), tiny_pipeline.unet, 0), 0.05)
    adapter.inject(tiny_pipeline.unet)
    language, _ = model.load(tiny_language)
    torch.manual_seed(3)
    sizes = Sizes(features=256, states=32, width=96, pooled=96)
    return Gill(language, sizes, Denoiser(adapter, tiny_pipeline.unet))


@pytest.fixture(scope="session")
def batch(tiny_cache, tiny_language):
    """Six rows, whose captions differ in length."""
    from gillnext.adapter import cache
    from gillnext.diffusion.objective import training_scheduler
    from gillnext.gill import batches
    from gillnext.language import model
    from gillnext.miniatures import small_unet

    _, tokenizer = model.load(tiny_language)
    rows, captions = cache.Cache.load(tiny_cache), cache.captions(tiny_cache)
    return batches.draw(rows, captions, tokenizer, training_scheduler(small_unet.SCHEDULE), 6, (7, 0))


@pytest.fixture(scope="session")
def conversations(tmp_path_factory, tiny_layouts):
    """train.jsonl: four captions, three stories of three pictures, a dialogue of four turns, one without a picture."""
    from PIL import Image

    from gillnext.conversations import Conversation, Turn, write

    folder = tmp_path_factory.mktemp("conversations")
    (folder / "pictures").mkdir()
    for i, layout in enumerate(tiny_layouts):
        Image.open(layout.image_path).save(folder / f"pictures/{i}.png")

    def shown(i, text=""):
        layout = dataclasses.replace(tiny_layouts[i], id="", image_path="")
        return Turn(text or layout.caption, f"pictures/{i}.png", layout)

    rows = [Conversation(f"caption-{i}", "caption", (shown(i),)) for i in range(4)]
    rows += [
        Conversation(f"story-{i}", "story", (shown(i, "先有一棵树。"), shown(i + 1, "后来多了一只猫。"), shown(i + 2)))
        for i in range(3)
    ]
    asked = tuple(Turn(f"问：有几个？答：{i}个。") for i in range(3))
    rows.append(Conversation("dialogue", "dialogue", (*asked, shown(7, "问：还有吗？答：没有。"))))
    rows.append(Conversation("words", "dialogue", (Turn("你好。"),)))
    write(folder / "train.jsonl", rows)
    return folder / "train.jsonl"


@pytest.fixture(scope="session")
def eyes(tmp_path_factory):
    """Folder of an untrained Chinese-CLIP."""
    from support import eyes

    return eyes.save(tmp_path_factory.mktemp("eyes") / "chinese_clip", "chinese_clip")


@pytest.fixture(scope="session")
def settings(tiny_config):
    """The tiny settings with few steps and changes of `gill`."""

    def make(precision="no", **gill):
        few = {"steps": 4, "batch": 4, "lr": 1e-2, "checkpoint_every": 2} | SIZES
        run = dataclasses.replace(tiny_config.run, precision=precision)
        return dataclasses.replace(tiny_config, run=run, gill=dataclasses.replace(tiny_config.gill, **few | gill))

    return make


@pytest.fixture(scope="session")
def given(conversations, tiny_language, eyes, tiny_base):
    """What a training is given."""
    from gillnext.gill.train import Given

    return Given(conversations, tiny_language, eyes, tiny_base)


@pytest.fixture
def alone():
    """Accelerate keeps one state a process; this leaves none behind."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def trainer(settings, given, alone, tmp_path):
    """Builds an untrained trainer of these settings."""
    from gillnext.adapter.trainer import accelerator
    from gillnext.gill.train import build

    def make(given=given, **changes):
        cfg = settings(**changes)
        return build(cfg, given, accelerator(cfg, tmp_path), tmp_path)

    return make


@pytest.fixture(scope="session")
def trained(settings, given, tmp_path_factory):
    """Folder of a training of four steps, on cells."""
    from accelerate.state import AcceleratorState

    from gillnext.gill import train

    out = tmp_path_factory.mktemp("trained") / "gill"
    AcceleratorState._reset_state(reset_partial_state=True)
    train.train(settings(), given, out)
    AcceleratorState._reset_state(reset_partial_state=True)
    return out
