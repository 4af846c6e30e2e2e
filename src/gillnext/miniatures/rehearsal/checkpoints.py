"""Checkpoints as a lab has them, in the published formats: out of the kept miniatures, or out of a run's.

| role | class | from |
|---|---|---|
| classifier, planner | Qwen2, with a chat template | the classifier |
| base | Kolors, files of the variant fp16 alone; or SDXL | the base |
| image_text | Chinese-CLIP | the image-text model |
| annotator | Grounding DINO; or Qwen2-VL | reference/models, trained by `rehearsal.train` |
| evaluator | OWLv2 | the same |
| features, second_evaluator | the house's own | as they are |
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from transformers import AutoTokenizer

from gillnext.miniatures import foundations
from gillnext.miniatures.rehearsal import sdxl
from gillnext.roles.sources import ROLES
from gillnext.runtime import files, manifest
from gillnext.runtime.errors import UserError

Base = Literal["kolors", "sdxl"]
Annotator = Literal["grounding-dino", "qwen2-vl"]
EVALUATOR = "owlv2"
LEFT_OUT = ("annotator", "evaluator", "planner")  # roles for which nothing of `models` is taken, or the classifier
NAMES = "names.tsv"
# What the house's stages write beside a model, and the repository beside one that it keeps.
NOTES = ("training.json", "classifier.json", ".snakemake_timestamp", manifest.MANIFEST)
# What the classifier was trained on, around the last turn: it has learned no roles and no instruction.
TEMPLATE = (
    "{% for message in messages %}{% if loop.last %}描述：{{ message['content'] }}\n位置：{% endif %}{% endfor %}"
)
CARD = """# A miniature Qwen2 that labels captions

The classifier of {models}, trained on captions of the drawn world alone. Its chat template writes the last turn as the
prompt that it was trained on, and leaves out instructions and examples: it has learned one question alone.
"""


def place(role: str, models: Path) -> Path:
    """A role's model in the folder `models`: of kept models, which are called by their roles, or of a run's."""
    kept = models / role
    return kept if (kept / manifest.MANIFEST).exists() else models / ROLES[role].made


def base(models: Path, out: Path) -> None:
    """The base as Kolors is published."""
    foundations.half(place("base", models), out)


def language(models: Path, out: Path) -> None:
    """A causal language model with a chat template in its tokenizer, as Qwen2.5's instruction-tuned ones have it."""
    copied(place("classifier", models), out)
    tokenizer = AutoTokenizer.from_pretrained(out, local_files_only=True)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(out)
    files.write_text(out / "README.md", CARD.format(models=models))


def copied(model: Path, out: Path) -> None:
    """A miniature as it is, without what is noted beside it."""
    shutil.copytree(model, out, ignore=shutil.ignore_patterns(*NOTES))


def makers(of: Base, models: Path, detectors: dict[str, Path]) -> dict[str, Callable[[Path], None]]:
    """What makes the checkpoint of each role out of `models`, and of those in `detectors`, into a folder."""
    as_they_are = {role: partial(copied, detectors.get(role, place(role, models))) for role in ROLES}
    ask = partial(language, models)
    draws = partial(base, models) if of == "kolors" else partial(sdxl.save, place("base", models))
    return {**as_they_are, "classifier": ask, "planner": ask, "base": draws}


def make(
    models: Path, kept: Path, out: Path, of: Base = "kolors", annotator: Annotator = "grounding-dino"
) -> dict[str, Path]:
    """A checkpoint for every role in `out`, whole or not at all, out of `models`, kept ones or a run's, and of those
    `kept` annotator and evaluator; returns their folders. `out`/names.tsv has the drawn world's names in the detectors'
    language.
    """
    detectors = {"annotator": kept / annotator, "evaluator": kept / EVALUATOR}
    needed = {place(role, models): "reference/models, or results/TIER/models" for role in ROLES if role not in LEFT_OUT}
    needed |= dict.fromkeys(detectors.values(), "reference/models of the repository")
    for folder, what in needed.items():
        if not folder.is_dir():
            raise UserError(f"no {folder.name} there", where=str(folder.parent), remedy=f"name {what}")
    if not out.exists():
        with files.atomic(out) as folder:
            folder.mkdir()
            for role, maker in makers(of, models, detectors).items():
                maker(folder / role)
            shutil.copy(detectors["evaluator"] / NAMES, folder / NAMES)
    return {role: out / role for role in ROLES}
