"""Scenes of cut-outs, photographs or drawings: which stand where, and the picture of it, at any size.

As in the drawn world a scene has one to four objects of different kinds, all of each inside the picture, and a box is
that of the whole object, also where another stands before it: it is computed from the cut-out's opaque pixels, turned
and scaled, and so holds at every size. Objects are listed from the hindmost to the foremost.

Cut-outs are mirrored, turned by up to eleven degrees, and brightened by channel; the ground is plain, a gradient, or a
blurred piece of some cut-out's colours. What draws and what annotates never sees the held-out cut-outs, validation and
test show nothing else of kinds that have some, and what judges pictures knows all: `SIDES_OF`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, cast

import numpy as np
from PIL import Image

from gillnext.miniatures.world.classes import Colour
from gillnext.miniatures.world.cutouts import DRAWING, HELD_OUT, OPAQUE, PHOTOGRAPH, TRAIN, Cutout
from gillnext.miniatures.world.drawing import gradient
from gillnext.miniatures.world.scenes import COUNT_SHARES, SIDES, Box, Scene, Thing, cover
from gillnext.runtime import seeds

SIDES_OF: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("val", "test", "relations-test", "fidreference"), (HELD_OUT,)
) | dict.fromkeys(
    ("evaluator", "second-evaluator", "features", "clip"), (TRAIN, HELD_OUT)
)  # stream -> the sides whose cut-outs it shows; all other streams show the side train
SHORTEST, LONGEST = 0.15, 0.75  # an object's shorter and longer side, fractions of the image
OVERLAP = 0.10  # largest share of the smaller box that another may cover: boxes of turned outlines have empty corners
LEAN = 0.1  # largest tangent of half the angle that a cut-out is turned by
GAIN = 0.12  # how far a channel is brightened or darkened
GROUNDS = (0.25, 0.35, 0.40)  # shares of plain, gradient and photographic grounds
CELLS = 16  # rows and columns of the small copy that a photographic ground is a piece of
PIECE = (4, 9)  # of these, the sides of a piece
HAZE = 0.45  # share of a photographic ground that is the scene's light, so that objects stand out
FINE = 2  # samples of a pixel, along each side


@dataclass(frozen=True)
class Placed(Thing):
    """A cut-out in a scene: its number, mirrored or not, tan(angle / 2) of its turn clockwise, and a gain a channel."""

    cutout: int
    mirrored: bool
    lean: float
    gain: Colour


@dataclass(frozen=True)
class PhotoScene(Scene):
    """A scene of cut-outs. `behind` is the cut-out whose colours are the ground, and `piece` (x, y, side) which cells
    of its small copy; None where the ground is a gradient from `top` to `bottom`.
    """

    medium: ClassVar[str] = PHOTOGRAPH

    behind: int | None = None
    piece: tuple[int, int, int] = (0, 0, CELLS)


class SpriteScene(PhotoScene):
    """The same of drawn cut-outs, such as emoji: captions speak of it as of a drawing."""

    medium: ClassVar[str] = DRAWING


class Source:
    """A cut-out made ready: its outline, its halved copies, and its colours as a ground."""

    def __init__(self, cutout: Cutout) -> None:
        self.cutout = cutout
        self.image = Image.fromarray(cutout.rgba).convert("RGBa")
        self.outline = outline(cutout.rgba[..., 3] >= OPAQUE * 255)
        self.levels = {0: self.image}

    def level(self, halvings: int) -> Image.Image:
        """The picture at 2^-halvings of its size, alpha-premultiplied."""
        if halvings not in self.levels:
            self.levels[halvings] = self.image.reduce(2**halvings)
        return self.levels[halvings]

    @cached_property
    def ground(self) -> Image.Image:
        """CELLS × CELLS colours, the mean one where the cut-out is transparent."""
        small = np.asarray(self.image.resize((CELLS, CELLS), Image.Resampling.BOX)).astype(np.int64)
        colour, alpha = small[..., :3], small[..., 3:]
        mean = colour.sum((0, 1)) / alpha.sum()  # of one opaque pixel, in units of 1 / 255
        return Image.fromarray(np.clip(colour + (255 - alpha) * mean + 0.5, 0, 255).astype(np.uint8))

    def extent(self, mirrored: bool, lean: float) -> tuple[float, float, float, float]:
        """xyxy in pixels, from the centre, of the opaque pixels as they stand in a scene."""
        cos, sin = turn(lean)
        x, y = self.outline[0] * (-1 if mirrored else 1), self.outline[1]
        across, down = cos * x - sin * y, sin * x + cos * y
        return float(across.min()), float(down.min()), float(across.max()), float(down.max())


def outline(opaque: np.ndarray) -> np.ndarray:
    """(2, P): x and y, from the picture's centre, of the corners of the opaque pixels' convex hull: its extent is the
    object's whatever way it is turned (Andrew's monotone chain, in whole numbers).
    """
    height, width = opaque.shape
    rows = np.flatnonzero(opaque.any(1))
    first, last = opaque[rows].argmax(1), width - opaque[rows, ::-1].argmax(1)
    corners = {(int(x), int(y) + k) for x, y in zip([*first, *last], [*rows, *rows], strict=True) for k in (0, 1)}
    ordered = sorted(corners)
    hull = [*_chain(ordered), *_chain(ordered[::-1])]
    return np.array(hull, dtype=np.float64).T - [[width / 2], [height / 2]]


def _chain(points: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The hull's corners on one side of the points, which are in order."""
    kept: list[tuple[int, int]] = []
    for x, y in points:
        while len(kept) > 1:
            (ax, ay), (bx, by) = kept[-2:]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                break
            kept.pop()
        kept.append((x, y))
    return kept


def turn(lean: float) -> tuple[float, float]:
    """Cosine and sine of the angle whose half has the tangent `lean`: by arithmetic that is the same everywhere."""
    return (1 - lean * lean) / (1 + lean * lean), 2 * lean / (1 + lean * lean)


class Photographs:
    """The scenes that a set of cut-outs makes."""

    def __init__(self, cutouts: Sequence[Cutout]) -> None:
        self.sources = [Source(cutout) for cutout in cutouts]
        self.scene = SpriteScene if cutouts[0].medium == DRAWING else PhotoScene
        self.kinds = tuple(sorted({cutout.kind for cutout in cutouts}, key=lambda kind: kind.id))
        combinations: list[tuple[str, ...]] = [(TRAIN,), (HELD_OUT,), (TRAIN, HELD_OUT)]
        self.of_kind = {sides: [self._numbers(kind.id, sides) for kind in self.kinds] for sides in combinations}

    def _numbers(self, kind: int, sides: tuple[str, ...]) -> list[int]:
        """The cut-outs of a kind that belong to the sides; its only one belongs to both."""
        mine = [i for i, source in enumerate(self.sources) if source.cutout.kind.id == kind]
        wanted = [i for i in mine if (HELD_OUT if self.sources[i].cutout.held_out else TRAIN) in sides]
        return wanted or mine

    def sample(self, seed: int, stream: str, index: int) -> PhotoScene:
        """Scene `index` of a stream; a pure function of its arguments and the cut-outs."""
        rng = seeds.rng("photograph", seed, stream, index)
        sides = SIDES_OF.get(stream, (TRAIN,))
        count = 1 + int(rng.choice(len(COUNT_SHARES), p=COUNT_SHARES))
        objects = tuple(self._arrange(rng, count, sides))
        light = rng.uniform(0.5, 0.9) + rng.uniform(-0.12, 0.1, 3)
        shift = rng.uniform(-0.2, 0.2, 3)
        ground = int(rng.choice(len(GROUNDS), p=GROUNDS))
        top, bottom = _rgb(light), _rgb(np.clip(light + shift * (ground > 0), 0.3, 1))
        side = int(rng.integers(*PIECE, endpoint=True))
        x, y = (int(v) for v in rng.integers(0, CELLS - side, 2, endpoint=True))
        kind = self.of_kind[sides][int(rng.integers(len(self.kinds)))]
        behind = kind[int(rng.integers(len(kind)))]
        return self.scene(top, bottom, objects, behind if ground == 2 else None, (x, y, side))

    def boxes(self, rng: np.random.Generator, count: int) -> list[Box]:
        """`count` boxes from the world's prior (fewer only where 200 tries found no room)."""
        return [thing.box for thing in self._arrange(rng, count, (TRAIN,))]

    def _arrange(self, rng: np.random.Generator, count: int, sides: tuple[str, ...]) -> list[Placed]:
        """`count` objects of different kinds, the hindmost first."""
        for _ in range(200):
            placed: list[Placed] = []
            for kind in rng.permutation(len(self.kinds))[:count]:
                thing = self._place(rng, self.of_kind[sides][int(kind)], placed)
                if thing is None:
                    break
                placed.append(thing)
            if len(placed) == count:
                break
        return placed

    def _place(self, rng: np.random.Generator, choice: list[int], taken: list[Placed]) -> Placed | None:
        """One of the cut-outs of a kind where it covers little of the others; None where 40 tries found no room."""
        number = choice[int(rng.integers(len(choice)))]
        source = self.sources[number]
        mirrored, lean = bool(rng.integers(2)), float(rng.uniform(-LEAN, LEAN))
        gain = _rgb(rng.uniform(1 - GAIN, 1 + GAIN, 3))
        x1, y1, x2, y2 = source.extent(mirrored, lean)
        ratio = math.sqrt((x2 - x1) / (y2 - y1))
        for _ in range(40):
            side = float(rng.uniform(*SIDES))  # the geometric mean of width and height
            w, h = side * ratio, side / ratio
            if max(w, h) > LONGEST or min(w, h) < SHORTEST:
                continue
            x, y = rng.uniform(0, 1 - w), rng.uniform(0, 1 - h)
            box = cast(Box, tuple(round(float(v), 4) for v in (x, y, x + w, y + h)))
            if all(cover(box, other.box) <= OVERLAP for other in taken):
                return Placed(source.cutout.kind, box, number, mirrored, lean, gain)
        return None

    def render(self, scene: Scene, size: int) -> np.ndarray:
        """The picture, (size, size, 3) uint8 RGB."""
        scene = cast(PhotoScene, scene)
        canvas: np.ndarray = gradient(size, scene.top, scene.bottom).astype(np.float32)
        if scene.behind is not None:
            x, y, side = scene.piece
            ground = self.sources[scene.behind].ground
            blurred = ground.resize((size, size), Image.Resampling.BICUBIC, (x, y, x + side, y + side))
            canvas = HAZE * canvas + (1 - HAZE) * np.asarray(blurred).astype(np.float32) / 255
        for thing in cast("tuple[Placed, ...]", scene.objects):
            x0, y0, warped = self._warp(thing, size)
            alpha = warped[..., 3:]
            colour = np.minimum(warped[..., :3] * np.asarray(thing.gain, np.float32), alpha)
            region = canvas[y0 : y0 + len(warped), x0 : x0 + warped.shape[1]]
            region *= 1 - alpha
            region += colour
        return np.floor(np.clip(canvas, 0, 1) * 255 + 0.5).astype(np.uint8)

    def _warp(self, thing: Placed, size: int) -> tuple[int, int, np.ndarray]:
        """Left and top pixel of what an object may touch, and it there, premultiplied (h, w, 4) in [0, 1]."""
        source = self.sources[thing.cutout]
        x1, y1, x2, y2 = (v * size for v in thing.box)
        left, top, right, bottom = source.extent(thing.mirrored, thing.lean)
        x0, y0 = max(int(x1) - 1, 0), max(int(y1) - 1, 0)
        width, height = min(int(x2) + 2, size) - x0, min(int(y2) + 2, size) - y0
        # A sample at (u, v) lies at (across, down) of the turned cut-out, in its pixels from its centre …
        per_u, per_v = (right - left) / (x2 - x1), (bottom - top) / (y2 - y1)
        across, down = left + (x0 - x1) * per_u, top + (y0 - y1) * per_v
        # … and, turned back, at (x, y) of the picture, which is halved until a step is about one of its pixels.
        halvings = 0
        while per_u / FINE / 2**halvings > 1.5:
            halvings += 1
        cos, sin = turn(thing.lean)
        flip, shrink = (-1.0 if thing.mirrored else 1.0), 1.0 / 2**halvings
        middle_x, middle_y = source.image.width / 2, source.image.height / 2
        affine = (
            shrink * flip * cos * per_u / FINE,
            shrink * flip * sin * per_v / FINE,
            shrink * (flip * (cos * across + sin * down) + middle_x),
            shrink * -sin * per_u / FINE,
            shrink * cos * per_v / FINE,
            shrink * (cos * down - sin * across + middle_y),
        )
        fine = source.level(halvings).transform(
            (width * FINE, height * FINE), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
        )
        return x0, y0, np.asarray(fine.reduce(FINE)).astype(np.float32) / 255


def _rgb(values: np.ndarray) -> Colour:
    red, green, blue = map(float, values)
    return red, green, blue
