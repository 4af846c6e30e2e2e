"""What the image holds, as CycloneDX 1.6: read from its definition and locks, without building it.

Known so are the base image by its digest, the Debian packages that are asked for by name (their versions are those of
the day of a build), and every Python package with its version and the SHA-256 of each file that the lock allows."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

DEFINITION = ("containers/pipeline.def", "containers/packages.txt", "containers/gillnext", "envs/pipeline.txt")


def image_hash(checkout: Path) -> str:
    """The hash that an image of this definition and these locks is kept under, as `containers/build.sh --hash`."""
    return hashlib.sha256(b"".join((checkout / name).read_bytes() for name in DEFINITION)).hexdigest()[:16]


def locked(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """(name, version, SHA-256 of each allowed file) of a lock with hashes."""
    for entry in re.split(r"\n(?=\S)", text.replace("\\\n", "")):
        if found := re.match(r"([A-Za-z0-9._-]+)==(\S+)", entry):
            yield found[1], found[2], re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)


def _python(name: str, version: str, hashes: list[str]) -> Component:
    purl = PackageURL("pypi", None, name, version)
    files = ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(purl.to_string()),
        comment="SHA-256 of each file that the lock allows; pip installs one of them",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=content) for content in hashes],
    )
    return Component(
        name=name, version=version, type=ComponentType.LIBRARY, purl=purl, bom_ref=purl.to_string(),
        external_references=[files],
    )  # fmt: skip


def _debian(name: str) -> Component:
    purl = PackageURL("deb", "debian", name, qualifiers={"distro": "debian-12"})
    version = Property(name="gillnext:version", value="the base's on the day of the build")
    return Component(name=name, type=ComponentType.LIBRARY, purl=purl, bom_ref=purl.to_string(), properties=[version])


def _base(definition: str) -> Component:
    found = re.search(r"FROM=debian@(sha256:([0-9a-f]{64}))", definition)
    assert found, "containers/pipeline.def names no base by digest"
    purl = PackageURL("oci", None, "debian", found[1])
    digest = HashType(alg=HashAlgorithm.SHA_256, content=found[2])
    return Component(
        name="debian", version="12", type=ComponentType.OPERATING_SYSTEM, purl=purl, bom_ref=purl.to_string(),
        hashes=[digest],
    )  # fmt: skip


def make(checkout: Path, made: datetime) -> dict[str, Any]:
    """The bill of materials of the image that the checkout defines; the same checkout and time give the same."""
    image = image_hash(checkout)
    packages = re.sub(r"#.*", "", (checkout / "containers/packages.txt").read_text(encoding="utf-8")).split()
    components = [_base((checkout / "containers/pipeline.def").read_text(encoding="utf-8")), *map(_debian, packages)]
    components += [_python(*entry) for entry in locked((checkout / "envs/pipeline.txt").read_text(encoding="utf-8"))]
    whole = Component(
        name="gillnext-pipeline", version=image, type=ComponentType.CONTAINER, bom_ref=f"gillnext-pipeline@{image}"
    )
    bom = Bom(components=components, serial_number=uuid.uuid5(uuid.NAMESPACE_OID, image))
    bom.metadata.component, bom.metadata.timestamp = whole, made
    bom.metadata.properties.add(Property(name="gillnext:made_from", value="definition and locks, before any build"))
    bom.register_dependency(whole, components)
    for component in components:
        bom.register_dependency(component)
    found: dict[str, Any] = json.loads(JsonV1Dot6(bom).output_as_string())
    return found
