"""The tables of end-to-end GILL, of what `gillnext converse` has scored.

Every score stands beside its chance level, its baseline and its ceiling, with n and an interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gillnext.supplement.cells import ends
from gillnext.tables.table import Column, Table, integer, number, span, text

Scores = dict[str, Any]
KINDS = {"story": "stories", "dialogue": "dialogues"}
SCORERS = {"second_evaluator": "second evaluator", "image_text": "image-text scorer"}  # of the decision's labels
# way -> what is read, and with which boxes
WAYS = {
    "caption": ("true caption, text encoder (ceiling)", "none"),
    "last": ("last turn, text encoder", "none"),
    "dialogue": ("all turns, text encoder", "none"),
    "gill-1": ("last turn, mapper", "none"),
    "gill-2": ("last 2 turns, mapper", "none"),
    "gill-3": ("last 3 turns, mapper", "none"),
    "gill-4": ("last 4 turns, mapper", "none"),
    "gill-5": ("last 5 turns, mapper", "none"),
    "gill-pictures": ("all turns and their pictures, mapper: GILL", "none"),
    "gill-shuffled": ("another conversation's, mapper", "none"),
    "next": ("all turns and their pictures, mapper: GILL-Next", "planned"),
    "caption-planned": ("true caption, text encoder", "planned"),
    "next-true": ("all turns and their pictures, mapper", "true"),
    "caption-true": ("true caption, text encoder (ceiling)", "true"),
}


def in_order(found: Scores, order: Iterable[str]) -> list[tuple[str, Scores]]:
    """The parts of a record in this order, and then what it does not name."""
    known = [name for name in order if name in found]
    return [(name, found[name]) for name in (*known, *(name for name in found if name not in known))]


def captioning(scores: Scores) -> Table:
    """What captions of unseen pictures name: GILL's, and the same by chance, baseline and ceiling."""
    own = scores["captioning"]["gallery"]
    rows = {
        "GILL": own["metrics"],
        "chance: the next picture's": own["chance"],
        "the true caption of the most alike picture": own["baseline"],
        "ceiling: the true caption": own["ceiling"],
    }
    parts = [
        ("recall", "classes named"),
        ("precision", "named rightly"),
        ("relations", "relations right"),
        ("bleu", "BLEU"),
    ]
    columns = [Column("by", "captions", left=True)] + [Column(key, title) for key, title in parts]
    cells = [[text(name), *(number(found.get(key)) for key, _ in parts)] for name, found in rows.items()]
    note = f"{own['n']} pictures of the gallery; classes named by GILL: {ends(own, 'recall').text} (95%, bootstrap)."
    return Table("captioning", "Captions of pictures that were not seen", columns, cells, [note])


def retrieval(scores: Scores) -> Table:
    """R@k by what is asked with: the gallery's captions, and stories' and dialogues' last turns."""
    columns = [Column("among", "pictures", left=True), Column("asked", "asked with", left=True)]
    columns += [Column(f"r{k}", f"R@{k}") for k in (1, 5, 10)] + [Column("ends", "R@1, 95%")]
    columns += [Column("clip", "Chinese-CLIP R@1"), Column("chance", "chance R@1")]
    asked = {"all": "all turns", "pictures": "all turns and pictures"}
    rows = []
    for among, parts in in_order(scores["retrieval"], ("gallery", *KINDS)):
        for name, found in parts.items():
            words = "caption" if among == "gallery" else asked.get(name, f"last {name} turn{'s' * (name != '1')}")
            own, other = found["metrics"], found["baseline"]["metrics"]
            rows.append([
                text(f"{found['rows']} {KINDS.get(among, among)}"), text(words),
                *(number(own[f"r{k}"]) for k in (1, 5, 10)), ends(found, "r1"),
                number(other["r1"]), number(found["chance"]["r1"]),
            ])  # fmt: skip
    notes = ["Chinese-CLIP reads the same texts, up to its own length; it sees no earlier pictures."]
    return Table("retrieval", "Finding a picture by what was said", columns, rows, notes)


def generation(scores: Scores) -> Table:
    """Classes that the evaluator finds in what each way draws."""
    columns = [
        Column("of", "of", left=True),
        Column("way", "way", left=True),
        Column("read", "what is drawn", left=True),
    ]
    columns += [Column("boxes", "boxes", left=True), Column("recall", "wanted classes found"), Column("ends", "95%")]
    columns += [Column("extra", "others a picture"), Column("chance", "chance")]
    rows = []
    for kind, ways in in_order(scores["generation"], KINDS):
        for way, found in in_order(ways, WAYS):
            read, boxes = WAYS[way]
            own = found["metrics"]
            rows.append([
                text(f"{found['n']} {KINDS.get(kind, kind)}"), text(way), text(read), text(boxes),
                number(own["recall"]), ends(found, "recall"),
                number(own["extra"], 2), number(found["chance"]["recall"]),
            ])  # fmt: skip
    notes = ["Chance: the classes of the next picture.", "Intervals: bootstrap over conversations, of one training."]
    return Table("generation", "What is drawn of what was said", columns, rows, notes)


def placement(scores: Scores) -> Table:
    """Whether objects stand in the boxes that were given, and where the conversation said."""
    columns = [Column("of", "of", left=True), Column("way", "way", left=True), Column("boxes", "boxes", left=True)]
    columns += [Column("success50", "success@0.5"), Column("success_ends", "95%"), Column("success_chance", "chance")]
    columns += [Column("relations", "told relations"), Column("relations_ends", "95%")]
    columns += [Column("relations_chance", "chance")]
    rows = []
    for kind, ways in in_order(scores["placement"], KINDS):
        for way, found in in_order(ways, WAYS):
            if way in ("gill-1", "gill-2", "gill-3", "gill-4", "gill-5"):
                continue
            own, chance = found["metrics"], found["chance"]
            rows.append([
                text(KINDS.get(kind, kind)), text(way), text(WAYS[way][1]), number(own.get("success50")),
                ends(found, "success50"), number(chance["success50"]), number(own.get("relations")),
                ends(found, "relations"), number(chance["relations"]),
            ])  # fmt: skip
    notes = [
        "success@0.5: against the boxes that were given, and where there were none against the true ones.",
        "Told relations: those told and still true at the end; one whose object is missing fails. Their chance is half "
        "of those whose objects are found.",
    ]
    return Table("placement", "Where things stand", columns, rows, notes)


def decision(scores: Scores) -> Table | None:
    """To find or to draw: the head against doing always the one or the other; None where nothing was decided."""
    if "decision" not in scores:
        return None
    columns = [Column("policy", "policy", left=True), Column("f1", "F1 of classes shown"), Column("ends", "95%")]
    columns += [Column("retrieved", "found")]
    test = scores["decision"]["test"]
    heads = {by: test[by] for by in SCORERS if by in test}
    rows, notes = [], []
    for by, told in heads.items():
        shown = number(told["metrics"]["f1"]), ends(told, "f1"), number(told["metrics"]["retrieved"])
        rows.append([text(f"decision head, labels by the {SCORERS[by]}"), *shown])
        apart = "; ".join(
            f"{name}: {found['f1']['value']:+.3f} ({span(found['f1']['interval'])})".replace("-", "−")
            for name, found in told["contrasts"].items()
        )
        agrees = number(told["metrics"]["accuracy"]).text
        notes.append(f"Labels by the {SCORERS[by]}: the head agrees in {agrees}; paired differences in F1: {apart}.")
    told = next(iter(heads.values()))
    rows += [
        [text("find always"), number(told["baseline"]["f1_retrieve"]), text("–"), number(1.0)],
        [text("draw always"), number(told["baseline"]["f1_generate"]), text("–"), number(0.0)],
        [text("a coin"), number(told["chance"]["f1"]), text("–"), number(0.5)],
        [text("ceiling: the better of both"), number(told["ceiling"]["f1"]), text("–"), text("–")],
    ]
    if further := test.get("next"):
        name = text("draw always, in planned boxes: GILL-Next")
        rows.append([name, number(further["metrics"]["f1"]), ends(further, "f1"), number(0.0)])
    notes.insert(0, f"{told['n']} conversations; the evaluator, which made no label, judges.")
    return Table("decision", "To find a picture or to draw one", columns, rows, notes)


def _images(scores: Scores) -> int:
    return int(scores["trained"]["images"])


def trainings(scores: Scores) -> Table | None:
    """What the number of [IMG] tokens, and learning through the UNet, change; None where there was one training."""
    if not scores.get("variants"):
        return None
    columns = [Column("name", "training", left=True), Column("images", "[IMG] tokens")]
    columns += [Column("generation", "mapper learns by", left=True), Column("steps", "steps")]
    columns += [Column("r1", "R@1"), Column("r5", "R@5"), Column("r1_ends", "R@1, 95%")]
    for kind in scores["generation"]:
        words = KINDS.get(kind, kind)
        columns += [Column(f"{kind}_recall", f"{words}: classes found"), Column(f"{kind}_ends", "95%")]
        columns += [Column(f"{kind}_success50", "success@0.5, planned boxes")]
    rows = []
    every = {"GILL": scores, **scores["variants"]}
    order = sorted(every, key=lambda name: (every[name]["trained"]["generation"] == "denoising", -_images(every[name])))
    for name, found in ((name, every[name]) for name in order):
        how, asked = found["trained"], found["retrieval"]["gallery"]["1"]
        row = [text(name), integer(how["images"]), text(how["generation"]), integer(how["steps"])]
        row += [number(asked["metrics"]["r1"]), number(asked["metrics"]["r5"]), ends(asked, "r1")]
        for kind in scores["generation"]:
            own, placed = found["generation"][kind]["gill-pictures"], found["placement"][kind].get("next")
            row += [number(own["metrics"]["recall"]), ends(own, "recall")]
            row += [number(placed["metrics"]["success50"] if placed else None)]
        rows.append(row)
    notes = [
        "R@k: pictures of the gallery by their captions. Retrieval reads the first [IMG] token's state alone, which no"
    ]
    notes[0] += " later token changes: with their number it can move by what is trained along with it, and by chance."
    return Table("trainings", "Further trainings of GILL", columns, rows, notes)


def contrasts(scores: Scores) -> Table:
    """Paired differences between ways, over the same conversations."""
    columns = [Column("of", "of", left=True), Column("contrast", "contrast", left=True)]
    parts = {"recall": "wanted classes found", "success50": "success@0.5", "relations": "told relations"}
    columns += [Column(key, title) for key, title in parts.items()]
    rows = []
    for kind, found in in_order(scores["contrasts"], KINDS):
        for name, differences in found.items():
            cells = []
            for key in parts:
                value, ends_ = differences[key]["value"], differences[key]["interval"]
                cells.append(
                    text("–" if value is None else f"{value:+.3f} ({span(ends_)})".replace("+-", "−").replace("-", "−"))
                )
            rows.append([text(KINDS.get(kind, kind)), text(name), *cells])
    return Table("contrasts", "Paired differences", columns, rows, ["95% intervals by bootstrap over conversations."])


def tables(scores: Scores) -> list[Table]:
    """All tables of GILL."""
    made = (captioning, retrieval, generation, placement, decision, trainings, contrasts)
    return [table for make in made if (table := make(scores)) is not None]


def numbers(scores: Scores) -> dict[str, str]:
    """What the text quotes, by `gill.…`."""
    found: dict[str, str] = {}

    def quote(key: str, value: float | None) -> None:
        found[f"gill.{key}"] = number(value).text

    gallery = scores["captioning"]["gallery"]
    quote("captions.recall", gallery["metrics"]["recall"])
    quote("captions.chance", gallery["chance"]["recall"])
    first = scores["retrieval"]["gallery"]["1"]
    quote("retrieval.r1", first["metrics"]["r1"])
    quote("retrieval.clip", first["baseline"]["metrics"]["r1"])
    found["gill.gallery"] = str(first["rows"])
    for kind, ways in scores["generation"].items():
        found[f"gill.{kind}.n"] = str(next(iter(ways.values()))["n"])
        for way, told in ways.items():
            quote(f"{kind}.{way}.recall", told["metrics"]["recall"])
            places = scores["placement"][kind][way]["metrics"]
            quote(f"{kind}.{way}.relations", places.get("relations"))
            quote(f"{kind}.{way}.success50", places.get("success50"))
    if "decision" in scores:
        test = scores["decision"]["test"]
        told = next(test[by] for by in SCORERS if by in test)
        quote("decision.f1", told["metrics"]["f1"])
        quote("decision.retrieve", told["baseline"]["f1_retrieve"])
        quote("decision.generate", told["baseline"]["f1_generate"])
    return found
