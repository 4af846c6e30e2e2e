"""Rules follow what their stage reads: the code that it imports, and the settings that this code names."""

import dataclasses
import json
import re
import shlex
from pathlib import Path

import pytest

from gillnext.cli import STAGES
from gillnext.config.model import Config
from gillnext.paper.figure import NAMES
from gillnext.runtime import gpus
from gillnext.runtime.imports import UNFOLLOWED, closure

ROOT = Path(__file__).parents[2]
SECTIONS = {field.name for field in dataclasses.fields(Config)}

READ = re.compile(r"(?<!replace\()\b(?:cfg|config)\.(\w+)(?:\.(\w+))?")  # a replaced section is read where it is used
INDIFFERENT = {"ray"}  # the same answers on any devices (tests/runtime/test_stages_on_actors.py)
EVERYWHERE = {"world.objects", "world.size"}  # `settings` adds them to every rule where they are not the drawn world's


def rules():
    """Each rule that has code, with its text; one that is another's with other inputs has that one's command."""
    found = {}
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for block in re.split(r"\n(?=rule |use rule )", path.read_text(encoding="utf-8")):
            if like := re.match(r"use rule (\w+) as (\w+) with:", block):
                found[like[2]] = block.rstrip() + found[like[1]][found[like[1]].index("\n    shell:") :]
            elif name := re.match(r"rule (\w+):", block):
                found[name[1]] = block
    for name, block in found.items():
        if "code=code(" in block:
            yield pytest.param(name, block.replace("{params.stage:q}", name), id=name)


def strings(block, call):
    found = re.search(rf"{call}=\w+\((.*?)\)", block, re.S)
    return set(re.findall(r'"([^"]+)"', found[1])) if found else set()


def modules(block):
    """The modules that a rule names; of every figure, where one is a wildcard."""
    return {name.format(figure=figure) for name in strings(block, "code") for figure in NAMES}


@pytest.mark.parametrize(("rule", "block"), rules())
def test_a_rule_names_the_settings_that_its_code_reads(rule, block):
    if "settings=everything" in block:
        return
    declared = strings(block, "settings") | INDIFFERENT | EVERYWHERE
    read = set()
    for module in modules(block):
        for path in closure(module, ROOT / "src", skip=["gillnext.config", "gillnext.cli"]):
            if path.suffix == ".py":
                text = path.read_text(encoding="utf-8")
                read |= {(s, f) for s, f in READ.findall(text) if s in SECTIONS}
    followed = {s.split(".")[0] if s.startswith("study.arms") else s for s in declared}
    missing = {f"{s}.{f}" if f else s for s, f in read if s not in followed and f"{s}.{f}" not in followed}
    assert missing == set()


@pytest.mark.parametrize(("rule", "block"), rules())
def test_a_rule_is_one_stage(rule, block):
    command = re.search(r"gillnext (\w+)", block)
    assert command, f"{rule} runs no stage"
    module, _ = STAGES[command[1]]
    assert module in strings(block, "code")


def test_a_rule_asks_for_the_gpus_that_its_stage_takes():
    """Of a release's rules too; an adapter's are its processes' (tests/runtime/test_starting.py)."""
    asked, copies = {}, {}
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for block in re.split(r"\n *(?=(?:use )?rule \w)", path.read_text(encoding="utf-8")):
            name, command = re.search(r"rule (?:\w+ as )?(\w+)", block), re.search(r"gillnext (\w+) ", block)
            found = re.search(r"gpu=(.*),|launch\.resources\(cfg\.adapter, (GPU)\)", block)
            if like := re.match(r"use rule (\w+) as", block):
                copies[name[1]] = like[1]
            elif name:
                asked[command[1] if command else name[1]] = (found[1] or found[2]) if found else None
    asked |= {name: asked[like] for name, like in copies.items() if name in STAGES}
    expected = dict.fromkeys(gpus.ACTORS, "GPU * HANDS") | dict.fromkeys(
        gpus.STAGES - {"draw", "studio", "chat", "edit"}, "GPU"
    )
    assert {stage: gpu for stage, gpu in asked.items() if gpu} == expected


def test_every_stage_that_takes_a_gpu_is_a_command():
    assert {*gpus.STAGES, *gpus.ACTORS} <= set(STAGES)


@pytest.mark.parametrize(("rule", "block"), rules())
def test_a_rule_is_logged_and_measured(rule, block):
    order = ["input", "output", "params", "log", "benchmark", "threads", "resources", "message", "shell"]
    if "{params." not in block:  # a stage that reads no settings
        order.remove("params")
    order = [name for name in order if name not in ("threads", "resources") or f"    {name}:" in block]
    places = [block.index(f"    {directive}:") for directive in order]
    assert places == sorted(places)
    assert "> {log:q} 2>&1" in block


def commands():
    """The shell command of every rule, as it is written."""
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        text = path.read_text(encoding="utf-8")
        for name, indent, lines in re.findall(r"\n *(?:use )?rule (\w+)[^\0]*?\n( +)shell:\n((?:\2 +\S.*\n)+)", text):
            yield pytest.param(re.sub(rf"(?m)^{indent} +", "", lines), id=name)


@pytest.mark.parametrize("lines", commands())
def test_a_command_is_plain_strings_whose_every_value_is_quoted(lines):
    """A setting that holds a space, a quote or a dollar sign is one argument, and names no command."""
    assert all(re.fullmatch(r'"[^"]*"', line) for line in lines.splitlines()), "no f-string, nothing added or joined"
    assert [field for field in re.findall(r"\{(.*?)\}", lines) if not field.endswith(":q")] == []


def test_every_command_is_found():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "workflow").rglob("*.smk")]
    assert len(list(commands())) == sum(text.count("shell:\n") for text in texts)


AWKWARD = """数据 $HOME; it's "左" & `右`|*"""


def arguments(checkout, tier, settings):
    """The arguments that the shell makes of each command that a dry run prints, by stage: of its last job."""
    (checkout.root / "lab.json").write_text(json.dumps(settings))
    status, output = checkout.snakemake("-n", "-p", "--configfile", f"config/{tier}.yaml", "lab.json")
    assert status == 0, output
    split = [shlex.split(line) for line in re.findall(r"Shell command: +gillnext (.*) > .* 2>&1", output)]
    return {stage: rest for stage, *rest in split}


def test_a_release_and_models_in_folders_of_any_name_are_one_argument_each(checkout, given):
    release = checkout.root / f"{AWKWARD} release"
    shards = [str(release / f"wukong_100m_{i}.csv") for i in range(2)]
    release.mkdir()
    for shard in shards:
        Path(shard).touch()
    for role, folder in given.items():
        given[role] = str(Path(folder).rename(checkout.root / f"{AWKWARD} {role}"))
    world = {"release": str(release), "shards": 2, "parts": 1}
    found = arguments(checkout, "wukong", {"world": world, "models": given})
    config, rest = ["--config", "results/wukong/config.json"], ["--out", "results/wukong/filtered/0.parquet"]
    assert found["filter"] == [*config, "--shards", *shards, "--model", given["classifier"], *rest]
    for stage, option, role in (
        ("annotate", "--model", "annotator"), ("cache", "--base", "base"), ("planner", "--from", "planner"),
        ("score", "--evaluator", "evaluator"), ("real", "--clip", "image_text"), ("names", "--model", "classifier"),
    ):  # fmt: skip
        assert found[stage][found[stage].index(option) + 1] == given[role]


def test_an_arm_of_any_name_is_one_argument(checkout):
    study = {"arms": {AWKWARD: {"site": "attn2"}}, "subset": [AWKWARD], "reference": AWKWARD}
    found = arguments(checkout, "smoke", {"study": study})
    for stage in ("adapter", "curve", "sample", "score"):
        assert found[stage][found[stage].index("--arm") + 1] == AWKWARD
    adapter = found["sample"].index("--adapter") + 1
    assert found["sample"][adapter : adapter + 2] == [f"results/smoke/adapters/{AWKWARD}/0", "--layouts"]


METHOD = {
    "filter",
    "download",
    "annotate",
    "cache",
    "adapter",
    "curve",
    "sample",
    "score",
    "relations",
    "swapped",
    "memory",
    "planner",
    "plan",
}


@pytest.mark.parametrize(("rule", "block"), [one for one in rules() if one.id in METHOD])
def test_no_stage_of_the_method_is_made_of_the_drawn_world(rule, block):
    """So an edited noun of the demo redoes no adapter, filter or sample where scenes are others."""
    served = "gillnext.miniatures.world.serve"  # which the download asks, of the drawn world alone
    code = {path for module in modules(block) - {served} for path in closure(module, ROOT / "src", UNFOLLOWED)}
    assert code and not {path.name for path in code if "world" in path.parts}


@pytest.fixture
def package(tmp_path):
    files = {
        "ours/__init__.py": "",
        "ours/stage.py": "import ours.deep.one\nfrom ours import two\nfrom . import three\n",
        "ours/two.py": "def late():\n    from ours.four import something\n",
        "ours/three.py": "import json\nWORDS = 'words.txt'\nLATE = 'ours.six'\n",
        "ours/four.py": "from ours.stage import nothing\n",
        "ours/five.py": "import ours.stage\n",
        "ours/six.py": "",
        "ours/deep/__init__.py": "from .helper import x\n",
        "ours/deep/helper.py": "",
        "ours/deep/one.py": "",
        "ours/deep/unused.py": "",
        "ours/settings.py": "import ours.only_settings_need_this\n",
        "ours/only_settings_need_this.py": "",
        "ours/words.txt": "左边",
        "ours/other.txt": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def names(root, module, **options):
    return [str(path.relative_to(root)) for path in closure(module, root, **options)]


def test_the_closure_follows_every_kind_of_import_and_no_more(package):
    assert names(package, "ours.stage") == [
        "ours/__init__.py", "ours/deep/__init__.py", "ours/deep/helper.py", "ours/deep/one.py", "ours/four.py",
        "ours/six.py", "ours/stage.py", "ours/three.py", "ours/two.py", "ours/words.txt",
    ]  # fmt: skip


def test_the_closure_leaves_out_what_is_skipped_with_what_only_it_needs(package):
    (package / "ours/six.py").write_text("import ours.settings\n")
    assert "ours/only_settings_need_this.py" in names(package, "ours.six")
    assert names(package, "ours.six", skip=["ours.settings"]) == ["ours/__init__.py", "ours/six.py"]


def test_a_module_that_is_not_there_or_does_not_parse_is_told(package):
    with pytest.raises(ModuleNotFoundError, match=r"ours\.seven"):
        closure("ours.seven", package)
    (package / "ours/broken.py").write_text("def (:\n")
    with pytest.raises(SyntaxError):
        closure("ours.broken", package)
