"""What `gillnext doctor` tells, and when it ends with an error."""

import dataclasses
import json
import os
import re

import pytest
import torch

from gillnext.cli import main
from gillnext.doctor import calibration, facts, stage, tiny
from gillnext.doctor.calibration import KeptRun, Steps
from gillnext.doctor.facts import Finding
from gillnext.record import jobs
from gillnext.record.jobs import Job
from gillnext.runtime import arithmetic as arithmetic_module
from gillnext.runtime import machine, training
from gillnext.runtime.errors import UserError

FOUND = {"1": "aaaa", "2": "bbbb"}


def known(**changes):
    return {"arithmetic": "portable", "torch": stage.torch_version(), "hashes": dict(FOUND)} | changes


@pytest.fixture
def arithmetic(monkeypatch):
    """Sets the arithmetic that the doctor believes to be in use."""

    def use(name):
        monkeypatch.setattr(facts, "arithmetic_used", lambda cfg: (name, Finding("arithmetic", name)))

    return use


@pytest.fixture
def doctor(monkeypatch, tmp_path, config_file, capsys):
    """Runs the command without measuring against an `expected.json` of one's own; returns status and output."""

    def run(expected, *arguments):
        monkeypatch.setattr(stage, "EXPECTED", tmp_path / "expected.json")
        (tmp_path / "expected.json").write_text(json.dumps(expected))
        try:
            status = main(["doctor", "--config", str(config_file), "--seconds", "0", *arguments])
        except SystemExit as end:
            status = end.code
        return status, capsys.readouterr().out

    return run


def test_the_same_training_has_the_same_hash_and_leaves_the_random_state_alone():
    training.setup(1)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert tiny.train() == tiny.train()
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_weight_of_the_tiny_training_is_learned():
    model = tiny.Tiny()
    model.loss(0).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_portable_arithmetic_with_another_hash_fails(doctor, arithmetic):
    arithmetic("portable")
    status, out = doctor({"training": known(hashes={"1": "0" * 16})})
    assert status == 1 and f"EXPECTED 1: {'0' * 16}" in out and "fix: make env" in out


def test_fast_arithmetic_only_tells_its_hash(doctor, arithmetic):
    arithmetic("fast")
    status, out = doctor({"training": known(hashes={"1": "0" * 16})})
    assert status == 0 and re.search(r"training .*1: [0-9a-f]{16}; not compared", out)


def test_what_is_renewed_is_expected(doctor, arithmetic, monkeypatch, tmp_path):
    arithmetic("portable")
    status, out = doctor({"calibration": {"demo": 1}}, "--renew")
    assert status == 0 and str(tmp_path) in out
    renewed = json.loads((tmp_path / "expected.json").read_text())
    assert renewed["calibration"] == {"demo": 1} and renewed["training"]["torch"] == stage.torch_version()
    status, out = doctor(renewed)
    assert status == 0 and "; as expected" in out


def test_json_holds_every_finding_for_a_program(doctor, arithmetic):
    arithmetic("fast")
    status, out = doctor({}, "--json")
    report = json.loads(out)
    findings = {finding["name"]: finding for finding in report["findings"]}
    assert status == 0 and report["ok"] is True
    assert findings["processor"]["values"]["isa"] == machine.isa() and set(findings["training"]["values"]) == {"1"}
    assert {"memory", "threads", "arithmetic", "torch", "BLAS", "disk", "container", "locks", "code"} <= set(findings)


@pytest.mark.parametrize(
    ("used", "expected", "message", "fails"),
    [
        ("portable", known(), "as expected", False),
        ("portable", known(hashes={"1": "aaaa", "2": "cccc"}), "EXPECTED 2: cccc", True),
        ("portable", known(hashes={"4": "cccc"}), "none is recorded for so many threads", False),
        ("portable", known(torch="1.0.0"), "of torch 1.0.0", False),
        ("portable", known(arithmetic="fast", hashes={"1": "cccc"}), "none of portable arithmetic", False),
        ("portable", {}, "none of portable arithmetic", False),
        ("fast", known(hashes={"1": "cccc"}), "not compared", False),
    ],
)
def test_hashes_are_judged(used, expected, message, fails):
    finding = stage.judge(FOUND, used, expected)
    assert message in finding.state and finding.fails is fails and (not fails or finding.fix)


def test_a_device_that_is_not_there_fails_and_nothing_is_measured(tiny_config):
    there_is_none = dataclasses.replace(tiny_config, run=dataclasses.replace(tiny_config.run, device="cuda:99"))
    findings = {finding.name: finding for finding in stage.examine(there_is_none, 1.0, {})}
    assert findings["device"].fails and findings["device"].fix
    assert not {"training", "steps", "time"} & set(findings)


def test_the_arithmetic_that_has_begun_is_told_with_its_reason(tiny_config, monkeypatch):
    monkeypatch.setattr(arithmetic_module, "current", lambda: "fast")
    monkeypatch.setattr(machine, "has_avx2", lambda: False)
    used, finding = facts.arithmetic_used(tiny_config)
    assert used == "fast" and "no AVX2" in finding.state and not finding.fails
    monkeypatch.setattr(arithmetic_module, "current", lambda: "portable")
    assert facts.arithmetic_used(tiny_config)[1].state.startswith("portable")


def test_one_core_is_told_with_a_fix(tiny_config, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 1)
    finding = facts.threads(tiny_config)
    assert "two cores" in finding.fix and not finding.fails


def test_results_that_cannot_be_written_fail(monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert facts.disk("demo").fails


def test_the_estimate_scales_the_kept_run_by_the_steps_weighed_by_their_rules():
    kept = KeptRun(wall_minutes=24, job_minutes=40, weights={"base": 100, "adapter": 300, "sample": 100})
    there = {"base": 0.2, "adapter": 0.1, "sample": 0.4}
    assert kept.minutes(there, there, 2) == pytest.approx(24)
    here = {"base": 0.4, "adapter": 0.1, "sample": 0.8}  # 2, 1 and 2 times as long: 700 of 500
    assert kept.minutes(here, there, 2) == pytest.approx(24 * 700 / 500)
    assert kept.minutes(there, there, 1) == pytest.approx(40)


def test_a_kept_run_is_read_from_its_jobs(tmp_path):
    assert KeptRun.read(tmp_path) is None
    ran = (("base", 0), ("base_on_windows", 60), ("adapter", 60), ("sample", 120))
    jobs.write([Job(rule, 60.0, 90.0, 100.0, start + 60.0) for rule, start in ran], tmp_path / jobs.NAME)
    kept = KeptRun.read(tmp_path)
    assert (kept.wall_minutes, kept.job_minutes) == (3, 4)
    assert kept.weights == {"base": 90, "adapter": 180, "sample": 90}


def test_the_estimate_says_what_it_lacks(tiny_config):
    kept, steps = KeptRun(24, 40, {"base": 1, "adapter": 1, "sample": 1}), dict.fromkeys(calibration.RULES, 0.1)
    here, settings = Steps(steps, 1.0), calibration.settings(tiny_config)
    recorded = {"demo": {"settings": settings, "seconds": steps}}
    assert "about 24 min ± 20%" in calibration.estimate(tiny_config, kept, here, recorded).state
    assert "no run of tier demo is kept" in calibration.estimate(tiny_config, None, here, recorded).state
    other = {"demo": {"settings": settings | {"width": 1}, "seconds": steps}}
    for lacking in ({}, other):
        assert "no step times are recorded" in calibration.estimate(tiny_config, kept, here, lacking).state


def test_the_steps_are_measured(tiny_config):
    measured = calibration.measure(tiny_config, 0.1)
    assert set(measured.seconds) == set(calibration.RULES) and min(measured.seconds.values()) > 0
    assert measured.share > 0


def test_a_busy_machine_is_not_recorded(tiny_config, monkeypatch):
    busy = Steps(dict.fromkeys(calibration.RULES, 0.1), 0.5)
    monkeypatch.setattr(calibration, "measure", lambda cfg, seconds: busy)
    with pytest.raises(UserError, match="others use the cores"):
        calibration.record(tiny_config, 1.0)
    assert next(calibration.findings(tiny_config, 1.0, {})).fix
