"""The documents: links lead somewhere, the index names all, the first page is short, and its two languages agree."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page):
    """The names of a page's headings, as they are linked to."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def local(page):
    """The links of a page that stay in the repository: (as written, file, heading)."""
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" not in link:
            file, _, heading = link.partition("#")
            yield link, (page.parent / file if file else page), heading


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    found = list(local(page))
    assert [link for link, file, _ in found if not file.exists()] == []
    assert [link for link, file, heading in found if heading and heading not in anchors(file)] == []


def test_the_index_names_every_document():
    linked = {file.resolve() for _, file, _ in local(ROOT / "docs/README.md")}
    assert linked >= set((ROOT / "docs").glob("*.md")) - {ROOT / "docs/README.md"}


def commands(page):
    """What a page says to type or to open: indented lines without their comments, code, and links but to a language."""
    text = page.read_text(encoding="utf-8")
    lines = [line.split("#")[0].strip() for line in re.findall(r"(?m)^    (.+)$", text)]
    links = sorted(link for link in LINK.findall(text) if not link.startswith("README"))
    return lines, sorted(re.findall(r"`([^`]+)`", text)), links


def test_the_first_page_is_short_and_says_the_same_in_both_languages():
    english, chinese = ROOT / "README.md", ROOT / "README.zh.md"
    assert all(len(page.read_text(encoding="utf-8").splitlines()) <= 120 for page in (english, chinese))
    assert commands(english) == commands(chinese) and len(commands(english)[0]) >= 2
    rows = [len(re.findall(r"(?m)^\|", page.read_text(encoding="utf-8"))) for page in (english, chinese)]
    headings = [len(re.findall(r"(?m)^#", page.read_text(encoding="utf-8"))) for page in (english, chinese)]
    assert rows[0] == rows[1] and headings[0] == headings[1]
