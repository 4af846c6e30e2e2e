"""What benchmarks/gpu builds anew for speed does what the workflow does."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import torch

from gillnext.miniatures import training_samples
from gillnext.miniatures.class_map import class_map
from gillnext.miniatures.world import corpus
from gillnext.runtime import training

FOLDER = Path(__file__).parents[2] / "benchmarks/gpu"


def loaded(name):
    spec = importlib.util.spec_from_file_location(f"gpu_{name}", FOLDER / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights_after(train):
    """Of a small network, 40 steps on data that the step tells, by `train(parameters, loss_at)`."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    data = torch.randn(40, 5, 3)
    parameters = list(network.parameters())
    train(parameters, lambda step: 30 * network(data[step]).square().mean())
    return torch.cat([p.detach().flatten() for p in parameters])


def test_a_captured_training_is_the_workflows_own():
    """The same losses, rate, clipping and averages, a step at a time on the CPU, end with the same weights."""

    def captured(parameters, loss_at):
        steps = iter(range(40))
        made = loaded("graphs").Training(parameters, lambda: loss_at(next(steps)), 40, 0.1, ema=0.9)
        made.run(100)
        made.finish()

    def workflow(parameters, loss_at):
        training.train("toy", parameters, loss_at, steps=40, lr=0.1, ema_decay=0.9)

    torch.testing.assert_close(weights_after(captured), weights_after(workflow), rtol=1e-4, atol=1e-6)


def test_pictures_made_by_many_cores_are_the_bases_own(tmp_path):
    made = loaded("drawn_pictures")
    found = made.joined([made.some(7, "base", 0, 4), made.some(7, "base", 4, 6)], [0, 4])
    data = corpus.make(7, "base", 6)
    assert np.array_equal(found.images, data.images)
    assert found.texts == training_samples.picture_captions(data.scenes, data.captions, 7)
    assert np.array_equal(found.maps, np.stack([class_map(scene, 16).numpy() for scene in data.scenes]))
    latents = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 16, 16)
    texts = []
    windows = training_samples.windows(
        data, latents, 7, lambda all_texts: (texts.extend(all_texts), torch.zeros(1))[1:] * 2
    )
    assert [texts[i] for i in windows.caption.tolist()] == found.window_texts
    assert windows.latents[:, 0, 0, 0].tolist() == found.picture.tolist()
    assert np.array_equal(windows.time_ids[:, 2:4].numpy(), found.corners * 4)


def test_every_part_that_is_run_is_there_and_says_what_it_does():
    parts = loaded("run").PARTS
    for name in parts:
        text = (FOLDER / f"{name}.py").read_text()
        assert re.search(rf"python benchmarks/gpu/{name}\.py", text), name
    assert sum(parts.values()) <= 600  # the ten minutes
