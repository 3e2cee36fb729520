"""OpenSearch and Elasticsearch: alerts as documents in bulk, each under its own id.

    POST /_bulk        {"create":{"_index":"hids-alerts-2026.11.24","_id":"007-1-42"}}
                       {"@timestamp":"2026-11-24T03:21:43.123Z","rule":{...},...}

An alert that is there already (409) counts as taken, so a bulk whose answer got lost is simply sent again. Each item's answer is
read: what the mapping refuses becomes a dead letter, what the cluster has no room for now is tried again. Before the first
bulk the index template and the policy of retention are put, if there are none or ours are newer.
"""

import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, cast

import aiohttp
import msgspec
import structlog

from hids.adapters.outputs.http import after_s, answer_of, open_session, shown
from hids.adapters.outputs.secrets import secret_of
from hids.core.alert.document import document, member, moment_of
from hids.core.alert.searchengine import (
    TEMPLATE_VERSION,
    Product,
    index_name,
    index_template,
    policy_path,
    retention_policy,
)
from hids.core.alert.text import plain
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import OpenSearch
from hids.errors import StoreError

log = structlog.get_logger()

_OF_THE_DOCUMENT = frozenset(
    ("mapper_parsing_exception", "document_parsing_exception", "strict_dynamic_mapping_exception")
)
"""Errors that say that a document does not fit the mapping. Others of status 400 may be the cluster's: too many shards, say."""

_encode = msgspec.json.Encoder().encode


class _Done(msgspec.Struct):
    status: int
    error: Any = None


class _Item(msgspec.Struct):
    create: _Done


class _Bulk(msgspec.Struct):
    items: list[_Item]


class _Version(msgspec.Struct):
    number: str
    distribution: str = ""


class _About(msgspec.Struct):
    version: _Version


_bulk = msgspec.json.Decoder(_Bulk)
_about = msgspec.json.Decoder(_About)


class _Unreachable(Exception):  # noqa: N818 - a state of the world
    """This host does not answer, or says that it is not the one to ask now."""


class OpenSearchDestination:
    """Writes deliveries in bulk. For one event loop."""

    def __init__(self, output: OpenSearch) -> None:
        self._output = output
        self._hosts = [url.rstrip("/") for url in output.urls]
        """The one that answered last is the first."""
        self._session: aiohttp.ClientSession | None = None
        self._ready = not output.template

    async def post(self, delivery: Delivery) -> None:
        """Make one try.

        Raises:
            Refused: the cluster did not take all; what it took, and what it never will, is told.
        """
        try:
            if not self._ready:
                await self._set_up()
                self._ready = True
            await self._write(delivery.alerts)
        except TimeoutError as error:
            self._next_host()
            raise Refused(f"no answer within {self._output.timeout_s:g} s") from error
        except (aiohttp.ClientError, OSError, ssl.SSLError, ValueError, StoreError) as error:
            raise Refused(f"{type(error).__name__}: {error}") from error

    async def close(self) -> None:
        """Close what is open."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    # -- alerts

    async def _write(self, alerts: tuple[bytes, ...]) -> None:
        hopeless: dict[int, str] = {}
        sent: list[int] = []
        lines: list[bytes] = []
        for place, alert in enumerate(alerts):
            try:
                lines += self._lines(alert)
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                hopeless[place] = f"no alert: {error}"
            else:
                sent.append(place)
        taken, reason, wait_s = await self._bulk(sent, b"\n".join((*lines, b"")), hopeless) if sent else ([], "", 0.0)
        if len(taken) < len(alerts):
            raise Refused(reason or next(iter(hopeless.values())), wait_s, taken=frozenset(taken), hopeless=hopeless)

    def _lines(self, line: bytes) -> tuple[bytes, bytes]:
        alert: Mapping[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
        moment = moment_of(member(alert, "timestamp"))
        if moment is None or not isinstance(alert.get("id"), str):
            raise ValueError("it has no timestamp or no id")
        name = self._output.index
        index = name if self._output.data_stream else index_name(name, moment)
        return _encode({"create": {"_index": index, "_id": alert["id"]}}), _encode(document(alert))

    async def _bulk(self, sent: list[int], body: bytes, hopeless: dict[int, str]) -> tuple[list[int], str, float]:
        """Write them; returns which are taken, why others are not, and how long to wait. Adds those that never will be."""
        status, wait_s, answer = await self._ask(
            "POST", "/_bulk?filter_path=items.*.status,items.*.error", body, "application/x-ndjson"
        )
        if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and len(sent) == 1:
            hopeless[sent[0]] = "the cluster takes no request as large as this alert"
            return [], "", 0.0
        if status != HTTPStatus.OK:
            raise Refused(f"the cluster answers {status}: {shown(answer)}", wait_s)
        try:
            items = _bulk.decode(answer).items
        except (msgspec.MsgspecError, ValueError) as error:
            raise Refused(f"expected the answer to a bulk, got {shown(answer)}") from error
        if len(items) != len(sent):
            raise Refused(f"expected {len(sent)} items in the answer to a bulk, got {len(items)}")
        taken: list[int] = []
        reason = ""
        for place, item in zip(sent, items, strict=True):
            status, said = item.create.status, _said(item.create)
            if status in (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.CONFLICT):
                taken.append(place)
            elif _never(item.create):
                hopeless[place] = said
            else:
                reason = reason or f"item answered with {status}: {said}"
        return taken, reason, wait_s

    # -- template and policy

    async def _set_up(self) -> None:
        output = self._output
        product = await self._product()
        await self._put_policy(product)
        path = f"/_index_template/{output.index}"
        status, _, answer = await self._ask("GET", path)
        if status == HTTPStatus.OK and _version_of(answer) > TEMPLATE_VERSION:
            log.info("a newer hids has put the index template, leaving it", output=output.output)
            return
        template = index_template(
            product, output.index, data_stream=output.data_stream, retention_days=output.retention_days
        )
        status, wait_s, answer = await self._ask("PUT", path, _encode(template))
        if status != HTTPStatus.OK:
            raise Refused(
                f"the cluster answers {status} to our index template: {shown(answer)}; "
                "with template = false somebody else has to put it (conf/opensearch, conf/elasticsearch)",
                wait_s,
            )
        log.info("index template is put", output=output.output, product=product, index=output.index)

    async def _product(self) -> Product:
        status, wait_s, answer = await self._ask("GET", "/")
        if status != HTTPStatus.OK:
            raise Refused(f"the cluster answers {status}: {shown(answer)}", wait_s)
        try:
            version = _about.decode(answer).version
        except (msgspec.MsgspecError, ValueError) as error:
            raise Refused(f"expected OpenSearch or Elasticsearch, got {shown(answer)}") from error
        return "opensearch" if version.distribution == "opensearch" else "elasticsearch"

    async def _put_policy(self, product: Product) -> None:
        """Retention is not worth an alert: without it the cluster keeps all, and says so nowhere; we do."""
        output = self._output
        policy = retention_policy(
            product, output.index, data_stream=output.data_stream, retention_days=output.retention_days
        )
        if policy is None:
            return
        path = policy_path(product, output.index)
        status, _, answer = await self._ask("GET", path)
        where = ""
        if status == HTTPStatus.OK:
            if _description(answer, output.index) == _description(_encode(policy), output.index):
                return
            where = _where(answer)
        status, _, answer = await self._ask("PUT", path + where, _encode(policy))
        if status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            log.warning(
                "the policy of retention was not taken, old indices stay",
                output=output.output,
                status=status,
                said=shown(answer),
            )

    # -- HTTP

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, content: str = "application/json"
    ) -> tuple[int, float, bytes]:
        """Ask the first host that answers; returns the status, how long it asks us to wait, and the answer."""
        problems: list[str] = []
        for _ in self._hosts:
            host = self._hosts[0]
            try:
                return await self._ask_host(host, method, path, body, content)
            except (_Unreachable, aiohttp.ClientConnectionError) as error:
                problems.append(f"{host}: {error or type(error).__name__}")
                self._next_host()
        raise Refused("; ".join(problems))

    async def _ask_host(
        self, host: str, method: str, path: str, body: bytes | None, content: str
    ) -> tuple[int, float, bytes]:
        if self._session is None:
            self._session = open_session(self._output.ca_file, self._output.timeout_s)
        headers = self._headers()
        if body is not None:
            headers["Content-Type"] = content
        async with self._session.request(
            method, host + path, data=body, headers=headers, allow_redirects=False
        ) as response:
            answer = await answer_of(response)
            if response.status in (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT):
                raise _Unreachable(f"answers {response.status}")
            return response.status, after_s(response), answer

    def _headers(self) -> dict[str, str]:
        output = self._output
        if output.api_key_file:
            return {"Authorization": f"ApiKey {secret_of(output.api_key_file)}"}
        if output.user:
            pair = f"{output.user}:{secret_of(output.password_file)}".encode()
            return {"Authorization": f"Basic {b64encode(pair).decode()}"}
        return {}

    def _next_host(self) -> None:
        self._hosts = [*self._hosts[1:], self._hosts[0]]


def _never(done: _Done) -> bool:
    """Whether an item can never be taken as it is."""
    if done.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return True
    kinds = list(_errors(done.error))
    return done.status == HTTPStatus.BAD_REQUEST and any(
        kind in _OF_THE_DOCUMENT or "immense term" in reason for kind, reason in kinds
    )


def _said(done: _Done) -> str:
    errors = [f"{kind}: {reason}" for kind, reason in _errors(done.error)]
    return plain(("; ".join(errors) or str(done.error))[:500])


def _errors(error: Any) -> Iterator[tuple[str, str]]:
    """Types and reasons of an error and of what caused it."""
    for _ in range(5):
        if not isinstance(error, dict):
            return
        told = cast("dict[str, Any]", error)
        yield str(told.get("type", "")), str(told.get("reason", ""))
        error = told.get("caused_by")


def _tree(answer: bytes) -> Any:
    try:
        return msgspec.json.decode(answer)
    except (msgspec.MsgspecError, ValueError):
        return None


def _within(tree: Any, *path: str | int) -> Any:
    for step in path:
        try:
            tree = tree[step]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def _version_of(answer: bytes) -> int:
    version = _within(_tree(answer), "index_templates", 0, "index_template", "version")
    return version if isinstance(version, int) else 0


def _description(answer: bytes, name: str) -> Any:
    """What a policy says that it does: ours is put anew only when that has changed, so that the operator's changes stay."""
    tree = _tree(answer)
    policy = _within(tree, name, "policy") or _within(tree, "policy")
    return _within(policy, "_meta", "description") or _within(policy, "description")


def _where(answer: bytes) -> str:
    """ISM takes a change of a policy only from who names the version that he has seen."""
    tree = _tree(answer)
    seq, term = _within(tree, "_seq_no"), _within(tree, "_primary_term")
    return f"?if_seq_no={seq}&if_primary_term={term}" if isinstance(seq, int) and isinstance(term, int) else ""
