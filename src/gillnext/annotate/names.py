"""Have a language model write the table of names that a zero-shot detector is asked for: 猫, tab, cat.

    gillnext names --config config.yaml --names names.txt --model models/Qwen2.5-7B-Instruct --out names.tsv

The model answers with a short noun phrase. An answer that is none (too long, other signs than English words have, no
answer at all) is counted in names.json and left blank, for a person to mend in the table. Rows that have a phrase are
never asked again, whoever wrote them: those of --mended, a table of a person's own, and those of --out as it is. A
killed run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from gillnext.config import Config, arguments
from gillnext.instruments import phrases
from gillnext.language import batching, model
from gillnext.language.lengths import by_length
from gillnext.language.tokenizer import without_markers
from gillnext.runtime import contents, files, provenance, training
from gillnext.runtime.errors import UserError
from gillnext.runtime.journal import Journal, at_work
from gillnext.runtime.progress import Progress

WORDS, TOKENS = 4, 16  # of a phrase at most
INSTRUCTION = (
    "把中文物体名称翻译成英文，供目标检测器使用。只回答一个简短的英文名词短语（小写、单数、不加冠词、不解释）。"
)
EXAMPLES = (("猫", "cat"), ("红绿灯", "traffic light"), ("小女孩", "little girl"))
_PHRASE = re.compile(rf"[a-z0-9][a-z0-9'-]*(?: [a-z0-9][a-z0-9'-]*){{0,{WORDS - 1}}}")
_LETTER, _CHINESE = re.compile(r"[a-z]"), re.compile(r"[\u3400-\u9fff]")


def prompt(name: str, tokenizer: Any) -> str:
    """The question in the model's chat template; `UserError` where it has none."""
    if not getattr(tokenizer, "chat_template", None):
        raise UserError(
            "the model has no chat template", where=str(tokenizer.name_or_path),
            remedy="name an instruction-tuned model, as Qwen2.5-7B-Instruct",
        )  # fmt: skip
    messages = [{"role": "system", "content": INSTRUCTION}]
    for known, answer in EXAMPLES:
        messages += [{"role": "user", "content": known}, {"role": "assistant", "content": answer}]
    messages.append({"role": "user", "content": without_markers(name, tokenizer)})
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def read_answer(text: str) -> tuple[str, str]:
    """(phrase, "") of an answer, or ("", why it is none). Case, quotes, an article and a full stop are taken off."""
    plain = text.strip().strip("\"'“”‘’`").strip().rstrip(".。").strip().lower()
    plain = re.sub(r"^(?:an?|the) ", "", plain)
    if not plain:
        return "", "no answer"
    if _CHINESE.search(plain):
        return "", "Chinese"
    if len(plain.split()) > WORDS:
        return "", f"more than {WORDS} words"
    if not _PHRASE.fullmatch(plain) or not _LETTER.search(plain):
        return "", "not a phrase of English words"
    return plain, ""


class Translator:
    """A causal LM that is asked for phrases."""

    def __init__(self, network: Any, tokenizer: Any) -> None:
        self.network, self.tokenizer = network.eval(), tokenizer

    @torch.inference_mode()
    def answer(self, names: Sequence[str]) -> list[str]:
        """The model's answers, greedily decoded, each up to the end of its text."""
        prompts = [prompt(name, self.tokenizer) for name in names]
        tokens = self.tokenizer(prompts, add_special_tokens=False).input_ids
        given = batching.inputs(tokens, self.tokenizer.pad_token_id, self.network.device)
        length = given["input_ids"].shape[1]
        del given["position_ids"]  # `generate` counts them itself, from the mask
        out = self.network.generate(
            **given, max_new_tokens=TOKENS, do_sample=False, pad_token_id=self.tokenizer.pad_token_id
        )
        return [str(text) for text in self.tokenizer.batch_decode(out[:, length:], skip_special_tokens=True)]


def read_names(path: Path) -> list[str]:
    """The names of a list, or of a table."""
    return list(phrases.read(path))


def kept(out: Path, mended: Path | None) -> dict[str, str]:
    """Rows that have a phrase already. Where a person and the table both have one, the person's is taken."""
    rows: dict[str, str] = {}
    for path in (out, mended):
        if path is not None and path.exists():
            rows |= {name: phrase for name, phrase in phrases.read(path).items() if phrase}
    return rows


def translate(
    names: Sequence[str], known: Mapping[str, str], translator: Translator, batch: int, out: Path, job: str
) -> dict[str, Any]:
    """Write the table of `names` to `out`, asking for those that are not `known`; returns the counts, which lie beside
    it as JSON.
    """
    asked = [name for name in names if name not in known]
    with at_work(Journal(out.with_name(out.name + ".work"), job)) as journal:
        with Progress("names", len(asked), "names", start=len(set(asked) & journal.done.keys())) as progress:
            batches = ([asked[i] for i in rows] for rows in by_length(list(map(len, asked)), batch))
            for part in journal.unfinished(batches, str):
                progress.step(journal.add(dict(zip(part, translator.answer(part), strict=True))))
        answers = {name: read_answer(journal.done[name]) for name in asked}
        rows = {name: known[name] if name in known else answers[name][0] for name in names}
        refused = Counter(reason for _, reason in answers.values() if reason)
        counts = {
            "names": len(names), "kept": len(names) - len(asked), "asked": len(asked),
            "blank": sum(refused.values()), "refused": dict(refused),
            "phrases_of_several_names": sum(n > 1 for n in Counter(filter(None, rows.values())).values()),
        }  # fmt: skip
        phrases.write(out, rows)
        files.write_json(out.with_suffix(".json"), counts)
    return counts


def write_table(config: Config, names: Path, folder: Path, out: Path, mended: Path | None = None) -> dict[str, Any]:
    """The whole stage; names of another language than the table's first column do not occur in it."""
    training.setup(config.run.threads, config.run.device)
    wanted, known = read_names(names), kept(out, mended)
    job = provenance.fingerprint(contents.sha256(folder), code=["gillnext.annotate.names"])
    translator = Translator(*model.load(folder, config.run.device))
    return translate(wanted, known, translator, config.filter.batch, out, job)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    arguments.add_config(parser)
    parser.add_argument("--names", type=Path, required=True, metavar="FILE", help="the names, one a line")
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="causal LM with a chat template")
    parser.add_argument(
        "--mended", type=Path, metavar="TSV", help="rows that a person wrote, which go before all others"
    )
    arguments.add_out(parser, "table of names, kept where it has phrases; counts go to the same name with .json")


def main(args: argparse.Namespace) -> None:
    counts = write_table(arguments.config(args), args.names, args.model, args.out, args.mended)
    print(f"names: {counts['asked']} asked, {counts['blank']} left blank, to be mended by hand: {counts['refused']}")
