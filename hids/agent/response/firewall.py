"""Firewalls: packets from an address are dropped. Each kind keeps to a table, chain or set of its own.

nftables and firewalld end a block by themselves, even if this agent is dead by then. The others are told by the agent, from
its list on disk. pf, npf and ipfw are experimental: written from their manuals, tested on what they would be called with.
"""

import contextlib
import ipaddress
import math
from collections.abc import Callable

from hids.agent.response.program import ActionFailed, find, run
from hids.core.response.target import Address, address_of
from hids.messages.response import ResponseOrder

TABLE = "hids"

_NFT_SETUP = """\
add table inet hids
add set inet hids blocked4 { type ipv4_addr; flags timeout; }
add set inet hids blocked6 { type ipv6_addr; flags timeout; }
add chain inet hids input { type filter hook input priority -10; policy accept; }
add chain inet hids forward { type filter hook forward priority -10; policy accept; }
flush chain inet hids input
flush chain inet hids forward
add rule inet hids input ip saddr @blocked4 drop
add rule inet hids input ip6 saddr @blocked6 drop
add rule inet hids forward ip saddr @blocked4 drop
add rule inet hids forward ip6 saddr @blocked6 drop
"""
"""Safe to repeat, and one transaction of the kernel's with what follows it."""


def aim(order: ResponseOrder) -> Address:
    """The address of an order; refuses what is none, whoever signed it.

    Raises:
        ActionFailed: it has none.
    """
    address = address_of(order.address)
    if address is None:
        raise ActionFailed(f"expected an address, got {order.address!r}")
    return address


class Nftables:
    """A table of our own with a set whose elements have an end."""

    repeatable = True

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """Put the address into the set, or give it a new end: one transaction, no packet passes in between."""
        address = aim(order)
        name, element = _set_of(address), str(address)
        ends = f" timeout {math.ceil(left_s * 1000)}ms" if left_s else ""
        script = _NFT_SETUP + (
            f"add element inet {TABLE} {name} {{ {element} }}\n"
            f"delete element inet {TABLE} {name} {{ {element} }}\n"
            f"add element inet {TABLE} {name} {{ {element}{ends} }}\n"
        )
        await run("nft", "-f", "-", stdin=script.encode())

    async def delete(self, order: ResponseOrder) -> None:
        """Take it out."""
        address = aim(order)
        name, element = _set_of(address), str(address)
        script = _NFT_SETUP + (
            f"add element inet {TABLE} {name} {{ {element} }}\ndelete element inet {TABLE} {name} {{ {element} }}\n"
        )
        await run("nft", "-f", "-", stdin=script.encode())


def _set_of(address: Address) -> str:
    return "blocked4" if address.version == 4 else "blocked6"  # noqa: PLR2004 - IPv4


class Iptables:
    """A chain of our own, before all others of INPUT and FORWARD."""

    repeatable = True
    _CHAIN = "HIDS"

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """Append a rule, unless it is there."""
        address = aim(order)
        program = _iptables(address)
        await self._prepare(program)
        if not await _works(program, "-w", "-C", self._CHAIN, "-s", str(address), "-j", "DROP"):
            await run(program, "-w", "-A", self._CHAIN, "-s", str(address), "-j", "DROP")

    async def delete(self, order: ResponseOrder) -> None:
        """Delete the rule, if it is there."""
        address = aim(order)
        program = _iptables(address)
        if await _works(program, "-w", "-C", self._CHAIN, "-s", str(address), "-j", "DROP"):
            await run(program, "-w", "-D", self._CHAIN, "-s", str(address), "-j", "DROP")

    async def _prepare(self, program: str) -> None:
        if not await _works(program, "-w", "-n", "-L", self._CHAIN):
            await run(program, "-w", "-N", self._CHAIN)
        for chain in ("INPUT", "FORWARD"):
            if not await _works(program, "-w", "-C", chain, "-j", self._CHAIN):
                await run(program, "-w", "-I", chain, "1", "-j", self._CHAIN)


def _iptables(address: Address) -> str:
    return "iptables" if address.version == 4 else "ip6tables"  # noqa: PLR2004 - IPv4


class Firewalld:
    """A rich rule with a timeout, not permanent."""

    repeatable = True

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """Add the rule; one that is there gets a new end."""
        rule = _rich_rule(aim(order))
        await _works("firewall-cmd", f"--remove-rich-rule={rule}")
        ends = (f"--timeout={math.ceil(left_s)}",) if left_s else ()
        await run("firewall-cmd", f"--add-rich-rule={rule}", *ends)

    async def delete(self, order: ResponseOrder) -> None:
        """Remove the rule, if it is there."""
        rule = _rich_rule(aim(order))
        if await _works("firewall-cmd", f"--query-rich-rule={rule}"):
            await run("firewall-cmd", f"--remove-rich-rule={rule}")


def _rich_rule(address: Address) -> str:
    return f'rule family="ipv{address.version}" source address="{address}" drop'


class TableOf:
    """A table that the administrator's own rules name: pf, npf, ipfw."""

    repeatable = True

    def __init__(
        self, program: str, add: Callable[[str], tuple[str, ...]], delete: Callable[[str], tuple[str, ...]]
    ) -> None:
        self._program = program
        self._add = add
        self._delete = delete

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """Add the address; where it is already the program may complain, so it is taken out first."""
        address = str(aim(order))
        await _works(self._program, *self._delete(address))
        await run(self._program, *self._add(address))

    async def delete(self, order: ResponseOrder) -> None:
        """Take the address out."""
        with contextlib.suppress(ActionFailed):
            await run(self._program, *self._delete(str(aim(order))))


def pf() -> TableOf:
    """`table <hids> persist` and `block drop quick from <hids>` must be in pf.conf."""
    return TableOf(
        "pfctl",
        lambda address: ("-q", "-t", TABLE, "-T", "add", address),
        lambda address: ("-q", "-t", TABLE, "-T", "delete", address),
    )


def npf() -> TableOf:
    """`table <hids> type ipset` and a rule that blocks it must be in npf.conf."""
    return TableOf(
        "npfctl",
        lambda address: ("table", TABLE, "add", address),
        lambda address: ("table", TABLE, "rem", address),
    )


def ipfw() -> TableOf:
    """`ipfw table hids create type addr` and a rule `deny ip from table(hids) to any` must be there."""
    return TableOf(
        "ipfw",
        lambda address: ("-q", "table", TABLE, "add", _host(address)),
        lambda address: ("-q", "table", TABLE, "delete", _host(address)),
    )


def _host(address: str) -> str:
    return str(ipaddress.ip_network(address))


Firewall = Nftables | Iptables | Firewalld | TableOf
FIREWALLS: dict[str, tuple[str, Callable[[], Firewall]]] = {
    "nftables": ("nft", Nftables),
    "iptables": ("iptables", Iptables),
    "firewalld": ("firewall-cmd", Firewalld),
    "pf": ("pfctl", pf),
    "npf": ("npfctl", npf),
    "ipfw": ("ipfw", ipfw),
}
"""Name in agent.toml -> (program, what makes it), in the order in which `auto` looks for them."""


def firewall_of(name: str) -> Firewall:
    """The firewall that agent.toml names; "auto": the first whose program is there.

    Raises:
        ActionFailed: there is none.
    """
    if name != "auto":
        return FIREWALLS[name][1]()
    for program, make in FIREWALLS.values():
        if find(program) is not None:
            return make()
    raise ActionFailed(f"no firewall was found: none of {', '.join(p for p, _ in FIREWALLS.values())} is installed")


async def _works(program: str, *arguments: str) -> bool:
    try:
        await run(program, *arguments)
    except ActionFailed:
        return False
    return True
