"""Where the model of a role comes from, as a setting says it."""

import dataclasses

import pytest

from gillnext.config.load import from_dict, settings_of
from gillnext.config.models import Models
from gillnext.roles.sources import ROLES, Source, read, unmade
from gillnext.runtime import files
from gillnext.runtime.errors import UserError


def test_a_setting_names_every_role_and_all_are_made_unless_it_says_otherwise():
    assert [field.name for field in dataclasses.fields(Models)] == list(ROLES)
    assert unmade(Models()) == set()


def test_a_model_is_made_or_lies_in_a_folder_or_on_a_hub(tmp_path):
    assert read("base", "made") == Source() and not Source().given
    assert read("base", str(tmp_path)) == Source(path=str(tmp_path))
    kolors = Source(hub="Kwai-Kolors/Kolors-diffusers", revision="main")
    assert read("base", "Kwai-Kolors/Kolors-diffusers @ main") == read("base", f"{kolors.hub}@main") == kolors


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct @ REVISION"),
        ("/models/not-here", "no such folder"),
        ("Made", "made, kept, the path of a folder, or ORG/NAME @ REVISION"),
        ("", "no such folder"),
        ("a/b @ ../../c d", "no such folder"),
    ],
)
def test_what_is_none_of_the_four_is_told_with_the_setting(value, told):
    with pytest.raises(UserError) as error:
        read("classifier", value)
    assert str(error.value).startswith(f"models.classifier: {value}: ") and told in str(error.value)


def test_no_rule_makes_what_is_given_nor_the_parts_of_a_given_base():
    assert unmade(Models(classifier="a/b @ main", second_evaluator="/x")) == {"classifier", "templates"}
    assert unmade(Models(base="/models/Kolors")) == {"base", "vae", "text_encoder", "base_on_windows"}


@pytest.mark.parametrize(
    ("old", "new"), [("filter.model", "models.classifier"), ("annotate.model", "models.annotator")]
)
def test_a_key_of_before_is_refused_with_the_new_one(old, new):
    section, key = old.split(".")
    with pytest.raises(UserError, match=rf"{old}: unknown key\n.*it is {new} now"):
        from_dict({section: {key: "Qwen/Qwen2.5-7B-Instruct"}})


def test_a_kept_run_may_have_it_where_it_says_nothing(tmp_path):
    files.write_json(tmp_path / "config.json", {"filter": {"model": "", "batch": 7}})
    assert settings_of(tmp_path).filter.batch == 7
    files.write_json(tmp_path / "config.json", {"filter": {"model": "/models/Qwen"}})
    with pytest.raises(UserError, match=r"filter\.model: unknown key"):
        settings_of(tmp_path)
