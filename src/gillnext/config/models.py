"""Which model plays which role: made by this workflow, now or before, or given."""

from __future__ import annotations

from dataclasses import dataclass

from gillnext.config.setting import s


@dataclass(frozen=True)
class Models:
    """Each is `made`, `kept`, the path of a folder, or a hub's id and revision: ORG/NAME @ REVISION (docs/roles.md)."""

    classifier: str = s("made", "tells spatial captions: a causal language model")
    annotator: str = s("made", "writes boxes: a vision-language model or a detector")
    base: str = s("made", "draws: a Kolors or SDXL pipeline")
    planner: str = s("made", "causal language model that the planner starts from; made: a small one, from scratch")
    image_text: str = s("made", "CLIP score and CMMD: a Chinese-CLIP")
    features: str = s("made", "FID and KID: a feature network")
    evaluator: str = s(
        "made", "finds objects in pictures, to score them: a detector of another family than the annotator"
    )
    second_evaluator: str = s("made", "another, to check it")
