"""The lines in which an agent tells how its policies came out, in the JSON of Wazuh's agents.

    {"type":"check","id":1795490502,"policy":"...","policy_id":"...","check":{"id":1,...,"result":"failed"}}
    {"type":"summary","scan_id":1795490502,"policy_id":"...","passed":40,"failed":2,"invalid":1,"score":95,...}
    {"type":"policies","policies":["..."]}      these and no others are looked at on this host
    {"type":"scanned","policy_id":"...",...}    ours: a scan ended and nothing was news

Our agent says with a check what its result was before, and with a summary which checks there are. Wazuh's says neither.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec

from hids.core.policy.judge import Verdict
from hids.core.policy.policy import Check, Policy, Result
from hids.core.policy.rule import Rule

LOCATION: Final = "sca"
"""Where these lines come from, as Wazuh's dashboards know it."""

RESULTS: Final[tuple[Result, ...]] = ("passed", "failed", "not applicable")

Count = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]

_encode = msgspec.json.Encoder().encode


# ---- what an agent writes ----------------------------------------------------------------------------------


class Checked(msgspec.Struct, frozen=True):
    """One check as it came out."""

    id: int
    result: Result
    digest: str
    """Of its texts: when they change it is told again."""
    members: bytes
    """Its line, without type, scan and braces."""


class Report(msgspec.Struct, frozen=True):
    """One policy as it came out on this host. policy scanner -> policy actor, as msgpack."""

    policy_id: str = ""
    name: str = ""
    file: str = ""
    description: str = ""
    references: tuple[str, ...] = ()
    hash_file: str = ""
    """SHA-256 of the file, hex."""
    applies: bool = True
    """The requirements hold here; else there are no checks."""
    checked: tuple[Checked, ...] = ()
    began_ms: int = 0
    ended_ms: int = 0
    problem: str = ""
    """Why the policy could not be used; then all else is empty."""

    def count(self, result: Result) -> int:
        """Checks with this result."""
        return sum(one.result == result for one in self.checked)

    @property
    def score(self) -> int:
        """Whole percent of the checks that passed, of those that passed or failed; 0 when there are none."""
        return score(self.count("passed"), self.count("failed"))


def score(passed: int, failed: int) -> int:
    """Percent, rounded down as Wazuh does."""
    return passed * 100 // (passed + failed) if passed + failed else 0


def checked(policy: Policy, check: Check, verdict: Verdict) -> Checked:
    """A check with what came of it."""
    texts = {
        "description": check.description,
        "rationale": check.rationale,
        "impact": check.impact,
        "remediation": check.remediation,
        "references": ",".join(check.references),
    }
    body: dict[str, object] = {"id": check.id, "title": check.title}
    body |= {name: text for name, text in texts.items() if text}
    if check.compliance:
        body["compliance"] = {name: ",".join(requirements) for name, requirements in check.compliance.items()}
    body["condition"] = check.condition
    body["rules"] = [rule.written for rule in check.rules]
    for kind in ("file", "directory", "process", "registry", "command"):
        targets = [
            target for rule in check.rules if isinstance(rule, Rule) and rule.kind == kind for target in rule.targets
        ]
        if targets:
            body[kind] = ",".join(dict.fromkeys(targets))
    digest = hashlib.sha256(_encode(body)).hexdigest()[:16]
    if verdict.result == "not applicable":
        body |= {"status": "Not applicable", "reason": verdict.reason}
    else:
        body["result"] = verdict.result
    members = {"policy": policy.name, "policy_id": policy.id, "check": body}
    return Checked(check.id, verdict.result, digest, _encode(members)[1:-1])


def check_line(one: Checked, scan_id: int, previous: str) -> bytes:
    """Tell of one check; `previous` is its result before, empty for none."""
    before = b',"previous_result":' + _encode(previous) if previous else b""
    return b'{"type":"check","id":%d,%b%b}' % (scan_id, one.members, before)


def summary_line(report: Report, scan_id: int, origin: str, *, first: bool) -> bytes:
    """Tell how a whole policy came out; `origin` says where the policy comes from."""
    results = sorted((one.id, one.result) for one in report.checked)
    summary: dict[str, object] = {
        "type": "summary",
        "scan_id": scan_id,
        "name": report.name,
        "policy_id": report.policy_id,
        "file": report.file,
        "origin": origin,
        "description": report.description,
        "references": ",".join(report.references),
        "passed": report.count("passed"),
        "failed": report.count("failed"),
        "invalid": report.count("not applicable"),
        "total_checks": len(report.checked),
        "score": report.score,
        "start_time": report.began_ms // 1000,
        "end_time": report.ended_ms // 1000,
        "hash": hashlib.sha256(_encode(results)).hexdigest(),
        "hash_file": report.hash_file,
        "checks": [id_ for id_, _ in results],
    }
    if first:
        summary["first_scan"] = 1
    return _encode(summary)


def scanned_line(report: Report) -> bytes:
    """Tell that a scan ended with the results that were told before."""
    return _encode({"type": "scanned", "policy_id": report.policy_id, "end_time": report.ended_ms // 1000})


def policies_line(policies: Iterable[str]) -> bytes:
    """Tell which policies there are."""
    return _encode({"type": "policies", "policies": sorted(policies)})


# ---- what a manager reads ----------------------------------------------------------------------------------


class CheckBody(msgspec.Struct, frozen=True):
    """The member `check`."""

    id: Count
    title: str = ""
    description: str = ""
    rationale: str = ""
    impact: str = ""
    remediation: str = ""
    references: str = ""
    compliance: dict[str, str] = {}
    condition: str = ""
    rules: tuple[str, ...] = ()
    file: str = ""
    directory: str = ""
    process: str = ""
    registry: str = ""
    command: str = ""
    result: str = ""
    status: str = ""
    reason: str = ""


class CheckSaid(msgspec.Struct, frozen=True, tag_field="type", tag="check"):
    """An agent told of a check."""

    policy_id: str
    check: CheckBody
    id: Count = 0
    policy: str = ""
    previous_result: str = ""

    @property
    def result(self) -> str:
        """As Wazuh's alerts have it."""
        return self.check.result.lower() or self.check.status.lower()


class SummarySaid(msgspec.Struct, frozen=True, tag_field="type", tag="summary"):
    """An agent told how a policy came out."""

    policy_id: str
    name: str = ""
    scan_id: Count = 0
    file: str = ""
    origin: str = ""
    """Where the policy comes from: a path on the host, or the manager. Wazuh's agents do not say."""
    description: str = ""
    passed: Count = 0
    failed: Count = 0
    invalid: Count = 0
    total_checks: Count = 0
    score: Annotated[float, msgspec.Meta(ge=0, le=100)] = 0
    end_time: Count = 0
    hash_file: str = ""
    checks: tuple[Count, ...] = ()
    """Empty: it does not say."""


class PoliciesSaid(msgspec.Struct, frozen=True, tag_field="type", tag="policies"):
    """An agent told which policies it has."""

    policies: tuple[str, ...]


class ScannedSaid(msgspec.Struct, frozen=True, tag_field="type", tag="scanned"):
    """An agent told that nothing was news."""

    policy_id: str
    end_time: Count = 0


class DumpSaid(msgspec.Struct, frozen=True, tag_field="type", tag="dump_end"):
    """An agent of Wazuh ended a dump that somebody asked for."""


Said = CheckSaid | SummarySaid | PoliciesSaid | ScannedSaid | DumpSaid

_decoder: msgspec.json.Decoder[Said] = msgspec.json.Decoder(Said)


def read_said(text: bytes) -> Said | None:
    """What a line says; None for what is no such line."""
    try:
        return _decoder.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError):  # msgspec lets a UnicodeDecodeError through
        return None


def fields_of(said: Said) -> Sequence[tuple[str, str]]:
    """A line as the fields of Wazuh's decoder `sca`, (name, value); empty texts are left out."""
    match said:
        case CheckSaid():
            return [(f"sca.{name}", value) for name, value in _check_fields(said) if value]
        case SummarySaid():
            return [(f"sca.{name}", value) for name, value in _summary_fields(said) if value]
        case PoliciesSaid():
            return [("sca.type", "policies"), ("sca.policies", ",".join(said.policies))]
        case ScannedSaid():
            return [("sca.type", "scanned"), ("sca.policy_id", said.policy_id)]
        case DumpSaid():
            return [("sca.type", "dump_end")]


def _check_fields(said: CheckSaid) -> Iterable[tuple[str, str]]:
    check = said.check
    yield from (("type", "check"), ("scan_id", str(said.id)), ("policy", said.policy), ("policy_id", said.policy_id))
    yield "check.id", str(check.id)
    for name in ("title", "description", "rationale", "remediation", "references"):
        yield f"check.{name}", getattr(check, name)
    for name, requirements in check.compliance.items():
        yield f"check.compliance.{name}", requirements
    for name in ("file", "directory", "process", "registry", "command", "status", "reason"):
        yield f"check.{name}", getattr(check, name)
    yield "check.result", said.result
    yield "check.previous_result", said.previous_result


def _summary_fields(said: SummarySaid) -> Iterable[tuple[str, str]]:
    yield from (("type", "summary"), ("scan_id", str(said.scan_id)), ("policy", said.name))
    for name in ("policy_id", "description", "file"):
        yield name, getattr(said, name)
    for name in ("passed", "failed", "invalid", "total_checks"):
        yield name, str(getattr(said, name))
    yield "score", str(int(said.score))
