"""What tables call the evaluators: by what they are where the second learns nothing, else by their role."""

from __future__ import annotations

from gillnext.record.results import Results


def pair(results: Results) -> tuple[str, str]:
    """The two evaluators in a word each."""
    return ("learned", "rules") if results.second_learns_nothing else ("first", "second")


def titled(results: Results, title: str) -> str:
    """A title that says “by rules”, as the run's second evaluator is called."""
    return title if results.second_learns_nothing else title.replace("by rules", "by the second")


def protocol_key(results: Results, key: str) -> str:
    """A key of the protocol in print; `rules` is what the second evaluator is."""
    return "second evaluator" if key == "rules" and not results.second_learns_nothing else key.replace("_", " ")


def second(results: Results) -> str:
    """A sentence on what the second evaluator is."""
    if results.second_learns_nothing:
        return "By rules: the evaluator that learns nothing."
    return "By the second: another evaluator of the same pictures, as the protocol names it."
