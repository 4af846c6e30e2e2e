"""A made-up run with all that a workflow writes, in portable arithmetic. Nothing in it was made by any stage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from fake_results import gathered, put
from PIL import Image
from safetensors.numpy import save_file

from gillnext.config import Config
from gillnext.record import gather
from gillnext.record.results import Results
from gillnext.runtime import files
from gillnext.verify.inventory import stages

STAMP = {
    "arithmetic": "portable", "processor": "Xeon 1", "libc": "glibc 2.36", "lock": "aaaa", "code": "c",
    "image": "host",
}  # fmt: skip


def fill(path: Path, rng: np.random.Generator) -> None:
    """Something of the kind that a stage writes there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        files.write_json(path, {"rows": int(rng.integers(1000)), "provenance": {}})
    elif path.suffix == ".jsonl":
        files.write_jsonl(path, [{"image_path": f"here/{i}.png", "caption": f"猫{i}"} for i in range(3)])
    elif path.suffix == ".parquet":
        pl.DataFrame({"row": [1, 2], "kind": ["ok", None]}).write_parquet(path)
    elif path.suffix == ".csv":
        path.write_text("url,caption\n", encoding="utf-8")
    else:
        path.mkdir()
        save_file({"weight": rng.normal(size=(2, 3)).astype("f4")}, path / "model.safetensors", {"format": "pt"})
        files.write_json(path / "config.json", {"_name_or_path": str(path), "width": 3})
        Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8)).save(path / "00000.png")


def stamp(root: Path, config: Config, **more: str) -> Results:
    """Put a stamp into every score file, and gather them anew."""
    for name in [*(file for file, _ in gather.sets(config).values()), "memory.json"]:
        path = root / name
        score = json.loads(path.read_text(encoding="utf-8"))
        put(path, score | {"provenance": STAMP | more})
    return gathered(root, config)


@pytest.fixture
def finished(results_root: Path, config: Config) -> Path:
    """The made-up run with every output that the stages of its settings have."""
    put(results_root / "tables/main.json", {"rows": [["attn2", "0.86"]]})
    rng = np.random.default_rng(11)
    for stage in stages(config, ["main.json"]):
        for name in (name for outputs in stage.jobs.values() for name in outputs):
            path = results_root / name
            if not path.exists():
                fill(path, rng)
            elif stage.name == "adapter":
                save_file({"weight": rng.normal(size=3)}, path / "adapter.safetensors")
    stamp(results_root, config)
    return results_root
