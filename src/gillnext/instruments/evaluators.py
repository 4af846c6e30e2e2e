"""Box evaluators, from their folders alone: config.json tells which class reads one."""

from __future__ import annotations

from pathlib import Path

from gillnext.config.data import ZeroShot
from gillnext.instruments import families
from gillnext.instruments.detections import Detector
from gillnext.miniatures.networks.folders import read_config
from gillnext.runtime import collector
from gillnext.runtime.errors import UserError


def load(folder: Path, device: str = "cpu", names: Path | None = None, settings: ZeroShot | None = None) -> Detector:
    """The box evaluator in `folder`, ready to detect: the trained one, the templates, or a zero-shot detector, which
    needs the file of its `names`.
    """
    with collector.spared():
        from gillnext.miniatures.networks.fcos import Evaluator
        from gillnext.miniatures.networks.templates import TemplateDetector

    if (folder / "config.json").exists() and families.model_type(folder) in families.ZERO_SHOT:
        from gillnext.instruments.open_vocabulary import ZeroShotEvaluator

        if names is None:
            remedy = "name a list of names, or a table in its language (gillnext names), with --names"
            raise UserError(
                "a zero-shot evaluator needs the names that it is asked for", where=str(folder), remedy=remedy
            )
        return ZeroShotEvaluator.from_pretrained(folder, names, settings or ZeroShot(), device)
    found = read_config(folder, Evaluator.architecture, TemplateDetector.architecture)["architecture"]
    if found == TemplateDetector.architecture:
        return TemplateDetector.from_pretrained(folder)
    return Evaluator.from_pretrained(folder).to(device)
