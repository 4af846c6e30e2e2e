"""A link as a browser asks for it: the host by IDNA, path and query as written.

A server may sign, or take apart, the very characters of a path: of `%2C`, `%28` and `%3A` none may come decoded. Only
what a request line cannot hold is encoded, by the sets of the URL standard (https://url.spec.whatwg.org, section 1.3).
"""

from __future__ import annotations

import string
from urllib.parse import quote

from yarl import URL

# ASCII that stays as it is, beside letters and digits; all else is encoded as UTF-8.
PATH = "".join(sorted(set(string.punctuation) - set('"#<>?^`{}')))
QUERY = "".join(sorted(set(string.punctuation) - set("\"#<>'")))


def link(url: str, base: URL | None = None) -> URL:
    """The URL, seen from `base`, without its fragment; of a relative one without a base, a relative one.

    A redirect's bytes that are no UTF-8 (surrogates, as aiohttp decodes them) are encoded as they are. Raises
    `ValueError` or `LookupError` for what is no URL.
    """
    url = url.strip(" \t\r\n")
    written = URL(url, encoded=True)  # taken apart, and nothing else
    site = URL(f"http://{written.raw_authority}").raw_authority
    path = quote(written.raw_path.replace("\\", "/"), PATH, errors="surrogateescape")
    query = quote(written.raw_query_string, QUERY, errors="surrogateescape")
    if path and not query and url.partition("#")[0].endswith("?"):  # an empty query, which yarl would drop
        path += "?"
    if base is not None and path and not site and not path.startswith("/"):  # `join` would decode the base's folders
        path = f"{base.raw_path.rpartition('/')[0]}/{path}"
    address = URL.build(scheme=written.scheme, authority=site, path=path, query_string=query, encoded=True)
    return address if base is None else base.join(address)
