"""A folder of cut-outs, made here: slanted shapes of a colour each."""

from PIL import Image, ImageDraw

ROWS = [
    ("dog-1.png", "狗", "条"), ("dog-2.png", "狗", "条"), ("dog-3.png", "狗", "条"), ("cow.png", "牛", "头"),
    ("cup.png", "杯子", "个"), ("bus.png", "公交车", "辆"), ("pear.png", "梨", "个"), ("pear-2.png", "梨", "个"),
]  # fmt: skip


def write(folder, rows, header="file,name,measure"):
    folder.mkdir(exist_ok=True)
    lines = [header, *(",".join(row) for row in rows)]
    (folder / "objects.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def picture(path, number):
    """A slanted shape of a colour of its own, with an empty margin around it."""
    image = Image.new("RGBA", (90, 70), (0, 0, 0, 0))
    shape = [(10, 20 + number), (50, 6), (80, 30), (66, 60), (20, 50)]
    ImageDraw.Draw(image).polygon(shape, fill=(30 * number, 255 - 30 * number, 120, 255))
    image.save(path)


def make(folder):
    """The folder with `objects.csv` and its pictures; returns it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    write(folder, ROWS)
    for number, (name, *_) in enumerate(ROWS):
        picture(folder / name, number)
    return folder
