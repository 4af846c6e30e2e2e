"""codemeta.json (CodeMeta 3.0) from CITATION.cff and pyproject.toml, after CodeMeta's crosswalk.

title → name, message → (left out), authors → author, license → license, keywords → keywords, abstract → description,
date-released → datePublished, repository-code → codeRepository, doi → identifier, version → version"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import yaml

CONTEXT = "https://w3id.org/codemeta/3.0"
AS_IT_IS = {
    "title": "name", "version": "version", "keywords": "keywords", "abstract": "description",
    "repository-code": "codeRepository", "url": "url", "date-released": "datePublished",
}  # fmt: skip


def citation(checkout: Path) -> dict[str, Any]:
    """What CITATION.cff says."""
    found: dict[str, Any] = yaml.safe_load((checkout / "CITATION.cff").read_text(encoding="utf-8"))
    return found


def author(entry: dict[str, Any]) -> dict[str, Any]:
    """A person has names of two kinds, an entity one; an ORCID is the `@id`."""
    found: dict[str, Any] = {"@id": entry["orcid"]} if "orcid" in entry else {}
    if "name" in entry:
        return found | {"@type": "Organization", "name": entry["name"]}
    names = {"given-names": "givenName", "family-names": "familyName", "email": "email"}
    return found | {"@type": "Person"} | {names[key]: value for key, value in entry.items() if key in names}


def make(checkout: Path) -> dict[str, Any]:
    """The metadata of the software in `checkout`."""
    cited = citation(checkout)
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, Any] = {"@context": CONTEXT, "@type": "SoftwareSourceCode", "description": project["description"]}
    found |= {
        new: str(cited[old]) if old == "date-released" else cited[old] for old, new in AS_IT_IS.items() if old in cited
    }
    found["license"] = f"https://spdx.org/licenses/{cited['license']}"
    found["author"] = [author(entry) for entry in cited["authors"]]
    if "doi" in cited:
        found["identifier"] = f"https://doi.org/{cited['doi']}"
    found["programmingLanguage"] = ["Python", "Snakemake"]
    found["runtimePlatform"] = f"Python {project['requires-python']}"
    found["operatingSystem"] = "Linux"
    return found
