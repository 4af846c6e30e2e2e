"""Checkpoints as a lab has them, in the published formats: out of a run's miniatures, and detectors that are kept.

| role | class | from |
|---|---|---|
| classifier, planner | Qwen2, with a chat template | the run's classifier |
| base | Kolors, files of the variant fp16 alone; or SDXL | the run's base |
| image_text | Chinese-CLIP | the run's image-text model |
| annotator, evaluator | Grounding DINO; OWLv2 | reference/models, trained by `rehearsal.train` |
| features, second_evaluator | the house's own | the run's |
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
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

Base = Literal["kolors", "sdxl"]
KEPT = {"annotator": "grounding-dino", "evaluator": "owlv2"}  # role -> folder of the kept detectors
NAMES = "names.tsv"
NOTES = ("training.json", "classifier.json", ".snakemake_timestamp")  # what the house's stages write beside a model
# What the run's classifier was trained on, around the last turn: it has learned no roles and no instruction.
TEMPLATE = (
    "{% for message in messages %}{% if loop.last %}描述：{{ message['content'] }}\n位置：{% endif %}{% endfor %}"
)
CARD = """# A miniature Qwen2 that labels captions

The classifier of {models}, trained on captions of the drawn world alone. Its chat template writes the last turn as the
prompt that it was trained on, and leaves out instructions and examples: it has learned one question alone.
"""


def base(models: Path, out: Path) -> None:
    """The base as Kolors is published."""
    foundations.half(models / "base", out)


def language(models: Path, out: Path) -> None:
    """A causal language model with a chat template in its tokenizer, as Qwen2.5's instruction-tuned ones have it."""
    copied("classifier", models, out)
    tokenizer = AutoTokenizer.from_pretrained(out, local_files_only=True)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(out)
    files.write_text(out / "README.md", CARD.format(models=models))


def copied(name: str, models: Path, out: Path) -> None:
    """A miniature as it is, without what its stage notes beside it."""
    shutil.copytree(models / name, out, ignore=shutil.ignore_patterns(*NOTES))


def kept_one(name: str, kept: Path, models: Path, out: Path) -> None:
    """A detector of the folder `kept`, whatever the run's models are."""
    copied(name, kept, out)


def makers(of: Base, kept: Path) -> dict[str, Callable[[Path, Path], None]]:
    """What makes the checkpoint of each role out of a run's models, into a folder."""
    made: dict[str, Callable[[Path, Path], None]] = {role: partial(copied, about.made) for role, about in ROLES.items()}
    made |= {role: partial(kept_one, name, kept) for role, name in KEPT.items()}
    return made | {"classifier": language, "planner": language, "base": base if of == "kolors" else sdxl.save}


def make(models: Path, kept: Path, out: Path, of: Base = "kolors") -> dict[str, Path]:
    """A checkpoint for every role in `out`, whole or not at all, out of a run's `models` and the `kept` detectors;
    returns their folders. `out`/names.tsv has the names of the drawn world in the detectors' language.
    """
    needed = {models / role.made: "results/TIER/models of a finished run" for role in ROLES.values()}
    needed |= {kept / name: "reference/models of the repository" for name in KEPT.values()}
    for place, what in needed.items():
        if not place.is_dir():
            raise UserError(f"no {place.name} there", where=str(place.parent), remedy=f"name {what}")
    if not out.exists():
        with files.atomic(out) as folder:
            folder.mkdir()
            for role, maker in makers(of, kept).items():
                maker(models, folder / role)
            shutil.copy(kept / KEPT["evaluator"] / NAMES, folder / NAMES)
    return {role: out / role for role in ROLES}
