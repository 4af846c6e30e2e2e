"""Talk with a trained GILL in the terminal: text and pictures in, text and pictures out.

    gillnext chat --results results/demo
    gillnext chat --results results/demo --script dialogue.json --out chat
    gillnext chat --gill G --language L --eyes E --base B --adapter A --planner P --index I --decision D

Type a sentence; `/图 PATH` shows a picture, `/画` and `/找` ask for one, `/框 {"猫": [0.1, 0.3, 0.5, 0.8]}` says where
things are drawn, `/帮助` lists all. Every sentence is answered by one, and by a picture that GILL finds in its index or
draws, as its decision head says (`--answer text`: only when asked). After every turn the folder `--out` has the dialogue
in transcript.html, which needs no network, and transcript.json, with all pictures beside them. Ctrl-D or Ctrl-C ends.

A script is a JSON object {"turns": [{"text": "…", "picture": "…"}, …]}, or a line each (JSONL), where every dialogue has
its own folder in `--out`; turns may have "boxes" and "want" (draw, find, none). The exit status is 2 where a turn could not
be taken; what could is in the transcript.
"""  # noqa: E501

from __future__ import annotations

import argparse
import functools
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

from gillnext.chat import answers, commands
from gillnext.chat.answers import Sampling
from gillnext.chat.artist import Artist
from gillnext.chat.commands import Said
from gillnext.chat.index import Index
from gillnext.chat.parts import open_talker
from gillnext.chat.policy import Policy
from gillnext.chat.session import Models, Session, Want
from gillnext.chat.transcript import PAGE_NAME, Entry
from gillnext.config.model import Config
from gillnext.conversations import Turn
from gillnext.gill.talker import Talker
from gillnext.roles import sources
from gillnext.runtime.errors import UserError
from gillnext.sample import painter

PARTS = ("gill", "language", "eyes", "base", "adapter", "planner", "index", "decision")
NEEDED = ("gill", "language", "eyes", "base")


def role(cfg: Config, name: str, results: Path) -> Path:
    """The folder of a role's model in a run with these results."""
    source = sources.read(name, getattr(cfg.models, name))
    return (
        results / "given" / name if source.hub else Path(source.path or results / "models" / sources.ROLES[name].made)
    )


def folders(cfg: Config, args: argparse.Namespace) -> dict[str, Path]:
    """The folder of each part: named, else that of the results; `UserError` where one that is needed is not there."""
    results = args.results or Path("results") / cfg.run.tier
    supplement, study = results / "supplement", cfg.study
    trained = supplement / "gill" / "adapter"
    own = results / "adapters" / study.reference / str(study.seeds_of(study.reference)[0])
    kept = Path(sources.MODELS) / sources.DRAWING / "adapter"
    places = {
        "gill": supplement / "gill",
        "language": supplement / "language" if cfg.gill.language == "made" else Path(cfg.gill.language),
        "eyes": role(cfg, cfg.gill.eyes, results) if cfg.gill.eyes in sources.ROLES else Path(cfg.gill.eyes),
        "base": painter.base_of(cfg, results),
        "adapter": next((place for place in (trained, own, kept) if place.exists()), own),
        **{name: supplement / name for name in ("planner", "index", "decision")},
    }
    found = {name: getattr(args, name) or place for name, place in places.items()}
    for name, place in found.items():
        if not place.exists():
            if name in NEEDED or getattr(args, name):
                remedy = f"run `make supplement` first, or name it with --{name}"
                raise UserError(f"the {name} is not there", where=str(place), remedy=remedy)
            without(name, place)
    return {name: place for name, place in found.items() if place.exists()}


def without(name: str, place: Path) -> None:
    """Say what is done without a part that is not there."""
    then = {"adapter": "nothing is drawn in boxes", "planner": "no boxes are planned"}.get(name, "pictures are drawn")
    print(f"gillnext chat: no {name} in {place}: {then}", file=sys.stderr)


def models(cfg: Config, parts: dict[str, Path], how: Sampling) -> Models:
    """What a dialogue is held with, from its folders; `UserError` where index or decision head are of another GILL."""
    talker = open_talker(cfg, argparse.Namespace(**{name: parts[name] for name in ("gill", "language", "eyes")}))
    index = Index.open(parts["index"], talker.hash) if "index" in parts else None
    policy = Policy.load(parts["decision"], talker.hash) if "decision" in parts else None
    artist = Artist.load(cfg, parts["base"], parts.get("adapter"), parts.get("planner") if "adapter" in parts else None)
    return Models(talker, artist, functools.partial(speak, talker, how), index, policy, how.seed)


def speak(talker: Talker, how: Sampling, turns: Sequence[Turn], root: Path, number: int) -> str:
    """GILL's next sentence."""
    return answers.answer(talker, turns, root, how, number)


def take(session: Session, said: Said, usual: Want) -> Entry:
    """One turn of a dialogue."""
    return session.say(said.text, said.picture, said.boxes, said.want or usual)


def show(entry: Entry) -> None:
    """GILL's reply on the terminal."""
    for line in (entry.answer, f"[{entry.how}: {entry.picture}]" if entry.picture else ""):
        if line:
            print(f"GILL: {line}", flush=True)
    for note in entry.notes:
        print(f"  ({note})", flush=True)


def free(folder: Path) -> Path:
    """The folder, or FOLDER-2, FOLDER-3, … where there is a transcript already."""
    places = (folder.with_name(f"{folder.name}-{n}" if n > 1 else folder.name) for n in itertools.count(1))
    return next(place for place in places if not (place / PAGE_NAME).exists())


def converse(session: Session, usual: Want) -> None:
    """A dialogue on standard input, until it ends; the transcript is written after every turn."""
    prompt = "你: " if sys.stdin.isatty() else ""
    if prompt:
        print(commands.HELP)
    while True:
        try:
            line = input(prompt)
            said = commands.parse(line)
            if said == "quit":
                return
            if isinstance(said, str):
                print(commands.HELP)
                continue
            show(take(session, said, usual))
        except UserError as error:
            print(f"  ({error})", flush=True)
        except (EOFError, KeyboardInterrupt):
            print()
            return


def play(held: Models, script: Path, out: Path, about: str, usual: Want) -> None:
    """The dialogues of a script; `UserError` at the end where turns could not be taken."""
    dialogues, refused, turns = list(commands.script(script)), 0, 0
    for name, said in dialogues:
        session = Session(held, out / name if script.suffix == ".jsonl" else out, about=about)
        for one in said:
            entry = take(session, one, usual)
            show(entry)
            turns += 1
            refused += not (entry.answer or entry.picture)
    if refused:
        what = f"{refused} of {turns} turns got no answer"
        raise UserError(what, where=str(script), remedy=f"the transcript in {out} tells why of each")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, help="results of the run whose models talk (default: results/TIER)")
    for name in PARTS:
        parser.add_argument(f"--{name}", type=Path, metavar="FOLDER", help=f"the {name} (default: that of the results)")
    what = "settings; later files go on top (default: config.json of the results, without it config.yaml)"
    parser.add_argument("--config", type=Path, nargs="+", metavar="FILE", help=what)
    parser.add_argument("--script", type=Path, metavar="FILE", help="a dialogue as JSON, or several as JSONL")
    parser.add_argument("--out", type=Path, default=Path("chat"), metavar="FOLDER", help="transcript (default: chat)")
    what = "what a sentence is answered by: a sentence and a picture, or a sentence alone"
    parser.add_argument("--answer", choices=("picture", "text"), default="picture", help=what)
    parser.add_argument("--temperature", type=float, default=0.0, help="of the answers; 0: the likeliest (default)")
    parser.add_argument("--top-p", type=float, default=1.0, help="share of the likeliest words that are drawn from")
    parser.add_argument("--opening", default="", metavar="TEXT", help="what every answer begins with")
    parser.add_argument("--seed", type=int, default=0, help="of answers and pictures (default: 0)")


def main(args: argparse.Namespace) -> None:
    if args.temperature < 0 or not 0 < args.top_p <= 1:
        what = f"--temperature {args.temperature:g}, --top-p {args.top_p:g}"
        raise UserError(what, remedy="a temperature of 0 or more, a share above 0 and up to 1")
    cfg = painter.settings(args.config, args.results)
    parts = folders(cfg, args)
    held = models(cfg, parts, Sampling(args.temperature, args.top_p, args.seed, args.opening))
    about = f"GILL {held.talker.hash[:12]} · {cfg.run.tier}"
    usual: Want = "decided" if args.answer == "picture" else "none"
    if args.script:
        play(held, args.script, args.out, about, usual)
        print(f"wrote {args.out}")
    else:
        session = Session(held, free(args.out), about=about)
        converse(session, usual)
        print(f"wrote {session.transcript.page}" if session.transcript.entries else "nothing was said")
