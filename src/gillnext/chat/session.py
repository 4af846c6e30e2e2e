"""One dialogue with GILL, without a terminal: turns in, replies out, the transcript written after each.

What GILL reads is what the person has said and shown, in order; its own replies are not read again, for it was trained
on people's turns alone. A turn that cannot be taken is told in the transcript and changes nothing.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from gillnext.chat.artist import Artist
from gillnext.chat.index import Index, read_picture
from gillnext.chat.policy import Policy
from gillnext.chat.transcript import Entry, Transcript
from gillnext.conversations import Turn, text_of
from gillnext.gill.talker import Read, Talker
from gillnext.layouts import Layout
from gillnext.runtime.errors import UserError
from gillnext.sample import remarks
from gillnext.sample.pictures_folder import save_png

NEAREST = 20  # pictures of the index that are looked at for one that is still there

Want = Literal["decided", "draw", "find", "none"]
Speak = Callable[[Sequence[Turn], Path, int], str]  # turns, the pictures' folder, the number of the turn


@dataclass(frozen=True)
class Models:
    """What a dialogue is held with. Without an index or a decision head all pictures are drawn."""

    talker: Talker
    artist: Artist
    speak: Speak
    index: Index | None = None
    policy: Policy | None = None
    seed: int = 0


class Session:
    """A dialogue. `turns` are what the person has said so far, `transcript` what both have."""

    def __init__(self, models: Models, folder: Path, title: str = "与 GILL 的对话", about: str = "") -> None:
        self.models, self.folder, self.turns = models, folder, list[Turn]()
        folder.mkdir(parents=True, exist_ok=True)
        self.transcript = Transcript(folder, title, about)

    def say(
        self,
        text: str = "",
        picture: Path | None = None,
        boxes: Layout | None = None,
        want: Want = "decided",
    ) -> Entry:
        """Take a turn and reply to it. Text is answered by a sentence and, as `want` says, a picture; a picture by its
        caption. `boxes`: draw in these. A turn without text and picture asks for another picture of what was said.
        """
        entry = Entry(text=text.strip())
        self.transcript.entries.append(entry)
        try:
            self._take(entry, picture)
            self._reply(entry, boxes, want)
        except UserError as error:
            entry.notes.append(str(error))
        except KeyboardInterrupt:
            entry.notes.append("interrupted: what was said is kept")
            raise
        finally:
            self.transcript.write()
        return entry

    def tell(self, note: str, text: str = "") -> Entry:
        """Put a note into the transcript, about a turn that could not be taken."""
        entry = Entry(text=text, notes=[note])
        self.transcript.entries.append(entry)
        self.transcript.write()
        return entry

    @property
    def number(self) -> int:
        """Of the turn that is being answered, from 1 on."""
        return len(self.transcript.entries)

    def _take(self, entry: Entry, picture: Path | None) -> None:
        """Add what was said and shown to the dialogue; `UserError` where there is nothing in it, or no such picture."""
        if picture is not None:
            try:
                read_picture(picture)
            except ValueError as error:
                raise UserError(str(error), where=str(picture), remedy="name the file of a picture") from error
            entry.shown = self.folder / f"{self.number:03d}-shown{picture.suffix.lower()}"
            shutil.copyfile(picture, entry.shown)
        if entry.text or entry.shown:
            self.turns.append(Turn(entry.text, entry.shown.name if entry.shown else ""))
        elif not self.turns:
            raise UserError("nothing was said yet", remedy="say what there is, or show a picture with /图 PATH")

    def _reply(self, entry: Entry, boxes: Layout | None, want: Want) -> None:
        asked = boxes is not None or want in ("draw", "find")
        if entry.shown:
            entry.answer = self.models.talker.caption([entry.shown])[0].strip()
        elif entry.text:
            entry.answer = self.models.speak(self.turns, self.folder, self.number)
        if want == "none" or (entry.shown and not asked):
            return
        # The last turn's picture is what is asked for, and not read: one that was shown stands before it.
        turns = [*self.turns, Turn("")] if self.turns[-1].picture else self.turns
        read = self.models.talker.read([turns], self.folder)
        if read.cut[0]:
            entry.notes.append(
                f"the first {read.cut[0]} turns are no longer read: the dialogue is longer than GILL reads"
            )
        score, place = self._nearest(entry, read) if boxes is None and want != "draw" else (0.0, None)
        if place is not None and (want == "find" or self._retrieves(read, score)):
            self._find(entry, place, score)
        elif want == "find":
            entry.notes.append("there is no picture to be found: the index is not there, or its pictures are not")
        else:
            self._draw(entry, read, boxes)

    def _retrieves(self, read: Read, score: float) -> bool:
        policy = self.models.policy
        return bool(policy is not None and policy.retrieve(read.images, np.array([score]))[0])

    def _nearest(self, entry: Entry, read: Read) -> tuple[float, int | None]:
        """Score and place of the nearest picture of the index that is there; those before it are told."""
        index = self.models.index
        if index is None:
            return 0.0, None
        (scores,), (places,) = index.find(read.embeddings.numpy(), NEAREST)
        for score, place in zip(scores.tolist(), places.tolist(), strict=True):
            if not (problem := index.problem(place)):
                return score, place
            entry.notes.append(f"{index.path(place)} is {problem}: the next picture is taken")
        return 0.0, None

    def _find(self, entry: Entry, place: int, score: float) -> None:
        index = self.models.index
        assert index is not None
        entry.picture = self.folder / f"{self.number:03d}-found{index.path(place).suffix.lower()}"
        shutil.copyfile(index.path(place), entry.picture)
        entry.how = f"找到 · found, similarity {score:.2f}: {index.paths[place]}"

    def _draw(self, entry: Entry, read: Read, boxes: Layout | None) -> None:
        """Draw in the boxes given, or planned; without a planner in none."""
        artist, counts, whose = self.models.artist, Counter[str](), "given"
        if boxes is None and artist.planner is not None:
            ((boxes,), whose) = artist.plan([self.turns], counts), "planned"
            if counts["broken plans"]:
                entry.notes.append("the planner's answer is not a whole plan; what could be read of it is drawn")
            if remarks.closed(artist.cfg, artist.planner):
                before = {note for one in self.transcript.entries for note in one.notes}
                entry.notes += [note for note in remarks.of_words(boxes, artist.planner) if note not in before]
        keys = [("chat", self.models.seed, self.number)]
        embeds = read.states, read.pooled
        (image,) = artist.draw([text_of(self.turns)], keys, None if boxes is None else [boxes], embeds)
        entry.picture, entry.layout = self.folder / f"{self.number:03d}-drawn.png", boxes
        save_png(entry.picture, image)
        entry.how = "画的 · drawn" + (f", in {whose} boxes" if boxes is not None and boxes.names else "")
