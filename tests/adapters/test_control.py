"""The control socket: answers, refusals, and strangers' nonsense, over a real unix socket."""

import asyncio
import contextlib
import getpass
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import settle, until

from hids.adapters.control import MAX_REQUEST_BYTES, ControlSocket, ask
from hids.errors import ConfigError, HidsError, ManagerUnreachable


async def handle(command: str, arguments: dict[str, Any], who: str) -> Any:
    match command:
        case "echo":
            return {"arguments": arguments, "who": who}
        case "large":
            return "x" * 5_000_000
        case "refuse":
            raise HidsError("no agent is named web9")
        case "wait":
            return await asyncio.sleep(3600)
        case _:
            raise KeyError(command)


def serve(path: Path, test: Callable[[], Any]) -> None:
    """Run `test` on a thread while the socket is served."""

    async def main() -> None:
        control = ControlSocket(path, handle)
        try:
            await asyncio.to_thread(test)
        finally:
            control.close()
            await settle()

    asyncio.run(main())
    assert not path.exists()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.sock"


def test_a_question_is_answered_and_names_who_asks(path: Path):
    def test() -> None:
        assert path.stat().st_mode & 0o777 == 0o660
        assert ask(path, "echo", agent="web1", n=5) == {
            "arguments": {"agent": "web1", "n": 5},
            "who": getpass.getuser(),
        }
        assert len(ask(path, "large")) == 5_000_000

    serve(path, test)


def test_a_refusal_comes_in_its_own_words(path: Path):
    def test() -> None:
        with pytest.raises(HidsError, match=r"^no agent is named web9$"):
            ask(path, "refuse")

    serve(path, test)


def test_many_may_ask_at_once(path: Path):
    def test() -> None:
        answers: list[int] = []
        threads = [
            threading.Thread(target=lambda n=n: answers.append(ask(path, "echo", n=n)["arguments"]["n"]))  # type: ignore[misc]
            for n in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted(answers) == list(range(20))

    serve(path, test)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\n",
        b"nonsense\n",
        b"[1]\n",
        b'{"command": 5}\n',
        b'{"command": "echo", "arguments": []}\n',
        b"\xff\xfe\n",
        b"[" * 50_000 + b"\n",
    ],
)
def test_nonsense_is_answered_with_what_was_expected(path: Path, nonsense: bytes):
    def test() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(path))
            sock.sendall(nonsense)
            assert b"expected one line" in sock.recv(10_000)
        assert ask(path, "echo")

    serve(path, test)


def test_a_request_without_end_is_cut_off(path: Path):
    def test() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(str(path))
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(b"x" * (4 * MAX_REQUEST_BYTES))
                assert sock.recv(100) == b""
        assert ask(path, "echo")

    serve(path, test)


def test_one_who_hangs_up_harms_nobody(path: Path):
    def test() -> None:
        for data in (b"", b'{"command": "ec', b'{"command": "large", "arguments": {}}\n'):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.sendall(data)
        assert ask(path, "echo")

    serve(path, test)


def test_a_manager_that_ends_meanwhile_is_told_as_such(path: Path):
    async def main() -> None:
        control = ControlSocket(path, handle)
        asking = asyncio.ensure_future(asyncio.to_thread(ask, path, "wait"))
        await until(lambda: control._tasks, "it asks")
        control.close()
        with pytest.raises(ManagerUnreachable, match="does not answer"):
            await asking

    asyncio.run(main())


def test_nobody_there_is_told_with_what_to_do(path: Path):
    with pytest.raises(ManagerUnreachable, match="start it with `hids-manager run`"):
        ask(path, "echo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    with pytest.raises(ManagerUnreachable, match="no manager runs on"):
        ask(path, "echo")


def test_the_file_of_a_killed_manager_is_taken_over_but_not_that_of_a_living_one(path: Path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))

    async def main() -> None:
        control = ControlSocket(path, handle)
        with pytest.raises(ConfigError, match="another manager runs on this state folder"):
            ControlSocket(path, handle)
        assert await asyncio.to_thread(ask, path, "echo")
        control.close()
        await settle()

    asyncio.run(main())


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    async def main() -> None:
        with pytest.raises(ConfigError, match="cannot make the control socket"):
            ControlSocket(tmp_path / "nowhere" / "c.sock", handle)

    asyncio.run(main())
