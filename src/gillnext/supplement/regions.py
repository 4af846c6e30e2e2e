"""The tables of Learnable Regions, of what `gillnext region_scores` has scored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gillnext.supplement.cells import difference
from gillnext.tables.table import Cell, Column, Table, number, span, text

Scores = dict[str, Any]
FILLED = {"filled": "9 channels", "kept": "4, known latents kept"}
WAYS = {
    "learned": "learned",
    "untrained": "untrained network",
    "random": "random + ranking (baseline)",
    "searched": "all candidates ranked",
    "least": "least loss of all candidates",
    "centre": "centre box",
    "whole": "whole picture",
    "true": "true box (ceiling)",
    "unchanged": "source, unchanged (floor)",
}
PARTS = {"all": "all", "named": "object named", "replace": "replace", "recolour": "recolour", "add": "add"}


def value(group: Scores, key: str, digits: int = 3) -> Cell:
    """A score, a dash where there is none."""
    return number(group["scores"][key]["value"], digits)


def ends(group: Scores, key: str, digits: int = 3) -> Cell:
    """The interval of a score."""
    found = group["scores"][key]["interval"]
    return text("–" if not found or None in found else span(found, digits))


def decibel(group: Scores, key: str) -> Cell:
    """A PSNR; infinite where nothing has changed."""
    found = group["scores"][key]["value"]
    return text("∞") if found is None else number(found, 1)


def rows_of(scores: Scores) -> list[tuple[str, str, Mapping[str, Scores]]]:
    """(how boxes are filled, way, scores by part) in the order of the tables."""
    known = [(name, scores["filled"][name]["ways"]) for name in FILLED if name in scores["filled"]]
    return [(name, way, found[way]) for name, found in known for way in WAYS if way in found]


def edits(scores: Scores) -> Table:
    """Every way, by both kinds of inpainting: is the edit made where it was meant, and nothing else?"""
    columns = [Column("filled", "UNet", left=True), Column("way", "region", left=True)]
    columns += [Column("success", "in the true box"), Column("success_ends", "95%")]
    columns += [Column("named", "of named objects"), Column("named_ends", "95%"), Column("made", "made, rest kept")]
    columns += [Column("psnr", "PSNR outside, dB"), Column("median", "median")]
    columns += [Column("features", "features apart"), Column("directional", "directional")]
    columns += [Column("iou", "IoU"), Column("area", "chosen ÷ true area")]
    rows = []
    for name, way, parts in rows_of(scores):
        every, named = parts["all"], parts["named"]
        rows.append([
            text(FILLED[name]), text(WAYS[way]), value(every, "success"), ends(every, "success"),
            value(named, "success"), ends(named, "success"), value(every, "made"), decibel(every, "psnr"),
            decibel(every, "psnr_median"), value(every, "features"), value(every, "directional"),
            value(every, "iou"), value(every, "area", 2),
        ])  # fmt: skip
    first = rows_of(scores)[0][2]["all"]
    notes = [
        f"{scores['n']} edits; intervals by bootstrap over pictures, of the mean over {first['seeds']} seeds where a "
        "seed decides.",
        "In the true box: the class is found there at IoU 0.5, recoloured also in the new colour. Named: the source "
        "prompt names what changes (no additions). Made: found in the chosen box, every other object still found.",
        "PSNR: over all pixels of all pictures outside the true box, and of the median picture.",
    ]
    return Table("regions", "Edits by text alone, and where they are made", columns, rows, notes)


def kinds(scores: Scores) -> Table:
    """The same by kind of edit, of the nine channels."""
    shown = ("learned", "random", "searched", "centre", "whole", "true")
    columns = [Column("kind", "edit", left=True), Column("n", "n"), Column("way", "region", left=True)]
    columns += [Column("success", "in the true box"), Column("ends", "95%"), Column("made", "made, rest kept")]
    columns += [Column("region", "found in its region"), Column("iou", "IoU"), Column("area", "chosen ÷ true area")]
    ways, rows = scores["filled"]["filled"]["ways"], []
    for kind in ("replace", "recolour", "add"):
        for way in (way for way in shown if way in ways and kind in ways[way]):
            found = ways[way][kind]
            rows.append([
                text(kind), text(str(found["n"])), text(WAYS[way]), value(found, "success"), ends(found, "success"),
                value(found, "made"), value(found, "in_region"), value(found, "iou"), value(found, "area", 2),
            ])  # fmt: skip
    notes = ["Where something is added no prompt says where; the true box is where the generator would have had it."]
    return Table("regions_kinds", "Edits by kind", columns, rows, notes)


def contrasts(scores: Scores) -> Table:
    """Paired differences of the learned region."""
    titles = {"success": "in the true box", "made": "made, rest kept", "iou": "IoU", "directional": "directional"}
    columns = [Column("filled", "UNet", left=True), Column("contrast", "contrast", left=True)]
    columns += [Column(key, title) for key, title in titles.items()]
    rows = [
        [text(FILLED[name]), text(contrast), *(difference(found[key]) for key in titles)]
        for name in FILLED if name in scores["filled"]
        for contrast, found in scores["filled"][name]["contrasts"].items()
    ]  # fmt: skip
    notes = ["95% intervals by bootstrap over pictures, paired, of the mean over seeds."]
    return Table("regions_contrasts", "The learned region against others", columns, rows, notes)


def models(scores: Scores) -> Table | None:
    """What the models that are made here can do; None where all were given."""
    made, rows = scores["made"], []
    if eyes := made.get("eyes"):
        own, before = eyes["trained"], eyes["untrained"]
        for key, words in (("strongest", "the strongest"), ("spread", "the same, smoothed and spread out")):
            rows.append([
                text("eyes"), text(f"share of {eyes['anchors']} patches, {words}, on an object"), number(own[key]),
                number(before[key]), number(own["chance"]), text(str(own["n"])),
            ])  # fmt: skip
    if leader := made.get("leader"):
        for kind in ("replace", "recolour", "add"):
            words = f"nearer to its own caption than to its twin's: {kind}"
            cells = [number(leader["twins"][kind]), text("–"), number(0.5), text(str(leader["n"] // 3))]
            rows.append([text("image-text"), text(words), *cells])
    columns = [Column("model", "model", left=True), Column("what", "score", left=True), Column("value", "trained")]
    columns += [Column("untrained", "untrained"), Column("chance", "chance"), Column("n", "n")]
    return Table("regions_models", "The models that are made for it", columns, rows) if rows else None


def tables(scores: Scores) -> list[Table]:
    """All tables of Learnable Regions."""
    made = (edits(scores), kinds(scores), contrasts(scores), models(scores))
    return [table for table in made if table is not None]


def numbers(scores: Scores) -> dict[str, str]:
    """What the text quotes, by `regions.…`."""
    found = {"regions.n": str(scores["n"])}
    for name, way, parts in rows_of(scores):
        for part in (part for part in PARTS if part in parts):
            key = f"regions.{name}.{way}.{part}"
            for score in ("success", "made", "iou"):
                found[f"{key}.{score}"] = value(parts[part], score).text
                found[f"{key}.{score}.ends"] = ends(parts[part], score).text
            found[f"{key}.area"] = value(parts[part], "area", 2).text
            found[f"{key}.psnr"] = decibel(parts[part], "psnr").text
            found[f"{key}.psnr_median"] = decibel(parts[part], "psnr_median").text
    for name, told in scores["filled"].items():
        for contrast, keys in told["contrasts"].items():
            label = contrast.replace(" − ", "-")
            found[f"regions.{name}.{label}"] = difference(keys["success"]).text
    eyes = (scores["made"].get("eyes") or {}).get("trained", {})  # of eyes that are given nothing is known
    found["regions.anchors"] = number(eyes.get("strongest")).text
    found["regions.anchors.chance"] = number(eyes.get("chance")).text
    return found
