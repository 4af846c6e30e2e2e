"""Miniature zero-shot detectors with random weights, in folders; and one whose network answers what a test says."""

from types import SimpleNamespace

import torch

from gillnext.config.data import ZeroShot
from gillnext.instruments import zero_shot
from gillnext.miniatures.networks import small_zero_shot

WORDS = ["cat", "red car", "blue car", "traffic light", "tree", "dog"]
MAKERS = {"grounding-dino": small_zero_shot.grounding_dino, "owlv2": small_zero_shot.owlv2}
LOW = -20.0  # a logit that is as good as never


def folder(kind, path, words=WORDS, **sizes):
    """A published folder of a detector whose answers depend on picture and text."""
    torch.manual_seed(1)
    model, processor = MAKERS[kind](words, **sizes)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, {"grounding-dino": 0.1, "owlv2": 0.3}[kind])
    return small_zero_shot.save((model, processor), path)


def saying(path, boxes, logits, settings=ZeroShot()):  # noqa: B008 (a frozen dataclass)
    """The detector in a folder, whose network answers every picture with `boxes` (centre, size; fractions of what it
    sees) and what `logits(input_ids)` gives, both a row a query.
    """
    detector = zero_shot.load(path, settings)
    real = detector.network

    def answer(pixel_values, input_ids, **_):
        count = len(pixel_values)
        rows = input_ids.reshape(count, -1, input_ids.shape[-1])
        given = torch.stack([logits(one if len(one) > 1 else one[0]) for one in rows])
        return SimpleNamespace(logits=given, pred_boxes=torch.tensor(boxes).expand(count, -1, -1), input_ids=input_ids)

    class Saying:
        config, device, dtype, model = real.config, real.device, real.dtype, getattr(real, "model", None)
        __call__ = staticmethod(answer)

    detector.network = Saying()
    return detector
