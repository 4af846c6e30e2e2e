"""The tables of InstructPix2Pix over frames, of what `gillnext edited` has scored."""

from __future__ import annotations

from typing import Any

from gillnext.supplement.cells import difference, ends
from gillnext.tables.table import Column, Table, decimals, number, text

Scores = dict[str, Any]
TASKS = {"all": "all", "drop": "drop", "cover": "cover", "move": "move on"}
# way -> what it is
WAYS = {
    "frames": "20 frames and instruction",
    "untold": "20 frames, no instruction",
    "repeated": "the same model, the last frame 20 times",
    "one": "last frame and instruction, 8 channels",
    "last": "baseline: the last frame itself",
    "mean": "baseline: the mean of the frames",
    "chance": "chance: another clip's target",
    "rebuilt": "ceiling: the target through the autoencoder",
    "target": "the target itself",
}
MODELS = ("frames", "untold", "repeated", "one")
SUCCESS, INSIDE, OUTSIDE = "success", "inside", "outside"


def words(way: str, count: int) -> str:
    """What a way is, with the number of frames."""
    return WAYS[way].replace("20", str(count))


def overall(scores: Scores) -> Table:
    """Every way on all test clips."""
    columns = [Column("way", "way", left=True), Column("what", "what is drawn", left=True)]
    columns += [Column("inside", "error inside"), Column("inside_ends", "95%")]
    columns += [Column("outside", "error outside"), Column("outside_ends", "95%")]
    columns += [Column("success", "success"), Column("success_ends", "95%"), Column("fid", "FID"), Column("is", "IS")]
    rows, found = [], scores["tasks"]["all"]
    for way in WAYS:
        own = found[way]["metrics"]
        quality = {} if way == "chance" else scores["features"][way]  # of the same pictures in another order
        rows.append([
            text(way), text(WAYS[way]), number(own["inside"], 1), ends(found[way], "inside", 1),
            number(own["outside"], 2), ends(found[way], "outside", 2), number(own.get("success")),
            ends(found[way], "success"), number(quality.get("fid"), 2), number(quality.get("is"), 2),
        ])  # fmt: skip
    notes = [
        f"{scores['n']} test clips; errors are mean absolute ones, of 255, inside what changed from the last frame "
        f"({decimals(100 * scores['changed'], 0)}% of the pixels) and outside. FID and IS by the feature network, "
        "comparable within this table alone.",
        "Success: the object stands in its place in the target (IoU 0.5), and what is covered is not seen.",
    ]
    return Table("frames", "What an instruction makes of a clip", columns, rows, notes)


def by_task(scores: Scores) -> Table:
    """Success and error inside, by task."""
    columns = [Column("task", "task", left=True), Column("way", "way", left=True), Column("n", "clips")]
    columns += [Column("success", "success"), Column("success_ends", "95%"), Column("inside", "error inside")]
    columns += [Column("inside_ends", "95%"), Column("outside", "error outside")]
    rows = []
    for task, ways in scores["tasks"].items():
        if task == "all":
            continue
        for way in WAYS:
            own = ways[way]["metrics"]
            rows.append([
                text(TASKS.get(task, task)), text(way), text(str(ways[way]["n"])), number(own.get("success")),
                ends(ways[way], "success"), number(own["inside"], 1), ends(ways[way], "inside", 1),
                number(own["outside"], 2),
            ])  # fmt: skip
    return Table("frames_tasks", "The three tasks", columns, rows, [])


def contrasts(scores: Scores) -> Table:
    """Paired differences, by task."""
    columns = [Column("task", "task", left=True), Column("contrast", "contrast", left=True)]
    columns += [Column(key, title) for key, title in (("success", "success"), ("inside", "error inside"))]
    rows = []
    for task, found in scores["contrasts"].items():
        for name, differences in found.items():
            parts = ((differences.get(key) or {"value": None}, digits) for key, digits in ((SUCCESS, 3), (INSIDE, 1)))
            rows.append([text(TASKS.get(task, task)), text(name), *(difference(*part) for part in parts)])
    return Table("frames_contrasts", "Paired differences", columns, rows, ["95% intervals by bootstrap over clips."])


def sweep(scores: Scores) -> Table:
    """Validation clips at every pair of guidance scales."""
    columns = [Column("text", "text scale"), Column("image", "image scale"), Column("success", "success")]
    columns += [Column("success_ends", "95%"), Column("inside", "error inside"), Column("outside", "error outside")]
    rows = [
        [
            number(cell["text"], 1), number(cell["image"], 2), number(cell["metrics"].get("success")),
            ends(cell, "success"), number(cell["metrics"]["inside"], 1), number(cell["metrics"]["outside"], 2),
        ]
        for cell in scores["sweep"]["cells"]
    ]  # fmt: skip
    note = f"{scores['sweep']['n']} validation clips; test clips are drawn at {scales(scores)}."
    return Table("frames_sweep", "The two guidance scales", columns, rows, [note])


def scales(scores: Scores) -> str:
    """The scales that test clips were drawn with, in words."""
    told, image = scores["scales"]
    return f"{decimals(told, 1)} for the instruction and {decimals(image, 2)} for the frames"


def tables(scores: Scores) -> list[Table]:
    """All tables of this part."""
    return [make(scores) for make in (overall, by_task, contrasts, sweep)]


def numbers(scores: Scores) -> dict[str, str]:
    """What the text quotes, by `frames.…`."""
    found = {"frames.n": str(scores["n"]), "frames.scales": scales(scores)}
    for task, ways in scores["tasks"].items():
        for way, one in ways.items():
            for key, digits in ((SUCCESS, 3), (INSIDE, 1), (OUTSIDE, 2)):
                found[f"frames.{task}.{way}.{key}"] = number(one["metrics"].get(key), digits).text
    every = scores["tasks"]["all"]
    share = every["frames"]["metrics"][INSIDE] / every["last"]["metrics"][INSIDE]
    allowed = every["last"]["metrics"][OUTSIDE] + every["rebuilt"]["metrics"][OUTSIDE]
    return found | {"frames.inside_share": decimals(share, 2), "frames.outside_allowed": decimals(allowed, 2)}
