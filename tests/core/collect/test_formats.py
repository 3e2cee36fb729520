"""Each format of OSSEC's and Wazuh's: what is written, and the events that come of it."""

import pytest

from hids.core.collect.formats import FILE_FORMATS, grouping_of, line_count, regex_grouping, writer_of
from hids.errors import ConfigError


def events(name: str, text: bytes) -> list[bytes]:
    grouping = grouping_of(name)
    lines = text.splitlines()
    made = lines if grouping is None else [e for group in grouping.groups(lines, over=True) for e in group.events]
    writer = writer_of(name)
    written = made if writer is None else [writer(event, "/service/smtpd/current", "mx1") for event in made]
    return [event for event in written if event]


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("syslog", b"a\nb\n", [b"a", b"b"]),
        ("multi-line:2", b"a\nb\nc\nd\ne\n", [b"a b", b"c d", b"e"]),
        ("multi-line: 2", b"a\nb\n", [b"a b"]),
        ("multi-line_indented", b"error\n\tat x\n  at y\nnext\n", [b"error at x at y", b"next"]),
        (
            "audit",
            b"type=SYSCALL msg=audit(1.0:7): a\ntype=CWD msg=audit(1.0:7): b\ntype=USER msg=audit(1.0:8): c\n",
            [b"type=SYSCALL msg=audit(1.0:7): a type=CWD msg=audit(1.0:7): b", b"type=USER msg=audit(1.0:8): c"],
        ),
        (
            "nmapg",
            (
                b"# Nmap\nHost: 192.0.2.1 (a)\tStatus: Up\n"
                b"Host: 192.0.2.1 (a)\tPorts: 22/open/tcp//ssh//x/, 25/closed/tcp//smtp///, 53/open/udp//dns///\tIgnored: 9\n"
                b"Host: 192.0.2.2 ()\tPorts: 25/closed/tcp//smtp///\n"
            ),
            [b"Host: 192.0.2.1 (a), open ports: 22(tcp) 53(udp)"],
        ),
        (
            "mysql_log",
            b"261124  3:21:43 [Note] ready\n\t\t7 Query x\nno time\n",
            [
                b"MySQL log: 261124  3:21:43 [Note] ready",
                b"MySQL log: 261124  3:21:43 7 Query x",
                b"MySQL log: no time",
            ],
        ),
        (
            "postgresql_log",
            b"[2026-11-24 03:21:43 UTC] ERROR: x\n\tat character 3\n[2026-11-24 03:21:44 UTC] LOG: y\n",
            [b"[2026-11-24 03:21:43 UTC] ERROR: x at character 3", b"[2026-11-24 03:21:44 UTC] LOG: y"],
        ),
        (
            "mssql_log",
            b"2026-11-24 03:21:43.10 Logon  Error: 18456\n  more\n2026-11-24 03:21:44.10 spid5 z\n",
            [b"2026-11-24 03:21:43.10 Logon  Error: 18456 more", b"2026-11-24 03:21:44.10 spid5 z"],
        ),
        (
            "snort-full",
            (
                b"[**] [1:2:3] scan [**]\n[Classification: bad] [Priority: 2]\n"
                b"11/24-03:21:43.000001 192.0.2.7:4 -> 10.0.0.1:80\nTCP TTL:64\n\n[**] [1:2:4] ping [**]\n"
                b"11/24-03:21:43.1 192.0.2.7 -> 10.0.0.1\n"
            ),
            [
                b"[**] [1:2:3] scan [**] [Classification: bad] [Priority: 2] 192.0.2.7:4 -> 10.0.0.1:80",
                b"[**] [1:2:4] ping [**] 192.0.2.7 -> 10.0.0.1",
            ],
        ),
        ("iis", b"#Fields: date time\n2026-11-24 GET /\n", [b"2026-11-24 GET /"]),
        (
            "modsec-audit",
            b"--a1b2-A--\n[24/Nov/2026] x\n--a1b2-B--\nGET / HTTP/1.1\n\n--a1b2-Z--\n\n--c3d4-A--\ny\n--c3d4-Z--\n",
            [b"--a1b2-A-- [24/Nov/2026] x --a1b2-B-- GET / HTTP/1.1 --a1b2-Z--", b"--c3d4-A-- y --c3d4-Z--"],
        ),
        (
            "ossecalert",
            (
                b"** Alert 1.2: mail  - syslog,\n2026 Nov 24 03:21:43 (web1) 10.0.0.1->/var/log/auth.log\n"
                b"Rule: 5716 (level 5) -> 'sshd: failed'\nSrc IP: 192.0.2.7\nUser: joe\nNov 24 x\n\n"
            ),
            [
                (
                    b"ossec: Alert Level: 5; Rule: 5716 - sshd: failed; Location: (web1) 10.0.0.1->/var/log/auth.log;"
                    b" srcip: 192.0.2.7; user: joe; Nov 24 x"
                )
            ],
        ),
        ("ossecalert", b"half\n\n** Alert\nx\n\n", []),
    ],
)
def test_a_format(name: str, text: bytes, wanted: list[bytes]):
    assert events(name, text) == wanted


def test_a_line_of_multilog_gets_a_header_with_its_folders_name():
    (event,) = events("djb-multilog", b"@4000000065f1a2b03ba1c2d4 status: local 0/10\n")
    assert event.endswith(b" mx1 smtpd: status: local 0/10")
    assert len(event.split(b" mx1 ")[0]) == len("Mar 13 12:58:14")
    assert events("djb-multilog", b"@4000000 x\n") == [b"@4000000 x"]
    assert events("djb-multilog", b"@ffffffffffffffffffffffff x\n") != []


@pytest.mark.parametrize(
    ("match", "wanted"),
    [("start", [b"0", b"> a\nb", b"> c"]), ("end", [b"0\n> a", b"b\n> c"]), ("all", [b"0\n> a", b"b\n> c"])],
)
def test_events_by_an_expression(match: str, wanted: list[bytes]):
    grouping = regex_grouping("> ", match, b"\n", 5.0)
    groups = grouping.groups([b"0", b"> a", b"b", b"> c"], over=True)
    assert [event for group in groups for event in group.events] == wanted


def test_what_is_no_expression_and_no_count():
    with pytest.raises(ConfigError, match="not a regular expression"):
        regex_grouping("(", "start", b" ", 5.0)
    with pytest.raises(ConfigError, match="expected 1 to 1000 lines, got 0"):
        line_count("multi-line:0")


@pytest.mark.parametrize("name", FILE_FORMATS)
def test_any_bytes_are_taken(name: str):
    junk = b"\xff\0\t[**] [\n\n -> \nHost: \n** Alert \n\n\n\n@" + b"f" * 24 + b" x\n--1-A--\n--1-Z--"
    for event in events(name, junk):
        assert isinstance(event, bytes)
