"""`hids-agent`: join a manager, run, show status."""

import contextlib
import os
import socket
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from hids import __version__
from hids.core.alert.text import plain
from hids.errors import ConfigError, HidsError, StoreError

FAILED, USAGE = 1, 2
"""Exit statuses: it did not work; the command line or agent.toml is wrong. 3 is NotJoined's: join first."""

JOINING_PORT = 1515
_MAX_STATUS_BYTES = 16 * 1024 * 1024

app = typer.Typer(
    help="The agent of hids: reads this host's logs and files, and reports to a manager.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def default_state() -> Path:
    """Where the agent keeps what it must not lose."""
    if os.geteuid() == 0:
        return Path("/var/lib/hids-agent")
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "hids-agent"


def default_config() -> Path:
    """Where agent.toml is."""
    if os.geteuid() == 0:
        return Path("/etc/hids/agent.toml")
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "hids" / "agent.toml"


State = Annotated[Path, typer.Option("--state", help="The agent's state folder.", default_factory=default_state)]
Config = Annotated[Path, typer.Option("--config", help="agent.toml.", default_factory=default_config)]


@app.command(
    epilog="Example: hids-agent join manager.example.org --token 3kF... --ca-pin sha256:5d0c... "
    "(`hidsctl agent token` on the manager prints the whole line)"
)
def join(
    manager: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="The manager's joining port (1515).")],
    state: State,
    token: Annotated[str, typer.Option(help="The one-time token of `hidsctl agent token`.")],
    ca_pin: Annotated[str, typer.Option(help="sha256:... of the manager's CA, from the same line.")],
    name: Annotated[str, typer.Option(help="What the manager calls this agent. Default: the host's name.")] = "",
    *,
    as_new: Annotated[
        bool, typer.Option("--as-new", help="With a key of its own: for the copy of a machine that has joined already.")
    ] = False,
) -> None:
    """Get a certificate from a manager; do this once. Where somebody has to approve it, this waits."""
    with _errors():
        from hids.agent.config import address_of  # noqa: PLC0415 - `status` needs none of these
        from hids.agent.joining import Manager  # noqa: PLC0415
        from hids.agent.joining import join as join_manager  # noqa: PLC0415
        from hids.agent.machine import machine_id, os_name  # noqa: PLC0415

        host, port = address_of(manager if _has_port(manager) else f"{manager}:{JOINING_PORT}")
        identity = join_manager(
            Manager(host, port),
            token=token,
            pin=ca_pin,
            name=name or socket.gethostname(),
            machine_id=machine_id(state),
            folder=state,
            software=f"hids {__version__}",
            os=os_name(),
            as_new=as_new,
            waits=lambda reason: typer.echo(f"waiting: {reason}", err=True),
        )
        typer.echo(
            f"joined {identity.manager} as agent {identity.agent_id}; now start it: hids-agent run --state {state}"
        )


@app.command(
    "join-ossec",
    epilog="Example: hids-agent join-ossec manager.example.org --ca /etc/hids/ossec-manager.pem --password-file /root/pass",
)
def join_ossec(
    manager: Annotated[str, typer.Argument(metavar="HOST[:PORT]", help="Its enrolment port (1515).")],
    state: State,
    ca: Annotated[Path | None, typer.Option(help="PEM that the manager's certificate is checked with.")] = None,
    *,
    insecure: Annotated[bool, typer.Option("--insecure", help="Believe whoever answers there.")] = False,
    password_file: Annotated[Path | None, typer.Option(help="File whose first line is authd's password.")] = None,
    name: Annotated[str, typer.Option(help="What the manager calls this agent. Default: the host's name.")] = "",
) -> None:
    """Get a key from a real OSSEC manager, for protocol = "ossec" in agent.toml."""
    with _errors():
        from hids.agent.config import address_of  # noqa: PLC0415
        from hids.agent.ossec_identity import enrol  # noqa: PLC0415

        if (ca is None) != insecure:
            raise ConfigError("say either --ca FILE, or --insecure to believe whoever answers there")
        host, port = address_of(manager if _has_port(manager) else f"{manager}:{JOINING_PORT}")
        password = _first_line(password_file) if password_file is not None else ""
        key = enrol(host, port, name=name or socket.gethostname(), password=password, ca=ca, folder=state)
        typer.echo(f"enrolled at {host} as agent {key.id} ({key.name})")


@app.command("import-ossec-key", epilog="Example: hids-agent import-ossec-key MDAxIHdlYjEgYW55IC4uLg==")
def import_ossec_key(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The line that `manage_agents -e` prints.")], state: State
) -> None:
    """Take a key that a real OSSEC manager made, for protocol = "ossec" in agent.toml."""
    with _errors():
        from hids.agent.ossec_identity import import_key  # noqa: PLC0415

        taken = import_key(state, key)
        typer.echo(f"this is agent {taken.id} ({taken.name}) now")


@app.command(
    "import-ossec-conf",
    epilog="Example: hids-agent import-ossec-conf /var/ossec/etc/ossec.conf >> /etc/hids/agent.toml",
)
def import_ossec_conf(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="ossec.conf or agent.conf.")],
    *,
    home: Annotated[Path, typer.Option(help="Folder to which its names are relative.")] = Path("/var/ossec"),
) -> None:
    """Print what an ossec.conf says of syscheck, Windows' registry, rootcheck and policies (<sca>) as a part of agent.toml."""
    with _errors():
        from hids.adapters import ossec_registry, ossec_rootcheck, ossec_sca, ossec_syscheck  # noqa: PLC0415

        try:
            text = file.read_bytes()
        except OSError as error:
            raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
        conf = str(file)
        parts = [
            ossec_syscheck.as_toml(syscheck) if (syscheck := ossec_syscheck.syscheck_section(conf, text)) else "",
            ossec_registry.as_toml(ossec_registry.registry_tables(conf, text)),
            ossec_rootcheck.as_toml(found)
            if (found := ossec_rootcheck.rootcheck_section(conf, text, str(home)))
            else "",
            ossec_sca.as_toml(sca) if (sca := ossec_sca.sca_section(conf, text, str(home))) else "",
        ]
        if not any(parts):
            raise ConfigError(f"{file}: there is none of <syscheck>, <rootcheck> and <sca> in it")
        typer.echo("\n".join(filter(None, parts)), nl=False)


@app.command(epilog="Example: hids-agent run --config /etc/hids/agent.toml --state /var/lib/hids-agent")
def run(config: Config, state: State) -> None:
    """Read, watch and report until stopped (SIGTERM, Ctrl-C). SIGHUP reads agent.toml again."""
    # In place of this process, so that the agent's memory has no command line in it. -P: a folder of modules in the current
    # directory is no part of the agent, unless this program was started that way (`python -m`).
    isolated = [] if sys.path[0] in {"", str(Path.cwd())} else ["-P"]
    os.execv(sys.executable, [sys.executable, *isolated, "-m", "hids.agent", str(config), str(state)])  # noqa: S606 - no shell


@app.command(epilog="Example: hids-agent check --config ./agent.toml && systemctl reload hids-agent")
def check(config: Config) -> None:
    """Read agent.toml as `run` would, and say what is wrong; nothing is started. Exit status: 0 it can be used, 2 it cannot."""
    with _errors():
        from hids.agent.config import load  # noqa: PLC0415

        load(config)
        typer.echo(f"{plain(str(config))} can be used")


@app.command(
    epilog="Example: hids-agent policy /etc/hids/policies/debian12.yml --json | jq '.checks[] | select(.result == \"failed\")'"
)
def policy(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy: one of Wazuh's SCA files, or yours.")],
    *,
    timeout_s: Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Of one command.")] = 30.0,
    commands: Annotated[bool, typer.Option(help="Whether the policy may run commands.")] = True,
    hive: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=FILE", help="A hive file for rules about Windows' registry, and what its root is called."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON.")] = False,
) -> None:
    r"""Evaluate a policy on this host, now, and print what came of it. Nothing is reported to the manager.

    A Windows that does not run here is looked at with --hive 'HKLM\SYSTEM=/mnt/Windows/System32/config/SYSTEM'.

    Exit status: 0 all that can be looked at is so, 1 some check failed, 2 the policy cannot be used, 3 it is not for this
    host.
    """
    from hids.agent.policyhost import LocalHost  # noqa: PLC0415 - the other commands need no policies
    from hids.agent.policyscan import scan  # noqa: PLC0415
    from hids.agent.registrysource import registry_of  # noqa: PLC0415

    with _errors():
        registry = registry_of([_hive(each) for each in hive or ()])
        refusal = "" if commands else "--no-commands was given"
        report = scan(str(file), LocalHost(timeout_s=timeout_s, refusal=refusal, registry=registry))
        if report.problem:
            raise ConfigError(plain(report.problem))
    checks = [
        msgspec.json.decode(b"{" + one.members + b"}")["check"] | {"result": one.result} for one in report.checked
    ]
    if json:
        summary = {"policy": report.policy_id, "name": report.name, "applies": report.applies, "score": report.score}
        typer.echo(msgspec.json.encode(summary | {"checks": checks}))
    else:
        for check in checks:
            reason = f" ({check['reason']})" if check.get("reason") else ""
            typer.echo(plain(f"{check['result']:<15}{check['id']:>6}  {check['title']}{reason}"))
        counts = ", ".join(f"{report.count(result)} {result}" for result in ("passed", "failed", "not applicable"))
        typer.echo(
            f"{plain(report.name)}: {f'score {report.score} %, {counts}' if report.applies else 'not for this host'}"
        )
    if not report.applies or report.count("failed"):
        raise typer.Exit(FAILED if report.applies else _NOT_FOR_THIS_HOST)


_NOT_FOR_THIS_HOST = 3


def _hive(text: str) -> tuple[str, str]:
    key, _, file = text.partition("=")
    if not key or not file:
        raise ConfigError(rf"--hive: expected KEY=FILE such as HKLM\SYSTEM=/images/SYSTEM, got {plain(text)!r}")
    return key, file


@app.command(epilog="Example: hids-agent status --json | jq .link.connected")
def status(
    state: State,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show whether the agent runs, what it reads and what waits. Ends with 0 when it is connected, else 1."""
    with _errors():
        shown = _read_status(state)
        if as_json:
            typer.echo(msgspec.json.format(msgspec.json.encode(shown)))
        else:
            typer.echo("\n".join(_lines(shown)))
        if not (shown["running"] and shown["link"]["connected"]):
            raise typer.Exit(FAILED)


def main() -> None:
    """Entry point of the command `hids-agent`."""
    app()


@contextlib.contextmanager
def _errors() -> Generator[None]:
    """One line on stderr instead of a traceback for what a person can act on."""
    try:
        yield
    except HidsError as error:
        typer.echo(f"hids-agent: {error}", err=True)
        raise typer.Exit(error.exit_status) from None


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").split("\n", 1)[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the password cannot be read: {error}") from error


def _has_port(manager: str) -> bool:
    return ":" in manager.rpartition("]")[2]


def _read_status(state: Path) -> dict[str, Any]:
    path = state / "status.json"
    try:
        with path.open("rb") as file:
            shown: dict[str, Any] = msgspec.json.decode(file.read(_MAX_STATUS_BYTES))
    except FileNotFoundError:
        raise StoreError(f"{path}: not there; no agent has run with this state folder, see hids-agent run") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot read: {error.strerror}; ask as the agent's user") from error
    except msgspec.MsgspecError as error:
        raise StoreError(f"{path}: damaged ({error}); a running agent writes it anew within 2 s") from error
    if shown["running"] and not _is_locked(state):
        shown["running"] = shown["link"]["connected"] = False  # it was killed and could not say so
    return shown


def _is_locked(state: Path) -> bool:
    from hids.agent.lock import is_locked  # noqa: PLC0415

    return is_locked(state)


def _lines(shown: dict[str, Any]) -> Iterator[str]:
    link, spool = shown["link"], shown["spool"]
    yield f"agent      {'running, pid ' + str(shown['pid']) if shown['running'] else 'not running'}"
    if link["connected"]:
        yield f"manager    connected to {link['manager']} as {link['agent_id']} ({link['agent_name']})"
    else:
        yield f"manager    not connected to {link['manager'] or 'any'}: {link['problem'] or 'not tried yet'}"
    yield f"spool      {spool['lines']} lines wait, {spool['bytes']} of {spool['max_bytes']} bytes"
    if spool["stopped"]:
        yield f"           reading stopped: {spool['stopped']}"
    for source in shown["sources"]:
        left_out = f", {source['skipped']} left out" if source.get("skipped") else ""
        yield f"{source['name']}  {source['state']}, {source['lines']} lines read{left_out}"
        for path, (offset, behind) in source["files"].items():
            yield f"           {path} at byte {offset}" + (f", {behind} behind" if behind else "")
    yield from _tree(shown["tree"], "")


def _tree(node: dict[str, Any], indent: str) -> Iterator[str]:
    restarts = f", {node['restarts']} restarts, last: {node['last_failure']}" if node["restarts"] else ""
    yield f"{indent}{node['name']}: {node['state']}, {node['handled']} handled, {node['depth']} wait{restarts}"
    for child in node["children"]:
        yield from _tree(child, indent + "  ")


if __name__ == "__main__":
    main()
