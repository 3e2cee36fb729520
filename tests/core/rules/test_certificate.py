from collections.abc import Callable

import pytest

from hids.core.rules.certificate import Certificate, Entry, certify
from hids.core.rules.load import load
from hids.core.rules.rule import Ruleset, SourceFile

Make = Callable[..., Ruleset]

TEMPLATE = '<group name="syslog,"><rule id="1" level="0" noalert="1"><category>syslog</category><description>all</description></rule></group>'


def certified(dialect: str, text: str, correlation: str = "native") -> Certificate:
    lists = {"l/a": b"x:y\n"}
    files = [SourceFile("t.xml", TEMPLATE.encode()), SourceFile("r.xml", text.encode())]
    return certify(load("test", dialect, files, lists, correlation=correlation))  # type: ignore[arg-type]


def entry(certificate: Certificate, name: str) -> Entry:
    (found,) = (entry for entry in certificate.entries if entry.id == name)
    return found


def reasons(certificate: Certificate, name: str) -> list[str]:
    return [difference.reason for difference in entry(certificate, name).differences]


def rule(number: int, inner: str, attributes: str = "") -> str:
    return f'<rule id="{number}" level="5" {attributes}>{inner}<description>d</description></rule>'


COMPOSITE = rule(100, "<match>x</match>") + rule(
    101, "<if_matched_sid>100</if_matched_sid><same_source_ip />", 'frequency="4" timeframe="60" ignore="30"'
)


FREQUENT = 'frequency="4" timeframe="60"'


def test_a_plain_rule_and_decoder_are_exact() -> None:
    text = (
        '<decoder name="d"><prematch>^x</prematch></decoder><group name="g,">'
        + rule(100, "<match>x</match>")
        + "</group>"
    )
    certificate = certified("ossec", text)
    assert {entry.verdict for entry in certificate.entries} == {"exact"}
    assert (certificate.count("exact"), certificate.count("refused")) == (13, 0)  # with those that no file defines


def test_a_composite_in_native_correlation() -> None:
    text = f'<group name="g,">{COMPOSITE}</group>'
    assert reasons(certified("ossec", text), "101") == ["windows", "ignore"]
    assert reasons(certified("wazuh", text), "101") == ["windows", "event time", "ignore"]
    assert "6 events of what it counts with one srcip" in entry(certified("ossec", text), "101").differences[0].input


@pytest.mark.parametrize("option", ["not_same_user", "different_srcip"])
def test_options_that_upstream_ignores(option: str) -> None:
    body = f"<if_matched_sid>100</if_matched_sid><{option} />"
    text = f'<group name="g,">{rule(100, "<match>x</match>")}{rule(101, body, FREQUENT)}</group>'
    assert reasons(certified("ossec", text), "101") == ["windows", "differences"]
    assert reasons(certified("ossec", text, "compat"), "101") == []


def test_a_composite_in_compatible_correlation() -> None:
    text = f'<group name="g,">{COMPOSITE}</group>'
    assert reasons(certified("ossec", text, "compat"), "101") == []
    assert reasons(certified("wazuh", text, "compat"), "101") == ["event time"]


def test_bytes_beyond_ascii_in_wazuh() -> None:
    green = rule(100, "<match>gr\u00fcn</match>")
    text = f'<group name="g,">{green}</group>'
    assert reasons(certified("wazuh", text), "100") in (["beyond ASCII"], [])
    assert reasons(certified("ossec", text), "100") == []


def test_a_pattern_that_needs_backtracking() -> None:
    text = f'<group name="g,">{rule(100, "<pcre2>(a+)+(?=b)(?R)?c</pcre2>")}</group>'
    assert reasons(certified("ossec", text), "100") == ["steps"]


def test_what_wazuh_leaves_out_is_refused() -> None:
    text = f'<group name="g,">{rule(100, "<if_sid>77</if_sid>")}{rule(101, "<match>x</match>")}</group>'
    certificate = certified("wazuh", text)
    refused = entry(certificate, "100")
    assert (refused.kind, refused.verdict) == ("rule", "refused")
    assert refused.why.startswith("r.xml:1: ")
    assert entry(certificate, "101").verdict == "exact"


def test_our_own_dialect_is_its_own_measure() -> None:
    text = (
        '<group name="g">'
        + rule(200100, "<match>x</match>")
        + rule(200101, "<if_matched_sid>200100</if_matched_sid><same_srcip/>", 'frequency="4" timeframe="60"')
        + "</group>"
    )
    certificate = certify(load("own", "hids", [SourceFile("r.xml", text.encode())]))
    assert {entry.verdict for entry in certificate.entries} == {"exact"}
    assert certificate.general == ()
