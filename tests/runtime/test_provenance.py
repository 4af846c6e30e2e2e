"""What a score file says of the image that it was made in."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

import gillnext
from gillnext.runtime import provenance


@pytest.fixture(autouse=True)
def outside(monkeypatch):
    for name in ("GILLNEXT_IMAGE", "APPTAINER_CONTAINER"):
        monkeypatch.delenv(name, raising=False)


def test_a_job_of_the_workflow_tells_the_digest(monkeypatch, tmp_path):
    digest = hashlib.sha256(b"image").hexdigest()
    (tmp_path / "pipeline.sif.json").write_text(json.dumps({"base": "debian", "inputs": "0", "sha256": digest}))
    monkeypatch.setenv("GILLNEXT_IMAGE", str(tmp_path / "pipeline.sif.json"))
    monkeypatch.setenv("APPTAINER_CONTAINER", "/elsewhere/pipeline.sif")
    assert provenance.stamp()["image"] == digest


def test_a_stage_started_by_hand_tells_the_file(monkeypatch):
    monkeypatch.setenv("APPTAINER_CONTAINER", "/elsewhere/pipeline-0123.sif")
    assert provenance.stamp()["image"] == "pipeline-0123.sif"


def test_a_stage_on_the_host_says_so():
    assert provenance.stamp()["image"] == "host"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that may be edited."""
    shutil.copytree(Path(gillnext.__file__).parent, tmp_path / "gillnext")
    monkeypatch.setattr(provenance.gillnext, "__file__", str(tmp_path / "gillnext/__init__.py"))
    provenance.code_hash.cache_clear()
    yield tmp_path / "gillnext"
    provenance.code_hash.cache_clear()


def test_a_fingerprint_follows_the_code_that_it_is_asked_to_and_no_other(package):
    def now():
        provenance.code_hash.cache_clear()
        return provenance.fingerprint(1), provenance.fingerprint(1, code=["gillnext.download.stage"])

    whole, download = now()
    for name, follows in (
        ("paper/stage.py", False),
        ("score/cmmd.py", False),
        ("config/model.py", False),  # settings are followed by value
        ("download/client.py", True),
        ("runtime/files.py", True),
        ("miniatures/world/classes.py", False),  # whoever serves the pictures says of what world they are
    ):
        with open(package / name, "a", encoding="utf-8") as source:
            source.write("\n# edited\n")
        before, (whole, download) = (whole, download), now()
        assert whole != before[0], name
        assert (download != before[1]) == follows, name
    assert download != provenance.fingerprint(2, code=["gillnext.download.stage"])
