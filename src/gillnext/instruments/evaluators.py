"""Box evaluators, from their folders alone: config.json's "architecture" tells which class reads one."""

from __future__ import annotations

from pathlib import Path

from gillnext.instruments.detections import Detector
from gillnext.miniatures.networks.folders import read_config


def load(folder: Path, device: str = "cpu") -> Detector:
    """The box evaluator in `folder`, ready to detect: the trained one, or the templates."""
    from gillnext.miniatures.networks.fcos import Evaluator
    from gillnext.miniatures.networks.templates import TemplateDetector

    found = read_config(folder, Evaluator.architecture, TemplateDetector.architecture)["architecture"]
    if found == TemplateDetector.architecture:
        return TemplateDetector.from_pretrained(folder)
    return Evaluator.from_pretrained(folder).to(device)
