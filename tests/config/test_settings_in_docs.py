"""The settings that the documentation shows are read as they stand there, and make a graph."""

import json
import re
from pathlib import Path

import pytest

from gillnext.config.load import load
from gillnext.runtime import launch

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/at-size.md").read_text(encoding="utf-8")
SHOWN = dict(re.findall(r"^    # (\w+\.yaml)\n((?:    \S.*\n)+)", PAGE, re.M))


@pytest.fixture(params=["one.yaml", "eight.yaml", "sixtyfour.yaml"])
def shown(request, tmp_path):
    """The settings of wukong.yaml with what the page shows on top."""
    path = tmp_path / request.param
    path.write_text(re.sub(r"^    ", "", SHOWN[request.param], flags=re.M), encoding="utf-8")
    return request.param, load(ROOT / "config.yaml", ROOT / "config/wukong.yaml", path)


def test_each_file_is_named_in_its_command():
    assert set(SHOWN) == {"one.yaml", "eight.yaml", "sixtyfour.yaml"}
    for name in SHOWN:
        assert re.search(rf"^    \S*/snakemake .*--configfile config/wukong\.yaml lab\.yaml {name}$", PAGE, re.M)


def test_settings_can_be_started_and_all_train_alike(shown):
    name, cfg = shown
    launch.check(cfg, contained=name == "sixtyfour.yaml")
    assert cfg.adapter.batch * cfg.adapter.accumulation == 32 and not cfg.adapter.gradient_checkpointing
    assert len(launch.words(cfg)) > 0 or name == "one.yaml"
    assert launch.resources(cfg.adapter, 1) == {"gpu": 1 if name == "one.yaml" else 8}


def test_cores_and_gpus_of_the_commands_are_enough_for_every_job(shown):
    name, cfg = shown
    command = re.search(rf"^    (\S*/snakemake .*{name})$", PAGE, re.M)[1]
    if "--profile" not in command:
        cores, gpus = (int(re.search(rf"{what}[ =](\d+)", command)[1]) for what in ("--cores", "gpu"))
        assert cores >= launch.cpus(cfg) and gpus >= launch.resources(cfg.adapter, 1)["gpu"]
    assert max(cfg.ray.actors, 1) == 1


def test_as_json_they_are_what_snakemake_is_given(shown):
    """Snakemake merges files mapping by mapping, as `load` does; what is in none of them stays the demo's."""
    _, cfg = shown
    assert json.loads(json.dumps(cfg.run.precision)) == "bf16" and cfg.world.parts == 64 and cfg.world.shards == 256
