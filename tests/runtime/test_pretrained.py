"""Models are named by a folder or by an id of a hub."""

from pathlib import Path

import pytest

from gillnext.runtime.errors import UserError
from gillnext.runtime.pretrained import absolute, check


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-7B-Instruct", ""])
def test_what_names_no_file_here_stays_as_it_is(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    assert absolute(name) == name
    assert absolute("model") == absolute(Path("model")) == str(tmp_path / "model")


def test_no_name_and_a_folder_that_is_not_there_are_refused_and_a_hub_id_is_not(tmp_path):
    check("Qwen/Qwen2.5-7B-Instruct", "--model", "name one")
    check(tmp_path, "--model", "name one")
    with pytest.raises(UserError, match=r"--model: no model named\n.*name one"):
        check("", "--model", "name one")
    with pytest.raises(UserError, match=r"filter\.model: no such folder: .*Qwen2\.5"):
        check(tmp_path / "Qwen2.5", "filter.model", "mend the path")
