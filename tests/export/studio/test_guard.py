"""Who may speak to the studio, and what its answers allow a page."""

from __future__ import annotations

import itertools

import pytest

from export.studio.app import STATIC
from export.studio.guard import is_loopback

PATHS = ("/", "/static/none.js", "/api/model", "/api/versions/1/patches/0.png", "/nothing")
TOKEN = "a-secret-of-some-length"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost:{port}.evil.example",
        "localhost.evil.example:{port}",
        "127.0.0.1:{port}@evil.example",
        "192.168.1.7:{port}",
        "0.0.0.0:{port}",
        "[::ffff:127.0.0.1]:{port}",
        "127.1:{port}",
        "2130706433:{port}",
        "localhost:0{port}",
        "",
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_no_other_name_is_answered_whatever_the_path(client, host, path):
    reply = client.get(path, Host=host.format(port=client.port))
    assert "Host" in reply.refused(403, "Host")


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}"])
def test_its_own_names_are(client, host):
    assert client.get("/api/model", Host=host.format(port=client.port)).status == 200


def test_posts_are_refused_by_host_before_anything_is_read(client):
    reply = client.post("/api/own", b"x" * 10, Host="evil.example", Content_Type="text/plain")
    reply.refused(403, "Host")


@pytest.mark.parametrize("site", ["cross-site", "same-site", "", "None", "same-origin, none"])
@pytest.mark.parametrize("path", PATHS)
def test_no_other_site_is_answered(client, site, path):
    headers = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": "no-cors", "Sec_Fetch_Dest": "image"}
    client.get(path, **headers).refused(403, "Sec-Fetch-Site")


def test_a_link_elsewhere_opens_the_page_and_nothing_else(client):
    opened = {
        "Sec_Fetch_Site": "cross-site",
        "Sec_Fetch_Mode": "navigate",
        "Sec_Fetch_Dest": "document",
    }
    assert client.get("/", **opened).status == 200
    client.get("/api/model", **opened).refused(403, "Sec-Fetch-Site")
    client.get("/", **opened | {"Sec_Fetch_Dest": "iframe"}).refused(403, "Sec-Fetch-Site")
    client.post("/", {}, **opened).refused(403, "Sec-Fetch-Site")


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_its_own_page_is(client, site):
    assert client.get("/api/model", Sec_Fetch_Site=site).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost:{port}",  # of another name than the host
        "https://127.0.0.1:{port}",
        "",
    ],
)
def test_no_other_origin_is_answered(client, graph, origin):
    headers = {"Origin": origin.format(port=client.port)}
    client.post("/api/layout", {"graph": graph}, **headers).refused(403, "Origin")


def test_its_own_origin_is(client, graph):
    origin = f"http://127.0.0.1:{client.port}"
    assert client.post("/api/layout", {"graph": graph}, Origin=origin).status == 200


def test_a_proxy_that_leaves_out_the_origin_is_answered(client, graph):
    """As docs/studio.md tells operators to set it up; the browser speaks to https://elsewhere."""
    passed_on = {"Sec_Fetch_Site": "same-origin", "X_Forwarded_Proto": "https"}
    assert client.post("/api/layout", {"graph": graph}, **passed_on).status == 200
    passed_on["Origin"] = "https://studio.example"
    client.post("/api/layout", {"graph": graph}, **passed_on).refused(403, "Origin")


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain; application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json5",
        "application/json, text/plain",
        "application/json; charset=utf-16",
        "",
    ],
)
def test_what_needs_no_preflight_is_refused(client, graph, content_type):
    reply = client.post("/api/layout", {"graph": graph}, Content_Type=content_type)
    reply.refused(415, "Content-Type")


def test_uploads_have_a_type_of_their_own(client, picture):
    for content_type in ("application/json", "image/gif", "image/svg+xml", "image/png, x"):
        reply = client.post("/api/own", picture(64, 64), Content_Type=content_type)
        reply.refused(415, "Content-Type")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "x-gzip", "identity, gzip"])
def test_packed_bodies_are_not_read(client, graph, encoding):
    reply = client.post("/api/layout", {"graph": graph}, Content_Encoding=encoding)
    reply.refused(415, "Content-Encoding")


def test_no_preflight_is_granted(client):
    reply = client.send(
        "OPTIONS",
        "/api/compose",
        headers={
            "Origin": "http://evil.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type",
        },
    )
    reply.refused(403, "Origin")
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


def test_every_answer_limits_the_page(client, graph):
    replies = [
        *(client.get(path) for path in PATHS),
        client.get("/", Host="evil.example"),
        client.post("/api/layout", {"graph": graph}),
        client.post("/api/layout", b"{"),
        client.post("/api/export", {"graph": graph}),
        client.send("DELETE", "/api/model"),
    ]
    assert {reply.status for reply in replies} == {200, 400, 403, 404, 405}
    for reply in replies:
        policy = dict(
            part.split(" ", 1) for part in reply.headers["Content-Security-Policy"].split("; ")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert policy["trusted-types"] == policy["frame-ancestors"] == "'none'"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert "Set-Cookie" not in reply.headers
        assert "Access-Control-Allow-Origin" not in reply.headers


def test_static_files_come_from_a_table(client):
    reply = client.get("/")
    assert reply.body == (STATIC / "index.html").read_bytes()
    assert reply.headers["Cache-Control"] == "no-cache"
    again = client.get("/", If_None_Match=reply.headers["ETag"])
    assert again.status == 304 and again.body == b""
    assert again.headers["X-Content-Type-Options"] == "nosniff"
    for file in sorted(STATIC.iterdir()):
        if file.name != "index.html":
            assert client.get(f"/static/{file.name}").body == file.read_bytes()
    for path in ("/static/", "/static/index.html", "/index.html", "/static/../app.py"):
        client.get(path).refused(404)


def test_a_token_is_needed_for_all_but_the_page(serving, connect, graph):
    serve, *_ = serving
    with serve(token=TOKEN) as stub:
        client = connect(stub.port)
        assert client.get("/").status == 200
        for token in ("", "wrong", TOKEN + " x", TOKEN[:-1], TOKEN.upper()):
            for path in ("/api/model", "/api/versions/1/patches/0.png", "/none", "//api/model"):
                client.get(path, X_Studio_Token=token).refused(401, "X-Studio-Token")
            reply = client.post("/api/layout", {"graph": graph}, X_Studio_Token=token)
            reply.refused(401, "X-Studio-Token")
        client.get("/api/model").refused(401, "X-Studio-Token")
        client.get("/%61pi/model").refused(401, "X-Studio-Token")
        assert client.get("/api/model", X_Studio_Token=TOKEN).status == 200
        # It does not replace the other checks.
        client.get("/api/model", X_Studio_Token=TOKEN, Host="evil").refused(403, "Host")


@pytest.mark.parametrize(
    "host, is_local",
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("192.168.1.7", False),
        ("localhost.evil.example", False),
        ("", False),
    ],
)
def test_which_hosts_only_this_machine_reaches(host, is_local):
    assert is_loopback(host) is is_local


def test_beyond_loopback_addresses_are_let_in_and_names_are_not():
    from export.studio.guard import Guard

    for host, mine in itertools.product(("0.0.0.0", "192.168.1.7"), ("192.168.1.7:8600",)):  # noqa: S104
        assert Guard(host, 8600)._is_ours(mine)
    assert Guard("0.0.0.0", 8600)._is_ours("10.0.0.9:8600")  # noqa: S104
    assert not Guard("192.168.1.7", 8600)._is_ours("10.0.0.9:8600")
    assert not Guard("0.0.0.0", 8600)._is_ours("evil.example:8600")  # noqa: S104
    assert Guard("::", 8600)._is_ours("[fe80::1]:8600")
    assert Guard("127.0.0.1", 80)._is_ours("localhost")
