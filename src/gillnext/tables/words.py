"""What tables call the evaluators: those that the workflow makes by what they are, given ones by their role."""

from __future__ import annotations

from gillnext.record.results import Results
from gillnext.roles.sources import OWN


def learns_nothing(results: Results) -> bool:
    """Whether the second evaluator is the workflow's own, templates of colour and shape: the drawn world has them."""
    return results.config.models.second_evaluator in OWN and results.config.world.drawn


def pair(results: Results) -> tuple[str, str]:
    """The two evaluators in a word each."""
    return ("learned", "rules") if learns_nothing(results) else ("first", "second")


def told(results: Results, title: str) -> str:
    """A title that says “by rules”, as the run's second evaluator is called."""
    return title if learns_nothing(results) else title.replace("by rules", "by the second")


def protocol_key(results: Results, key: str) -> str:
    """A key of the protocol in print; `rules` is what the second evaluator is."""
    return "second evaluator" if key == "rules" and not learns_nothing(results) else key.replace("_", " ")


def second(results: Results) -> str:
    """A sentence on what the second evaluator is."""
    if learns_nothing(results):
        return "By rules: the evaluator that learns nothing."
    return "By the second: another evaluator of the same pictures, as the protocol names it."
