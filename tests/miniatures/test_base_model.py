"""The base pipeline: text states as Kolors makes them, v-prediction, and a saved folder that loads and samples."""

import dataclasses
import unicodedata

import numpy as np
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, KolorsPipeline

from gillnext.adapter.pipeline import GroundedKolorsPipeline
from gillnext.config.miniatures import TextEncoder
from gillnext.diffusion import chatglm, objective
from gillnext.miniatures import base, base_on_windows, small_unet, text_encoder, vae
from gillnext.miniatures.networks import small_chatglm
from gillnext.miniatures.networks.small_chatglm import HIDDEN, LENGTH
from gillnext.miniatures.world import corpus
from gillnext.miniatures.world.classes import CLASSES
from gillnext.runtime import files

CAPTIONS = ["左边是一棵树，右边是一座房子", "一只猫", "", "龘：字典里没有的字 and some English"]


def test_text_states_are_those_of_the_kolors_pipeline(tiny_base):
    pipeline = KolorsPipeline.from_pretrained(tiny_base)
    states, pooled = chatglm.states(pipeline.tokenizer, pipeline.text_encoder, CAPTIONS, LENGTH, batch=3)
    assert states.shape == (4, LENGTH, HIDDEN) and pooled.shape == (4, HIDDEN)
    for i, caption in enumerate(CAPTIONS):
        embeds, _, pool, _ = pipeline.encode_prompt(
            caption,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
            max_sequence_length=LENGTH,
        )
        torch.testing.assert_close(states[i : i + 1], embeds, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(pooled[i : i + 1], pool, atol=2e-5, rtol=1e-4)


def test_the_grounded_pipeline_conditions_on_the_states_that_training_saw(tiny_pipeline):
    """diffusers' call takes 256 tokens of any Kolors; what reaches the UNet must have the tokenizer's length."""
    seen = []
    tiny_pipeline.unet.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((kwargs["encoder_hidden_states"], kwargs["added_cond_kwargs"])),
        with_kwargs=True,
    )
    tiny_pipeline.draw(CAPTIONS[:2], steps=1, guidance=3.0, output_type="latent")
    ((states, added),) = seen
    expected, pooled = chatglm.states(
        tiny_pipeline.tokenizer, tiny_pipeline.text_encoder, ["", "", *CAPTIONS[:2]], LENGTH
    )
    torch.testing.assert_close(states, expected, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(added["text_embeds"], pooled, atol=2e-5, rtol=1e-4)
    assert torch.equal(added["time_ids"], objective.size_conditions(4, 64))


def test_every_caption_can_be_read_back_from_its_tokens(tiny_base):
    tokenizer = KolorsPipeline.from_pretrained(tiny_base).tokenizer
    for caption in CAPTIONS:
        text_back = tokenizer.decode(tokenizer(caption)["input_ids"], skip_special_tokens=True)
        assert text_back.strip().endswith(unicodedata.normalize("NFKC", caption))  # sentencepiece's normalisation


def test_the_tokenizer_is_the_same_every_time(tiny_scenes, tmp_path):
    for name in ("a", "b"):
        small_chatglm.train_tokenizer(tiny_scenes.captions, tmp_path / name)
    assert (tmp_path / "a" / "tokenizer.model").read_bytes() == (tmp_path / "b" / "tokenizer.model").read_bytes()


def test_the_target_is_alpha_noise_minus_sigma_latents():
    schedule = DDPMScheduler(**small_unet.SCHEDULE)
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(5, 4, 2, 2, generator=generator), torch.randn(5, 4, 2, 2, generator=generator)
    steps = torch.tensor([0, 1, 400, 700, 999])
    found = objective.target(schedule, latents, noise, steps)
    betas = np.linspace(small_unet.SCHEDULE["beta_start"] ** 0.5, small_unet.SCHEDULE["beta_end"] ** 0.5, 1000) ** 2
    product = np.cumprod(1 - betas)
    for i, t in enumerate(steps.tolist()):
        alpha, sigma = np.sqrt(product[t]), np.sqrt(1 - product[t])
        expected = alpha * noise[i].numpy() - sigma * latents[i].numpy()
        np.testing.assert_allclose(found[i].numpy(), expected, atol=1e-5)


def test_the_sampler_finds_the_latents_that_true_velocities_point_to():
    """With v exact for one x₀ at every step, DPM-Solver++ must end at that x₀."""
    scheduler = DPMSolverMultistepScheduler(**small_unet.SCHEDULE)
    assert scheduler.config.prediction_type == "v_prediction"
    scheduler.set_timesteps(15)
    generator = torch.Generator().manual_seed(1)
    target, x = torch.randn(1, 4, 2, 2, generator=generator), torch.randn(1, 4, 2, 2, generator=generator)
    for t in scheduler.timesteps:
        product = scheduler.alphas_cumprod[t]
        alpha, sigma = product.sqrt(), (1 - product).sqrt()
        noise = (x - alpha * target) / sigma
        x = scheduler.step(alpha * noise - sigma * target, t, x).prev_sample
    torch.testing.assert_close(x, target, atol=0.05, rtol=0.05)


def test_the_unet_has_kolors_shape():
    unet = small_unet.build_unet((64, 96, 128))
    assert unet.config.down_block_types == ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
    assert unet.config.encoder_hid_dim_type == "text_proj" and unet.config.addition_embed_type == "text_time"
    heads = {unet.get_submodule(name.removesuffix(".processor")).heads for name in unet.attn_processors}
    assert heads == {96 // small_unet.HEAD, 128 // small_unet.HEAD}
    assert sum(p.numel() for p in unet.parameters()) < 8e6


def test_a_short_training_saves_a_pipeline_that_loads_and_samples(tiny_config, tiny_base, tmp_path):
    base_on_windows.train(tiny_config, tiny_base / "vae", tiny_base, tmp_path / "windows")
    losses = base.train(tiny_config, tiny_base / "vae", tiny_base, tmp_path / "windows", tmp_path / "base")
    assert len(losses) == 3 and np.isfinite(losses).all()
    assert not (tmp_path / "base.work").exists()
    names = {p.suffix for p in (tmp_path / "base").rglob("*") if p.is_file()}
    assert names <= {".json", ".safetensors", ".model", ".jinja", ".txt"}
    KolorsPipeline.from_pretrained(tmp_path / "base", local_files_only=True)
    pipeline = GroundedKolorsPipeline.from_folders(tmp_path / "base")
    images, _ = pipeline.draw(["一只猫和一棵树"], steps=2)
    assert images.shape == (1, 64, 64, 3) and np.isfinite(images).all()
    assert next(pipeline.unet.parameters()).dtype == torch.float32


def test_time_ids_are_original_size_corner_and_target_size():
    assert objective.size_conditions(2, 64).tolist() == [[64, 64, 0, 0, 64, 64]] * 2


def test_training_pictures_are_scaled_like_the_pipelines_own(tiny_pipeline, tiny_scenes):
    """The pipeline's own decoder turns `vae.encode`'s latents back into what `vae.decode` gives."""
    latents = vae.encode(tiny_pipeline.vae, tiny_scenes.images[:2])
    decoded = tiny_pipeline.vae.decode(latents / tiny_pipeline.vae.config.scaling_factor).sample
    expected = vae.decode(tiny_pipeline.vae, latents)
    pictures = tiny_pipeline.image_processor.postprocess(decoded.detach(), output_type="np")
    assert np.abs((pictures * 255).round() - expected).max() <= 1


def test_the_text_encoder_learns_which_objects_a_caption_names(tiny_config, tmp_path):
    """Its loss ends far below the entropy of the labels, the loss of a guess that does not read the caption."""
    cfg = dataclasses.replace(tiny_config, text_encoder=TextEncoder(corpus=600, steps=100, batch=32))
    losses = text_encoder.train(cfg, tmp_path / "text_encoder")
    scenes, _ = corpus.describe(cfg.run.seed, "base", 600)
    share = np.array([[c.name in scene.names for c in CLASSES] for scene in scenes]).mean(0)
    entropy = -(share * np.log(share) + (1 - share) * np.log(1 - share)).mean()
    assert len(losses) == 100 and np.mean(losses[-10:]) < 0.5 * entropy
    _, encoder = chatglm.load(tmp_path / "text_encoder")
    assert not encoder.training and not any(p.requires_grad for p in encoder.parameters())


def test_the_same_seed_trains_the_same_text_encoder(tiny_config, tmp_path):
    for name in ("a", "b"):
        text_encoder.train(tiny_config, tmp_path / name)
    assert files.sha256(tmp_path / "a") == files.sha256(tmp_path / "b")
