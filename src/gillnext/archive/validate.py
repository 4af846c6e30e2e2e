"""The validators of the formats, without a network: roc-validator, mlcroissant, and CycloneDX's JSON schema.

roc-validator reads JSON-LD contexts from the web. Here it is offline, with a cache that holds one page: the context of
RO-Crate 1.1, as the locked package rocrate carries it."""

from __future__ import annotations

import importlib.resources
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import mlcroissant as mlc
import requests
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from requests.adapters import HTTPAdapter
from requests_cache import CachedSession
from rocrate_validator import models, services
from urllib3 import HTTPResponse

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
PROFILE = "provenance-run-crate"


def context() -> bytes:
    """RO-Crate 1.1's context; an error where the installed package carries another version's."""
    text = importlib.resources.files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes()
    if json.loads(text)["@id"] != CONTEXT:
        raise RuntimeError(f"the installed rocrate carries another context than {CONTEXT}")
    return text


def _cached(place: Path) -> None:
    """Write an HTTP cache, as roc-validator reads it, with the context in it."""
    text = context()
    raw = HTTPResponse(
        body=io.BytesIO(text), status=200, headers={"Content-Type": "application/ld+json"}, request_url=CONTEXT,
        preload_content=False,
    )  # fmt: skip
    response = HTTPAdapter().build_response(requests.Request("GET", CONTEXT).prepare(), raw)
    with CachedSession(str(place), backend="sqlite", expire_after=-1) as session:
        session.cache.save_response(response)


def crate(folder: Path, severity: str = "REQUIRED") -> list[str]:
    """What roc-validator finds amiss of the crate in `folder`, down to a severity (REQUIRED, RECOMMENDED, OPTIONAL)."""
    with tempfile.TemporaryDirectory() as work:
        _cached(Path(work) / "http")
        settings = models.ValidationSettings(
            rocrate_uri=services.URI(str(folder)),
            profile_identifier=PROFILE,
            requirement_severity=models.Severity[severity],
            offline=True,
            cache_path=Path(work) / "http",
        )
        found = services.validate(settings)
    return sorted(f"{issue.severity.name}: {issue.message} ({issue.violatingEntity})" for issue in found.get_issues())


def croissant(path: Path) -> list[str]:
    """What mlcroissant finds amiss of a metadata file; nothing but an error keeps it from being used."""
    try:
        return sorted(mlc.Dataset(jsonld=path).metadata.ctx.issues.errors)
    except mlc.ValidationError as error:
        return str(error).splitlines()


def sbom(bill: dict[str, Any]) -> list[str]:
    """What CycloneDX 1.6's JSON schema refuses of a bill of materials."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))
    return [str(error)] if error else []
