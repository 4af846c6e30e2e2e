"""The settings of the data stages: the release, filter, download, annotation, and the devices that share a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from gillnext.config.setting import s


@dataclass(frozen=True)
class Faults:
    not_found: float = s(0.06, "share of links that answer 404")
    server_error: float = s(0.01, "share that answer 503 once and then the image")
    stall: float = s(0.004, "share whose body never ends in time")
    slow: float = s(0.01, "share whose body comes slowly but in time")
    truncated: float = s(0.015, "share with a JPEG that breaks off")
    html: float = s(0.015, "share that answer a web page instead of an image")
    tiny: float = s(0.01, "share that answer a 1×1 pixel image")
    redirect: float = s(0.02, "share that redirect to the image")
    duplicate: float = s(0.02, "share of rows that repeat another row's image")


DRAWN_OBJECTS = "drawn"


@dataclass(frozen=True)
class World:
    release: str = s("", "folder of a real release's shards, wukong_100m_{i}.csv; empty: Mini-Wukong, made here")
    objects: str = s(
        DRAWN_OBJECTS, "what Mini-Wukong's scenes are made of: drawn, or a folder of cut-outs with objects.csv"
    )
    size: int = s(64, "pixels a side of Mini-Wukong's pictures, a multiple of 32")
    rows: int = s(100_000, "caption rows of the release")
    shards: int = s(20, "CSV shards that they are spread over")
    parts: int = s(2, "jobs that the shards are spread over in filter, download and annotate")
    strong_share: float = s(0.04, "share of rows with a strongly spatial caption")
    weak_share: float = s(0.01, "share of rows with a weakly spatial caption")
    host: str = s("img.mini-wukong.example", "reserved host name in the URLs")
    faults: Faults = field(default_factory=Faults, metadata={"doc": "link rot"})

    @property
    def drawn(self) -> bool:
        """No release's and no cut-outs'."""
        return not self.release and self.objects == DRAWN_OBJECTS


@dataclass(frozen=True)
class Filter:
    lexicon: str = s("", "file of the words of place; empty: the one in the package, src/gillnext/filter/lexicon.txt")
    batch: int = s(256, "captions in a classifier batch")
    target: int = s(0, "stop after this many kept rows in all parts together; 0 keeps all")
    keep: list[str] = s(["strong", "weak"], "labels that are kept")


@dataclass(frozen=True)
class Download:
    concurrency: int = s(64, "requests in flight")
    per_host: int = s(64, "of these, to one host at most; 0: no cap")
    connect_timeout: float = s(2.0, "seconds to connect")
    read_timeout: float = s(3.0, "seconds without a byte")
    total_timeout: float = s(6.0, "seconds for a whole request")
    retries: int = s(2, "further tries after an error that may pass")
    backoff: float = s(0.2, "seconds before the first retry, doubled each time")
    patience: float = s(5.0, "longest wait that a server may ask for (Retry-After), seconds; beyond it the row fails")
    min_side: int = s(16, "smallest accepted side in pixels")
    max_aspect: float = s(4.0, "largest accepted ratio of the longer side to the shorter one")
    max_bytes: int = s(5_000_000, "largest accepted body")
    hosts: dict[str, str] = s({}, "hosts that stand for another server, as address:port; the only way to a private one")
    max_pixels: int = s(40_000_000, "largest accepted picture, width times height; larger ones are not decoded")


@dataclass(frozen=True)
class Annotate:
    backend: Literal["auto", "detector", "vlm", "zero-shot"] = s(
        "detector", "what the annotator's folder has to hold: the demo's detector, or a checkpoint; auto: any of them"
    )
    batch: int = s(32, "images a batch")
    max_image_size: int = s(1024, "longest side given to the model, pixels")
    threshold: float = s(0.5, "detector score below which an object counts as not found")
    vocabulary: str = s("", "file of names to look for; empty: the demo's classes; vlm: the caption's words")
    names: str = s("", "zero-shot: table of names in the detector's language (gillnext names); empty: it reads Chinese")
    labels: str = s("", "CSV of boxes drawn by hand, from `gillnext review --label`, to score these; empty: no truth")


@dataclass(frozen=True)
class ZeroShot:
    least: float = s(0.05, "detector score that a box has to exceed to be looked at at all")
    text: float = s(0.25, "Grounding DINO: score that a token has to exceed to name a box")
    confident: float = s(0.4, "evaluators: score from which a box counts in box fidelity (OWLv2's scores are low)")
    batch: int = s(8, "pictures that go through the network together, at most")
    names: str = s("", "evaluators: a table of names that a person has mended, which goes before what is written anew")
    nms: float = s(0.0, "IoU from which the less likely of two boxes of a name is dropped; 0: none is")


@dataclass(frozen=True)
class Ray:
    actors: int = s(0, "Ray actors that share the models of filter and annotate, one a device; 0: no Ray, one process")
    address: str = s("", "Ray cluster to join, auto or host:port; empty: one on this machine, for the job alone")
    restarts: int = s(16, "lost actors, but over items set aside, that are replaced before a job gives up")
    timeout: float = s(900.0, "seconds that a batch may take before its actor counts as hung")
    start_timeout: float = s(1800.0, "seconds without any answer, for actors that start, before a job gives up")
