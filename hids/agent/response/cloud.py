"""Firewalls of others: Cloudflare's edge and AWS WAF, through their own interfaces. Both end with the agent's list."""

import asyncio
import json
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from hids.adapters.files import read_private
from hids.agent.response.firewall import aim
from hids.agent.response.program import ActionFailed, run
from hids.core.collect.config import AwsWafConfig, CloudflareConfig
from hids.core.response.target import Address
from hids.errors import StoreError
from hids.messages.response import ResponseOrder

_MAX_ANSWER = 4 * 1024 * 1024
_NOTE = "hids"
_TRIES = 4
"""AWS refuses a change when somebody else changed the set meanwhile."""


class Cloudflare:
    """IP access rules of a zone."""

    repeatable = True

    def __init__(self, config: CloudflareConfig, timeout_s: float) -> None:
        self._config = config
        self._timeout_s = timeout_s

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """Make a rule that blocks the address, unless there is one."""
        address = aim(order)
        if await self._rules(address):
            return
        target = "ip" if address.version == 4 else "ip6"  # noqa: PLR2004 - IPv4
        rule = {"mode": "block", "configuration": {"target": target, "value": str(address)}, "notes": _NOTE}
        await self._ask("POST", "", rule)

    async def delete(self, order: ResponseOrder) -> None:
        """Delete the rules of ours for the address."""
        for id_ in await self._rules(aim(order)):
            await self._ask("DELETE", f"/{urllib.parse.quote(id_, safe='')}")

    async def _rules(self, address: Address) -> list[str]:
        query = urllib.parse.urlencode({"configuration.value": str(address), "mode": "block", "notes": _NOTE})
        found: Any = (await self._ask("GET", f"?{query}")).get("result") or []
        return [str(rule["id"]) for rule in found if rule.get("configuration", {}).get("value") == str(address)]

    async def _ask(self, method: str, rest: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return await asyncio.to_thread(self._ask_now, method, rest, body)

    def _ask_now(self, method: str, rest: str, body: dict[str, Any] | None) -> dict[str, Any]:
        config = self._config
        zone = urllib.parse.quote(config.zone, safe="")
        url = f"{config.url}/zones/{zone}/firewall/access_rules/rules{rest}"
        if not url.startswith(("https://", "http://127.0.0.1:")):
            raise ActionFailed(f"[response] cloudflare: url: expected https://..., got {config.url!r}")
        try:
            token = read_private(Path(config.token_file))
            if not token or not token.strip():
                raise ActionFailed(f"{config.token_file}: expected an API token, found none")
            request = urllib.request.Request(  # noqa: S310 - https, see above
                url,
                data=None if body is None else json.dumps(body).encode(),
                method=method,
                headers={"Authorization": f"Bearer {token.strip().decode()}", "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=self._timeout_s) as answer:  # noqa: S310 - as above
                said: dict[str, Any] = msgspec.json.decode(answer.read(_MAX_ANSWER), type=dict[str, Any])
        except urllib.error.HTTPError as error:
            with error:
                raise ActionFailed(f"Cloudflare answers {error.code}: {error.read(200)!r}") from error
        except (OSError, ValueError, msgspec.MsgspecError, StoreError) as error:
            raise ActionFailed(f"Cloudflare: {error}") from error
        if said.get("success") is not True:
            raise ActionFailed(f"Cloudflare refuses: {str(said.get('errors'))[:200]}")
        return said


class _IpSet(msgspec.Struct):
    Addresses: list[str]


class _Answer(msgspec.Struct):
    IPSet: _IpSet
    LockToken: str


class AwsWaf:
    """An IP set, through the `aws` program, which knows where its credentials are."""

    repeatable = True

    def __init__(self, config: AwsWafConfig, timeout_s: float) -> None:
        self._config = config
        self._timeout_s = timeout_s

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """Put the address into the set, unless it is there."""
        network = _network(aim(order))
        await self._change(add=network)

    async def delete(self, order: ResponseOrder) -> None:
        """Take it out, if it is there."""
        await self._change(remove=_network(aim(order)))

    async def _change(self, add: str = "", remove: str = "") -> None:
        for number in range(_TRIES):
            answer = await self._get()
            addresses = set(answer.IPSet.Addresses)
            changed = (addresses | {add} if add else addresses) - {remove}
            if changed == addresses:
                return
            body = json.dumps(
                {
                    "Name": self._config.name,
                    "Scope": self._config.scope,
                    "Id": self._config.id,
                    "Addresses": sorted(changed),
                    "LockToken": answer.LockToken,
                }
            )
            try:
                await self._aws("update-ip-set", "--cli-input-json", body)
            except ActionFailed as error:
                if "WAFOptimisticLockException" not in str(error) or number == _TRIES - 1:
                    raise
            else:
                return

    async def _get(self) -> _Answer:
        config = self._config
        found = await self._aws("get-ip-set", f"--name={config.name}", f"--scope={config.scope}", f"--id={config.id}")
        try:
            return msgspec.json.decode(found, type=_Answer)
        except msgspec.MsgspecError as error:
            raise ActionFailed(f"aws wafv2 get-ip-set: {error}") from error

    async def _aws(self, *arguments: str) -> bytes:
        region = (f"--region={self._config.region}",) if self._config.region else ()
        return await run("aws", "wafv2", *arguments, "--output=json", *region, timeout_s=self._timeout_s)


def _network(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}"
