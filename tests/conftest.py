"""What several packages' tests share: a miniature, untrained KolorsPipeline of the real classes, with a cache."""

from types import SimpleNamespace

import pytest

from gillnext.runtime import arithmetic

arithmetic.begin()  # before anything loads torch or NumPy

SEED = 7


@pytest.fixture(scope="session")
def tiny_scenes():
    """Eight drawn scenes with naming captions."""
    from gillnext.miniatures.world import corpus

    return corpus.make(SEED, "tiny", 8)


@pytest.fixture(scope="session")
def tiny_layouts(tmp_path_factory, tiny_scenes):
    """The scenes' layouts, with their pictures as files."""
    from PIL import Image

    from gillnext.layouts import Layout

    folder, rows = tmp_path_factory.mktemp("tiny-images"), []
    drawn = zip(tiny_scenes.scenes, tiny_scenes.captions, tiny_scenes.images, strict=True)
    for i, (scene, caption, picture) in enumerate(drawn):
        path = folder / f"{i}.png"
        Image.fromarray(picture).save(path)
        boxes = tuple(thing.box for thing in scene.objects)
        rows.append(Layout(caption, scene.names, boxes, id=f"tiny-{i}", image_path=str(path)))
    return rows


@pytest.fixture(scope="session")
def tiny_config():
    """One thread, a few steps, batches of two, the arms that the tests train."""
    from gillnext.config.load import from_dict

    arms = {
        "base": {"site": "none"},
        "attn1": {"site": "attn1"},
        "attn2": {"site": "attn2"},
        "gated": {"site": "gated"},
    }
    return from_dict(
        {
            "run": {"seed": SEED, "threads": 1},
            "text_encoder": {"corpus": 40, "steps": 3, "batch": 8},
            "base": {
                "corpus": 12,
                "window_steps": 2,
                "window_batch": 6,
                "steps": 3,
                "batch": 4,
                "channels": [32, 32, 32],
                "threads": 1,
            },
            "adapter": {"steps": 6, "batch": 2, "width": 16, "checkpoint_every": 2, "snapshot_every": None},
            "sample": {"steps": 2, "batch": 2, "test": 4, "relations": 4},
            "memory": {"batch": 2, "repeats": 1},
            "study": {"arms": arms, "seeds": [0], "reference": "attn2"},
        }
    )


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory, tiny_scenes):
    """Folder of an untrained KolorsPipeline: 64×64 pictures, seven transformer blocks, one attention head each."""
    import torch
    from diffusers import DPMSolverMultistepScheduler, KolorsPipeline

    from gillnext.miniatures import small_unet, vae
    from gillnext.miniatures.networks import small_chatglm

    torch.manual_seed(SEED)
    folder = tmp_path_factory.mktemp("tiny-base")
    tokenizer = small_chatglm.train_tokenizer(tiny_scenes.captions, folder / "scratch")
    pipeline = KolorsPipeline(
        vae=vae.build(),
        text_encoder=small_chatglm.build(tokenizer).eval(),
        tokenizer=tokenizer,
        unet=small_unet.build_unet((32, 32, 32)).eval(),
        scheduler=DPMSolverMultistepScheduler(**small_unet.SCHEDULE),
        force_zeros_for_empty_prompt=False,
    )
    pipeline.save_pretrained(folder / "base")
    return folder / "base"


@pytest.fixture(scope="session")
def tiny_cache(tmp_path_factory, tiny_config, tiny_base, tiny_layouts):
    """Folder of the layouts encoded by the tiny pipeline."""
    import torch

    from gillnext.adapter import encode

    folder = tmp_path_factory.mktemp("tiny-cache") / "cache"
    with torch.no_grad():
        encode.build(tiny_config, tiny_base, tiny_layouts, folder)
    return folder


@pytest.fixture(scope="session")
def tiny_language(tmp_path_factory, tiny_scenes):
    """Folder of an untrained Qwen2ForCausalLM with a tokenizer of the scenes' captions."""
    from gillnext.language import model
    from gillnext.language.tokenizer import train_tokenizer

    folder = tmp_path_factory.mktemp("tiny-language") / "language"
    tokenizer = train_tokenizer(tiny_scenes.captions, vocabulary=400, minimum=1)
    model.save(model.build(tokenizer, hidden=32, layers=2, heads=2, name="tiny", seed=1), tokenizer, folder, {}, "tiny")
    return folder


@pytest.fixture
def tiny_pipeline(tiny_base):
    """A fresh GroundedKolorsPipeline of the tiny base, without an adapter."""
    from gillnext.adapter.pipeline import GroundedKolorsPipeline

    return GroundedKolorsPipeline.from_folders(tiny_base)


@pytest.fixture(scope="session")
def awake():
    """Fills an adapter with seeded noise, so that its zero values are no longer zero; returns it."""
    import torch

    def fill(adapter, std=0.3):
        for i, parameter in enumerate(adapter.parameters()):
            torch.nn.init.normal_(parameter, std=std, generator=torch.Generator().manual_seed(i))
        return adapter

    return fill


@pytest.fixture(scope="session")
def config_file(tmp_path_factory, tiny_config):
    """The tiny configuration as a file."""
    import dataclasses
    import json

    path = tmp_path_factory.mktemp("tiny-config") / "config.json"
    path.write_text(json.dumps(dataclasses.asdict(tiny_config)))
    return path


@pytest.fixture
def tiny(tiny_base, tiny_cache, tiny_config, tiny_layouts, config_file):
    """Everything of the tiny world in one name."""
    return SimpleNamespace(
        base=tiny_base, cache=tiny_cache, config=tiny_config, layouts=tiny_layouts, config_file=config_file
    )


@pytest.fixture(scope="session")
def tiny_sdxl(tmp_path_factory):
    """Folder of an untrained StableDiffusionXLPipeline: 64×64 pictures, English letters for tokens."""
    from support import sdxl

    return sdxl.save(tmp_path_factory.mktemp("tiny-sdxl") / "base")
