"""What goes over the wire, byte for byte: the request line that a server sees, and answers no library would write."""

import asyncio
import gzip
import io
import shutil
import ssl
import subprocess
import zlib

import aiohttp
import pytest
from PIL import Image

from gillnext.config.data import Download
from gillnext.download.client import Client, check_url
from gillnext.download.encodings import MEMBERS, unpacked
from gillnext.download.heads import Parser
from gillnext.download.pictures import KINDS, Rejected

SETTINGS = Download(read_timeout=1.0, total_timeout=4.0, backoff=0.01, max_bytes=50_000)
HOST = "site.example"


def picture():
    buffer = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((40, 40)).save(buffer, "JPEG")
    return buffer.getvalue()


BODY = picture()


def answer(*headers, body=BODY, status=b"200 OK"):
    lines = [b"HTTP/1.1 " + status, b"Connection: close", *headers]
    if not any(line.lower().startswith((b"content-length", b"transfer-encoding")) for line in lines):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*lines, b"", body])


def moved(location):
    return answer(b"Location: " + location, body=b"", status=b"302 Found")


def ask(url, *answers, tls=None, hosts=(HOST,)):
    """(picture or kind of failure, request targets, Host headers) of a link, by a server that answers with these bytes
    in turn, the last of them again and again."""
    targets, names = [], []

    async def serve(reader, writer):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            target = head.split(b"\r\n")[0].removeprefix(b"GET ").removesuffix(b" HTTP/1.1").decode("latin-1")
            targets.append(target)
            names.extend(line[6:].decode() for line in head.split(b"\r\n") if line.lower().startswith(b"host: "))
            writer.write(answers[min(len(targets), len(answers)) - 1])
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def go():
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
            place = server.sockets[0].getsockname()[:2]
            async with Client(SETTINGS, dict.fromkeys(hosts, place)) as client:
                try:
                    return await client.fetch(url)
                except Rejected as failure:
                    assert failure.kind in KINDS
                    return failure.kind

    return asyncio.run(asyncio.wait_for(go(), 30)), targets, names


# As written → as sent: what may stand in a request line stays (RFC 3986), the rest goes by the URL standard's sets.
TARGETS = {
    "/thumb?src=http%3A%2F%2Fimg.example%2Fa.jpg&w=200": "/thumb?src=http%3A%2F%2Fimg.example%2Fa.jpg&w=200",
    "/thumb/src=http%3A%2F%2Fimg.example": "/thumb/src=http%3A%2F%2Fimg.example",
    "/a%2Cb%28c%29%7E%41/d.jpg": "/a%2Cb%28c%29%7E%41/d.jpg",
    "/a,b(c)~A!$&'*+;=:@/d.jpg": "/a,b(c)~A!$&'*+;=:@/d.jpg",
    "/q?a=%2f%2C%20+%2B&b=c,d(e)/f?g:h@i;j=%e5%9b%be": "/q?a=%2f%2C%20+%2B&b=c,d(e)/f?g:h@i;j=%e5%9b%be",
    "/%E5%9B%BE/图 片.jpg?名=貓": "/%E5%9B%BE/%E5%9B%BE%20%E7%89%87.jpg?%E5%90%8D=%E8%B2%93",
    "/50%.jpg?x=100%": "/50%.jpg?x=100%",
    "/a|[b]^{c}`\"<d>?|[e]^{f}`\"<g>'": "/a|[b]%5E%7Bc%7D%60%22%3Cd%3E?|[e]^{f}`%22%3Cg%3E%27",
    "/http://img.example//a.jpg@!w200": "/http://img.example//a.jpg@!w200",
    "\\img\\a.jpg": "/img/a.jpg",
    "/a.jpg#top?x": "/a.jpg",
    "/a.jpg?x=1#frag": "/a.jpg?x=1",
    "/a/./b/../c.jpg": "/a/c.jpg",
    "/a.jpg?": "/a.jpg?",
    "/a.jpg?#top": "/a.jpg?",
    "?x=1": "/?x=1",
    "": "/",
    "/a.jpg \r\n": "/a.jpg",
    "/a\tb\nc.jpg": "/abc.jpg",
}  # fmt: skip


@pytest.mark.parametrize("written", [target for target in TARGETS if not target.startswith("\\")])
def test_a_server_is_asked_for_what_the_link_says(written):
    found, targets, _ = ask(f"http://{HOST}{written}", answer())
    assert targets == [TARGETS[written]] and found.data == BODY


@pytest.mark.parametrize("written", [target for target in TARGETS if target.startswith(("/", "\\", "?"))])
def test_a_redirect_is_followed_to_what_it_says(written):
    """Without line breaks, which would end a header."""
    if "\n" not in written:
        found, targets, _ = ask(f"http://{HOST}/first", moved(written.encode()), answer())
        assert targets[1:] == [{"?x=1": "/first?x=1"}.get(written, TARGETS[written])] and found.data == BODY


# A redirect as written, from /%E5%9B%BE%2F1/a%20b.jpg?q=1 → as asked for then.
REDIRECTS = {
    b"c%2Cd.jpg": "/%E5%9B%BE%2F1/c%2Cd.jpg",
    b"../e:f.jpg?x=%3A": "/e:f.jpg?x=%3A",
    b"./e:f.jpg": "/%E5%9B%BE%2F1/e:f.jpg",
    b"?x=%2F": "/%E5%9B%BE%2F1/a%20b.jpg?x=%2F",
    b"//site.example/%3A#f": "/%3A",
    b"http://site.example/src=http%3A%2F%2Fi": "/src=http%3A%2F%2Fi",
    "/图.jpg".encode(): "/%E5%9B%BE.jpg",
    "/图.jpg".encode("gbk"): "/%CD%BC.jpg",  # bytes that are no UTF-8
}


@pytest.mark.parametrize("location", REDIRECTS)
def test_a_redirect_is_seen_from_where_it_came(location):
    found, targets, _ = ask(f"http://{HOST}/%E5%9B%BE%2F1/a%20b.jpg?q=1", moved(location), answer())
    assert targets == ["/%E5%9B%BE%2F1/a%20b.jpg?q=1", REDIRECTS[location]] and found.data == BODY


def test_a_chinese_host_is_asked_for_by_its_punycode():
    name = "图片.例子.example"
    ascii_name = name.encode("idna").decode()
    for url in (f"http://{name}/%3A.jpg", f"http://{name.replace('.', '。')}:80/%3A.jpg"):
        found, targets, names = ask(url, answer(), hosts=[ascii_name])
        assert (found.data, targets, names) == (BODY, ["/%3A.jpg"], [ascii_name])


@pytest.mark.parametrize(
    "url",
    ["http:图.jpg", "mailto:a@site.example", "http://site.example\\@10.0.0.1/", "/only/a/path", "//10.0.0.1/",
     "http://１０.0.0.1/%3A", "http://10.0.0.1/?x=%2F", "http://%31%30.0.0.1:99999/"],
)  # fmt: skip
def test_what_is_no_address_to_ask_is_refused(url):
    with pytest.raises(Rejected, match="refused"):
        check_url(url)


@pytest.mark.parametrize("location", [b"http://@/a.jpg", b"http://:/a.jpg", b"http://10.0.0.1/%3A", b"mailto:a@b"])
def test_a_redirect_to_no_address_is_refused(location):
    found, targets, _ = ask(f"http://{HOST}/", moved(location), answer())
    assert found == "refused" and len(targets) == 1


def bare(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


LENGTH = b"Content-Length: %d" % len(BODY)
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
HALVES = gzip.compress(BODY[:300]) + gzip.compress(BODY[300:])
SHOWN = {
    "one line of 20 kB": answer(b"Set-Cookie: " + b"a" * 20_000),
    "a head of 16 kB": answer(*(b"X-%d: %s" % (i, b"a" * 80) for i in range(200))),
    "two lengths": answer(LENGTH, LENGTH),
    "four, the last one a line's end": answer(LENGTH, b"X: y", b"content-length:%d \t" % len(BODY), LENGTH, LENGTH),
    "no packing": answer(b"Content-Encoding: none"),
    "a character set": answer(b"Content-Encoding: UTF-8"),
    "an empty packing": answer(b"Content-Encoding:"),
    "gzip, identity": answer(b"Content-Encoding: gzip, identity", body=gzip.compress(BODY)),
    "in two lines": answer(b"Content-Encoding: gzip", b"Content-Encoding: utf-8", body=gzip.compress(BODY)),
    "twice": answer(b"Content-Encoding: deflate, gzip", body=gzip.compress(zlib.compress(BODY))),
    "deflate with a head": answer(b"Content-Encoding: deflate", body=zlib.compress(BODY)),
    "deflate without": answer(b"Content-Encoding: deflate", body=bare(BODY)),
    "two members": answer(b"Content-Encoding: gzip", body=HALVES),
    "two members and zeros": answer(b"Content-Encoding: x-gzip", body=HALVES + bytes(100)),
    "chunks": answer(b"Transfer-Encoding: chunked", body=CHUNKS),
    "chunks and a length": answer(b"Content-Length: 7", b"Transfer-Encoding: gzip, Chunked", body=CHUNKS),
    "chunks and a length behind": answer(b"Transfer-Encoding: chunked", b"Content-Length: 7", body=CHUNKS),
    "lines of a newline": answer(LENGTH, LENGTH).replace(b"\r\n", b"\n", 5),
    "an empty line behind it": answer(LENGTH) + b"\r\n",
}


@pytest.mark.parametrize("case", SHOWN)
def test_a_picture_that_browsers_show_is_fetched_by_one_request(case):
    found, targets, _ = ask(f"http://{HOST}/", SHOWN[case])
    assert getattr(found, "data", found) == BODY and len(targets) == 1


BOMB = bytes(20_000_000)
ENDS = {
    "a bomb in gzip": ("too_large", answer(b"Content-Encoding: gzip", body=gzip.compress(BOMB))),
    "a bomb in bare deflate": ("too_large", answer(b"Content-Encoding: deflate", body=bare(BOMB))),
    "a bomb in members": ("too_large", answer(b"Content-Encoding: gzip", body=gzip.compress(bytes(40_000)) * 2)),
    "a bomb in a bomb": ("too_large", answer(b"Content-Encoding: gzip, gzip", body=gzip.compress(gzip.compress(BOMB)))),
    "packed and broken": ("truncated", answer(b"Content-Encoding: gzip", body=gzip.compress(BODY)[:-200])),
    "packed it is not": ("truncated", answer(b"Content-Encoding: gzip")),
    "a packing we lack": ("http_error", answer(b"Content-Encoding: br", body=b"?" * 100)),
    "two lengths that differ": ("http_error", answer(b"Content-Length: 500", LENGTH)),
    "a length that is none": ("http_error", answer(b"Content-Length: many")),
    "a line of 100 kB": ("http_error", answer(b"X: " + b"a" * 100_000)),
    "a head of 300 kB": ("http_error", answer(*[b"X: " + b"a" * 10_000] * 30)),
    "a head without an end": ("http_error", b"HTTP/1.1 200 OK\r\n" + (b"X: " + b"a" * 1000 + b"\r\n") * 300),
    "no HTTP": ("http_error", b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
}


@pytest.mark.parametrize("case", ENDS)
def test_other_odd_answers_end_with_a_kind(case):
    kind, sent = ENDS[case]
    found, targets, _ = ask(f"http://{HOST}/", sent)
    assert found == kind and len(targets) <= 2  # what may have been cut off by chance is tried once more


def test_a_head_that_comes_byte_by_byte_is_read_as_one():
    parser = Parser(None, None, 65_536, read_until_eof=True, response_with_body=False)
    sent = answer(LENGTH, LENGTH, body=b"")
    messages = [message for i in range(len(sent)) for message, _ in parser.feed_data(sent[i : i + 1])[0]]
    assert [message.headers.getall("Content-Length") for message in messages] == [[str(len(BODY))]]


def test_a_body_of_endless_members_is_left_soon():
    assert unpacked(gzip.compress(b"x") * (MEMBERS + 500), "gzip", 10_000) == b"x" * MEMBERS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder: good.pem and expired.pem, signed by the authority ca.pem; own.pem, signed by itself; their keys."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("no openssl command")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*words):
        subprocess.run([openssl, *words], cwd=folder, check=True, capture_output=True)

    name, extensions = ["-newkey", "rsa:2048", "-nodes", "-subj"], folder / "names"
    extensions.write_text(f"subjectAltName=DNS:{HOST}")
    run("req", "-x509", *name, "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    run(
        "req", "-x509", *name, f"/CN={HOST}", "-addext", extensions.read_text(), "-keyout", "own.key", "-out", "own.pem"
    )
    run("req", *name, f"/CN={HOST}", "-keyout", "good.key", "-out", "request")
    for kind, days in (("good", "2"), ("expired", "-1")):
        run("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", days,
            "-extfile", "names", "-out", f"{kind}.pem")  # fmt: skip
    shutil.copy(folder / "good.key", folder / "expired.key")
    return folder


@pytest.mark.parametrize(
    ("certificate", "host", "ending"),
    [("good", HOST, BODY), ("expired", HOST, "certificate"), ("own", HOST, "certificate"),
     ("good", "other.example", "certificate")],
)  # fmt: skip
def test_a_certificate_that_is_not_valid_ends_the_row_at_once(certificates, monkeypatch, certificate, host, ending):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / f"{certificate}.pem", certificates / f"{certificate}.key")
    attempts = []
    context.sni_callback = lambda *_: attempts.append(1)
    trusting = ssl.create_default_context(cafile=certificates / "ca.pem")
    monkeypatch.setattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", trusting)
    found, _, _ = ask(f"https://{host}/", answer(), tls=context, hosts=[host])
    assert getattr(found, "data", found) == ending and len(attempts) == 1
