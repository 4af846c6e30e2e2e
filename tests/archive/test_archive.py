"""The archive of a small kept run: whole, the same twice, valid by each format's validator offline, and true."""

import copy
import hashlib
import json
import re
import shutil
import socket
import subprocess
import zipfile
from pathlib import Path

import mlcroissant as mlc
import polars as pl
import pytest

from gillnext.archive import codemeta, sbom, stage, validate
from gillnext.runtime import files, manifest
from gillnext.runtime.errors import UserError

ROOT = Path(__file__).parents[2]
# CodeMeta 3.0's names for what CITATION.cff and pyproject.toml say, from its table of terms.
TERMS = {
    "author", "codeRepository", "datePublished", "description", "identifier", "keywords", "license", "name",
    "operatingSystem", "programmingLanguage", "runtimePlatform", "url", "version",
}  # fmt: skip


@pytest.fixture(autouse=True, scope="session")
def no_network():
    def refuse(*arguments, **named):
        raise AssertionError("a test asked the network")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket.socket, "connect", refuse)
        patched.setattr(socket, "getaddrinfo", refuse)
        yield


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """The kept demo with a world of 60 rows and 5 test layouts, kept anew without the hashes of its larger one."""
    folder = tmp_path_factory.mktemp("kept") / "demo"
    shutil.copytree(ROOT / "reference/demo", folder, ignore=shutil.ignore_patterns("hashes.json", "manifest.json"))
    settings = files.read_json(folder / "config.json")
    settings["world"] |= {"rows": 60, "shards": 2, "parts": 1}
    settings["sample"]["test"] = 5
    files.write_json(folder / "config.json", settings)
    kept = files.read_json(ROOT / "reference/demo/manifest.json")
    manifest.write(folder, {"tier": kept["tier"], "provenance": kept["provenance"]})
    return folder


@pytest.fixture(scope="session")
def archive(run, tmp_path_factory):
    """The folder of its archive; the zip lies beside it."""
    out = tmp_path_factory.mktemp("archive") / "demo"
    stage.make(run, run, ROOT, out)
    return out


def test_its_hashes_are_those_of_all_its_files_by_another_tool(archive):
    told = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=archive, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout
    here = {str(path.relative_to(archive)) for path in archive.rglob("*") if path.is_file()}
    listed = {line.split("  ", 1)[1] for line in (archive / "SHA256SUMS").read_text().splitlines()}
    assert here == listed | {"SHA256SUMS"} and "source/src/gillnext/cli.py" in listed


def test_the_same_run_gives_the_same_bytes(run, archive, tmp_path):
    again = stage.make(run, run, ROOT, tmp_path / "demo")
    assert files.sha256(again) == files.sha256(archive.with_name("demo.zip"))
    with zipfile.ZipFile(again) as found:
        names = found.namelist()
    assert names == sorted(names) and all(name.startswith("gillnext-demo/") for name in names)


def test_no_weights_and_no_foreign_rows_are_in_it(archive):
    found = {path.suffix for path in archive.rglob("*") if path.is_file()}
    assert not found & {".safetensors", ".bin", ".pt", ".ckpt", ".pkl", ".sif"}
    host = files.read_json(archive / "run/config.json")["world"]["host"]
    rows = [row for shard in (archive / "mini-wukong/shards").glob("*.csv") for row in pl.read_csv(shard).rows()]
    assert len(rows) == 60 and all(row[0].startswith(f"http://{host}/") for row in rows)


def test_the_crate_is_valid_and_a_break_is_found(archive, tmp_path):
    assert validate.crate(archive) == []
    crate = files.read_json(archive / "ro-crate-metadata.json")
    broken = copy.deepcopy(crate)
    for entity in broken["@graph"]:
        if entity["@id"] == "#organised":
            del entity["instrument"]
    shutil.copytree(archive, tmp_path / "broken")
    files.write_json(tmp_path / "broken/ro-crate-metadata.json", broken)
    (issue,) = validate.crate(tmp_path / "broken")
    assert "OrganizeAction" in issue


def test_the_crate_tells_each_job_of_the_run_with_its_times(archive):
    graph = {entity["@id"]: entity for entity in files.read_json(archive / "ro-crate-metadata.json")["@graph"]}
    jobs = pl.read_parquet(archive / "run/jobs.parquet")
    told = [entity for name, entity in graph.items() if re.fullmatch(r"#job/\w+/\d+", name)]
    ends = jobs.select(pl.from_epoch(pl.col("end").round().cast(pl.Int64)).dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"))
    known = sorted(ends.to_series().to_list())
    assert len(told) <= len(known) and set(job["endTime"] for job in told) <= set(known)
    assert {name.split("/")[1] for name in graph if name.startswith("#job/")} <= set(jobs["rule"])
    assert sum("adapter" in job["name"] for job in told) == (jobs["rule"] == "adapter").sum()
    assert graph["#run"]["endTime"] == max(job["endTime"] for job in told)
    hashed = [entity for entity in graph.values() if "sha256" in entity]
    assert len(hashed) > 10
    for entity in hashed:
        assert hashlib.sha256((archive / entity["@id"]).read_bytes()).hexdigest() == entity["sha256"]


def test_croissant_is_valid_and_reads_the_rows_of_the_files(archive, tmp_path):
    assert validate.croissant(archive / "croissant.json") == []
    dataset = mlc.Dataset(jsonld=archive / "croissant.json")
    assert dataset.metadata.ctx.issues.warnings == set()
    told = [record["captions/caption"].decode() for record in dataset.records("captions")]
    shards = sorted((archive / "mini-wukong/shards").glob("*.csv"))
    assert sorted(told) == sorted(caption for shard in shards for caption in pl.read_csv(shard)["caption"])
    boxes = [record["boxes/box"] for record in dataset.records("boxes")]
    assert len(boxes) > 5 and all(
        0 <= left < right <= 1 and 0 <= top < bottom <= 1 for left, top, right, bottom in boxes
    )
    pictures = [record["layouts/picture"] for record in dataset.records("layouts")]
    assert [picture.size for picture in pictures] == [(64, 64)] * 5
    broken = files.read_json(archive / "croissant.json")
    broken["recordSet"][0]["field"][0]["source"]["fileSet"]["@id"] = "nothing"
    files.write_json(tmp_path / "croissant.json", broken)
    assert validate.croissant(tmp_path / "croissant.json") != []


def test_croissant_says_what_responsible_use_needs(archive):
    found = files.read_json(archive / "croissant.json")
    wanted = ["dataCollection", "dataBiases", "dataLimitations", "dataSocialImpact", "personalSensitiveInformation"]
    assert all(found.get(f"rai:{name}") for name in wanted)
    assert any("RAI" in entry for entry in found["conformsTo"])


def test_the_bill_of_materials_is_valid_and_names_every_locked_package(archive):
    bill = files.read_json(archive / "sbom.cdx.json")
    assert validate.sbom(bill) == []
    lines = re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", (ROOT / "envs/pipeline.txt").read_text())
    told = {part["purl"] for part in bill["components"]}
    assert {f"pkg:pypi/{name}@{version}" for name, version in lines} <= told and len(lines) > 100
    hashes = sum(len(entry["hashes"]) for part in bill["components"] for entry in part.get("externalReferences", []))
    assert hashes == (ROOT / "envs/pipeline.txt").read_text().count("--hash=sha256:")
    answer = subprocess.run([ROOT / "containers/build.sh", "--hash"], capture_output=True, text=True, check=True)
    assert bill["metadata"]["component"]["version"] == answer.stdout.strip() == sbom.image_hash(ROOT)
    assert validate.sbom(bill | {"components": [{"type": "libary", "name": "x"}]}) != []


def test_codemeta_says_what_the_citation_file_says_by_the_crosswalks_names(archive):
    found, cited = files.read_json(archive / "codemeta.json"), codemeta.citation(ROOT)
    assert set(found) - {"@context", "@type"} <= TERMS
    assert found["name"] == cited["title"] and found["version"] == cited["version"]
    assert found["license"].endswith(f"/{cited['license']}")
    person = {"given-names": "Ada", "family-names": "Lovelace", "orcid": "https://orcid.org/0"}
    assert codemeta.author(person) == {
        "@id": "https://orcid.org/0", "@type": "Person", "givenName": "Ada", "familyName": "Lovelace",
    }  # fmt: skip


def test_a_world_that_is_not_the_runs_is_refused(run, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(run, other)
    shutil.copyfile(ROOT / "reference/demo/hashes.json", other / "hashes.json")
    kept = json.loads((run / "manifest.json").read_text())
    manifest.write(other, {"tier": kept["tier"], "provenance": kept["provenance"]})
    with pytest.raises(UserError, match="not the run's"):
        stage.make(other, other, ROOT, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_of_real_shards_and_of_a_stage_by_an_older_name_has_no_drawn_world(run, tmp_path):
    other = tmp_path / "run"
    shutil.copytree(run, other)
    settings = files.read_json(other / "config.json")
    settings["world"]["release"] = "shards"
    files.write_json(other / "config.json", settings)
    jobs = pl.read_parquet(other / "jobs.parquet").with_columns(pl.col("rule").replace("world", "a_former_name"))
    jobs.write_parquet(other / "jobs.parquet")
    kept = files.read_json(run / "manifest.json")
    manifest.write(other, {"tier": kept["tier"], "provenance": kept["provenance"]})
    stage.make(other, other, ROOT, tmp_path / "out")
    assert not (tmp_path / "out/croissant.json").exists() and not (tmp_path / "out/mini-wukong").exists()
    graph = {entity["@id"]: entity for entity in files.read_json(tmp_path / "out/ro-crate-metadata.json")["@graph"]}
    assert graph["#job/a_former_name/1"]["description"].startswith("a stage by the name")
