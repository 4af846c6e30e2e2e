"""Strict reading of YAML into the dataclasses of `gillnext.config.model`, and the schema of them."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import math
import re
import types
import typing
from pathlib import Path
from typing import Any

import yaml

from gillnext.config.model import Arm, Config, Study
from gillnext.config.supplement import PARTS
from gillnext.runtime import files
from gillnext.runtime.errors import UserError

# Keys of before, which kept runs have, and the keys that say it now.
MOVED = {"filter.model": "models.classifier", "annotate.model": "models.annotator", "text": "text_encoder"}
_JSON = {int: "integer", float: "number", str: "string", bool: "boolean"}


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _refuse(what: str, where: str, key: str, remedy: str) -> typing.NoReturn:
    raise UserError(what, where=f"{where}: {key}" if key else where, remedy=remedy)


def _number_or_truth(kind: type, value: Any) -> Any:
    """What `value` plainly says where a number, true or false is expected, and `value` where it says none.

    To PyYAML `5e-3` is text; of a mapping after Snakemake's --config everything is.
    """
    if kind in (int, float) and (isinstance(value, str) or type(value) is int):
        with contextlib.suppress(ValueError, OverflowError):
            return kind(value)
    if kind is bool and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower(), value)
    return value


def _value(kind: Any, value: Any, where: str, key: str) -> Any:
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return build(typing.cast(type, kind), value, where, key)
    if origin is types.UnionType:  # of a kind and None, which is "not set"
        return None if value in (None, "null") else _value(typing.get_args(kind)[0], value, where, key)
    if origin is typing.Literal:
        allowed = typing.get_args(kind)
        if value not in allowed:
            near = difflib.get_close_matches(str(value), [str(a) for a in allowed], 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            hint += "YAML reads no, yes, off and on as false and true, unless in quotes: " * isinstance(value, bool)
            _refuse(f"{value!r} is not a value of it", where, key, f"{hint}one of {', '.join(map(repr, allowed))}")
        return value
    if origin is dict:
        if not isinstance(value, dict):
            _refuse("expected a mapping", where, key, "write name: {…}")
        for name in value:
            if not isinstance(name, str):
                _refuse(f"{name!r} is no name", where, key, "write it in quotes")
        return {k: _value(typing.get_args(kind)[1], v, where, f"{key}.{k}") for k, v in value.items()}
    if origin is list:
        if not isinstance(value, list):
            _refuse(f"expected a list, not {value!r:.60}", where, key, "write [a, b, …]")
        return [_value(typing.get_args(kind)[0], v, where, f"{key}[{i}]") for i, v in enumerate(value)]
    value = _number_or_truth(kind, value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        _refuse(f"expected {_JSON[kind]}, not {value!r:.60}", where, key, f"give it as {_JSON[kind]}")
    if kind is float and not math.isfinite(value):
        _refuse(f"{value} is not a finite number", where, key, "give a finite one")
    if kind in (int, float) and value < 0:
        _refuse(f"{value} is negative", where, key, "give 0 or more")
    return value


def build(cls: type, data: Any, where: str, prefix: str = "") -> Any:
    """`data` (a mapping) as an instance of the dataclass `cls`; errors name the key and the nearest valid one."""
    if not isinstance(data, dict):
        what = f"expected a mapping, not {data!r:.60}"
        _refuse(what, where, prefix, "write key: value pairs, {} for none, or delete the line")
    hints = _hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}
    values = {}
    for name, value in data.items():
        key = f"{prefix}.{name}" if prefix else str(name)
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(sorted(known))}"
            hint = f"it is {MOVED[key]} now" if key in MOVED else hint
            _refuse("unknown key", where, key, hint)
        values[name] = _value(hints[name], value, where, key)
    return cls(**values)


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` on top of `base`, mapping by mapping."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


class _Loader(yaml.SafeLoader):
    """YAML without three surprises: a key that comes twice, 010 for 8, and 1:30 for 90."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} comes twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _construct_number(loader: _Loader, node: Any) -> Any:
    """A number of YAML 1.1, unless YAML 1.2 reads another."""
    kind = node.tag.rpartition(":")[2]
    value = getattr(loader, f"construct_yaml_{kind}")(node)
    if ":" in node.value or re.match("[-+]?0[0-9_]", node.value):
        what = f"{node.value} is {value} to YAML: leave out leading zeros and colons"
        raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
    return value


for _kind in ("int", "float"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct_number)


def read_yaml(path: Path | str) -> dict[str, Any]:
    """The mapping in a YAML or JSON file, {} where the file is empty; `UserError` where it is none."""
    text, remedy = files.read_text(path), "correct it: key: value pairs, each key once, indented with spaces"
    try:
        data = yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise UserError(f"not YAML: {what}", where=where, remedy=remedy) from error
    if data is not None and not isinstance(data, dict):
        raise UserError("expected a mapping at the top", where=str(path), remedy=remedy)
    return data or {}


def load(*paths: Path | str) -> Config:
    """The configuration from YAML or JSON files, later ones on top of earlier ones."""
    data: dict[str, Any] = {}
    for path in paths:
        over = read_yaml(path)
        build(Config, over, str(path))
        data = merge(data, over)
    return from_dict(data, ", ".join(map(str, paths)))


def settings_of(folder: Path | str) -> Config:
    """The settings in a run's `config.json`; of an older run, a key of MOVED that said nothing is passed over."""
    path = Path(folder) / "config.json"
    data = read_yaml(path)
    for section, _, key in (old.partition(".") for old in MOVED):
        if isinstance(data.get(section), dict) and data[section].get(key) == "":
            del data[section][key]
    return from_dict(data, str(path))


def _lent(study: Study, name: str, where: str) -> Arm:
    """The arm `name` with the settings of the arm whose adapters it draws with, if it does with another's."""
    row, key = study.arms[name], f"study.arms.{name}"
    if row.local > 1:
        _refuse(f"{row.local:g} is more than all steps", where, f"{key}.local", "give a share from 0 to 1")
    if row.adapter is None:
        if row.local:
            _refuse("steps are local with another arm's adapters", where, f"{key}.local", "name that arm as `adapter`")
        return row
    if row.adapter not in study.trained:
        what = f"{row.adapter!r} is no arm with adapters of its own"
        _refuse(what, where, f"{key}.adapter", f"one of {', '.join(study.trained)}")
    lender, plain = study.arms[row.adapter], Arm()
    if lender.site == "gated" and row.local:
        _refuse("the gated site attends to every slot", where, f"{key}.local", "name an arm of another site")
    lent = dataclasses.replace(lender, adapter=row.adapter, local=row.local, seeds=row.seeds)
    for field in dataclasses.fields(Arm):
        if getattr(row, field.name) not in (getattr(lent, field.name), getattr(plain, field.name)):
            _refuse(f"it is what {row.adapter} has, whose adapters draw", where, f"{key}.{field.name}", "leave it out")
    return lent


def _checked(study: Study, where: str) -> Study:
    """`study` with the arms of its subset alone; an arm that is named somewhere and is not there is an error."""
    named = [("reference", study.reference)] if study.arms else []
    named += [("subset", arm) for arm in study.subset]
    named += [("swapped", arm) for arm in study.swapped]
    named += [(key, arm) for key in ("shown", "end_to_end") for arm in getattr(study, key)]
    named += [("headline", arm) for pair in study.headline for arm in pair]
    for key, arm in named:
        if arm not in study.arms:
            _refuse(f"{arm!r} is no arm", where, f"study.{key}", f"one of {', '.join(study.arms)}")
    for pair in study.headline:
        if len(pair) != 2:
            _refuse(f"{pair} is no pair of arms", where, "study.headline", "write [first, second]")
    for name, row in study.arms.items():
        if row.site != "none" and row.boxes != "none":
            _refuse("an arm with an adapter gets its boxes there", where, f"study.arms.{name}.boxes", "site: none")
        for key in ("seeds", "steps", "lr"):
            if getattr(row, key) == 0:
                _refuse("0 leaves nothing to run", where, f"study.arms.{name}.{key}", "null: what the others have")
    arms = {name: _lent(study, name, where) for name in study.arms}
    arms = {name: row for name, row in arms.items() if name in study.subset or not study.subset}
    if arms and study.reference not in arms:
        _refuse(f"{study.reference!r} is not in it", where, "study.subset", "add it, or name another study.reference")
    if arms and (lender := arms[study.reference].adapter):
        _refuse(f"{study.reference!r} has the adapters of {lender!r}", where, "study.reference", "name that arm")
    for name, row in arms.items():
        if row.adapter is not None and row.adapter not in arms:
            _refuse(f"{row.adapter!r}, whose adapters {name} draws with, is not in it", where, "study.subset", "add it")
    headline = [pair for pair in study.headline if all(arm in arms for arm in pair)]
    swapped, shown, end_to_end = (
        [arm for arm in names if arm in arms] for names in (study.swapped, study.shown, study.end_to_end)
    )
    return dataclasses.replace(study, arms=arms, headline=headline, swapped=swapped, shown=shown, end_to_end=end_to_end)


def from_dict(data: dict[str, Any], where: str = "configuration") -> Config:
    config = build(Config, data, where)
    if config.curve.images > config.sample.val:
        what = f"{config.curve.images} of {config.sample.val} validation layouts"
        _refuse(what, where, "curve.images", "sample.val says how many there are")
    for i, part in enumerate(config.supplement.parts):
        if part not in PARTS or part in config.supplement.parts[:i]:
            _refuse(f"{part!r}", where, "supplement.parts", f"each of {', '.join(PARTS)} once, or some of them")
    return dataclasses.replace(config, study=_checked(config.study, where))


def _schema(kind: Any) -> dict[str, Any]:
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        hints = _hints(typing.cast(type, kind))
        properties = {}
        for f in dataclasses.fields(kind):
            properties[f.name] = _schema(hints[f.name])
            if doc := f.metadata.get("doc"):
                properties[f.name]["description"] = doc
            if f.default is not dataclasses.MISSING:
                properties[f.name]["default"] = f.default
        return {"type": "object", "properties": properties, "additionalProperties": False}
    if origin is types.UnionType:
        value = _schema(typing.get_args(kind)[0])
        return value | {"type": [value["type"], "null"]}
    if origin is typing.Literal:
        return {"enum": list(typing.get_args(kind))}
    if origin is dict:
        return {"type": "object", "additionalProperties": _schema(typing.get_args(kind)[1])}
    if origin is list:
        return {"type": "array", "items": _schema(typing.get_args(kind)[0])}
    bounds = {"minimum": 0} if kind in (int, float) else {}
    return {"type": _JSON[kind], **bounds}


def schema() -> dict[str, Any]:
    """The JSON schema of `config.yaml`."""
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": "GILL-Next-CN", **_schema(Config)}
