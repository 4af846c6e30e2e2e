"""FID and KID against closed forms and brute force."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import linalg

from gillnext.miniatures.world import scenes
from gillnext.runtime.errors import UserError
from gillnext.score import fid_kid


def network(pixels):
    """Twelve plain features of 0–255 pictures: mean and deviation of colours in two halves."""
    halves = pixels.chunk(2, dim=-1)
    return torch.cat([f((2, 3)) for half in halves for f in (half.mean, half.std)], 1) / 64


def test_fid_of_gaussian_samples_is_near_the_closed_form():
    # Diagonal Gaussians: |Δμ|² + Σ (s₁ − s₂)²; 40,000 samples leave an error of a few hundredths.
    rng = np.random.default_rng(0)
    mean, s1, s2 = np.array([0.5, -1.0, 0.2]), np.array([1.0, 0.5, 2.0]), np.array([0.7, 1.1, 1.5])
    a, b = rng.normal(0, s1, (40_000, 3)), rng.normal(mean, s2, (40_000, 3))
    assert fid_kid.fid(a, b) == pytest.approx((mean**2).sum() + ((s1 - s2) ** 2).sum(), abs=0.05)


def test_fid_is_the_formula_with_scipys_square_root():
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(6, 6))
    a, b = rng.normal(size=(300, 6)) @ mix, rng.normal(0.3, 1.2, size=(250, 6))
    ca, cb = np.cov(a.T), np.cov(b.T)
    root = linalg.sqrtm(ca)
    middle = linalg.sqrtm(root @ cb @ root)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * middle.real)
    assert fid_kid.fid(a, b) == pytest.approx(expected, rel=1e-6)
    assert fid_kid.fid(a, a) == pytest.approx(0, abs=1e-6)


def brute_kid(a, b):
    def k(x, y):
        return (float(np.dot(x, y)) / len(x) + 1) ** 3

    n, m = len(a), len(b)
    aa = sum(k(a[i], a[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    bb = sum(k(b[i], b[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return aa + bb - 2 * sum(k(x, y) for x in a for y in b) / (n * m)


def test_kid_is_the_double_loop():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(20, 4)), rng.normal(0.5, 1, size=(25, 4))
    assert fid_kid.kid(a, b)[0] == pytest.approx(brute_kid(a, b), rel=1e-9)


def test_kid_is_unbiased_and_its_standard_error_is_the_deviation_between_samples():
    rng = np.random.default_rng(3)
    pairs = [fid_kid.kid(rng.normal(size=(60, 3)), rng.normal(0.6, 1, (60, 3)), halves=60) for _ in range(60)]
    values, errors = np.array(pairs).T
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.35)
    same = [fid_kid.kid(rng.normal(size=(60, 3)), rng.normal(size=(60, 3)), halves=2)[0] for _ in range(80)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(80)


def test_kid_is_the_same_for_the_same_seed():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(30, 3)), rng.normal(size=(30, 3))
    assert fid_kid.kid(a, b, seed=1) == fid_kid.kid(a, b, seed=1)


def test_kid_of_very_few_images_is_refused():
    with pytest.raises(UserError, match="4 images"):
        fid_kid.kid(np.zeros((3, 2)), np.zeros((9, 2)))


@pytest.fixture(scope="module")
def pictures():
    return np.stack([scenes.render(scenes.sample(7, "test", i)) for i in range(120)])


def test_features_of_files_are_those_of_the_images(tmp_path, pictures):
    paths = [tmp_path / f"{i:05d}.png" for i in range(10)]
    for path, picture in zip(paths, pictures, strict=False):
        Image.fromarray(picture).save(path)
    from_files = fid_kid.features_of_files(paths, network, batch=4)
    assert np.allclose(from_files, fid_kid.features_of_images(pictures[:10], network, batch=3), atol=1e-4)
    whole = torch.from_numpy(pictures[:10]).permute(0, 3, 1, 2).float()
    assert np.allclose(from_files, network(whole).numpy(), atol=1e-4)


def test_fid_by_our_features_is_clean_fids_own_between_folders(tmp_path, pictures):
    from cleanfid.fid import compute_fid

    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, part in zip(folders, (pictures[:60], pictures[60:]), strict=True):
        folder.mkdir()
        for i, picture in enumerate(part):
            Image.fromarray(picture).save(folder / f"{i:05d}.png")
    theirs = compute_fid(
        str(folders[0]), str(folders[1]), custom_feat_extractor=network, custom_fn_resize=lambda x: x,
        device=torch.device("cpu"), num_workers=0, use_dataparallel=False, verbose=False,
    )  # fmt: skip
    ours = fid_kid.fid(*(fid_kid.features_of_files(sorted(folder.glob("*.png")), network) for folder in folders))
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_worse_pictures_have_larger_distances(pictures):
    def shrink(images):
        return np.stack([np.asarray(Image.fromarray(i).resize((4, 4)).resize((64, 64))) for i in images])

    real = fid_kid.features_of_images(pictures[:60], network)
    others = fid_kid.features_of_images(pictures[60:], network)
    blurred = fid_kid.features_of_images(shrink(pictures[60:]), network)
    assert fid_kid.fid(blurred, real) > 1.5 * fid_kid.fid(others, real)
    assert fid_kid.kid(blurred, real)[0] > fid_kid.kid(others, real)[0]


class Embedding(torch.nn.Module):
    """Stands for a CLIP: the features of `network`, of pictures that its processor gives as they are."""

    def get_image_features(self, pixel_values):
        return network(pixel_values)


def clip():
    def processor(images, return_tensors):
        return {"pixel_values": torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()}

    return Embedding(), processor


DIGESTS = {"features": "abc", "clip": "xyz"}
PICTURES = np.stack([scenes.render(scenes.sample(1, "fidreference", i)) for i in range(8)])


def test_reference_is_kept_reread_and_refused_for_another_network(tmp_path):
    path = tmp_path / "features.safetensors"
    made = fid_kid.make_reference(path, PICTURES, "real ones", network, clip, DIGESTS)
    kept = fid_kid.read_reference(path, DIGESTS)
    assert np.array_equal(made.features_ND, kept.features_ND)
    assert np.array_equal(made.clip_NE, kept.clip_NE)
    assert np.allclose((kept.clip_NE**2).sum(1), 1)
    assert kept.images == made.images
    with pytest.raises(UserError, match="another feature network"):
        fid_kid.read_reference(path, DIGESTS | {"features": "def"})
    with pytest.raises(UserError, match="another image-text scorer"):
        fid_kid.read_reference(path, DIGESTS | {"clip": "def"})
    with pytest.raises(UserError, match="gillnext ceilings"):
        fid_kid.read_reference(tmp_path / "none.safetensors", DIGESTS)


def test_reference_is_the_same_to_the_byte(tmp_path):
    for name in "ab":
        fid_kid.make_reference(tmp_path / name, PICTURES[:4], "real ones", network, clip, DIGESTS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_fid_falls_with_the_number_of_images_by_about_one_over_it():
    # Same distribution on both sides: what is left is the bias, about c / n against a large reference.
    rng = np.random.default_rng(6)
    few, many = rng.normal(size=(300, 12)), rng.normal(size=(20_000, 12))
    curve = fid_kid.fid_by_n(few, many, seed=1)
    assert list(curve) == ["64", "128", "256", "300"]
    assert curve["64"] > curve["128"] > curve["256"] > curve["300"] > 0
    assert curve["64"] / curve["256"] == pytest.approx(4, rel=0.4)
    assert curve["300"] == pytest.approx(fid_kid.fid(few, many), abs=1e-6)
    assert curve == fid_kid.fid_by_n(few, many, seed=1)


def test_fid_of_a_set_of_a_size_on_the_curve_is_told_once():
    rng = np.random.default_rng(7)
    assert list(fid_kid.fid_by_n(rng.normal(size=(128, 4)), rng.normal(size=(500, 4)))) == ["64", "128"]
