"""Feature networks by what their folder holds, for pictures of any sizes."""

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import (
    BitImageProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    Dinov2Config,
    Dinov2Model,
)

from gillnext.instruments import families, features
from gillnext.miniatures.networks.features import FeatureNetwork
from gillnext.runtime.errors import UserError
from gillnext.score import cmmd, fid_kid, images, models

TOWER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}


class Layers(torch.nn.Module):
    """Stands for Inception's layers: 2048 numbers of a picture of 299 × 299."""

    def forward(self, x):
        rows = x.mean(dim=[1, 3])
        return torch.cat([rows, rows * rows, rows[:, :1].expand(-1, 1450)], 1)


class Stub(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = Layers()

    def forward(self, x):
        return self.layers(x)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("features")
    torch.manual_seed(0)
    (root / "inception").mkdir()
    torch.jit.save(torch.jit.script(Stub()), root / "inception" / families.INCEPTION)
    CLIPModel(
        CLIPConfig(
            text_config={**TOWER, "vocab_size": 20, "max_position_embeddings": 8},
            vision_config={**TOWER, "image_size": 32, "patch_size": 8}, projection_dim=24,
        )
    ).save_pretrained(root / "clip")  # fmt: skip
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(root / "clip")
    Dinov2Model(Dinov2Config(**TOWER, image_size=28, patch_size=14)).save_pretrained(root / "dinov2")
    size = {"size": {"shortest_edge": 32}, "crop_size": {"height": 28, "width": 28}}
    BitImageProcessor(**size).save_pretrained(root / "dinov2")
    FeatureNetwork(3, 4).save_pretrained(root / "house")
    return root


@pytest.fixture(autouse=True)
def known_hash(folders, monkeypatch):
    digest = hashlib.sha256((folders / "inception" / families.INCEPTION).read_bytes()).hexdigest()
    monkeypatch.setattr(features, "INCEPTION_SHA256", digest)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root, rng, paths = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), []
    for i, size in enumerate([(40, 80), (64, 64), (64, 64), (90, 33), (40, 80)]):
        paths.append(root / f"{i}.png")
        small = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(small).resize(size[::-1]).save(paths[-1])
    return paths


def alone(name, folder, pixels):
    """Features of one picture, without any code of ours."""
    if name == "inception":
        from cleanfid.resize import build_resizer

        ready = torch.from_numpy(build_resizer("clean")(pixels)).permute(2, 0, 1)[None]
        return Layers()((ready - 128) / 128)
    if name == "house":
        whole = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
        return FeatureNetwork.from_pretrained(folder)(whole)
    if name == "clip":
        ready = CLIPImageProcessor.from_pretrained(folder)(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
        model = CLIPModel.from_pretrained(folder).eval()
        return model.visual_projection(model.vision_model(ready).pooler_output)
    ready = BitImageProcessor.from_pretrained(folder)(Image.fromarray(pixels), return_tensors="pt")["pixel_values"]
    return Dinov2Model.from_pretrained(folder).eval()(ready).last_hidden_state[:, 0]


@pytest.mark.parametrize("name", ["inception", "clip", "dinov2", "house"])
def test_pictures_of_any_sizes_have_the_features_of_each_alone(folders, pictures, name):
    network = features.load(folders / name)
    of_files = fid_kid.features_of_files(pictures, network, batch=2)
    arrays = [images.read_image(path) for path in pictures]
    with torch.no_grad():
        wanted = torch.cat([alone(name, folders / name, pixels) for pixels in arrays]).numpy()
    assert np.allclose(of_files, wanted, atol=2e-4) and of_files.std(0).max() > 1e-3
    assert np.allclose(fid_kid.features_of_images(arrays, network, batch=2), wanted, atol=2e-4)
    assert network.description


def test_weights_in_half_precision_are_read_in_whole(folders, pictures, tmp_path):
    CLIPModel.from_pretrained(folders / "clip").half().save_pretrained(tmp_path)
    CLIPImageProcessor.from_pretrained(folders / "clip").save_pretrained(tmp_path)
    halved, whole = (fid_kid.features_of_files(pictures, features.load(f)) for f in (tmp_path, folders / "clip"))
    assert np.allclose(halved, whole, atol=0.02)


def test_each_says_what_it_is_and_what_it_compares_with(folders):
    said = {name: features.load(folders / name).description for name in ("inception", "clip", "dinov2", "house")}
    assert "comparable with FIDs" in said["inception"] and "clean-fid" in said["inception"]
    assert "image embedding of CLIP" in said["clip"] and "class token of DINOv2" in said["dinov2"]
    assert said["house"] == "independent network by clean-fid; not Inception, not comparable with published FIDs"
    assert features.load(folders / "inception" / families.INCEPTION).description == said["inception"]


def test_inception_by_our_path_is_clean_fids_own(folders, pictures):
    from cleanfid.fid import get_files_features

    network = features.load(folders / "inception")
    theirs = get_files_features(
        [str(p) for p in pictures], network.network, num_workers=0, batch_size=3, device=torch.device("cpu"),
        mode="clean", verbose=False,
    )  # fmt: skip
    assert np.allclose(fid_kid.features_of_files(pictures, network), theirs, atol=1e-5)


def test_another_file_of_inceptions_name_is_never_run(folders, monkeypatch):
    monkeypatch.setattr(features, "INCEPTION_SHA256", "f58c")
    monkeypatch.setattr(torch.jit, "load", lambda *_: pytest.fail("it was loaded"))
    for path in (folders / "inception", folders / "inception" / families.INCEPTION):
        with pytest.raises(UserError, match=r"not the published Inception: SHA-256 [0-9a-f]{64}, expected f58c"):
            features.load(path)


def test_other_folders_and_files_are_refused(folders, tmp_path):
    (tmp_path / "weights.pth").touch()
    with pytest.raises(UserError, match="no feature network"):
        features.load(tmp_path / "weights.pth")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="gillnext-features"):
        features.load(tmp_path)


def test_weights_are_told_by_their_hash_inceptions_too(folders):
    digest = hashlib.sha256((folders / "inception" / families.INCEPTION).read_bytes()).hexdigest()
    assert models.weights(folders / "inception") == models.weights(folders / "inception" / families.INCEPTION) == digest
    assert len(models.weights(folders / "clip")) == 64


def test_cmmd_of_a_clip_is_that_of_its_unit_embeddings(folders, pictures):
    network = features.load(folders / "clip")
    assert network.embedding and not features.load(folders / "dinov2").embedding
    values = torch.from_numpy(fid_kid.features_of_files(pictures, network))
    a, b = values[:3], values[2:]
    assert cmmd.cmmd(*(models.unit(x.numpy()) for x in (a, b))) == pytest.approx(
        cmmd.cmmd(*(F.normalize(x, dim=-1).numpy() for x in (a, b)))
    )


def test_a_reference_of_files_is_that_of_their_arrays(folders, pictures, tmp_path):
    network, digests = features.load(folders / "house"), {"features": "a", "clip": "b"}

    def clip():
        class Means:
            def to(self, device):
                return self

            def get_image_features(self, pixel_values):
                return pixel_values

        def processor(images, return_tensors):
            return {"pixel_values": torch.tensor(np.stack([i.mean((0, 1)) for i in images]))}

        return Means(), processor

    arrays = [images.read_image(path) for path in pictures]
    one = fid_kid.make_reference(tmp_path / "a", arrays, "held out", network, clip, digests)
    other = fid_kid.make_reference_of_files(tmp_path / "b", pictures, "held out", network, clip, digests)
    for name in (field.name for field in dataclasses.fields(one)):
        assert np.all(getattr(one, name) == getattr(other, name))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert fid_kid.read_reference(tmp_path / "b", digests).source == "held out"
