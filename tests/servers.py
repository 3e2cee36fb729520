"""Servers for tests, as people run them: real PostgreSQL, MariaDB and NATS in folders of their own, and doubles where none can be had."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE_S = float(os.environ.get("HIDS_TEST_PATIENCE_S", "60"))


def program(name: str, *folders: str) -> str | None:
    """Where a program is: beside our Python, on the path, or in one of the folders (with *) where Debian puts it."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        places = sorted(place for folder in folders for place in Path("/").glob(f"{folder.lstrip('/')}/{name}"))
        found = str(places[-1]) if places else None
    return found


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with closing(socket.create_server(("127.0.0.1", 0))) as sock:
        port: int = sock.getsockname()[1]
        return port


def answers(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until somebody listens at the port."""
    await_true(lambda: _listens(port), f"something listens on port {port}", process)


def await_true(look: Callable[[], bool], what: str, process: "subprocess.Popen[bytes]") -> None:
    """Wait for something a process does; it must not end meanwhile."""
    deadline = time.monotonic() + PATIENCE_S
    while not look():
        assert process.poll() is None, f"it ended with status {process.returncode}: {what}"
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s: {what}"
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)


def _listens(port: int) -> bool:
    with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), 1)):
        return True
    return False


class Server:
    """A program that listens on a port; it can be killed, and started again with what it had."""

    def __init__(self, argv: list[str], port: int, ready: Callable[[], bool] | None = None, **popen: Any) -> None:
        self.port = port
        self._argv = argv
        self._ready = ready
        self._popen = popen
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it (again); returns when it serves."""
        self.process = subprocess.Popen(
            self._argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._popen
        )
        answers(self.port, self.process)
        if self._ready is not None:
            await_true(self._ready, f"{self._argv[0]} serves", self.process)

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)
            self.process = None


@contextmanager
def _folder(owner: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder for a server that refuses to run as root, and how to start that server."""
    folder = Path(tempfile.mkdtemp(prefix="hids-server-"))
    try:
        if os.getuid() == 0:
            shutil.chown(folder, owner, owner)
            yield folder, {"user": owner, "group": owner, "extra_groups": []}
        else:
            yield folder, {}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


POSTGRES_BIN = "usr/lib/postgresql/*/bin"


@contextmanager
def postgresql(password: str, certificate: Path | None = None) -> Iterator[Server]:
    """PostgreSQL with a user `hids` and a database of the same name; with a certificate (its key in the same file) also over TLS."""
    initdb, postgres = program("initdb", POSTGRES_BIN), program("postgres", POSTGRES_BIN)
    assert initdb is not None
    assert postgres is not None
    with _folder("postgres") as (folder, who):
        secret = folder / "password"
        secret.write_text(password)
        secret.chmod(0o644)
        data = folder / "data"
        _run([initdb, "-D", data, "-U", "hids", "--pwfile", secret, "-A", "scram-sha-256", "-E", "UTF8", "-N"], who)
        port = free_port()
        options = ("-c", "fsync=off", "-c", f"port={port}", "-c", "listen_addresses=127.0.0.1")
        argv = [postgres, "-D", str(data), "-k", str(folder), *options]
        if certificate is not None:
            pem = _lend(certificate, folder, who)
            argv += ["-c", "ssl=on", "-c", f"ssl_cert_file={pem}", "-c", f"ssl_key_file={pem}"]

        def ready() -> bool:
            import pg8000.dbapi  # noqa: PLC0415 - only where there is a server

            with suppress(pg8000.dbapi.Error):
                pg8000.dbapi.connect("hids", "127.0.0.1", "postgres", port, password).close()
                return True
            return False

        server = Server(argv, port, ready, cwd=folder, **who)
        try:
            server.start()
            _create_postgres(port, password)
            yield server
        finally:
            server.kill()


def _create_postgres(port: int, password: str) -> None:
    import pg8000.dbapi  # noqa: PLC0415 - as above

    with closing(pg8000.dbapi.connect("hids", "127.0.0.1", "postgres", port, password)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE hids")


@contextmanager
def mariadb(password: str, certificate: Path | None = None) -> Iterator[Server]:
    """MariaDB with a user `hids` and a database of the same name; with a certificate (its key in the same file) also over TLS."""
    install, daemon = program("mariadb-install-db"), program("mariadbd", "usr/sbin")
    assert install is not None
    assert daemon is not None
    with _folder("mysql") as (folder, who):
        data, sock = folder / "data", folder / "sock"
        _run([install, "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"], who)
        start = folder / "start.sql"
        statements = (
            "CREATE DATABASE IF NOT EXISTS hids;",
            f"CREATE OR REPLACE USER hids@'%' IDENTIFIED BY '{password}';",
            "GRANT ALL ON hids.* TO hids@'%';",
            "DELETE FROM mysql.global_priv WHERE User = '';",
            "FLUSH PRIVILEGES;",
        )
        start.write_text("\n".join((*statements, "")))  # a statement each line
        start.chmod(0o644)
        port = free_port()
        argv = [
            *(daemon, "--no-defaults", f"--datadir={data}", f"--socket={sock}", f"--port={port}"),
            *("--bind-address=127.0.0.1", f"--init-file={start}", f"--pid-file={folder}/pid"),
            *("--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=32M", "--skip-name-resolve"),
        ]
        if certificate is not None:
            pem = _lend(certificate, folder, who)
            argv += [f"--ssl-cert={pem}", f"--ssl-key={pem}"]

        def ready() -> bool:
            import pymysql  # noqa: PLC0415 - as above

            with suppress(pymysql.Error):
                pymysql.connect(host="127.0.0.1", port=port, user="hids", password=password, database="hids").close()
                return True
            return False

        server = Server(argv, port, ready, cwd=folder, **who)
        try:
            server.start()
            yield server
        finally:
            server.kill()


@contextmanager
def nats(folder: Path, *options: str) -> Iterator[Server]:
    """A NATS server with JetStream."""
    binary = program("nats-server")
    assert binary is not None
    port = free_port()
    argv = [binary, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder), *options]
    server = Server(argv, port)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _lend(certificate: Path, folder: Path, who: dict[str, Any]) -> Path:
    """A copy that is the server's own and private, as servers want it."""
    pem = folder / "server.pem"
    pem.write_bytes(certificate.read_bytes())
    pem.chmod(0o600)
    if who:
        shutil.chown(pem, who["user"], who["group"])
    return pem


def _run(argv: list[Any], who: dict[str, Any]) -> None:
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False, timeout=120, **who)
    assert done.returncode == 0, done.stdout + done.stderr
