"""What a score file says of the image that it was made in."""

import hashlib
import json

import pytest

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
