"""The autoencoder: it starts near the identity, standardised latents, and units that survive a round trip."""

import numpy as np
import pytest
import torch

from gillnext.diffusion import latents
from gillnext.miniatures import vae


@pytest.fixture
def network():
    torch.manual_seed(0)
    return vae.build().eval()


def test_pictures_and_tensors_are_each_others_inverse(tiny_scenes):
    tensor = latents.to_tensor(tiny_scenes.images)
    assert tensor.shape == (8, 3, 64, 64) and tensor.min() >= -1 and tensor.max() <= 1
    np.testing.assert_array_equal(latents.to_images(tensor), tiny_scenes.images)


def test_latents_are_a_quarter_of_the_side_with_four_channels(network, tiny_scenes):
    latents = vae.encode(network, tiny_scenes.images)
    assert latents.shape == (8, 4, 16, 16) and latents.isfinite().all()
    assert vae.decode(network, latents).shape == (8, 64, 64, 3)


def test_the_batch_size_changes_nothing(network, tiny_scenes):
    whole = vae.encode(network, tiny_scenes.images)
    torch.testing.assert_close(vae.encode(network, tiny_scenes.images, 3), whole, atol=1e-4, rtol=1e-4)


def test_the_identity_start_tells_pictures_colours_at_once(network, tiny_scenes):
    """A linear read-out of the untrained latents explains local colour far better than from random convolutions."""

    def explained(model):
        encoded = vae.encode(model, tiny_scenes.images).permute(0, 2, 3, 1).reshape(-1, 4).double()
        colours = latents.to_tensor(tiny_scenes.images).unfold(2, 4, 4).unfold(3, 4, 4).mean((-1, -2))
        target = colours.permute(0, 2, 3, 1).reshape(-1, 3).double()
        design = torch.cat([encoded, torch.ones(len(encoded), 1, dtype=torch.float64)], 1)
        rest = target - design @ torch.linalg.lstsq(design, target).solution
        return 1 - (rest.var(0) / target.var(0)).mean().item()

    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    config = {k: v for k, v in network.config.items() if not k.startswith("_")}
    random = AutoencoderKL(**config).eval()
    assert explained(network) > explained(random) + 0.2


def test_standardising_changes_latents_and_no_picture(network, tiny_scenes):
    images = tiny_scenes.images
    before = vae.decode(network, vae.encode(network, images)).astype(int)
    vae.standardise(network, images)
    latents = vae.encode(network, images).double()
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4, dtype=torch.float64), atol=1e-3, rtol=0)
    torch.testing.assert_close(latents.var((0, 2, 3)), torch.ones(4, dtype=torch.float64), atol=2e-3, rtol=0)
    assert network.config.scaling_factor == 1
    assert np.abs(vae.decode(network, latents.float()).astype(int) - before).max() <= 1


def test_standardised_latents_survive_saving(network, tiny_scenes, tmp_path):
    from diffusers import AutoencoderKL

    vae.standardise(network, tiny_scenes.images)
    network.save_pretrained(tmp_path)
    loaded = AutoencoderKL.from_pretrained(tmp_path).eval()
    assert torch.equal(vae.encode(loaded, tiny_scenes.images), vae.encode(network, tiny_scenes.images))


def test_crops_lie_on_the_latents_grid():
    images = torch.arange(64 * 64).reshape(1, 1, 64, 64)
    crops = [vae.crop(images, 32, torch.Generator().manual_seed(i)) for i in range(80)]
    corners = {divmod(crop.min().item(), 64) for crop in crops}
    assert len(corners) > 20
    assert all(top % 4 == left % 4 == 0 and max(top, left) <= 32 for top, left in corners)


def test_training_lowers_the_error_and_saves_a_standardised_autoencoder(tiny_config, tmp_path):
    import dataclasses

    from diffusers import AutoencoderKL

    from gillnext.miniatures.world import corpus

    errors = []
    for steps in (1, 40):
        settings = dataclasses.replace(tiny_config.vae, corpus=16, steps=steps, batch=4, threads=1)
        report = vae.train(dataclasses.replace(tiny_config, vae=settings), tmp_path / "vae")
        errors.append(report["mean_absolute_error"])
    assert 0 < errors[1] < 0.8 * errors[0]
    assert not (tmp_path / "vae.work").exists()
    loaded = AutoencoderKL.from_pretrained(tmp_path / "vae").eval()
    latents = vae.encode(loaded, corpus.make(tiny_config.run.seed, "base", 64).images)
    assert loaded.config.scaling_factor == 1
    assert latents.mean().abs() < 0.3 and 0.6 < latents.std() < 1.5
