"""The shard reader takes what the web throws at it, and names the row of what it cannot take."""

import csv
import io
import random
import re

import numpy as np
import polars as pl
import pytest

from gillnext.filter import shards
from gillnext.filter.lexicon import Lexicon
from gillnext.filter.shards import pass_shard
from gillnext.runtime.errors import UserError

GOOD = ["http://a.example/1.jpg,一棵树", "http://a.example/2.jpg,一只猫"]


EVERY = Lexicon(("",), ())  # a term that stands in every caption


def read_shard(path):
    """Every whole row of a shard, each once, by a lexicon that lets all captions through."""
    pass_shard(path, EVERY, path.with_suffix(".parquet"))
    return pl.read_parquet(path.with_suffix(".parquet"), glob=False)


def write(tmp_path, body, encoding="utf-8"):
    path = tmp_path / "wukong_100m_3.csv"
    path.write_bytes(body.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("body", "what", "place"),
    [
        ("\n".join(["url,caption", *GOOD, 'http://a/3,"没有结尾', *GOOD]), "broken quote", "row 2 (line 4)"),
        ("\n".join(["url,caption", GOOD[0], '"http://a/3","半"截"', *GOOD]), "broken quote", "row 1 (line 3)"),
        ("\n".join(["url,caption", GOOD[0], 'http://a,"a\nb"', "http://a,b,c"]), "3 fields", "row 2 (line 5)"),
        ("\n".join(["url,caption", *GOOD, "http://a/3.jpg"]), "1 fields", "row 2 (line 4)"),
        ("\n".join(["url,caption,id", "http://a/0,猫,1", "http://a/1,左,右,7"]), "4 fields", "row 1 (line 3)"),
        ("\n".join(["url,caption", GOOD[0], 'http://a/1,27"显示器', GOOD[1]]), "a quote within", "row 1 (line 3)"),
        ('url,caption,x\nhttp://a,猫,27"屏\nhttp://b,猫,x\nhttp://c,猫,29"屏\n', "a quote within", "row 0 (line 2)"),
        ('url,"caption\n' + "\n".join(GOOD), "broken quote", "line 1"),
        ('url,caption\nu0,一\nu1,"左边12"屏"\nu2,二\nu3,"三"\nu4,四\n', "broken quote", "row 1 (line 3)"),
        ('url,caption\nu0,一\nu1,"左边12"屏"\nu2,二\nu3,"又12"屏"\nu4,四\n', "broken quote", "row 1 (line 3)"),
        ('url,caption\nu0,"一\n二"\nu1,"他说\\"好\\"的"\n', "broken quote", "row 1 (line 4)"),
        ('url,caption\nu0,"他说"好"的"\n', "broken quote", "row 0 (line 2)"),
        ('url,caption\nu0,他说"好"的\n', "a quote within", "row 0 (line 2)"),
        ('url,caption\nu0, "左"\n', "a quote within", "row 0 (line 2)"),
        ('"url","caption"\nu0,一\nu1,"', "broken quote", "row 1 (line 3)"),
        ('url,caption,"x"y"z"\nu0,一,1\n', "broken quote", "line 1"),
        ("url,caption\nu0,左\ru1,右\n", "a carriage return", "row 0 (line 2)"),
        ('url,caption\r\nu0,"左\r"\r\nu1,右\r\r\n', "a carriage return", "row 1 (line 3)"),
        ("url,caption\ru0,左\ru1,右\r", "a carriage return", "line 1"),
        ("\n".join(["url,text", *GOOD]), "no column caption", "line 1"),
        ("\n".join(["link,caption", *GOOD]), "no column url", "line 1"),
        ("url,caption\n", "no rows", "wukong_100m_3.csv"),
        ("", "empty", "wukong_100m_3.csv"),
        ("\ufeff", "empty", "wukong_100m_3.csv"),
    ],
)
def test_bad_shard_is_refused_with_its_place_and_a_remedy(tmp_path, body, what, place):
    path = write(tmp_path, body)
    with pytest.raises(UserError) as error:
        read_shard(path)
    assert what in str(error.value)
    assert place in str(error.value)
    assert "wukong_100m_3.csv" in str(error.value)
    assert "remedy" in str(error.value)


def test_a_field_of_any_length_beside_an_empty_one_is_read(tmp_path):
    path = write(tmp_path, "\n".join(["url,caption,x", f"http://a/1,{'猫' * 200_000},1", "http://a/2,,2"]))
    assert read_shard(path)["caption"].str.len_chars().to_list() == [200_000]


def test_a_path_is_a_path_and_no_pattern(tmp_path):
    for name, rows in (("a[1]", GOOD), ("a1", GOOD[:1])):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "\n".join(["url,caption", *rows]))
    assert read_shard(tmp_path / "a[1]" / "wukong_100m_3.csv").height == 2


def test_wrong_encoding_names_the_line(tmp_path):
    path = write(tmp_path, "\n".join(["url,caption", "http://a/1,cat", *GOOD]), "gb18030")
    with pytest.raises(UserError, match=r"not UTF-8") as error:
        read_shard(path)
    assert "line 3" in str(error.value)


def test_missing_shard_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no such shard"):
        read_shard(tmp_path / "none.csv")


def test_quotes_commas_newlines_emoji_and_empty_fields_read_as_the_csv_module_reads_them(tmp_path):
    rng = np.random.default_rng(0)
    pieces = ["猫", ",", '"', "\n", "\r\n", "🙂", " ", "a", "，", "''", "#"]
    rows = [(f"http://a/{i}?w=1,2", "".join(rng.choice(pieces, rng.integers(0, 9)))) for i in range(500)]
    path = tmp_path / "wukong_100m_0.csv"
    with open(path, "w", encoding="utf-8", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows([("url", "caption"), *rows])
    expected = [(number, *row) for number, row in enumerate(rows) if row[1]]
    assert len(expected) > 400 and read_shard(path).rows() == expected
    counts = pass_shard(path, EVERY, tmp_path / "out.parquet")
    assert counts == {"rows": 500, "empty": 500 - len(expected), "repeated": 0, "no_keyword": 0}


LINE = r'(?:[^",\r\n]*|"(?:[^"]|"")*")(?:,(?:[^",\r\n]*|"(?:[^"]|"")*"))*(?:\r?\n|\r?\Z)'
RFC_4180 = re.compile(f"(?:{LINE})*")  # its grammar; here a line may also end at a newline alone, the last anywhere


def test_any_text_is_read_as_the_csv_module_reads_it_or_refused_with_its_line(tmp_path, monkeypatch):
    """What the grammar of RFC 4180 has and two fields a row are read, whatever block a quote lies in; no other text."""
    fields = ["a", "左", "", '""', '"a,b"', '"a\nb"', '"a\r\n,"', '"a""b"', '"a\rb"', "a\0"] * 12
    fields += ["a\rb", 'a"b', '"a"b"', '"a"b', '"', '\\"a\\"', '"\\"a\\""', ' "a"']
    line_ends = ["\n", "\n", "\r\n", "\n\n"]
    rng, read = random.Random(4), 0  # NumPy's would cut the null character off
    for case in range(300):
        monkeypatch.setattr(shards, "BLOCK", rng.choice([1, 2, 3, 7, 1 << 20]))
        lines = [f"{rng.choice(fields)},{rng.choice(fields)}{rng.choice(line_ends)}" for _ in range(4)]
        if case % 2:
            lines += rng.choices([*fields, *line_ends, "\r\r\n", ","], k=5)
        text = "".join(["url,caption\n", *lines, rng.choice(["", "a,b", "a,b\r", 'a,"b"'])])
        rows = list(csv.reader(io.StringIO(text, newline="")))[1:] if RFC_4180.fullmatch(text) else None
        path = write(tmp_path, rng.choice(["", "\ufeff"]) + text)
        if rows is None or any(len(row) not in (0, 2) for row in rows):
            with pytest.raises(UserError, match=r"line \d+\)"):
                read_shard(path)
            continue
        found, read = read_shard(path), read + 1
        whole = [(i, *row) for i, row in enumerate(rows) if row and row[0] and row[1]]
        once = [row for k, row in enumerate(whole) if row[1:] not in [other[1:] for other in whole[:k]]]
        assert found.filter(pl.col("caption") != "").rows() == once
    assert 60 < read < 240


def test_a_short_row_is_found_whatever_stands_in_it(tmp_path):
    """Its comma may stand in quotes; empty fields beside it are no short rows."""
    good = 'http://a/1,\n,猫\n"http://a,2",""\n"http://a/3","a\nb"\n'.replace("\\n", "\n")
    assert pass_shard(write(tmp_path, "url,caption\n" + good), EVERY, tmp_path / "o")["empty"] == 2
    for short in ('"http://a,5"', "http://a/5", '"http://a\n/5"'):
        with pytest.raises(UserError, match="1 fields instead of 2"):
            read_shard(write(tmp_path, f"url,caption\n{good}{short}\n"))


def test_short_rows_are_found_as_the_csv_module_finds_them(tmp_path):
    """Beside empty fields, captions of several lines, and lines inside them that look like a short row."""
    whole = [
        "http://a/{i},猫", "http://a/{i},", '"http://a/{i},b",', '"http://a/{i}",', ",猫", 'http://a/{i},"a\nb"',
        'http://a/{i},"a\nhttp://a/0\n"', 'http://a/{i},""',
    ]  # fmt: skip
    short = ["http://a/{i}", '"http://a/{i}"', '"http://a/{i},b"', '"http://a\n{i}"']
    rng, found = np.random.default_rng(2), []
    for case in range(80):
        lines = [str(line).format(i=rng.integers(3)) for line in rng.choice(whole, 6)]
        if case % 2:
            lines.insert(int(rng.integers(7)), short[case // 2 % 4].format(i=rng.integers(3)))
        text = "\n".join(["url,caption", *lines]) + "\n"
        found.append(any(len(fields) == 1 for fields in csv.reader(io.StringIO(text, newline=""))))
        path = write(tmp_path, text)
        if found[-1]:
            with pytest.raises(UserError, match="1 fields instead of 2"):
                read_shard(path)
        else:
            read_shard(path)
    assert sum(found) == 40


@pytest.mark.parametrize("text", ["caption,url\n猫,http://a\n树\n", "url,caption\r\nhttp://a,猫\r\nhttp://b\r\n"])
def test_a_short_row_is_found_with_columns_in_another_order_and_lines_of_windows(tmp_path, text):
    with pytest.raises(UserError, match=r"1 fields instead of 2") as error:
        read_shard(write(tmp_path, text))
    assert "row 1 (line 3)" in str(error.value)


def test_empty_captions_beside_captions_of_several_lines_cost_no_walk(tmp_path, monkeypatch):
    """Python's csv module takes many times as long as the pass."""
    monkeypatch.setattr(shards, "_walk", lambda *_: pytest.fail("the file was walked"))
    text = 'url,caption\nhttp://a/1,\nhttp://a/2,"一行\n又一行"\n"http://a/3,b",\nhttp://a/4,猫\n'
    assert read_shard(write(tmp_path, text))["row"].to_list() == [1, 3]


def test_more_rows_that_name_a_place_than_memory_holds_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MOST", 1)
    with pytest.raises(UserError, match="2 rows hold a word of place"):
        read_shard(write(tmp_path, "\n".join(["url,caption", *GOOD])))


def test_byte_order_mark_extra_columns_and_column_order_do_not_matter(tmp_path):
    path = write(tmp_path, "\ufeffcaption,id,url\n一只猫,7,http://a\n")
    assert read_shard(path).rows() == [(0, "http://a", "一只猫")]


@pytest.mark.parametrize("size", [1, 3, 7, 10**6])
def test_rows_pass_and_repeat_alike_in_slices_of_any_size(tmp_path, monkeypatch, size):
    """Against Python: a term outside the trap, and of each pair of URL and caption the first."""
    rng = np.random.default_rng(3)
    captions = ["左边的猫", "100元左右", "左右两边各有一只猫", "一棵树", "猫在右边", ""]
    rows = [(f"http://a.example/{rng.integers(4)}", captions[rng.integers(len(captions))]) for _ in range(60)]
    path = write(tmp_path, "\n".join(["url,caption", *map(",".join, rows)]) + "\n")
    monkeypatch.setattr(shards, "SLICE", size)
    counts = pass_shard(path, Lexicon(("左", "右"), ("左右",)), tmp_path / "out.parquet")
    named = [(i, *row) for i, row in enumerate(rows) if set("左右") & set(row[1].replace("左右", ""))]
    once = [row for k, row in enumerate(named) if row[1:] not in [other[1:] for other in named[:k]]]
    assert pl.read_parquet(tmp_path / "out.parquet").rows() == once and len(once) < len(named)
    empty = sum(not caption for _, caption in rows)
    assert counts == {
        "rows": 60, "empty": empty, "repeated": len(named) - len(once), "no_keyword": 60 - empty - len(named)
    }  # fmt: skip


def test_hashes_that_collide_in_half_are_told_apart_by_the_other():
    hashes = pl.DataFrame({"one": [1, 1, 1, 2, 2], "other": [5, 6, 5, 7, 7]}, schema_overrides={"one": pl.UInt64})
    assert shards._first_of_each(hashes).to_list() == [True, True, False, True, False]
