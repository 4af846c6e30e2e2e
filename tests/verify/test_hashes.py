"""The hashes of a run: of every job and stage, the same wherever the values are, and compared in plain words."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fake_results import gathered
from finished_run import STAMP, stamp
from safetensors.numpy import save_file

from gillnext.cli import STAGES, main
from gillnext.config.model import Arm
from gillnext.runtime import files, provenance
from gillnext.verify import against
from gillnext.verify.hashes import make
from gillnext.verify.inventory import NEEDS, REAL, SUPPLEMENT, stages
from gillnext.verify.keep import keep


def hashes(capsys, *arguments):
    """(status, what it printed) of `gillnext hashes`."""
    try:
        status = main(["hashes", *map(str, arguments)])
    except SystemExit as error:
        status = error.code
    return status, "".join(capsys.readouterr())


# Of a release, of splits that nothing draws, of a hub, of cut-outs.
ABSENT = REAL | {"swap", "swapped", "fetch", "second_evaluator"}
ABSENT |= {"lite0", "distances", "distance"}  # of a second KID, which is off


@pytest.fixture
def recorded(finished, tmp_path, capsys):
    """The hashes of the finished run, in a file of their own."""
    status, said = hashes(capsys, "--results", finished, "--out", tmp_path / "reference" / "demo.json")
    assert status == 0 and "portable arithmetic" in said
    return tmp_path / "reference" / "demo.json"


def test_every_job_has_a_hash_in_the_workflows_order(finished, recorded, config):
    found = files.read_json(recorded)
    names = [stage["stage"] for stage in found["stages"]]
    assert names == [name for name in NEEDS if name in names] and len(names) == len(NEEDS) - len(ABSENT)
    jobs = {job: value for stage in found["stages"] for job, value in stage["jobs"].items()}
    assert {
        "world",
        "heldout test",
        "filter 0",
        "adapter attn2/0",
        "sample base/1/test",
        "score attn1/2",
    } <= jobs.keys()
    assert jobs.keys() == {job for stage in stages(config, ["main.json"]) for job in stage.jobs}
    assert all(len(value) == 64 for value in jobs.values())
    assert {key: found[key] for key in ("arithmetic", "processor", "libc", "lock")} == {
        key: STAMP[key] for key in ("arithmetic", "processor", "libc", "lock")
    }
    code = {stage["stage"]: stage["code"] for stage in found["stages"]}
    assert code["relations"] == code["score"] == provenance.code_hash(STAGES["score"][0])
    assert code["base"] == provenance.code_hash(STAGES["base"][0]) != code["vae"]


def test_another_machine_folder_and_time_give_the_same_hashes(finished, recorded, config, tmp_path, capsys):
    other = tmp_path / "results of a container"
    shutil.copytree(finished, other)
    stamp(other, config, processor="EPYC", libc="glibc 2.31", image="sha256", code="d")
    memory = json.loads((other / "memory.json").read_text(encoding="utf-8"))
    for mode in memory["modes"].values():
        mode |= {"seconds": 99.0, "peak_rss_bytes": 1}
    files.write_json(other / "memory.json", memory)
    status, said = hashes(capsys, "--results", other, "--against", recorded)
    jobs = sum(len(stage["jobs"]) for stage in files.read_json(recorded)["stages"])
    assert status == 0 and f"equal: {len(NEEDS) - len(ABSENT)} stages, {jobs} jobs" in said
    assert "here: portable arithmetic, EPYC" in said and "Xeon 1" in said and "not the same" not in said


def test_the_first_stage_that_differs_is_named_with_its_jobs(finished, recorded, capsys):
    save_file({"weight": np.zeros(3)}, finished / "adapters/attn1/2/adapter.safetensors")
    save_file({"weight": np.zeros((2, 3), "f4")}, finished / "models/evaluator/model.safetensors")
    status, said = hashes(capsys, "--results", finished, "--against", recorded)
    assert status == 1
    assert "differs first: evaluator\nthen: adapter (1 of 6 jobs: attn1/2)\n" in said
    assert "the values should be, and are not" in said and "renew" not in said


def edited(path, change):
    value = files.read_json(path)
    change(value)
    files.write_json(path, value)


def code_of(hashes, name, code="0123"):
    next(stage for stage in hashes["stages"] if stage["stage"] == name)["code"] = code


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: code_of(h, "vae"), "not the same: code of vae"),
        (lambda h: h.update(lock="bbbb"), "not the same: locks: aaaa here, bbbb kept"),
        (lambda h: h["settings"]["adapter"].update(steps=7), "not the same: settings: adapter.steps: 400 here, 7 kept"),
        (lambda h: h.update(arithmetic="fast"), "not the same: the kept run has fast arithmetic"),
        (lambda h: h.pop("arithmetic"), "not the same: the kept run has no record of its arithmetic"),
    ],
)
def test_where_code_locks_or_settings_differ_it_says_so_and_how_to_renew(finished, recorded, capsys, change, message):
    edited(recorded, change)
    assert hashes(capsys, "--results", finished, "--against", recorded)[0] == 0  # the values are equal all the same
    save_file({"weight": np.zeros((2, 3), "f4")}, finished / "models/base/model.safetensors")
    status, said = hashes(capsys, "--results", finished, "--against", recorded)
    assert status == 1 and message in said and "differs first: base\n" in said
    renew = f"gillnext hashes --results {finished} --out {recorded}"
    assert f"renew the file: {renew}" in said
    assert hashes(capsys, "--results", finished, "--out", recorded)[0] == 0
    assert hashes(capsys, "--results", finished, "--against", recorded)[0] == 0


def test_a_stage_is_promised_unless_code_that_it_needs_is_another(finished, config):
    mine = make(finished, config)
    theirs = json.loads(json.dumps(mine))
    assert against.promised(mine, theirs) == [stage["stage"] for stage in mine["stages"]]
    code_of(theirs, "planner")
    assert set(mine_stages(mine)) - set(against.promised(mine, theirs)) == {
        "planner", "plan", "sample", "score", "relations", "tables", "claims",
    }  # fmt: skip
    theirs["lock"] = None
    assert against.promised(mine, theirs) == []


def mine_stages(hashes):
    return [stage["stage"] for stage in hashes["stages"]]


def test_settings_that_change_no_value_break_no_promise(finished, config):
    mine = make(finished, config)
    theirs = json.loads(json.dumps(mine))
    theirs["settings"]["ray"]["actors"] = 4
    theirs["settings"]["from_reference"] = "reference/demo"
    theirs["settings"]["run"]["arithmetic"] = "auto"
    assert against.conditions(mine, theirs) == []


@pytest.mark.parametrize("lacks", ["theirs", "mine"])
def test_a_setting_that_one_run_lacks_is_its_default(finished, config, lacks):
    """A run of before `prefetch` was there, of an arm without `coordinates`: what they are where nothing is said."""
    runs = {"mine": make(finished, config)}
    runs["theirs"] = json.loads(json.dumps(runs["mine"]))
    older, newer = (runs[name]["settings"] for name in ((lacks, "mine" if lacks == "theirs" else "theirs")))
    del older["adapter"]["prefetch"], older["study"]["arms"]["attn1"]["coordinates"]
    older["filter"]["model"] = ""  # a key of before that said nothing
    assert against.conditions(runs["mine"], runs["theirs"]) == []
    newer["adapter"]["prefetch"] = 7
    newer["study"]["arms"]["attn1"]["coordinates"] = "raw"
    default = config.adapter.prefetch
    told = "7 here, {0} kept" if lacks == "theirs" else "{0} here, 7 kept"
    (settings,) = against.conditions(runs["mine"], runs["theirs"])
    assert f"adapter.prefetch: {told.format(default)}" in settings and "coordinates: " in settings and "raw" in settings
    assert settings.count(" kept") == 2


def test_an_arm_that_one_run_lacks_is_a_difference_whatever_it_is(finished, config):
    mine = make(finished, config)
    theirs = json.loads(json.dumps(mine))
    theirs["settings"]["study"]["arms"]["another"] = dataclasses.asdict(Arm())
    (settings,) = against.conditions(mine, theirs)
    assert "study.arms.another.site: None here, attn2 kept" in settings


def test_jobs_that_one_run_lacks_differ(finished, config):
    mine = make(finished, config)
    theirs = json.loads(json.dumps(mine))
    next(stage for stage in theirs["stages"] if stage["stage"] == "adapter")["jobs"].pop("adapter attn1/1")
    theirs["stages"] = [stage for stage in theirs["stages"] if stage["stage"] != "claims"]
    found = against.differences(mine, theirs)
    assert [(one.stage, one.jobs) for one in found] == [("adapter", ["adapter attn1/1"]), ("claims", ["claims"])]


def test_runs_of_several_machines_name_them_all(finished, config):
    path = finished / "scores/data.json"
    edited(path, lambda s: s["provenance"].update(processor="EPYC", arithmetic="fast"))
    gathered(finished, config)
    found = make(finished, config)
    assert found["processor"] == "EPYC and Xeon 1" and found["arithmetic"] == "fast and portable"
    edited(path, lambda s: s["provenance"].pop("processor"))
    gathered(finished, config)
    assert make(finished, config)["processor"] is None


def test_a_run_keeps_its_hashes_and_one_without_is_kept_as_well(finished, tmp_path, capsys):
    (finished / "hashes.json").unlink(missing_ok=True)
    keep(finished, tmp_path / "k")
    assert not (tmp_path / "k/hashes.json").exists()
    assert hashes(capsys, "--results", finished, "--out", finished / "hashes.json")[0] == 0
    manifest = keep(finished, tmp_path / "k")
    assert "hashes.json" in manifest["files"]
    shutil.rmtree(finished / "models")
    assert hashes(capsys, "--results", tmp_path / "k", "--against", finished / "hashes.json")[0] == 0


def test_what_is_not_there_is_told(finished, tmp_path, capsys):
    assert hashes(capsys, "--results", tmp_path, "--out", tmp_path / "h.json")[0] == 2
    status, said = hashes(capsys, "--results", finished, "--against", tmp_path / "smoke.json")
    assert status == 2 and "no hashes there" in said
    shutil.rmtree(finished / "models/vae")
    status, said = hashes(capsys, "--results", finished, "--out", tmp_path / "h.json")
    assert status == 2 and "models/vae" in said and not (tmp_path / "h.json").exists()


def test_the_hashes_of_the_repository_can_be_read():
    root = Path(__file__).parents[2] / "reference"
    for path in [root / "smoke.json", root / "smoke-supplement.json", *root.glob("*/hashes.json")]:
        further = [name for part in SUPPLEMENT.values() for name in part]
        found, known = files.read_json(path), further if "supplement" in str(path.relative_to(root)) else NEEDS
        assert [stage["stage"] for stage in found["stages"]] == [n for n in known if n in against.by_stage(found)]
        assert found["stages"]
