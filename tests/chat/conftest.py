"""A stand-in for a trained GILL: it reads words as places in a vector, and looks at mean colours."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from gillnext.gill.talker import Read

WORDS = ("红", "绿", "蓝")  # a picture's channels
IMAGES, HIDDEN, STATES, WIDTH, POOLED = 2, 6, 32, 96, 96


class StandIn:
    """Talker's interface without a model: deterministic functions of texts and pixels. A text's embedding counts its
    colour words, a picture's are its mean channels, so that 红 finds a red picture.
    """

    def __init__(self, name="stand-in", states=STATES, width=WIDTH, pooled=POOLED):
        self.hash = hashlib.sha256(name.encode()).hexdigest()
        self.states, self.width, self.pooled = states, width, pooled
        self.asked, self.trained = [], {"images": 2, "generation": "matching", "steps": 3}

    def read(self, turns, root, *, pictures=True, batch=32):
        self.asked.append((turns, pictures))
        texts = ["\n".join(t.text + ("图" if pictures and t.picture else "") for t in one) for one in turns]
        counts = torch.tensor([[float(text.count(word)) for word in WORDS] for text in texts]).reshape(-1, 3)
        images = torch.stack([self._noise(text, IMAGES, HIDDEN) for text in texts])
        images[:, :, :3] += counts[:, None]
        return Read(images, F.normalize(counts + 1e-3, dim=-1), *self.mapped(images), tuple(0 for _ in turns))

    def see(self, pictures, batch=64):
        arrays = [np.asarray(Image.open(p).convert("RGB")) if not isinstance(p, np.ndarray) else p for p in pictures]
        means = [torch.from_numpy(a.reshape(-1, 3).mean(0)).float() for a in arrays]
        return F.normalize(torch.stack(means) + 1e-3, dim=-1)

    def caption(self, pictures, most=48, batch=64):
        return [WORDS[i] for i in self.see(pictures).argmax(1).tolist()]

    def mapped(self, images):
        sums = [f"{float(one.sum()):.4f}" for one in images]
        return (
            torch.stack([self._noise(key, self.states, self.width) for key in sums]),
            torch.stack([self._noise(key, self.pooled) for key in sums]),
        )

    @staticmethod
    def _noise(key, *shape):
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big")
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def talker():
    return StandIn()


@pytest.fixture
def other_talker():
    return StandIn("another")


@pytest.fixture
def paint():
    """Writes a picture of one colour, with a dot that makes it another file; returns its path."""

    def write(path, colour, dot=0):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((8, 8, 3), colour, np.uint8)
        pixels[0, 0] = dot
        Image.fromarray(pixels).save(path)
        return path

    return write
