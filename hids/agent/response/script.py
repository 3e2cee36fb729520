"""Scripts of the administrator's: from one folder only, as OSSEC and Wazuh call theirs.

ossec   SCRIPT add|delete USER IP TIME.ALERT RULE LOCATION FILE [extra ...]     "-" for what there is not
wazuh   JSON on standard input: `add`; the script may ask `check_keys` and is told `continue` or `abort`; later `delete`
"""

import asyncio
import os
import stat
from typing import Any

import msgspec

from hids.agent.response.program import ActionFailed, end, run_file, start
from hids.errors import HidsError
from hids.messages.response import ResponseOrder

_MAX_LINE = 64 * 1024


class Keys:
    """Which keys each script has under it, by order. A restart of the agent forgets them."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[str, tuple[str, ...]]] = {}

    def take(self, order: str, script: str, keys: tuple[str, ...]) -> bool:
        """Take keys for an order; False when another order has them."""
        taken = (script, keys) in self._keys.values()
        if not taken:
            self._keys[order] = (script, keys)
        return not taken

    def give_back(self, order: str) -> None:
        """An order is undone."""
        self._keys.pop(order, None)


class Script:
    """One script."""

    repeatable = False

    def __init__(self, folder: str, keys: Keys, timeout_s: float = 10.0) -> None:
        """A script.

        Args:
            folder: where scripts are.
            keys: of all scripts.
            timeout_s: for one run.
        """
        self._folder = folder
        self._keys = keys
        self._timeout_s = timeout_s

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """Run it with `add`."""
        await self._call(order, "add")

    async def delete(self, order: ResponseOrder) -> None:
        """Run it with `delete`."""
        await self._call(order, "delete")
        self._keys.give_back(order.id)

    async def _call(self, order: ResponseOrder, what: str) -> None:
        path = checked(self._folder, order.action)
        if order.form == "ossec":
            await run_file(path, *positional(order, what), timeout_s=self._timeout_s)
            return
        process = await start(path, ())
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._talk(process, order, what, path)
        except TimeoutError as error:
            raise ActionFailed(f"{path}: was ended after {self._timeout_s:g} s") from error
        except (OSError, ValueError) as error:
            raise ActionFailed(f"{path}: {error}") from error
        finally:
            await end(process)

    async def _talk(self, process: asyncio.subprocess.Process, order: ResponseOrder, what: str, path: str) -> None:
        assert process.stdin is not None  # noqa: S101 - piped in `start`
        assert process.stdout is not None  # noqa: S101 - as above
        process.stdin.write(in_json(order, what, path) + b"\n")
        await process.stdin.drain()
        answer = await process.stdout.readline()
        if what == "add" and answer.strip():
            mine = self._keys.take(order.id, order.action, keys_of(answer))
            process.stdin.write(_said("continue" if mine else "abort") + b"\n")
            await process.stdin.drain()
        process.stdin.close()
        status = await process.wait()
        if status:
            raise ActionFailed(f"{order.action}: status {status}")


def checked(folder: str, name: str) -> str:
    """The path of a script that may be run.

    Raises:
        ActionFailed: no plain name, not there, or others than root could have changed it.
    """
    if os.path.basename(name) != name or name.startswith(".") or not name:
        raise ActionFailed(f"expected the plain name of a script in {folder}, got {name!r}")
    path = os.path.join(folder, name)
    try:
        for place in (folder, path):
            found = os.lstat(place)
            if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
                raise ActionFailed(f"{place}: must belong to root, and others must not be able to write to it")
        if not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o100:
            raise ActionFailed(f"{path}: expected a file that can be executed")
    except FileNotFoundError as error:
        raise ActionFailed(f"{error.filename}: there is no such script on this agent") from error
    except OSError as error:
        raise ActionFailed(f"{path}: {error.strerror}") from error
    return path


def positional(order: ResponseOrder, what: str) -> tuple[str, ...]:
    """Arguments in OSSEC's order. By hand OSSEC says where the order comes from instead of the alert."""
    alert = (order.reference or "-", order.rule or "0") if order.alert else ("(from_the_server)", "(no_rule_id)")
    words = (what, order.user or "-", order.address or "-", *alert, "-", order.file or "-", *order.extra)
    return tuple(word.replace("\0", "") for word in words)


def in_json(order: ResponseOrder, what: str, program: str) -> bytes:
    """The message in Wazuh's form, one line."""
    data = {key: value for key, value in (("srcip", order.address), ("dstuser", order.user)) if value}
    alert: Any = msgspec.Raw(order.alert_json) if order.alert_json else {"data": data, "rule": {"id": order.rule}}
    return msgspec.json.encode(
        {
            "version": 1,
            "origin": {"name": "hids", "module": "wazuh-execd"},
            "command": what,
            "parameters": {"extra_args": order.extra, "alert": alert, "program": program},
        }
    ).replace(b"\n", b" ")


class _Parameters(msgspec.Struct, frozen=True):
    keys: tuple[str, ...] = ()


class _Question(msgspec.Struct):
    command: str
    parameters: _Parameters = _Parameters()


def keys_of(line: bytes) -> tuple[str, ...]:
    """The keys of a `check_keys`.

    Raises:
        ActionFailed: the script says something else.
    """
    try:
        question = msgspec.json.decode(line[:_MAX_LINE], type=_Question)
    except (msgspec.MsgspecError, UnicodeDecodeError, HidsError) as error:
        raise ActionFailed(f"expected check_keys from the script, got {line[:80]!r}") from error
    if question.command != "check_keys":
        raise ActionFailed(f"expected check_keys from the script, got {question.command[:40]!r}")
    return question.parameters.keys


def _said(command: str) -> bytes:
    origin = {"name": "hids", "module": "wazuh-execd"}
    return msgspec.json.encode({"version": 1, "origin": origin, "command": command, "parameters": {}})
