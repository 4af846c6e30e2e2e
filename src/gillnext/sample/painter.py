"""The models that draw a picture of a person's own: where they lie, and one `Painter` that has them loaded."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gillnext import layouts
from gillnext.adapter import pipeline as grounded
from gillnext.adapter.folders import check_adapter
from gillnext.adapter.model import SpatialAdapter
from gillnext.adapter.phrases import PREFIX, text_length
from gillnext.config.load import load
from gillnext.config.model import Config
from gillnext.planner.model import Planner
from gillnext.roles import sources
from gillnext.runtime import manifest, training
from gillnext.runtime.errors import UserError
from gillnext.sample import remarks, sizes
from gillnext.sample.work import dtype

GIVEN_STEPS = 25  # of a base that no settings are named for: the demo's few would leave its pictures unfinished


def settings(config: Sequence[Path] | None, results: Path | None) -> Config:
    """The settings of `config`, else those that the run of the results was made with, else config.yaml."""
    if config:
        return load(*config)
    default = Path("config.yaml")
    own = (results or Path("results") / load(default).run.tier) / "config.json"
    return load(own if own.exists() else default)


def steps_of(cfg: Config, args: argparse.Namespace) -> int:
    """The sampler's steps: sample.steps, but of a base that no settings are named for `GIVEN_STEPS`."""
    return GIVEN_STEPS if args.base and not (args.config or args.results) else cfg.sample.steps


def base_of(cfg: Config, results: Path) -> Path:
    """The folder of the base that a run with these results drew with."""
    source = sources.read("base", cfg.models.base)
    return results / "given/base" if source.hub else Path(source.path or results / "models/base")


def places(
    cfg: Config, results: Path | None, named: Mapping[str, Path | None], planned: bool = True
) -> dict[str, Path]:
    """The folders of base, adapter and planner: `named`, or those of a run's results, or the kept ones where no run is
    named and none has an adapter; these are checked against their manifest.

    Raises `UserError` where one is not there; the planner may lack unless pictures are `planned`.
    """
    run, study = results or Path("results") / cfg.run.tier, cfg.study
    own, kept = run / "adapters" / study.reference / str(study.seeds_of(study.reference)[0]), Path(sources.MODELS)
    if own.exists() or results or not (kept / sources.DRAWING).exists():
        known = {"adapter": own, "planner": run / "models/planner"}
    else:
        if not (named.get("adapter") and named.get("planner")):
            manifest.check(kept / sources.DRAWING)
        known = {name: kept / sources.DRAWING / name for name in ("adapter", "planner")}
    known = {"base": base_of(cfg, run), **known}
    found = {name: named.get(name) or place for name, place in known.items()}
    for name, folder in found.items():
        if not folder.exists() and (planned or name != "planner"):
            raise UserError(
                f"the {name} is not there",
                where=str(folder),
                remedy=f"run `make paper` first, or name it with --{name}",
            )
    return found


class Painter:
    """A base and a planner, loaded once; draws with any adapter that was trained on the base, and without.

    For one thread at a time, each of which calls `begin` first. Where the folder `planner` is not there nothing can be
    planned, and no word counts as unknown.
    """

    def __init__(self, cfg: Config, base: Path, planner: Path) -> None:
        self.cfg, self.base = cfg, base
        self.stopped = False
        self.begin()
        self.planner = Planner.from_pretrained(planner) if planner.exists() else None
        self.closed = self.planner is not None and remarks.closed(cfg, self.planner)
        self.adapters = dict[Path, SpatialAdapter]()
        self.pipelines = dict[Path | None, Any]()  # by the folder of the UNet: None for the base's own

    def begin(self) -> None:
        """Threads and arithmetic of the thread that calls."""
        training.setup(self.cfg.run.threads, self.cfg.run.device)

    def pipeline(self, adapter: Path | None) -> Any:
        """The pipeline with this adapter in its UNet: the base's, unless the adapter was trained with its own."""
        own = adapter if adapter and (adapter / grounded.UNET).exists() else None
        if own not in self.pipelines:
            loaded = next(iter(self.pipelines.values()), None)
            shared = {n: p for n, p in loaded.components.items() if n not in ("unet", "adapter")} if loaded else {}
            self.pipelines[own] = grounded.load(self.base, own, self.cfg.run.device, dtype(self.cfg), **shared)
        pipeline = self.pipelines[own]
        if own is None:
            wanted = self.adapter(adapter) if adapter else None
            if wanted is None:
                pipeline.detach()
            elif pipeline.adapter is not wanted:
                pipeline.attach(wanted)
        return pipeline

    def adapter(self, folder: Path) -> SpatialAdapter:
        if folder not in self.adapters:
            check_adapter(folder, self.base)
            trained = SpatialAdapter.from_pretrained(folder, use_safetensors=True, local_files_only=True)
            self.adapters[folder] = trained.eval().to(dtype(self.cfg))
        return self.adapters[folder]

    def plan(self, caption: str) -> tuple[layouts.Layout, list[str]]:
        """The planner's layout, and how it differs from the caption; a `UserError` where the caption names no object,
        or none of a closed vocabulary.
        """
        assert self.planner is not None  # `places` has looked for it
        (layout,) = self.planner.plan([caption])
        nouns = self.planner.nouns
        if not layout.names or (self.closed and not set(layout.names) & set(nouns)):
            known = f"name some of {remarks.listed(nouns)}" if nouns else "name what is to be drawn"
            raise UserError(
                "it names nothing that these models can draw",
                where=f"the caption {caption[:40]!r}",
                remedy=f"{known}, or give boxes of your own",
            )
        return layout, remarks.of_plan(layout, nouns)

    def remarks(self, layout: layouts.Layout) -> list[str]:
        """What the models cannot know of a layout."""
        found = [] if layout.names else ["there are no boxes: the caption alone is drawn"]
        if self.closed and self.planner is not None:
            found += remarks.of_words(layout, self.planner)
        pipeline = next(iter(self.pipelines.values()), None) or self.pipeline(None)
        tokens, most = len(pipeline.tokenizer.tokenize(layout.caption)) + PREFIX, text_length(pipeline)
        return found + ([f"the caption has {tokens} tokens; the text encoder reads {most}"] if tokens > most else [])

    def paint(
        self, layout: layouts.Layout, adapter: Path | None, seed: int, steps: int, guidance: float, local: float = 0.0
    ) -> np.ndarray:
        """The picture (H, W, 3) uint8 of a layout, by this adapter; by the base alone, of its caption, where None."""
        if self.stopped:
            raise UserError("nothing more is drawn here", remedy="start the command again")
        pipeline = self.pipeline(adapter)
        (size,) = sizes.wanted([layout], pipeline, self.cfg.sample.size)
        images, _ = pipeline.draw(
            [layout.caption], [layout], keys=[("draw", seed)], steps=steps, guidance=guidance, size=size, local=local
        )
        return (images[0] * 255).round().astype(np.uint8)

    def stop(self) -> None:
        """Have another thread end: the picture that it paints leaves out its remaining steps, and no other is begun."""
        self.stopped = True
        for pipeline in self.pipelines.values():
            pipeline._interrupt = True  # diffusers' own way, from a callback or another thread


def add_models(parser: argparse.ArgumentParser, of: Sequence[str] = ("base", "adapter", "planner")) -> None:
    """The arguments that name models: `places`, `settings` and `steps_of` read them."""
    parser.add_argument("--results", type=Path, help="results of the run whose models draw (default: results/TIER)")
    for name in of:
        parser.add_argument(f"--{name}", type=Path, help=f"folder of the {name} (default: that of the results)")
    parser.add_argument(
        "--config",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="settings; later files go on top (default: config.json of the results, without it config.yaml)",
    )
