"""OpenSearch: a server in memory that speaks its bulk, templates and search; a real one when HIDS_TEST_OPENSEARCH names it.

The variable holds a URL without a password; user and password, if it needs them, are HIDS_TEST_OPENSEARCH_USER and the file
HIDS_TEST_OPENSEARCH_PASSWORD_FILE, the CA's file HIDS_TEST_OPENSEARCH_CA.
"""

import asyncio
import json
import os
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from certificates import certificate
from osmem_server import OsmemServer
from servers import free_port

import hids
from hids.adapters.outputs.opensearch import OpenSearchDestination
from hids.core.alert.searchengine import TEMPLATE_VERSION
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import OpenSearch


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, Any]]:
    """How an output reaches the server."""
    if url := os.environ.get("HIDS_TEST_OPENSEARCH"):
        said = {"user": "USER", "password_file": "PASSWORD_FILE", "ca_file": "CA"}
        named = {key: os.environ.get(f"HIDS_TEST_OPENSEARCH_{name}", "") for key, name in said.items()}
        yield {"urls": (url,)} | named
        return
    server = OsmemServer.start(japanese=False)
    try:
        yield {"urls": (server.url,)}
    finally:
        server.process.kill()
        server.process.wait(10)
        for pipe in (server.process.stdin, server.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def output(cluster: dict[str, Any]) -> OpenSearch:
    """With indices of its own."""
    return OpenSearch(**cluster, index=f"hids-test-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def deliver(make_lines: Callable[..., bytes]) -> Callable[..., Delivery]:
    def make(first: int, count: int = 1, **members: Any) -> Delivery:
        lines = make_lines(first, count, **members).split(b"\n")[:-1]
        return Delivery(first, first + count - 1, tuple(lines))

    return make


@asynccontextmanager
async def opened(output: OpenSearch) -> AsyncIterator[OpenSearchDestination]:
    destination = OpenSearchDestination(output)
    try:
        yield destination
    finally:
        await destination.close()


async def search(destination: OpenSearchDestination, index: str, query: dict[str, Any]) -> list[dict[str, Any]]:
    await destination._ask("POST", f"/{index}-*/_refresh")
    body = json.dumps({"size": 1000, "query": query}).encode()
    status, _, answer = await destination._ask("POST", f"/{index}-*/_search", body)
    assert status == 200, answer
    return [hit["_source"] for hit in json.loads(answer)["hits"]["hits"]]


def test_alerts_are_found_by_their_ecs_fields(output: OpenSearch, deliver: Callable[..., Delivery]):
    async def go() -> None:
        async with opened(output) as destination:
            await destination.post(deliver(1, 20))
            assert len(await search(destination, output.index, {"match_all": {}})) == 20
            for query in (
                {"term": {"source.ip": "192.0.2.0/24"}},
                {"range": {"event.severity": {"gte": 5}}},
                {"term": {"related.user": "joe"}},
                {"range": {"@timestamp": {"gte": "2026-11-24T03:21:43Z", "lt": "2026-11-24T03:21:44Z"}}},
                {"match": {"message": "failed PASSWORD"}},
            ):
                assert len(await search(destination, output.index, query)) == 20, query
            assert await search(destination, output.index, {"term": {"source.ip": "198.51.100.0/24"}}) == []

    asyncio.run(go())


EVERYTHING: dict[str, Any] = {
    "hids": {"number": 5, "incident": {"id": "007-1-1", "key": {"srcip": "192.0.2.7"}, "news": "first"}},
    "rule": {
        "id": "201250",
        "level": 10,
        "description": "brute force",
        "groups": ["sshd"],
        "pci_dss": ["10.2.4"],
        "mitre": {"id": ["T1110"], "tactic": ["Credential Access"], "technique": ["Brute Force"]},
    },
    "syscheck": {"path": "/etc/passwd"},
    "data": {"srcip": "192.0.2.7", "srcuser": "joe", "dstuser": "root"},
}


def asked(aggregations: list[dict[str, Any]]) -> dict[str, Any]:
    """What a visualization asks the search engine: buckets within buckets."""
    body: dict[str, Any] = {}
    for number, each in reversed([(n, a) for n, a in enumerate(aggregations) if a["schema"] != "metric"]):
        field = {"field": each["params"]["field"]}
        options = {"fixed_interval": "1h"} if each["type"] == "date_histogram" else {"size": each["params"]["size"]}
        body = {"aggs": {str(number): {each["type"]: field | options, **body}}}
    return {"size": 0, **body}


def test_every_panel_of_the_dashboards_is_answered(output: OpenSearch, deliver: Callable[..., Delivery]):
    """The mapping that our template makes lets each field be counted, and an alert shows in each panel."""
    shipped = Path(hids.__file__).parents[1] / "conf/dashboards/opensearch-dashboards.ndjson"
    objects = [json.loads(line) for line in shipped.read_text().splitlines()]
    panels = [json.loads(each["attributes"]["visState"]) for each in objects if each["type"] == "visualization"]
    assert len(panels) >= 9

    async def go() -> None:
        async with opened(output) as destination:
            await destination.post(deliver(5, **EVERYTHING))
            await destination._ask("POST", f"/{output.index}-*/_refresh")
            for panel in panels:
                body = json.dumps(asked(panel["aggs"])).encode()
                status, _, answer = await destination._ask("POST", f"/{output.index}-*/_search", body)
                assert status == 200, (panel["title"], answer)
                level = json.loads(answer)["aggregations"]
                while buckets := [inner for inner in level.values() if isinstance(inner, dict) and "buckets" in inner]:
                    level = next((bucket for bucket in buckets[0]["buckets"] if bucket["doc_count"]), {})
                    assert level.get("doc_count") == 1, (panel["title"], answer)

    asyncio.run(go())


def test_what_comes_again_is_there_once(output: OpenSearch, deliver: Callable[..., Delivery]):
    async def go() -> None:
        async with opened(output) as destination:
            await destination.post(deliver(1, 10))
            await destination.post(deliver(1, 30))
            assert len(await search(destination, output.index, {"match_all": {}})) == 30

    asyncio.run(go())


def test_a_host_name_for_an_address_is_no_reason_to_refuse(output: OpenSearch, deliver: Callable[..., Delivery]):
    async def go() -> None:
        async with opened(output) as destination:
            hostile = {"srcip": "evil.example.org", "srcport": "none", "dstip": "' OR 1=1", "a": {"b": "c"}}
            await destination.post(deliver(1, data=hostile, timestamp="2026-11-25T00:00:00.000+0000"))
            found = await search(destination, output.index, {"term": {"source.domain": "evil.example.org"}})
            assert [alert["event"]["id"] for alert in found] == ["007-1-1"]

    asyncio.run(go())


def test_what_the_mapping_refuses_is_hopeless_and_the_rest_is_taken(
    output: OpenSearch, deliver: Callable[..., Delivery]
):
    async def go() -> None:
        async with opened(output) as destination:
            await destination._ask("PUT", f"/_index_template/{output.index}", strict(output.index))
            destination._ready = True
            one, other = deliver(1, predecoder={}).alerts[0], deliver(2, predecoder={}).alerts[0]
            bad = deliver(3, predecoder={"program_name": "no number"}).alerts[0]
            with pytest.raises(Refused) as refused:
                await destination.post(Delivery(1, 5, (b"{", one, bad, other, b'{"id":"x"}')))
            assert refused.value.taken == {1, 3}
            assert refused.value.hopeless.keys() == {0, 2, 4}
            assert "log.syslog.appname" in refused.value.hopeless[2]

    asyncio.run(go())


def strict(index: str) -> bytes:
    """A template in which programs are numbers, as some operator's might be."""
    properties = {"log": {"properties": {"syslog": {"properties": {"appname": {"type": "long"}}}}}}
    return json.dumps({"index_patterns": [f"{index}-*"], "template": {"mappings": {"properties": properties}}}).encode()


def test_the_template_is_put_and_a_newer_one_is_left(output: OpenSearch, deliver: Callable[..., Delivery]):
    async def go() -> None:
        path = f"/_index_template/{output.index}"
        async with opened(output) as destination:
            await destination.post(deliver(1))
            _, _, answer = await destination._ask("GET", path)
            template = json.loads(answer)["index_templates"][0]["index_template"]
            assert template["version"] == TEMPLATE_VERSION
            newer = json.dumps(template | {"version": TEMPLATE_VERSION + 1}).encode()
            assert (await destination._ask("PUT", path, newer))[0] == 200
        async with opened(output) as destination:
            await destination.post(deliver(2))
            _, _, answer = await destination._ask("GET", path)
            assert json.loads(answer)["index_templates"][0]["index_template"]["version"] == TEMPLATE_VERSION + 1

    asyncio.run(go())


# -- clusters that misbehave: a real HTTP server that says what it is told to


Reply = Callable[[web.Request], Any]


@asynccontextmanager
async def saying(reply: Reply, certificate: Path | None = None) -> AsyncIterator[str]:
    """A server that answers every bulk with what `reply` gives: a status, with JSON or bytes."""

    async def handle(request: web.Request) -> web.StreamResponse:
        await request.read()
        status, body = reply(request)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(status=status, body=data, headers={"Retry-After": "7"} if status == 429 else {})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def items(*statuses: tuple[int, str]) -> dict[str, Any]:
    def item(status: int, kind: str) -> dict[str, Any]:
        return {"create": {"status": status} | ({"error": {"type": kind, "reason": "so"}} if kind else {})}

    return {"items": [item(*each) for each in statuses]}


def refusal(reply: Reply, delivery: Delivery, **options: Any) -> Refused:
    async def go() -> Refused:
        async with (
            saying(reply) as url,
            opened(OpenSearch(urls=(url,), template=False, **options)) as destination,
        ):
            with pytest.raises(Refused) as refused:
                await destination.post(delivery)
            return refused.value

    return asyncio.run(go())


def test_half_a_bulk(deliver: Callable[..., Delivery]):
    answer = items(
        (201, ""), (409, "version_conflict_engine_exception"), (429, "rejected"), (400, "mapper_parsing_exception")
    )
    refused = refusal(lambda request: (200, answer), deliver(1, 4))
    assert refused.taken == {0, 1}
    assert refused.hopeless == {3: "mapper_parsing_exception: so"}
    assert "429" in str(refused)


def test_what_an_attacker_wrote_is_escaped_in_the_reason(deliver: Callable[..., Delivery]):
    refused = refusal(lambda request: (200, items((400, "mapper_parsing_exception\x1b[2J\u202e"))), deliver(1))
    assert "\x1b" not in str(refused)


def test_no_room_for_shards_is_no_fault_of_the_alert(deliver: Callable[..., Delivery]):
    refused = refusal(lambda request: (200, items((400, "validation_exception"))), deliver(1))
    assert refused.hopeless == {}
    assert refused.taken == frozenset()


@pytest.mark.parametrize(
    ("status", "body", "complaint"),
    [
        (429, b"later", "answers 429"),
        (503, {"error": "down"}, "answers 503"),
        (401, b"who are you?", "answers 401"),
        (302, b"", "answers 302"),
        (200, b"<html>", "expected the answer to a bulk"),
        (200, b"\xff", "expected the answer to a bulk"),
        (200, {"items": []}, "expected 1 items"),
        (200, {"took": 1}, "expected the answer to a bulk"),
    ],
)
def test_answers_that_are_none(deliver: Callable[..., Delivery], status: int, body: Any, complaint: str):
    refused = refusal(lambda request: (status, body), deliver(1))
    assert complaint in str(refused)
    assert (refused.taken, refused.hopeless) == (frozenset(), {})
    assert refused.after_s == (7 if status == 429 else 0)


def test_an_alert_larger_than_any_request(deliver: Callable[..., Delivery]):
    assert refusal(lambda request: (413, b""), deliver(1)).hopeless.keys() == {0}
    assert refusal(lambda request: (413, b""), deliver(1, 2)).hopeless == {}


def test_an_answer_without_end_is_not_kept(deliver: Callable[..., Delivery], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hids.adapters.outputs.http._MAX_ANSWER", 1000)
    assert "larger than 1000" in str(refusal(lambda request: (200, b"x" * 5000), deliver(1)))


def test_the_next_host_is_asked_when_one_is_away(output: OpenSearch, deliver: Callable[..., Delivery]):
    async def go() -> None:
        async with saying(lambda request: (502, b"")) as gateway:
            away = f"http://127.0.0.1:{free_port()}"
            several = OpenSearch(urls=(away, gateway, *output.urls), index=output.index)
            async with opened(several) as destination:
                await destination.post(deliver(1, 3))
                assert destination._hosts[0] == output.urls[0].rstrip("/")
                assert len(await search(destination, output.index, {"match_all": {}})) == 3

    if os.environ.get("HIDS_TEST_OPENSEARCH"):
        pytest.skip("the hosts of a real cluster may need a password, which goes to no other host here")
    asyncio.run(go())


def test_nobody_is_there(deliver: Callable[..., Delivery]):
    async def go() -> None:
        hosts = tuple(f"http://127.0.0.1:{free_port()}" for _ in range(2))
        async with opened(OpenSearch(urls=hosts)) as destination:
            with pytest.raises(Refused) as refused:
                await destination.post(deliver(1))
            assert all(host in str(refused.value) for host in hosts)

    asyncio.run(go())


def test_credentials_are_read_for_each_try(tmp_path: Path, deliver: Callable[..., Delivery]):
    secret = tmp_path / "key"
    seen: list[str | None] = []

    def reply(request: web.Request) -> Any:
        seen.append(request.headers.get("Authorization"))
        return 200, items((201, ""))

    async def go() -> None:
        async with saying(reply) as url:
            for key, output in (
                ("one", OpenSearch(urls=(url,), template=False, api_key_file=str(secret))),
                ("two", OpenSearch(urls=(url,), template=False, api_key_file=str(secret))),
                ("three", OpenSearch(urls=(url,), template=False, user="u", password_file=str(secret))),
            ):
                secret.write_text(f"{key}\n")
                secret.chmod(0o600)
                async with opened(output) as destination:
                    await destination.post(deliver(1))
            secret.chmod(0o644)
            async with opened(output) as destination:
                with pytest.raises(Refused, match="others may open it"):
                    await destination.post(deliver(1))

    asyncio.run(go())
    assert seen == ["ApiKey one", "ApiKey two", "Basic dTp0aHJlZQ=="]


class Keeper:
    """Answers as a cluster that keeps policies does; `known` is the answer to who asks for the one there is."""

    def __init__(self, distribution: str, known: dict[str, Any] | None, status: int = 200) -> None:
        self.put: list[str] = []
        self._version = {"number": "3.0.0"} | ({"distribution": distribution} if distribution else {})
        self._known = known
        self._status = status

    def __call__(self, request: web.Request) -> tuple[int, Any]:
        if request.path == "/":
            return 200, {"version": self._version}
        if request.path == "/_bulk":
            return 200, items((201, ""))
        if request.method == "PUT":
            self.put.append(request.path_qs)
            return (self._status if "polic" in request.path else 200), {}
        return (200, self._known) if "polic" in request.path and self._known else (404, {})


@pytest.mark.parametrize(
    ("keeper", "put"),
    [
        (Keeper("opensearch", None), ["/_plugins/_ism/policies/hids-alerts"]),
        (
            Keeper("opensearch", {"_seq_no": 7, "_primary_term": 2, "policy": {"description": "of other days"}}),
            ["/_plugins/_ism/policies/hids-alerts?if_seq_no=7&if_primary_term=2"],
        ),
        (Keeper("opensearch", {"_seq_no": 7, "policy": {"description": "Alerts of hids, kept for 30 days."}}), []),
        (Keeper("", None), ["/_ilm/policy/hids-alerts"]),
        (Keeper("", {"hids-alerts": {"policy": {"_meta": {"description": "Alerts of hids, kept for 30 days."}}}}), []),
        (Keeper("", {"hids-alerts": {"policy": {}}}), ["/_ilm/policy/hids-alerts"]),
        (Keeper("opensearch", None, status=403), ["/_plugins/_ism/policies/hids-alerts"]),
    ],
)
def test_retention_is_put_when_it_is_not_there_or_of_other_days(
    keeper: Keeper, put: list[str], deliver: Callable[..., Delivery]
):
    async def go() -> None:
        async with (
            saying(keeper) as url,
            opened(OpenSearch(urls=(url,), retention_days=30)) as destination,
        ):
            await destination.post(deliver(1))

    asyncio.run(go())
    assert keeper.put == [*put, "/_index_template/hids-alerts"]


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b'{"version":{}}', b"\xff"])
def test_what_is_no_search_engine_gets_no_alerts(answer: bytes, deliver: Callable[..., Delivery]):
    async def go() -> None:
        async with saying(lambda request: (200, answer)) as url, opened(OpenSearch(urls=(url,))) as destination:
            with pytest.raises(Refused, match="expected OpenSearch or Elasticsearch"):
                await destination.post(deliver(1))

    asyncio.run(go())


def test_over_tls_the_host_must_show_a_certificate_that_is_trusted(tmp_path: Path, deliver: Callable[..., Delivery]):
    pem = certificate(tmp_path)

    async def go() -> None:
        async with saying(lambda request: (200, items((201, ""))), pem) as url:
            async with opened(OpenSearch(urls=(url,), template=False, ca_file=str(pem))) as destination:
                await destination.post(deliver(1))
            async with opened(OpenSearch(urls=(url,), template=False)) as destination:
                with pytest.raises(Refused, match="(?i)certificate"):
                    await destination.post(deliver(1))

    asyncio.run(go())
