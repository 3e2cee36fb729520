"""What holds of a host, by a host that tests make up."""

from collections.abc import Mapping, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.policy.host import Unavailable
from hids.core.policy.judge import Verdict, holds, is_for, judge, verdict_of
from hids.core.policy.policy import Check, Condition, Policy, Requirements
from hids.core.policy.rule import Rule, Unusable, parse_rule


class FakeHost(msgspec.Struct):
    files: dict[str, bytes] = {}
    directories: frozenset[str] = frozenset()
    running: tuple[str, ...] = ()
    outputs: dict[str, list[bytes]] = {}
    keys: dict[str, dict[str, str]] = {}
    asked: list[str] = []

    def is_file(self, path: str) -> bool:
        if path.startswith("/dead"):
            raise Unavailable(f"{path}: no answer")
        return path in self.files

    def is_directory(self, path: str) -> bool:
        return path in self.directories

    def lines(self, path: str) -> Sequence[bytes]:
        if path not in self.files:
            raise Unavailable(f"{path}: No such file or directory")
        return self.files[path].splitlines()

    def files_below(self, path: str) -> list[tuple[str, str]]:
        if path not in self.directories:
            raise Unavailable(f"{path}: No such file or directory")
        return [(file.rpartition("/")[2], file) for file in self.files if file.startswith(path + "/")]

    def processes(self) -> Sequence[str]:
        return self.running

    def output(self, command: str) -> Sequence[bytes]:
        self.asked.append(command)
        if command not in self.outputs:
            raise Unavailable(f"{command}: cannot be run")
        return self.outputs[command]

    def registry(self, key: str) -> Mapping[str, str] | None:
        return self.keys.get(key)


HOST = FakeHost(
    files={
        "/etc/sshd": b"# Port 22\nPort 2222\nMaxAuthTries 3\n",
        "/etc/empty": b"",
        "/etc/audit/rules.d/a.rules": b"-w /etc/passwd -p wa\n",
        "/etc/audit/b.conf": b"x = 1\n",
    },
    directories=frozenset(("/etc/audit", "/etc/none")),
    running=("systemd", "/usr/sbin/sshd", "cron"),
    outputs={"uname": [b"Linux"], "silent": [b""]},
    keys={r"HKLM\Lsa": {"Limit": "1", "Name": "x"}},
)


def asked(text: str, host: FakeHost = HOST) -> bool | str:
    """Whether a rule holds, or why that cannot be told."""
    try:
        return holds(parse_rule(text, {}, "osregex"), host)
    except Unavailable as error:
        return str(error)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("f:/etc/sshd", True),
        ("f:/nothere", False),
        ("not f:/nothere", True),
        ("f:/nothere,/etc/sshd", True),
        ("f:/dead,/etc/sshd", True),
        ("f:/dead,/nothere", "/dead: no answer"),
        ("not f:/dead", "/dead: no answer"),
        ("f:/etc/sshd -> r:^Port", True),
        ("f:/etc/sshd -> !r:^# && r:22$", True),
        ("not f:/etc/sshd -> r:^Protocol", True),
        ("f:/etc/sshd -> Port 2222", True),
        ("f:/etc/sshd -> Port", False),
        (r"f:/etc/sshd -> n:^MaxAuthTries\s+(\d+) compare <= 4", True),
        ("f:/etc/empty -> !r:x", False),
        ("f:/nothere -> r:x", "/nothere: No such file or directory"),
        ("not f:/nothere -> r:x", "/nothere: No such file or directory"),
        ("f:/nothere,/etc/sshd -> r:^Port", True),
        ("f:/nothere,/etc/sshd -> r:^Protocol", "/nothere: No such file or directory"),
        ("d:/etc/audit", True),
        ("d:/nothere", False),
        ("d:/nothere,/etc/none", True),
        (r"d:/etc/audit -> r:\.rules$", True),
        ("d:/etc/audit -> b.conf", True),
        ("d:/etc/audit -> b", False),
        ("d:/etc/audit -> b.conf -> x = 1", True),
        ("d:/etc/audit -> r:^. -> r:^-w", False),  # a plain dot is a dot
        (r"d:/etc/audit -> r:\.+ -> r:^-w", True),
        ("not d:/etc/audit -> r:nothing -> r:x", True),
        ("d:/nothere -> x", "/nothere: No such file or directory"),
        ("p:sshd", True),
        ("p:/usr/sbin/sshd", True),
        ("p:ssh", False),
        ("not p:telnetd", True),
        ("p:r:^cro", True),
        ("c:uname -> Linux", True),
        ("c:uname -> r:^windows", False),
        ("not c:uname -> r:^windows", True),
        ("c:uname", True),
        ("c:silent -> r:^$", True),
        ("c:nothing -> r:x", "nothing: cannot be run"),
        ("not c:nothing -> r:x", "nothing: cannot be run"),
        (r"r:HKLM\Lsa", True),
        (r"r:HKLM\Nothing", False),
        (r"r:HKLM\Lsa -> Limit", True),
        (r"r:HKLM\Lsa -> limit", True),
        (r"r:HKLM\Lsa -> !limit -> x", True),
        (r"r:HKLM\Lsa -> Name -> X", False),
        (r"r:HKLM\Lsa -> Other", False),
        (r"r:HKLM\Nothing -> Other", False),
        (r"r:HKLM\Lsa -> Limit -> 1", True),
        (r"r:HKLM\Lsa -> Limit -> n:^(\d+) compare > 1", False),
        (r"r:HKLM\Lsa -> Other -> 1", r"no such value in the registry key HKLM\Lsa"),
        (r"r:HKLM\Nothing -> Limit -> 1", r"no registry key HKLM\Nothing"),
    ],
)
def test_a_rule_holds_or_not_or_cannot_be_looked_at(text: str, *, expected: bool | str):
    assert asked(text) == expected


TRUE, FALSE = parse_rule("f:/etc/sshd", {}, "osregex"), parse_rule("f:/nothere", {}, "osregex")
DEAD = parse_rule("f:/dead", {}, "osregex")
RULES: dict[str, Rule | Unusable] = {"t": TRUE, "f": FALSE, "d": DEAD, "u": Unusable("x", "no such rule")}


@given(st.sampled_from(["all", "any", "none"]), st.text(st.sampled_from("tfdu"), min_size=1, max_size=5))
def test_conditions_as_wazuh_documents_them(condition: Condition, rules: str):
    verdict = verdict_of(condition, [RULES[letter] for letter in rules], HOST)
    unknown = "d" in rules or "u" in rules
    match condition:
        case "all":
            expected = "failed" if "f" in rules else "not applicable" if unknown else "passed"
        case "any":
            expected = "passed" if "t" in rules else "not applicable" if unknown else "failed"
        case "none":
            expected = "failed" if "t" in rules else "not applicable" if unknown else "passed"
    assert verdict.result == expected
    assert bool(verdict.reason) == (expected == "not applicable")


def test_what_follows_a_rule_that_settles_it_is_not_run():
    host = msgspec.structs.replace(HOST, asked=[])
    rules = [FALSE, parse_rule("c:uname -> Linux", {}, "osregex")]
    assert verdict_of("all", rules, host) == Verdict("failed")
    assert host.asked == []


def test_the_first_reason_is_told():
    assert verdict_of("all", [RULES["u"], DEAD], HOST) == Verdict("not applicable", "no such rule")


def test_requirements_decide_whether_a_policy_is_for_a_host():
    check = Check(1, "t", "all", (TRUE,))
    assert judge(check, HOST) == Verdict("passed")
    for rules, expected in (((TRUE,), True), ((FALSE,), False), ((DEAD,), False)):
        policy = Policy("p", "f", "n", "d", (check,), requirements=Requirements("r", "all", rules))
        assert is_for(policy, HOST) is expected
    assert is_for(Policy("p", "f", "n", "d", (check,)), HOST)
