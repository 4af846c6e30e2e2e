"""What a score file says of its making, in words."""

from gillnext.tables.collect import made_in, told_by


def test_a_score_without_an_arithmetic_was_made_before_there_was_another():
    assert made_in({}) == made_in({"provenance": {"code": "x"}}) == "fast"
    assert told_by({}) == "In fast arithmetic."


def test_arithmetic_processor_and_library_are_named():
    stamp = {"arithmetic": "portable", "processor": "Abacus 7", "libc": "glibc 2.36"}
    assert told_by({"provenance": stamp}) == "In portable arithmetic on Abacus 7, glibc 2.36."
