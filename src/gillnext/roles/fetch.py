"""Fetch the checkpoint that a role's setting names on a hub: its safetensors, settings and tokenizer, at one commit.

    gillnext fetch --role base --config config.yaml lab.yaml --out results/wukong/given/base

Goes through huggingface_hub (a mirror by its HF_ENDPOINT, a token by its HF_TOKEN), which resumes what a killed run has
begun. Pickles and code are not fetched; of weights in several precisions the half one, where `run.precision` is half.
`source.json` says which commit it is. With `--commits` nothing is fetched: the settings of all such roles are written
with the commits that their revisions are now, as a file that goes on top.

    gillnext fetch --commits --config config.yaml lab.yaml --out commits.yaml
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from gillnext.config.arguments import add_config, add_out
from gillnext.config.arguments import config as read_config
from gillnext.roles import checkpoints, sources
from gillnext.roles.sources import ROLES, Source
from gillnext.runtime import files
from gillnext.runtime.errors import UserError
from gillnext.runtime.weights import variant_of

ENDINGS = (".json", ".txt", ".model", ".jinja", ".safetensors")
SOURCE = "source.json"


def wanted(names: Sequence[str], half: bool) -> list[str]:
    """Of a repository's files those that a checkpoint needs, each variant of weights once; `half`: fp16 rather."""
    whole = checkpoints.INDEX in names
    useful = [n for n in names if n.endswith(ENDINGS) and not (whole and "/" not in n and n.endswith(".safetensors"))]
    folders: dict[str, dict[str | None, list[str]]] = {}  # folder -> variant -> its weights and their index
    for name in (name for name in useful if ".safetensors" in name):
        folder, _, file = name.rpartition("/")
        folders.setdefault(folder, {}).setdefault(variant_of(file), []).append(name)
    order = [".fp16", ".bf16", ""] if half else ["", ".bf16", ".fp16"]
    kept = [name for name in useful if ".safetensors" not in name]
    for variants in folders.values():
        kept += next((variants[variant] for variant in order if variant in variants), [])
    return sorted(kept)


@contextmanager
def hub_errors(source: Source) -> Iterator[None]:
    """A hub's errors as `UserError`s about `source`."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except (HfHubHTTPError, OSError) as error:
        raise UserError(
            f"cannot be fetched: {error}", where=f"{source.hub} @ {source.revision}",
            remedy="look at the id, the revision, HF_TOKEN and HF_ENDPOINT; or copy it here and give the folder",
        ) from error  # fmt: skip


def commits(models: Any, endpoint: str | None = None) -> dict[str, str]:
    """Role -> ORG/NAME @ COMMIT of the roles whose models the settings `models` name on a hub."""
    from huggingface_hub import HfApi

    found = {}
    for role in sources.on_hub(models):
        source = sources.read(role, getattr(models, role))
        with hub_errors(source):
            found[role] = f"{source.hub} @ {HfApi(endpoint).model_info(source.hub, revision=source.revision).sha}"
    return found


def fetch(source: Source, out: Path, half: bool, endpoint: str | None = None) -> None:
    """Write the checkpoint at `source` to the folder `out`, whole or not at all; `endpoint`: the hub's address."""
    from huggingface_hub import HfApi, snapshot_download

    work = out.with_name(out.name + ".work")
    with hub_errors(source):
        about = HfApi(endpoint).model_info(source.hub, revision=source.revision)
        names = wanted([file.rfilename for file in about.siblings or []], half)
        if not any(name.endswith(".safetensors") for name in names):
            remedy = "take another repository, or convert its weights and give the folder"
            raise UserError("publishes no safetensors", where=f"{source.hub} @ {source.revision}", remedy=remedy)
        snapshot_download(source.hub, revision=about.sha, local_dir=work, allow_patterns=names, endpoint=endpoint)
    shutil.rmtree(work / ".cache", ignore_errors=True)
    files.write_json(work / SOURCE, {"hub": source.hub, "revision": source.revision, "commit": about.sha})
    if out.exists():
        shutil.rmtree(out)
    work.replace(out)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--role", choices=list(ROLES), help="the role whose checkpoint it is")
    what.add_argument("--commits", action="store_true", help="write the settings with commits, and fetch nothing")
    add_out(parser, "folder of the checkpoint; with --commits a YAML file")


def main(args: argparse.Namespace) -> None:
    config = read_config(args)
    if args.commits:
        pinned = {"models": commits(config.models)}
        files.write_text(args.out, yaml.safe_dump(pinned, sort_keys=False, width=120))
        return
    source = sources.read(args.role, getattr(config.models, args.role))
    if not source.hub:
        raise UserError("names nothing on a hub", where=f"models.{args.role}", remedy="ORG/NAME @ REVISION")
    fetch(source, args.out, half=config.run.precision != "no")
    checkpoints.check(args.role, args.out)
