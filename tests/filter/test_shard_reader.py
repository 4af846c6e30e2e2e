"""The shard reader takes what the web throws at it, and names the row of what it cannot take."""

import csv

import numpy as np
import pytest

from gillnext.filter.shards import read_shard
from gillnext.runtime.errors import UserError

GOOD = ["http://a.example/1.jpg,一棵树", "http://a.example/2.jpg,一只猫"]


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
        ("\n".join(["url,text", *GOOD]), "no column caption", "line 1"),
        ("\n".join(["link,caption", *GOOD]), "no column url", "line 1"),
        ("url,caption\n", "no rows", "wukong_100m_3.csv"),
        ("", "empty", "wukong_100m_3.csv"),
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
    table = read_shard(path)
    assert table["row"].to_list() == list(range(500))
    assert list(zip(table["url"], table["caption"], strict=True)) == rows


def test_byte_order_mark_extra_columns_and_column_order_do_not_matter(tmp_path):
    path = write(tmp_path, "\ufeffcaption,id,url\n一只猫,7,http://a\n")
    assert read_shard(path).rows() == [(0, "http://a", "一只猫")]
