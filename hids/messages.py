"""Every message between actors and processes, in the order of a line's path.

All are frozen and cross process boundaries as msgpack. Times are whole milliseconds since the epoch, UTC (`*_ms`),
unless a name says otherwise. Positional structs (`array_like`) are those of which there are many: new fields go last
and have defaults, so that an older peer keeps working.
"""

from typing import Annotated, Literal, NewType

import msgspec

AgentId = NewType("AgentId", str)
"""Text digits, at least three ("001")."""

MANAGER = AgentId("000")
"""The manager itself."""

SourceId = NewType("SourceId", str)
"""A numbered stream of lines: "agent/007", or "derived/<kind>/<agent id>" for lines that the manager made."""

Kind = Literal["log", "agent", "syscheck", "eventchannel", "rootcheck", "sca", "response"]
"""What a line is: text of a log, an agent's word about itself, a packed `FileFact`, an event of Windows' event channel
with its XML, a finding of rootcheck, what came of a policy (hids.core.policy.lines), or what an agent did as a response
(hids.core.response.audit)."""

Number = Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
"""What an agent counts, or says the time is: refused at the door when no store could hold it."""

ShortText = Annotated[str, msgspec.Meta(max_length=256)]
"""Words from outside that are stored and shown."""

Labels = Annotated[dict[ShortText, ShortText], msgspec.Meta(max_length=32)]
"""What a host is, in its administrator's words."""

Digest = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
"""SHA-256."""

Dialect = Literal["ossec", "wazuh", "hids"]
"""`ossec`: OSSEC 4's files, exactly. `wazuh`: Wazuh 4's, exactly. `hids`: ours; strict, PCRE2 only."""

Correlation = Literal["native", "compat"]
"""How composite rules count: by keyed windows of event time, or with the rings, marks and scope of the original."""

MAX_LINE_BYTES = 65_536
"""Longer lines are cut here. OS_MAXSTR is 65,536 in Wazuh and 6,144 in OSSEC; RFC 5424 6.1 asks for 2,048."""

MAX_LOCATION = 16_384
"""Characters. PATH_MAX is 4,096 bytes, each of which may be spelled in four characters."""

MAX_BATCH_LINES = 512
MAX_BATCH_PACKED = 256 * 1024
"""Bytes of one batch as it travels. Measured best between 256 and 512 lines (docs/benchmarks.md)."""
MAX_BATCH_UNPACKED = 2 * 1024 * 1024
"""Bytes of text in one batch, so that a decompression bomb is refused before memory is taken."""


# ---- agent: read ------------------------------------------------------------------------------------------------


class LogLine(msgspec.Struct, frozen=True, array_like=True):
    """One line as a source read it. collector -> spool -> ... -> decoder."""

    location: str
    """Where it was read: a path, "journald", "syscheck"."""
    text: bytes
    at_ms: int
    """Event time by the agent's clock: read time for what was read live, the header's or journal's time otherwise."""
    read_ms: int
    """When the agent read it, by the agent's clock."""
    kind: Kind = "log"
    facts: bytes = b""
    """JSON members that go into the alert as they are (derived lines only), without the outer braces."""


class Packaged(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the host's package manager says of a path (hids.agent.packages). In `FileFact.package`."""

    name: ShortText
    version: ShortText
    content: Literal["same", "other", "conffile", "unknown"] = "unknown"
    """Whether what is there is what the package has there; of a path that is gone: whether the package let go of it.
    "conffile": another content, as it may have, for the package gives it into the administrator's hands. "unknown": the
    package says nothing of the content."""
    recent: bool = False
    """The package was installed, upgraded or removed about when the path changed."""


MAX_PROCESS_TEXT = 512
"""Characters of a process's path or command line; the rest is cut off."""
ProcessText = Annotated[str, msgspec.Meta(max_length=MAX_PROCESS_TEXT)]


class Who(msgspec.Struct, frozen=True, omit_defaults=True):
    """The process that changed a path last, as the kernel named it (hids.agent.whodata). In `FileFact.who`."""

    pid: int
    """As the agent's own namespace numbers it; 0: the process is of another."""
    uid: int = -1
    user: ShortText = ""
    effective_uid: int = -1
    effective_user: ShortText = ""
    login_uid: int = -1
    """Of the login that all began with, whatever su and sudo did since; -1: no login."""
    login_user: ShortText = ""
    gid: int = -1
    group: ShortText = ""
    process: ProcessText = ""
    """Path of the program; where that may not be read, its name."""
    command: ProcessText = ""
    """Command line, arguments separated by spaces."""
    cwd: ProcessText = ""
    ppid: int = 0
    parent: ProcessText = ""
    """Path of the parent's program."""
    gone: bool = False
    """It ended before it could be looked at: nothing but `pid` is known."""


class FileFact(msgspec.Struct, frozen=True, omit_defaults=True):
    """What syscheck saw of one path. agent's syscheck -> syscheck store, packed in `LogLine.text`."""

    path: str
    seen: Literal["baseline", "scan", "live"]
    """The first scan of a directory, a later scan, or a kernel notification."""
    gone: bool = False
    kind: Literal["file", "dir", "link", "other", "key", "value"] = "file"
    """`key` and `value` are of Windows' registry; a value's `target` is its type."""
    size: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    user: str = ""
    group: str = ""
    mtime_ns: int = 0
    inode: int = 0
    sha256: str = ""
    """Hex; empty for what is not a regular file or could not be read."""
    target: str = ""
    """Where a symbolic link points."""
    md5: str = ""
    """Hex; where it was asked for, like `sha1`, and of agents of OSSEC and Wazuh."""
    sha1: str = ""
    diff: str = ""
    """What changed inside, if the agent was told to compare. Part of the news, not of the baseline."""
    acl: str = ""
    """POSIX ACL as `getfacl` writes it, entries joined by commas; empty where the mode says it all."""
    capabilities: str = ""
    """File capabilities as `getcap` writes them."""
    label: str = ""
    """SELinux label."""
    xattrs: dict[str, str] = {}
    """Other extended attributes: name -> value, or its SHA-256 where it is long or not text."""
    links: int = 0
    """Names that a regular file has, where it has several (hard links)."""
    grown: bool = False
    """A log that only grew: what was there before is there as it was. Part of the news, not of the baseline."""
    unchecked: tuple[str, ...] = ()
    """Attributes (as alerts name them) that the agent was told to leave alone; they have their default here."""
    moved_from: str = ""
    """The path at which this was before. What is known of it goes with it. Part of the news, not of the baseline."""
    package: Packaged | None = None
    """What owns the path; only of what changed, and only where a package owns it."""
    who: Who | None = None
    """Who made the change, where that was asked for and is known. Part of the news, not of the baseline."""


class Baseline(msgspec.Struct, frozen=True, array_like=True):
    """What the manager knows of one path of an agent. syscheck store -> ledger."""

    fact: FileFact
    changes: int = 0
    """How often it changed, since a person set it to zero."""
    told: bytes = b""
    """`entry_digest` of the last fact that came, where more is known than it said; else empty."""


class DirectoryDigests(msgspec.Struct, frozen=True, array_like=True, tag="digests"):
    """What the agent knows of directories, in order. agent's syscheck -> syscheck store, packed in `LogLine.text`.

    It comes in sequence with the facts, so that it is about what they have told. It speaks for every directory that is above `after` and not above `through`: one that is missing here is empty.
    """

    check: ShortText
    """Names the check that asked."""
    top: str
    """The path below which was asked."""
    after: str
    through: str
    """Empty: to the end."""
    digests: tuple[tuple[str, bytes], ...]
    """(path with its last slash, `directory_digest` of its entries)."""


class DirectoryListing(msgspec.Struct, frozen=True, array_like=True, tag="listing"):
    """What there is in a directory that was looked at anew; sent as `DirectoryDigests` are, behind the facts.

    It speaks for all names that are above `after` and not above `through`.
    """

    folder: str
    """With its last slash."""
    after: str
    through: str
    """Empty: to the end."""
    names: tuple[str, ...]
    """In order."""


class FileChange(msgspec.Struct, frozen=True, array_like=True):
    """One change of a path, for its history. syscheck store -> ledger."""

    agent: AgentId
    path: str
    at_ms: int
    """Event time."""
    event: str
    """"added", "modified" or "deleted"."""
    told: bytes
    """JSON: the alert's `syscheck` member."""
    changes: int
    """How often it had changed then, this one included."""
    verdict: str = ""
    """Who answers for it (hids.core.syscheck.verdict)."""


class DigestCheck(msgspec.Struct, frozen=True, array_like=True):
    """What comparing digests has shown. syscheck store -> ledger."""

    id: str
    agent: AgentId
    directories: int = 0
    differing: tuple[str, ...] = ()
    done: bool = False


class Maintenance(msgspec.Struct, frozen=True):
    """Somebody works on some agents for a while, and says so."""

    id: str
    agents: tuple[AgentId, ...]
    scope: ShortText
    """Who that is, in words: an agent's name or "group web"."""
    owner: ShortText
    reason: ShortText
    start_ms: int
    end_ms: int
    ended_ms: int = 0
    """When it ended; 0: it did not yet."""
    ended_by: ShortText = ""
    """Empty: by itself."""


class Append(msgspec.Struct, frozen=True):
    """collector -> spool: store these lines and, in the same transaction, where to go on reading."""

    source: str
    """The collector's name; `Stored` comes back to it."""
    lines: tuple[LogLine, ...]
    positions: dict[str, bytes | None]
    """Key -> value to remember; None forgets the key."""


class Stored(msgspec.Struct, frozen=True):
    """spool -> collector: so many lines of yours are on disk; read on."""

    lines: int


# ---- carry: agent <-> manager, native protocol (docs/protocol.md) -----------------------------------------------


Ability = Literal["renew", "configure", "restart", "syscheck", "respond"]
"""What a peer understands beyond version 1's first messages: nobody is sent what he does not know."""


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """agent -> manager, first message of a session."""

    version: Number
    machine_id: ShortText
    epoch: Number
    """Numbers this spool. A new spool has a new, larger epoch."""
    oldest: Number
    """First sequence still in the spool."""
    next: Number
    """Sequence that the next line will get."""
    chain: Digest
    """Chain value of the line before `oldest` (32 bytes; zeros at the start of an epoch)."""
    clock_ms: Number
    previous_epoch: Number = 0
    """The epoch that this one replaces after a refusal; 0 for none."""
    software: ShortText = ""
    os: ShortText = ""
    hostname: ShortText = ""
    abilities: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=32)] = ()
    """`Ability`, and what later agents know."""
    labels: Labels = {}
    """What its configuration says that this host is."""
    config: ShortText = ""
    """Version of the manager's configuration that it has taken."""
    canary_s: Number = 0
    """A signed marker line (hids.core.wire.canary) comes each so many seconds; 0: none."""


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """Up to `MAX_BATCH_LINES` consecutive lines. agent -> manager, and main -> worker inside a `Job`."""

    epoch: Number
    first_seq: Number
    count: Number
    chain: Digest
    """Chain value after this batch: SHA-256(chain before, data)."""
    data: bytes
    """zstd of the packed lines (hids.core.wire.lines)."""


class Heartbeat(msgspec.Struct, frozen=True, tag="heartbeat"):
    """agent -> manager, every 10 s, in sequence with the batches."""

    clock_ms: Number
    read_through_ms: Number
    """Every source of the agent has been read up to this event time."""
    spooled: Number = 0
    """Lines in the spool that are not yet acknowledged."""
    stopped: ShortText = ""
    """Why reading stopped ("spool full"), or empty."""


class Renew(msgspec.Struct, frozen=True, tag="renew"):
    """agent -> manager: my certificate ends soon."""

    csr: Annotated[bytes, msgspec.Meta(max_length=16_384)]
    """PEM, for a new key."""


class Configured(msgspec.Struct, frozen=True, tag="configured"):
    """agent -> manager: what became of a `Configuration`."""

    version: ShortText
    problem: ShortText = ""
    """Why it was not taken; empty when it was."""
    labels: Labels = {}
    """What this host is, now that it is taken."""


ResponseState = Literal["done", "failed", "refused", "undone"]
"""What became of a response at an agent."""


class Responded(msgspec.Struct, frozen=True, tag="responded"):
    """agent -> manager: what became of an order. Said in each session until the manager has noted it."""

    order: ShortText
    """Id of the `ResponseOrder`."""
    state: ResponseState
    text: ShortText = ""
    """Why, in words."""
    at_ms: Number = 0
    """By the agent's clock."""


class Bye(msgspec.Struct, frozen=True, tag="bye"):
    """agent -> manager: closing on purpose."""

    reason: ShortText = "stopped"


class Welcome(msgspec.Struct, frozen=True, tag="welcome"):
    """manager -> agent: go on at this sequence."""

    from_seq: int
    credit: int
    """Bytes of `Batch.data` that may be under way unacknowledged; at least one batch always may."""
    clock_ms: int
    agent_id: str
    agent_name: str
    abilities: tuple[str, ...] = ()
    """As in `Hello`."""


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """manager -> agent: all lines through `seq` are committed; the spool may drop them."""

    seq: int
    credit: int


class NewEpoch(msgspec.Struct, frozen=True, tag="new_epoch"):
    """manager -> agent: this epoch cannot go on (snapshot, clone); open a new one and say hello again."""

    reason: str
    after: int
    """The new epoch must be larger than this."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """manager -> agent: no session. The connection is closed after it."""

    reason: str
    retry_s: int = 0
    """0: retrying is pointless until a person has acted."""


class Renewed(msgspec.Struct, frozen=True, tag="renewed"):
    """manager -> agent: the new certificate. The old one is valid until the new one is shown."""

    certificate: bytes
    """PEM."""


class Configuration(msgspec.Struct, frozen=True, tag="configuration"):
    """manager -> agent: what the manager sets for you; take it whole or not at all, and say which."""

    version: str
    """Hash of `body`; empty with an empty body: nothing is set."""
    body: bytes
    """msgpack of `SharedConfig` (hids.core.collect.config)."""


class Restart(msgspec.Struct, frozen=True, tag="restart"):
    """manager -> agent: start anew, in order."""

    by: str
    """Who asks for it."""


class AskDigests(msgspec.Struct, frozen=True, tag="ask_digests"):
    """manager -> agent: tell what you know of each directory below a path, among your lines (`DirectoryDigests`)."""

    check: str
    top: str
    """Empty: all that is watched."""


class Rescan(msgspec.Struct, frozen=True, tag="rescan"):
    """manager -> agent: look again at what is below these paths, and believe nothing that you remember of it."""

    paths: tuple[str, ...]
    """Empty: all that is watched."""
    baseline: bool = False
    """What is found is a first sight, no news."""


class ResponseOrder(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an agent shall do against an attacker, or undo. Travels packed and signed in `Respond`."""

    id: ShortText
    """<alert id>:<response>:<agent>: the same in every repeat. An undo has the id of what it undoes."""
    agent: ShortText
    """Id of the one agent that it is for."""
    response: ShortText
    """Name of the response; "by hand" when a person ordered it."""
    command: ShortText
    action: ShortText
    """What the command does: the name of a built-in action, or of a script."""
    undo: bool = False
    address: ShortText = ""
    user: ShortText = ""
    file: Annotated[str, msgspec.Meta(max_length=MAX_LOCATION)] = ""
    issued_ms: Number = 0
    until_ms: Number = 0
    """When it is undone, by the manager's clock; 0: never."""
    alert: ShortText = ""
    """Id of the alert; empty when a person ordered it."""
    reference: ShortText = ""
    """TIME.NUMBER, as OSSEC's scripts name an alert."""
    rule: ShortText = ""
    why: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    """The rule's description, or who ordered it."""
    extra: Annotated[tuple[ShortText, ...], msgspec.Meta(max_length=32)] = ()
    form: Literal["ossec", "wazuh"] = "ossec"
    """How a script is called."""
    once: bool = False
    """It happens and is over: there is nothing to undo."""
    alert_json: Annotated[bytes, msgspec.Meta(max_length=65_536)] = b""
    """The alert itself, for scripts of the form `wazuh`."""


class Respond(msgspec.Struct, frozen=True, tag="respond"):
    """manager -> agent: carry this out. Repeated in each session until `Responded` comes."""

    body: bytes
    """msgpack of a `ResponseOrder`."""
    signature: bytes
    """Ed25519 over `hids.core.response.order.to_sign(body)`."""
    certificate: bytes
    """PEM: says whose key that is; of the CA that the agent joined."""


class Noted(msgspec.Struct, frozen=True, tag="noted"):
    """manager -> agent: this outcome is on my disk."""

    order: str
    state: str


ToManager = Hello | Batch | Heartbeat | Renew | Configured | Responded | Bye
ToAgent = Welcome | Ack | Renewed | Configuration | Restart | AskDigests | Rescan | Respond | Noted | NewEpoch | Refused


# ---- carry: joining ---------------------------------------------------------------------------------------------

MAX_JOIN_BYTES = 64 * 1024
"""Longest frame on the joining port, where anybody may connect; a request with its CSR is about 1 KiB."""


class CaRequest(msgspec.Struct, frozen=True, tag="ca"):
    """agent -> manager on the joining port: show me your CA, so that I can compare it with my pin."""


class CaAnswer(msgspec.Struct, frozen=True, tag="ca_is"):
    """manager -> agent."""

    pem: bytes


class JoinRequest(msgspec.Struct, frozen=True, tag="join"):
    """agent -> manager over a connection that is verified against the pinned CA."""

    token: str
    name: str
    csr: bytes
    """PEM; only its public key and signature are used."""
    machine_id: str
    software: str = ""
    os: str = ""


class JoinAnswer(msgspec.Struct, frozen=True, tag="joined"):
    """manager -> agent."""

    agent_id: str
    name: str
    certificate: bytes
    ca: bytes
    session_port: int = 1514
    """Where the manager, at the same address, takes sessions."""


class JoinRefusal(msgspec.Struct, frozen=True, tag="join_refused"):
    """manager -> agent: one sentence for the person at the other end."""

    reason: str


class JoinPending(msgspec.Struct, frozen=True, tag="join_pending"):
    """manager -> agent: a person has to approve this; ask again with the same key."""

    reason: str
    retry_s: int = 5


ToJoin = CaRequest | JoinRequest
FromJoin = CaAnswer | JoinAnswer | JoinRefusal | JoinPending


# ---- manager: main -> worker -> main -> lane ---------------------------------------------------------------------


class Agent(msgspec.Struct, frozen=True, array_like=True):
    """Who sent a line, as alerts name it."""

    id: AgentId
    name: str
    ip: str
    labels: tuple[tuple[str, str], ...] = ()
    """What its configuration says that the host is."""


class Job(msgspec.Struct, frozen=True, tag="job"):
    """main -> worker: evaluate one batch."""

    source: SourceId
    agent: Agent
    batch: Batch
    received_ms: int
    clock_offset_ms: int = 0
    """Added to the agent's times to get the manager's."""
    careful: bool = False
    """A worker died on this batch: note every line, not every 32nd."""
    skip: tuple[int, ...] = ()
    """Offsets of lines that killed a worker: they become dead letters."""


class EventOut(msgspec.Struct, frozen=True, array_like=True):
    """One event that asks, alerts or feeds a window."""

    offset: int
    """Sequence = first_seq + offset."""
    at_ms: int
    ruleset: int
    """Index into `OutcomeBody.rulesets`."""
    residual: int
    """Index into `OutcomeBody.residuals`."""
    slots: tuple[bytes | None, ...]
    """Values of the key fields, in the order of `RuleTable.slots`; None where the event lacks the field."""
    tail: bytes
    """The alert's JSON after the rule, without the outer braces."""
    text: bytes
    """The log line, cut at 1,256 bytes, for the `previous_output` of composites."""
    descriptions: tuple[tuple[int, bytes], ...] = ()
    """(rule, JSON string) for each rule of the residual whose description names fields of the event."""


class Lending(msgspec.Struct, frozen=True, array_like=True):
    """An event whose decoder accumulates: it may lack fields that events before it had."""

    offset: int
    at_ms: int
    ruleset: int
    """Index into `OutcomeBody.rulesets`."""
    key: bytes
    """Names the transaction."""
    fields: dict[str, bytes]
    """What it can lend."""
    location: str
    text: bytes


class Lent(msgspec.Struct, frozen=True, array_like=True):
    """Fields that an event gets from those before it.

    Packed in the `facts` of a line of `derived/accumulate/<agent>`: the event once more, for one ruleset.
    """

    ruleset: str
    """Its name."""
    fields: dict[str, bytes]


class Dropped(msgspec.Struct, frozen=True, array_like=True):
    """A line that was not evaluated."""

    offset: int
    reason: str
    """"poison", "malformed"."""
    line: bytes = b""
    """The text of the line; words about it when it has none that can be read."""
    packed: bytes = b""
    """msgpack of the whole `LogLine`, with its event time by the manager's clock: all that it takes to send it again."""


class OutcomeBody(msgspec.Struct, frozen=True, array_like=True):
    """What the lane does for one batch."""

    rulesets: tuple[str, ...]
    """Content hashes: the names of the rule tables that the indexes below belong to."""
    residuals: tuple["Residual", ...]
    events: tuple[EventOut, ...]
    facts: tuple[tuple[int, int, bytes], ...] = ()
    """(offset, event time, packed `FileFact`)."""
    dropped: tuple[Dropped, ...] = ()
    lending: tuple[Lending, ...] = ()
    digests: tuple[bytes, ...] = ()
    """For each ruleset that drops repeated logs, 16 bytes a line (hids.core.correlate.repeats); else empty."""
    suspended: tuple[str, ...] = ()
    """Rules and decoders whose pattern ran out of steps too often, in words (hids.core.rules.suspended)."""
    judged: int = 0
    """Lines that the rules have seen, as counted where they were seen. With the facts and what was dropped they must
    make up the batch: the ledger compares."""
    canary: bytes = b""
    """The last line of the batch that looks like an agent's canary, now that the rules have seen it."""
    scans: tuple[tuple[int, bytes], ...] = ()
    """(event time, line) of what came of policies."""
    findings: tuple[tuple[int, bytes], ...] = ()
    """(event time, text) of lines of rootcheck, which the rules have seen as well."""


class ReadThrough(msgspec.Struct, frozen=True, tag="read_through"):
    """session -> dispatcher -> lane: all that an agent logged up to a time is in the lines up to `seq`.

    Of a session's reports only the last matters; one that is lost is made good by the next.
    """

    source: SourceId
    agent: Agent
    epoch: int
    seq: int
    at_ms: int
    """By the manager's clock."""


class Outcome(msgspec.Struct, frozen=True, tag="outcome"):
    """worker -> main -> lane. Main reads the head and leaves the body alone."""

    source: SourceId
    agent: Agent
    epoch: int
    first_seq: int
    count: int
    chain: bytes
    digest: bytes
    """First 16 bytes of SHA-256 over the batch's data: recognises it in another epoch."""
    worker: int
    body: bytes
    """msgpack of `OutcomeBody`."""


DerivedKind = Kind | Literal["accumulate"]
"""Kind of the source of a derived line."""

ResidualNode = tuple[int, int, int, int]
"""(op, rule, yes, no). Ask whether `rule` holds and go on at node `yes` or `no`:

    0 FINAL   no question: the result is this rule, reached below rule `yes`; rule -1: no rule
    1 WINDOW  did enough events come before?
    2 FTS     is the event's first-time-seen key new?
    3 DIFF    is the log another than the last one of this rule and host?

Rules are indexes into the rule table, nodes into the residual; node 0 is where to start."""

FINAL, WINDOW, FTS, DIFF = range(4)

Residual = tuple[ResidualNode, ...]


class WindowSpec(msgspec.Struct, frozen=True, array_like=True):
    """How a composite rule counts. Numbers of fields are slots."""

    needed: int
    """Past events that must lie within the timeframe of the one that fires."""
    timeframe_ms: int
    key: tuple[int, ...]
    """Must be there in both events and equal (`same_*`)."""
    per_agent: bool = False
    different: tuple[int, ...] = ()
    """A past event does not count when one of these is there in both and equal; what is missing differs."""
    different_present: tuple[int, ...] = ()
    """OSSEC's `different_*`: must be there in both events, too."""
    dynamic: int = -1
    """Slot that tells whether an event has dynamic fields; -1: it does not matter. With Wazuh's `different_field` a past
    event does not count either when neither event has any."""
    regex: int = -1
    """Slot that tells whether a past event's log matches `<if_matched_regex>`; -1: the rule has none."""
    frequency: int = 0
    """As written; 0 where it is not."""
    distinct: tuple[int, ...] = ()
    """Events count once for each value of these, all of which must be there."""
    first: tuple[int, ...] = ()
    """Rules (indexes) of the first event of a sequence; empty where the rule is no sequence."""
    then: tuple[int, ...] = ()
    """Rules of the event that follows it within the timeframe ..."""
    unless: bool = False
    """... or, with this, that must not follow it."""


class RuleRow(msgspec.Struct, frozen=True, array_like=True):
    """One rule as the lane needs it: never a pattern, never a tree."""

    id: int
    level: int
    identity: str
    """Hash of all that gives the rule's state its meaning; equal identity keeps state over a reload."""
    head: bytes
    """The alert's `"rule":{...` up to and without `"firedtimes":`."""
    end: bytes
    """... and what follows the number, closing the object."""
    window: WindowSpec | None = None
    feeds: tuple[int, ...] = ()
    """Composites (indexes) whose windows this rule's events enter."""
    ignore_ms: int = 0
    log: int = 0
    """1: always written (log_alert), -1: never (no_log), 0: when its level reaches the configured one."""
    middle: bytes = b""
    """Not empty: the description differs from event to event (`EventOut.descriptions`). It stands between `head` and
    this, which goes on up to `"firedtimes":`."""
    counted: bool = True
    """False (no_counter): alerts do not tell `firedtimes`."""
    ignore_fields: tuple[int, ...] = ()
    """Slots whose values `<ignore>` writes down, in the order in which they stand in the line."""
    check_ignored: tuple[int, ...] = ()
    """Slots whose values `<check_if_ignored>` looks for."""
    sid_list: tuple[int, ...] = ()
    """Composites that count this very rule (`if_matched_sid`), in load order. An event of a rule that has such enters
    their common list and no list of a group (correlation "compat")."""
    group_marks: tuple[tuple[int, int], ...] = ()
    """(composite that counts a group, times): the lists that an event enters, each so often (correlation "compat")."""
    responds: bool = True
    """False (no_ar, accuracy 0): its alerts are never a reason for a response."""


class RuleTable(msgspec.Struct, frozen=True):
    """A ruleset as the lane needs it, written beside the compiled plan under its hash."""

    hash: str
    name: str
    slots: tuple[str, ...]
    """What `EventOut.slots` holds: names of fields, and these:

    hostname, location, decoder (its name), type (its type), log (the text behind the header), dynamic ("1" when there are
    dynamic fields), fts (the first-time-seen key), fts_ids ("1" when that decoder has type ids), regex:N ("1" when the
    log matches the N-th past-log pattern). None where the event has no such thing."""
    rules: tuple[RuleRow, ...]
    dialect: Dialect = "hids"
    correlation: Correlation = "native"


News = Literal["first", "level", "agent", ""]


class Incident(msgspec.Struct, frozen=True):
    """What an alert says of the incident that it is part of: `hids.incident`. lane -> outputs, index."""

    id: str
    """Id of its first alert."""
    key: dict[str, str] = {}
    """What it is about, by the names of the fields; empty when the rule counts all events together."""
    news: News = ""
    """What is new: it begins, its level rises, an agent joins; empty when it just goes on."""


# ---- lane -> main, outputs ---------------------------------------------------------------------------------------


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """Committed so far."""

    epoch: int
    seq: int
    """Last committed sequence; 0 for none."""
    chain: bytes


class Applied(msgspec.Struct, frozen=True):
    """correlation window -> syscheck store -> ledger, inside the lane: one outcome, hole or notice, thought through."""

    source: SourceId
    agent: Agent
    progress: Progress | None = None
    first: int = 0
    """First sequence that `progress` moves over."""
    digest: bytes = b""
    canary: bytes = b""
    scans: tuple[tuple[int, bytes], ...] = ()
    """See `OutcomeBody`, both."""
    alerts: tuple[bytes, ...] = ()
    state: dict[tuple[str, bytes], tuple[bytes, int]] = {}
    """Windows touched: (rule identity, key) -> (bytes, time until which it matters)."""
    fired: dict[str, int] = {}
    facts: tuple[tuple[int, int, bytes], ...] = ()
    findings: tuple[tuple[int, bytes], ...] = ()
    """See `OutcomeBody`."""
    baselines: dict[tuple[str, str], Baseline | None] = {}
    changes: tuple[FileChange, ...] = ()
    checks: tuple[DigestCheck, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    order: "BaselineOrder | None" = None
    lines: tuple[tuple[DerivedKind, "LogLine"], ...] = ()
    """Lines to be derived for this agent, by the kind of their source."""
    hole: "Hole | None" = None
    dead: tuple[tuple[int, int, Dropped], ...] = ()
    """(epoch, sequence, what was dropped)."""
    counts: dict[str, int] = {}
    notice: int = 0
    """Number of the notice that this came from."""


class LaneReady(msgspec.Struct, frozen=True, tag="lane_ready"):
    """lane -> main at its start: what is committed, and which derived lines still wait."""

    progress: dict[str, Progress]
    derived: tuple["DerivedBatch", ...]
    outbox_next: int
    poison: tuple["Place", ...] = ()
    """Lines that ended the lane twice: they shall come as dead letters."""


class Place(msgspec.Struct, frozen=True, array_like=True):
    """One line."""

    source: str
    epoch: int
    seq: int


class DerivedBatch(msgspec.Struct, frozen=True, array_like=True):
    """lane -> main: lines the lane wrote, to be evaluated like any others."""

    source: SourceId
    agent: Agent
    batch: Batch


class Hole(msgspec.Struct, frozen=True, tag="hole"):
    """main -> lane: sequences of a source that will never come; progress moves over them and an alert is made."""

    source: SourceId
    agent: Agent
    epoch: int
    first: int
    last: int
    chain: bytes
    reason: str


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """main -> lane: something about an agent that rules shall see, as a derived line."""

    boot: str
    number: int
    """Numbered by main within its `boot`: repeated until committed, written once."""
    agent: Agent
    text: str
    at_ms: int


class Committed(msgspec.Struct, frozen=True, tag="committed"):
    """lane -> main after a group's COMMIT."""

    progress: dict[str, Progress]
    """Only the sources that moved."""
    derived: tuple[DerivedBatch, ...]
    notices: int
    """Highest notice number of this boot that is committed."""
    outbox_next: int
    canaries: dict[str, bytes] = {}
    """Source -> its last canary among what is committed."""


class Settle(msgspec.Struct, frozen=True, tag="settle"):
    """control -> main -> lane: what shall become of these dead letters."""

    letters: tuple[int, ...]
    """Their numbers in the quarantine."""
    verdict: Literal["replayed", "dropped"]


class BaselineOrder(msgspec.Struct, frozen=True, tag="baseline_order"):
    """control -> main -> lane: what a person wants done with what is known of files."""

    id: ShortText
    """It is kept under this, so that whoever ordered it sees that it is done."""
    what: Literal["accept", "zero", "ignore", "clear"]
    """Changes are known and well, and count anew; they count anew; further ones are recorded only; all is forgotten."""
    agent: Agent
    path: str
    """This path and what is below it; empty: everything."""
    through: int
    """Number of the last change that it is about."""
    by: ShortText


class Maintain(msgspec.Struct, frozen=True, tag="maintain"):
    """control -> main -> lane: begin a maintenance, or end the one of that id."""

    maintenance: Maintenance


class Cursors(msgspec.Struct, frozen=True, tag="cursors"):
    """outputs, index -> main -> lane: each output's durable position; rows that all have passed may go."""

    positions: dict[str, int]


class Said(msgspec.Struct, frozen=True, tag="said"):
    """keeper, archive -> main: something about the manager that the rules shall see."""

    text: str


class ArchiveReady(msgspec.Struct, frozen=True, tag="archive_ready"):
    """archive -> main at its start: send me what I have not said `Kept` of."""


class Kept(msgspec.Struct, frozen=True, tag="kept"):
    """archive -> main: these batches are on disk, or it is told that they are not; their outcomes may go on."""

    batches: tuple[tuple[SourceId, int, int], ...]
    """(source, epoch, first sequence) of each."""


class Outboxed(msgspec.Struct, frozen=True, tag="outboxed"):
    """main -> outputs, index: alerts below this number are in the outbox."""

    next: int


# ---- manager: main <-> the process that speaks with OSSEC's and Wazuh's agents -------------------------------------


class LegacyAgent(msgspec.Struct, frozen=True):
    """An agent of OSSEC or Wazuh, as its line in client.keys has it."""

    agent: Agent
    wire_id: str
    """The id that it calls itself: text, so 1 and 001 differ; mostly `agent.id`."""
    ip: str
    """From where it may speak: `any`, an address, or address/prefix-length; a leading ! inverts."""
    key: str
    generation: int = 0
    """Raised when a person says that its counters begin anew."""
    group: str = ""
    """Whose shared files it gets; empty: everybody's."""


class LegacyKeys(msgspec.Struct, frozen=True, tag="legacy_keys"):
    """main -> legacy: these agents and no others."""

    agents: tuple[LegacyAgent, ...]
    connected: tuple[AgentId, ...] = ()
    """Those that a process before this one has heard: they may say for long that nothing has changed."""


class LegacyProgress(msgspec.Struct, frozen=True, tag="legacy_progress"):
    """main -> legacy: what is committed of its sources."""

    progress: dict[str, Progress]


class LegacyOrder(msgspec.Struct, frozen=True, tag="legacy_order"):
    """main -> legacy: what an agent is to do."""

    agent: AgentId
    command: str
    """"restart", "scan" (syscheck and rootcheck), "reconnect" (Wazuh); else an active response as ar.conf has it: the name
    directly followed by the timeout in seconds, e.g. firewall-drop600."""
    user: str = ""
    ip: str = ""
    alert: str = ""
    """`TIME.OFFSET` of the alert; empty when a person ordered it."""
    rule: str = ""
    location: str = ""
    file: str = ""
    extra: tuple[str, ...] = ()
    alert_json: bytes = b"{}"
    """The alert itself, which Wazuh's programs are given whole."""
    number: int = 0
    """Comes back in `LegacyDone`."""


class LegacyDone(msgspec.Struct, frozen=True, tag="legacy_done"):
    """legacy -> main: an order was sent, or why not. Whether it was carried out no old agent says."""

    number: int
    problem: str = ""


class LegacyReady(msgspec.Struct, frozen=True, tag="legacy_ready"):
    """legacy -> main at its start: tell me what is committed, and the keys."""


class LegacyBatch(msgspec.Struct, frozen=True, tag="legacy_batch"):
    """legacy -> main: lines of an old agent, durable in the journal."""

    agent: Agent
    batch: Batch
    received_ms: int


class LegacySeen(msgspec.Struct, frozen=True, tag="legacy_seen"):
    """legacy -> main: how an agent is, at each change and now and then."""

    agent: Agent
    connected: bool
    at_ms: int
    """When it was heard last."""
    changed: bool = True
    """It is not merely still there."""
    os: str = ""
    software: str = ""
    method: str = ""
    """Cipher and transport."""
    lines: int = 0
    """Since the process started."""


class LegacyNotice(msgspec.Struct, frozen=True, tag="legacy_notice"):
    """legacy -> main: something about an agent that rules shall see."""

    agent: Agent
    text: str


ToLegacy = LegacyKeys | LegacyProgress | LegacyOrder


# ---- manager: main <-> the responder's process ---------------------------------------------------------------------


class Enlisted(msgspec.Struct, frozen=True, array_like=True):
    """An agent as the responder knows it."""

    id: AgentId
    name: str
    addresses: tuple[str, ...] = ()
    legacy: bool = False
    """An agent of OSSEC or Wazuh."""


class Roster(msgspec.Struct, frozen=True, tag="roster"):
    """main -> responder: these agents there are. Nothing is decided before the first one came."""

    agents: tuple[Enlisted, ...]
    anew: bool = False
    """Main's desk has just started and knows of no order: give it again what is open."""


class ResponseHeard(msgspec.Struct, frozen=True, tag="response_heard"):
    """main -> responder: an agent's word, or main's about an old agent."""

    agent: AgentId
    said: Responded


class ResponseAsk(msgspec.Struct, frozen=True, tag="response_ask"):
    """main -> responder: a person wants something."""

    number: int
    """Comes back in `ResponseAnswer`."""
    what: Literal["run", "undo", "undo_all"]
    by: str
    agent: str = ""
    """Id or name; empty: all."""
    action: str = ""
    """Name of the command to run."""
    target: str = ""
    """Address, user or order id."""
    timeout_s: int = 0


class ResponseAnswer(msgspec.Struct, frozen=True, tag="response_answer"):
    """responder -> main."""

    number: int
    problem: str = ""
    orders: tuple[str, ...] = ()
    """Ids of the orders that were given, or are to be undone."""


class Ordered(msgspec.Struct, frozen=True, tag="ordered"):
    """responder -> main: bring this to its agent, now or when it comes. On the responder's disk until it is answered."""

    agent: AgentId
    id: str
    until_ms: int
    """Useless from then on; 0: never."""
    undo: bool
    respond: Respond
    legacy: bool = False


class ResponseNoted(msgspec.Struct, frozen=True, tag="response_noted"):
    """responder -> main: tell this agent that its word is on disk."""

    agent: AgentId
    noted: Noted


class ResponseTold(msgspec.Struct, frozen=True, tag="response_told"):
    """responder -> main: something that rules shall see."""

    text: str


ToResponder = Outboxed | Roster | ResponseHeard | ResponseAsk


# ---- the tree and its processes -----------------------------------------------------------------------------------


class NodeFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place in the actor tree, as `hidsctl status` shows it."""

    name: str
    kind: str
    state: str
    depth: int = 0
    bound: int = 0
    handled: int = 0
    restarts: int = 0
    last_failure: str = ""
    last_failure_ms: int = 0
    facts: dict[str, str | int | float | bool] = {}
    children: tuple["NodeFacts", ...] = ()


class Pulse(msgspec.Struct, frozen=True, tag="pulse"):
    """Any process -> main, each second: alive, and this is the tree inside."""

    nodes: tuple[NodeFacts, ...]


class NurseryReady(msgspec.Struct, frozen=True, tag="nursery_ready"):
    """nursery -> main: rulesets are loaded, workers can be forked."""

    rulesets: tuple[tuple[str, str, int, int], ...]
    """(name, hash, decoders, rules) of each."""
    problems: tuple[str, ...] = ()
    """What is wrong with the rules on disk; if anything is, these are the ones that were good last."""


class NurseryRefused(msgspec.Struct, frozen=True, tag="nursery_refused"):
    """nursery -> main: the rulesets cannot be used; it exits after this."""

    problems: tuple[str, ...]


class Fork(msgspec.Struct, frozen=True, tag="fork"):
    """main -> nursery, with two descriptors (channel, progress): make a worker."""

    worker: int


class WorkerForked(msgspec.Struct, frozen=True, tag="forked"):
    """nursery -> main."""

    worker: int
    pid: int


class WorkerExited(msgspec.Struct, frozen=True, tag="worker_exited"):
    """nursery -> main: a worker's process has ended."""

    worker: int
    pid: int
    status: int
    """Exit status; -N when signal N killed it."""


FromNursery = NurseryReady | NurseryRefused | WorkerForked | WorkerExited | Pulse
FromWorker = Outcome | Pulse
ToLane = Outcome | Hole | Notice | Cursors | ReadThrough | Settle | BaselineOrder | Maintain
FromLane = LaneReady | Committed | Pulse
ToOutput = Outboxed
FromOutput = Cursors | Pulse
FromResponder = Cursors | Ordered | ResponseNoted | ResponseTold | ResponseAnswer | Pulse
FromKeeper = Said | Pulse
ToArchive = Job
FromArchive = ArchiveReady | Kept | Said | Pulse
FromLegacy = LegacyReady | LegacyBatch | LegacySeen | LegacyNotice | LegacyDone | Pulse
