"""ro-crate-metadata.json: the run as a Provenance Run Crate 0.5, which is RO-Crate 1.1 of a workflow and of its jobs.

What a kept run knows of its jobs is told and no more: each job's rule, start, end and peak memory, and which of them
made what the archive holds. Files between the stages stayed behind and are not named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from gillnext.cli import STAGES
from gillnext.record.jobs import Job
from gillnext.verify.inventory import COMMANDS

VERSION = "1.1"  # of RO-Crate: what the profiles below are made for, and whose context the locked rocrate carries
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/ro/wfrun/provenance/0.5": "Provenance Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
BIOSCHEMAS = "https://bioschemas.org/profiles/{}/1.0-RELEASE"
TERMS = {name: f"https://w3id.org/ro/terms/workflow-run#{name}" for name in ("resourceUsage", "sha256")}
WORKFLOW = "source/workflow/Snakefile"
COMPLETED = "http://schema.org/CompletedActionStatus"
FORMATS = {
    ".json": "application/json", ".md": "text/markdown", ".parquet": "application/vnd.apache.parquet",
    ".zip": "application/zip", ".pdf": "application/pdf", ".cff": "application/yaml", ".yaml": "application/yaml",
    ".txt": "text/plain", "": "text/plain",
}  # fmt: skip
# file of a run -> (rule whose jobs made it, what it is); the rest of the run's files `gillnext keep` wrote
MADE = {
    "scores.parquet": ("gather", "every score of the run, a row a number"),
    "curves.parquet": ("gather", "what changed over training"),
    "protocols.json": ("gather", "how each score was taken, and what made it"),
    "pictures.zip": ("gather", "the pictures that the paper shows"),
    "memory.json": ("memory", "bytes and seconds of the backward pass"),
}


@dataclass(frozen=True)
class Contents:
    """What the crate describes: the folder, its files by path from there with their SHA-256, the run's jobs, who."""

    folder: Path
    hashes: dict[str, str]
    jobs: list[Job]
    tier: str
    cited: dict[str, Any]
    licence: str
    made: datetime


def time(seconds: float) -> str:
    """ISO 8601 in UTC of seconds since 1970."""
    return datetime.fromtimestamp(round(seconds), UTC).isoformat()


def _one(value: Any) -> Any:
    """A list of one as its element, as RO-Crate recommends."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def version_of(package: str, lock: Path) -> str:
    found = re.search(rf"(?m)^{package}==(\S+)", lock.read_text(encoding="utf-8"))
    return found[1] if found else "unknown"


def described(command: str) -> str:
    """A stage's line of help, or a sentence instead of it where no stage has the name any more."""
    return STAGES[command][1] if command in STAGES else "a stage by the name that it had when the run was made"


def _entity(crate: ROCrate, place: str, kind: Any, **properties: Any) -> Any:
    return crate.add(ContextEntity(crate, place, properties={"@type": kind, **properties}))


def _files(crate: ROCrate, held: Contents) -> None:
    """A data entity for each file outside source/ and of no folder that is described as a whole, with its hash."""
    for name, digest in held.hashes.items():
        if "/" not in name or name.startswith("run/") or name in ("results/paper.pdf", "source/envs/pipeline.txt"):
            path = held.folder / name
            about = MADE.get(path.name, ("", ""))[1] if name.startswith("run/") else ""
            properties = {"name": path.name, "encodingFormat": FORMATS.get(path.suffix, "application/octet-stream")}
            properties |= {"sha256": digest, "contentSize": str(path.stat().st_size)}
            crate.add_file(path, name, properties=properties | ({"description": about} if about else {}))
    for name in sorted({name.split("/")[0] for name in held.hashes if "/" in name}):
        count = sum(entry.startswith(f"{name}/") for entry in held.hashes)
        crate.add_dataset(held.folder / name, name, properties={"name": name, "description": f"{count} files"})


def _parameter(crate: ROCrate, name: str, file: str) -> Any:
    """A formal parameter of the workflow, which a file of the archive is an example of."""
    entity = crate.get(file)
    found = _entity(
        crate, f"#parameter/{name}", "FormalParameter", name=name, additionalType="File", workExample=entity,
        conformsTo={"@id": BIOSCHEMAS.format("FormalParameter")},
    )  # fmt: skip
    entity.append_to("exampleOfWork", found)
    return found


def _workflow(crate: ROCrate, held: Contents) -> Any:
    lock = held.folder / "source/envs/pipeline.txt"
    workflow = crate.add_workflow(
        held.folder / WORKFLOW, WORKFLOW, main=True, lang="snakemake", lang_version=version_of("snakemake", lock),
        properties={
            "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"], "name": held.cited["title"],
            "version": str(held.cited["version"]), "sha256": held.hashes[WORKFLOW], "encodingFormat": "text/plain",
        },
    )  # fmt: skip
    workflow["conformsTo"] = {"@id": BIOSCHEMAS.format("ComputationalWorkflow")}
    workflow["license"] = held.licence
    inputs = {"settings": "run/config.json", "packages": "source/envs/pipeline.txt"}
    workflow["input"] = [_parameter(crate, name, file) for name, file in inputs.items()]
    names = [name for name in (f"run/{name}" for name in MADE) if name in held.hashes]
    names += [name for name in ("run/hashes.json", "results/paper.pdf") if name in held.hashes]
    workflow["output"] = [_parameter(crate, Path(name).stem, name) for name in names]
    return workflow


def _usage(crate: ROCrate, identifier: str, job: Job) -> list[Any]:
    """Peak resident memory and processor time of a job, where they were sampled."""
    values = {"peak_rss": (job.peak_mib, "MiB", "E_MEBIBYTE"), "cpu_time": (job.cpu_seconds, "s", "SEC")}
    return [
        _entity(
            crate, f"{identifier}/{name}", "PropertyValue", name=name, value=f"{value:g}", unitCode=code,
            unitText=unit, propertyID=f"https://snakemake.readthedocs.io/#benchmark-{name}",
        )
        for name, (value, unit, code) in values.items()
        if value is not None
    ]  # fmt: skip


def _step(crate: ROCrate, held: Contents, workflow: Any, position: int, rule: str, jobs: list[Job]) -> Any:
    """A rule as a step and its command as a tool; each of its jobs as an action; returns the step's `ControlAction`."""
    command = COMMANDS.get(rule, rule)
    tool = crate.get(f"#stage/{command}") or _entity(
        crate, f"#stage/{command}", "SoftwareApplication", name=f"gillnext {command}",
        softwareVersion=str(held.cited["version"]), description=described(command),
    )  # fmt: skip
    if command not in [part.id.rpartition("/")[2] for part in workflow.get("hasPart", [])]:
        workflow.append_to("hasPart", tool)
    step = _entity(crate, f"#step/{rule}", "HowToStep", name=rule, position=str(position), workExample=tool)
    workflow.append_to("step", step)
    results = [
        crate.get(f"run/{name}") for name, (by, _) in MADE.items() if by == rule and f"run/{name}" in held.hashes
    ]
    results += [crate.get("mini-wukong/")] if rule == "world" and crate.get("mini-wukong/") else []
    actions = []
    for number, job in enumerate(sorted(jobs, key=lambda job: job.end), 1):
        identifier = f"#job/{rule}/{number}"
        of = f" {number} of {len(jobs)}" if len(jobs) > 1 else ""
        action = _entity(
            crate, identifier, "CreateAction", name=f"{rule}{of}", description=described(command), instrument=tool,
            startTime=time(job.start), endTime=time(job.end), actionStatus=COMPLETED,
            agent=crate.get("#authors"), resourceUsage=_usage(crate, identifier, job),
        )  # fmt: skip
        if results:
            action["result"] = results
        crate.root_dataset.append_to("mentions", action)
        actions.append(action)
    return _entity(
        crate, f"#control/{rule}", "ControlAction", name=f"jobs of {rule}", instrument=step, object=actions,
        actionStatus=COMPLETED,
    )  # fmt: skip


def _run(crate: ROCrate, held: Contents, workflow: Any, controls: Iterable[Any]) -> None:
    """The run as one action, and what Snakemake organised."""
    begun, ended = min(job.start for job in held.jobs), max(job.end for job in held.jobs)
    run = _entity(
        crate, "#run", "CreateAction", name=f"the run of tier {held.tier}", instrument=workflow,
        description=f"{len(held.jobs)} jobs up to the result tables; start and end are the first job's and the last's",
        startTime=time(begun), endTime=time(ended), actionStatus=COMPLETED, agent=crate.get("#authors"),
        object=[crate.get("run/config.json"), crate.get("source/envs/pipeline.txt")],
        result=[parameter["workExample"] for parameter in workflow["output"]],
    )  # fmt: skip
    version = version_of("snakemake", held.folder / "source/envs/pipeline.txt")
    engine = _entity(
        crate, f"pkg:pypi/snakemake@{version}", "SoftwareApplication", name="Snakemake", softwareVersion=version,
        url={"@id": "https://snakemake.readthedocs.io"},
    )  # fmt: skip
    organised = _entity(
        crate, "#organised", "OrganizeAction", name="Snakemake's run", instrument=engine, object=list(controls),
        result=run, startTime=time(begun), endTime=time(ended), agent=crate.get("#authors"),
        actionStatus=COMPLETED,
    )  # fmt: skip
    for action in (run, organised):
        crate.root_dataset.append_to("mentions", action)


def make(held: Contents) -> dict[str, Any]:
    """The crate's metadata; the same archive gives the same. Rules come in the order in which their first job began."""
    crate = ROCrate(version=VERSION)
    crate.metadata.extra_terms.update(TERMS)
    root = crate.root_dataset
    crate.name = f"{held.cited['title'].split(':')[0]}, run of tier {held.tier}"
    crate.description = f"{held.cited['title']}. A finished run: its record, results, settings, code and locks."
    crate.datePublished, crate.keywords = held.made, held.cited.get("keywords", [])
    licence = _entity(
        crate,
        held.licence,
        "CreativeWork",
        name=held.cited["license"],
        identifier=held.licence,
        url={"@id": held.licence},
    )
    crate.license = licence
    authors = ", ".join(entry.get("name") or entry["family-names"] for entry in held.cited["authors"])
    root["author"] = root["publisher"] = _entity(crate, "#authors", "Organization", name=authors)
    for profile, name in PROFILES.items():
        _entity(crate, profile, "CreativeWork", name=name, version=profile.rpartition("/")[2])
    root["conformsTo"] = [{"@id": profile} for profile in PROFILES]
    _files(crate, held)
    crate.get("README.md")["about"] = root
    workflow = _workflow(crate, held)
    rules = list(dict.fromkeys(job.rule for job in sorted(held.jobs, key=lambda job: job.start)))
    by_rule = {rule: [job for job in held.jobs if job.rule == rule] for rule in rules}
    controls = [
        _step(crate, held, workflow, number, rule, jobs) for number, (rule, jobs) in enumerate(by_rule.items(), 1)
    ]
    _run(crate, held, workflow, controls)
    found: dict[str, Any] = crate.metadata.generate()
    found["@graph"] = [{key: _one(value) for key, value in entity.items()} for entity in found["@graph"]]
    return found
