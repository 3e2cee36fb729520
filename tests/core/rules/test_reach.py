from collections.abc import Callable
from typing import Any

from hids.core.decode.decoder import Decoder, Selection
from hids.core.decode.event import Prematch, ProgramIs, select
from hids.core.pattern.pattern import Pattern
from hids.core.rules.conditions import Category, DecodedAs, FieldMatches, Hostname, LogMatches, ProgramName
from hids.core.rules.reach import Possible, ProgramClass, possible_for, program_patterns, scanned_patterns
from hids.core.rules.rule import Ruleset

Make = Callable[..., Ruleset]

TEXT = """
<decoder name='a'><program_name>^a$</program_name><prematch>^hello </prematch></decoder>
<decoder name='a'><parent>a</parent><prematch offset='after_parent'>^world</prematch>
  <regex>(\\d+)</regex><order>id</order></decoder>
<decoder name='b'><program_name>^b$</program_name></decoder>
<group name="g">
<rule id="200001" level="3"><decoded_as>a</decoded_as><match>one</match><description>d</description></rule>
<rule id="200002" level="3"><decoded_as>b</decoded_as><match>two</match><description>d</description></rule>
<rule id="200003" level="3"><program_name>^b</program_name><match>three</match><description>d</description></rule>
<rule id="200004" level="3"><match>four(?=x)</match><field name="id">wording</field><description>d</description></rule>
<rule id="200005" level="3"><if_sid>200002</if_sid><match>five</match><description>d</description></rule>
</group>"""


def p(text: bytes) -> Pattern:
    return Pattern("pcre2", text)


def class_of(ruleset: Ruleset, *matching: bytes) -> ProgramClass:
    return ProgramClass(ruleset, (True, frozenset(map(p, matching))))


def scans(kind: ProgramClass, text: bytes) -> bool:
    """Whether the class looks for something that this text has."""
    ids = set(kind._ids.values())
    return bool(ids & set(kind.scan(text)))


def test_a_class_scans_only_for_what_it_can_reach(make_ruleset: Make) -> None:
    kind = class_of(make_ruleset(TEXT), b"^a$")
    assert [root.name for root in kind.roots] == ["a"]
    assert all(scans(kind, text) for text in (b"one", b"xx world", b"four"))
    assert not any(scans(kind, text) for text in (b"two", b"three", b"five"))


def test_and_only_what_stands_below_reachable_rules(make_ruleset: Make) -> None:
    kind = class_of(make_ruleset(TEXT), b"^b$", b"^b")
    assert all(scans(kind, text) for text in (b"two", b"three", b"five"))
    assert not any(scans(kind, text) for text in (b"one", b"world", b"wording"))


def decoder(name: str, **members: Any) -> Decoder:
    plain: dict[str, Any] = dict.fromkeys(("parent", "program", "prematch", "regex"))
    start = {"type": "syslog", "prematch_offset": "start", "regex_offset": "start", "order": ()}
    return Decoder(**(plain | start | {"written": name, "name": name} | members))


def choose(kind: ProgramClass, *, child: bool) -> Selection:
    selection = select(kind.roots, lambda test: isinstance(test, ProgramIs) or test.decoder is test.root or child)
    assert selection is not None
    return selection


def test_what_the_scan_says(make_ruleset: Make) -> None:
    kind = class_of(make_ruleset(TEXT), b"^a$")
    possible = possible_for(choose(kind, child=True))

    def knows(question: object, text: bytes) -> bool | None:
        return kind.knows_condition(question, frozenset(kind.scan(text)), possible)

    assert knows(LogMatches(p(b"one")), b"xone") is True
    assert knows(LogMatches(p(b"one")), b"x") is False
    assert knows(LogMatches(p(b"four(?=x)")), b"x") is False
    assert knows(LogMatches(p(b"four(?=x)")), b"four") is None
    assert knows(FieldMatches(("id",), p(b"wording")), b"x") is False
    assert knows(FieldMatches(("id",), p(b"wording")), b"a wording") is None
    assert knows(FieldMatches(("url",), p(b"wording")), b"a wording") is False
    assert knows(ProgramName(p(b"^b")), b"") is False
    assert knows(Hostname(p(b"^b")), b"") is None


def test_what_the_scan_says_of_decoders(make_ruleset: Make) -> None:
    kind = class_of(make_ruleset(TEXT), b"^a$")
    (root,) = kind.roots
    (child,) = root.children

    def knows(question: object, text: bytes) -> bool | None:
        return kind.knows_decoder(question, frozenset(kind.scan(text)))

    assert knows(ProgramIs(root), b"") is True
    assert knows(Prematch(root, root), b"hello ") is True
    assert knows(Prematch(root, root), b"x hello ") is False
    assert knows(Prematch(child, root), b"hello world") is None
    assert knows(Prematch(child, root), b"hello") is False


def test_decoders_leave_open_what_they_may_become(make_ruleset: Make) -> None:
    kind = class_of(make_ruleset(TEXT), b"^a$")
    chosen = possible_for(choose(kind, child=True))
    assert chosen.knows(DecodedAs("a")) is True
    assert chosen.knows(DecodedAs("b")) is False
    undecoded = possible_for(None)
    assert undecoded.knows(DecodedAs("a")) is False
    assert undecoded.knows(Category("syslog")) is True
    either = Possible([decoder("a"), decoder("b", type="firewall")], (), decoded=True)
    assert either.knows(DecodedAs("a")) is None
    assert Possible([decoder("a")], (), decoded=False).knows(DecodedAs("a")) is None
    firewall = Possible([decoder("a", type="firewall")], (), decoded=True)
    assert firewall.knows(Category("firewall")) is True
    assert firewall.knows(Category("firewall", ("srcip",))) is None
    assert firewall.knows(Category("syslog")) is False


def test_a_plug_in_may_take_any_field_from_anywhere(make_ruleset: Make) -> None:
    kind = class_of(make_ruleset(TEXT), b"^a$")
    json = Possible([decoder("j", plugin="JSON_Decoder")], (), decoded=True)
    question = FieldMatches(("id",), p(b"wording"))
    assert kind.knows_condition(question, frozenset(), json) is None
    assert json.knows(FieldMatches(("url",), p(b"x"))) is None
    assert json.knows(Category("ids")) is False
    assert Possible([decoder("s", plugin="SonicWall_Decoder")], (), decoded=True).knows(Category("ids")) is None


def test_what_the_scan_says_of_negated_conditions(make_ruleset: Make) -> None:
    text = TEXT.replace("<match>one</match>", "<match negate='yes'>one</match>").replace(
        '<field name="id">', '<field name="id" negate="yes">'
    )
    kind = class_of(make_ruleset(text), b"^a$")
    possible = possible_for(choose(kind, child=True))

    def knows(question: object, log: bytes) -> bool | None:
        return kind.knows_condition(question, frozenset(kind.scan(log)), possible)

    assert knows(LogMatches(p(b"one"), negated=True), b"xone") is False
    assert knows(LogMatches(p(b"one"), negated=True), b"x") is True
    assert knows(FieldMatches(("id",), p(b"wording"), negated=True), b"x") is None
    assert knows(FieldMatches(("url",), p(b"wording"), negated=True), b"x") is False
    assert knows(ProgramName(p(b"^a$"), negated=True), b"") is False
    assert knows(ProgramName(p(b"^b"), negated=True), b"") is True
    without = ProgramClass(make_ruleset(text), (False, frozenset()))
    assert without.knows_condition(ProgramName(p(b"^b"), negated=True), frozenset(), possible) is False


def test_relevant_ids_are_those_of_rules_below_the_decoders(make_ruleset: Make) -> None:
    kind = class_of(make_ruleset(TEXT), b"^a$")
    relevant = kind.relevant(kind.reachable(possible_for(choose(kind, child=False))).values())
    assert relevant & set(kind.scan(b"one"))
    assert not relevant & set(kind.scan(b"xx world"))


def test_patterns_of_a_ruleset(make_ruleset: Make) -> None:
    ruleset = make_ruleset(TEXT)
    assert program_patterns(ruleset) == {p(b"^a$"), p(b"^b$"), p(b"^b")}
    assert p(b"five") in set(scanned_patterns(ruleset))
