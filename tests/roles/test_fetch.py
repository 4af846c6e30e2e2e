"""What a role's setting names on a hub is fetched at one commit; the hub is a server on loopback."""

import http.server
import json
import threading
from functools import partial
from hashlib import sha256

import pytest

from gillnext import cli
from gillnext.config.load import load
from gillnext.config.models import Models
from gillnext.roles import fetch as fetching
from gillnext.roles.fetch import fetch, wanted
from gillnext.roles.sources import Source
from gillnext.runtime.errors import UserError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights",
    "pytorch_model.bin": b"a pickle",
    "modeling_own.py": b"print('code')",
    "README.md": b"# card",
}


class Hub(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        path, siblings = self.path.partition("?")[0], [{"rfilename": name} for name in self.server.files]
        name = path.removeprefix(f"/org/name/resolve/{COMMIT}/")
        if path in (f"/api/models/org/name/revision/{r}" for r in ("main", COMMIT)):
            self.answer(json.dumps({"id": "org/name", "sha": COMMIT, "siblings": siblings}).encode())
        elif path == f"/api/models/org/name/tree/{COMMIT}":
            tree = [{"type": "file", "path": k, "size": len(v), "oid": "0"} for k, v in self.server.files.items()]
            self.answer(json.dumps(tree).encode())
        elif name in self.server.files:
            body = self.server.files[name]
            self.answer(body, ETag=f'"{sha256(body).hexdigest()}"', **{"X-Repo-Commit": COMMIT})
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def answer(self, body, **headers):
        self.send_response(200)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.files, server.asked = dict(FILES), []
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()


def test_weights_settings_and_tokenizer_come_at_the_commit_and_neither_pickles_nor_code(hub, tmp_path):
    out = tmp_path / "given" / "classifier"
    fetch(Source(hub="org/name", revision="main"), out, half=False, endpoint=hub.address)
    found = {path.name: path.read_bytes() for path in out.iterdir()}
    about = json.loads(found.pop("source.json"))
    assert found == {name: FILES[name] for name in ("config.json", "tokenizer.json", "model.safetensors")}
    assert about == {"hub": "org/name", "revision": "main", "commit": COMMIT}
    assert not list(out.parent.glob("*.work"))
    assert not any(name in path for path in hub.asked for name in (".bin", ".py"))


def test_revisions_become_commits_in_a_file_that_goes_on_top(hub, tmp_path, monkeypatch):
    """Of roles on a hub alone; read as settings it names the same repository."""
    lab, out = tmp_path / "lab.yaml", tmp_path / "commits.yaml"
    lab.write_text(f"models: {{ classifier: org/name @ main, base: {tmp_path} }}\n")
    monkeypatch.setattr(fetching, "commits", partial(fetching.commits, endpoint=hub.address))
    cli.main(["fetch", "--commits", "--config", str(lab), "--out", str(out)])
    models = load(lab, out).models
    assert models.classifier == f"org/name @ {COMMIT}" and models.base == str(tmp_path) and models.planner == "made"
    assert load(out).models.base == "made"
    assert not any("/resolve/" in path for path in hub.asked)
    with pytest.raises(UserError, match=r"org/name @ v9: cannot be fetched"):
        fetching.commits(Models(planner="org/name @ v9"))


def test_what_is_not_there_is_told_with_the_remedy(hub, tmp_path):
    with pytest.raises(UserError, match=r"org/name @ v9: cannot be fetched(.|\n)*HF_ENDPOINT"):
        fetch(Source(hub="org/name", revision="v9"), tmp_path / "out", half=False, endpoint=hub.address)
    del hub.files["model.safetensors"]
    with pytest.raises(UserError, match=r"org/name @ main: publishes no safetensors"):
        fetch(Source(hub="org/name", revision="main"), tmp_path / "out", half=False, endpoint=hub.address)


SDXL = ["model_index.json", "sd_xl_base_1.0.safetensors", "unet/config.json", "vae/config.json"] + [
    f"{part}/diffusion_pytorch_model{variant}.{end}"
    for part in ("unet", "vae")
    for variant in ("", ".fp16")
    for end in ("safetensors", "bin")
]


@pytest.mark.parametrize(("half", "variant"), [(True, ".fp16"), (False, "")])
def test_of_weights_in_two_precisions_one_is_fetched_and_no_single_file_beside_a_pipeline(half, variant):
    parts = [f"{part}/diffusion_pytorch_model{variant}.safetensors" for part in ("unet", "vae")]
    assert wanted(SDXL, half) == sorted(["model_index.json", "unet/config.json", "vae/config.json", *parts])


def test_a_repository_with_half_weights_alone_is_fetched_whole():
    """As Kolors is published, in shards with an index."""
    names = [f"text_encoder/model.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    names += ["model_index.json", "text_encoder/model.safetensors.index.fp16.json", "tokenizer/tokenizer.model"]
    assert wanted(names, half=False) == wanted(names, half=True) == sorted(names)
