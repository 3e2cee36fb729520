"""Modules of Wazuh that run commands, as sources."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.adapters.ossec_sources import ossec_sources


def read(inner: str) -> tuple[list[dict[str, Any]], list[str]]:
    conf = f'<ossec_config><wodle name="command">{inner}</wodle></ossec_config>'
    found = ossec_sources("ossec.conf", conf.encode())
    return found.tables, found.notes


def table(**keys: Any) -> dict[str, Any]:
    usual = {"alias": "command_t", "frequency_s": 2, "timeout_s": 60, "out_format": "$(printed)"}
    return {"format": "command", **usual, **keys}


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("<tag>t</tag><command>df -P</command>", table(command="df -P")),
        ("<command>df</command>", table(command="df", alias="command_")),
        (
            "<tag>t</tag><command>df</command><interval>1d</interval><timeout>90</timeout><disabled>no</disabled>",
            table(command="df", frequency_s=86_400, timeout_s=90),
        ),
        (
            "<tag>t</tag><command>df</command><interval>2h</interval><timeout>0</timeout>",
            table(command="df", frequency_s=7_200, timeout_s=7_200),  # no limit: until it is due again
        ),
        (
            r"""<tag>t</tag><command>sh -c  "a | \"b\"" c\ d \e 'f g' ""</command>""",
            table(command=r"""sh -c 'a | "b"' 'c d' '\e' ''"'"'f' 'g'"'"'' ''"""),
        ),
    ],
)
def test_a_command_is_a_source(inner: str, expected: dict[str, Any]):
    assert read(inner) == ([expected], [])


@pytest.mark.parametrize(
    ("option", "note"),
    [
        ("<run_on_start>yes</run_on_start>", "<run_on_start> is not taken over: it runs when it is due"),
        ("<verify_md5>x</verify_md5>", "<verify_md5> is not taken over: programs are not compared"),
        ("<verify_sha1>x</verify_sha1>", "<verify_sha1> is not taken over: "),
        ("<verify_sha256>x</verify_sha256>", "<verify_sha256> is not taken over: "),
        ("<skip_verification>yes</skip_verification>", "<skip_verification> is not taken over: "),
        ("<odd>x</odd>", "<odd> is not known in it"),
        ("<ignore_output>yes</ignore_output>", "<ignore_output> is an expression that leaves out every line"),
    ],
)
def test_what_has_no_counterpart_is_told(option: str, note: str):
    (made,), (told,) = read(f"<tag>t</tag><command>df</command>{option}")
    assert told.startswith(f'ossec.conf:1: <wodle name="command">: {note}')
    assert made.get("ignore") == (["^"] if "ignore_output" in option else None)


def test_a_time_of_the_week_becomes_an_interval():
    (made,), notes = read("<tag>t</tag><command>df</command><wday>monday</wday><time>04:00</time>")
    assert made["frequency_s"] == 7 * 86_400
    assert [note.partition(" is not taken over")[0].rpartition("<")[2] for note in notes] == ["wday>", "time>"]


@pytest.mark.parametrize(
    ("inner", "why"),
    [
        ("<tag>t</tag>", "<command> is missing"),
        ("<command>df</command><interval>often</interval>", "<interval>: expected a number"),
        ("<command>df</command><timeout>1m</timeout>", "<timeout>: expected seconds"),
        ("<command>df</command><ignore_output>1</ignore_output>", "<ignore_output>: expected yes or no"),
        ("<command>ps | sort</command>", "| is for a shell, and none takes part"),
    ],
)
def test_what_cannot_be_run_is_left_out(inner: str, why: str):
    tables, (note,) = read(inner)
    assert tables == []
    assert note.startswith('ossec.conf:1: <wodle name="command"> is left out: ')
    assert why in note


def test_two_of_one_name_and_one_that_is_off():
    assert read("<disabled>yes</disabled><command>df</command>") == ([], [])
    one = '<wodle name="command"><tag>t</tag><command>df</command></wodle>'
    found = ossec_sources("c", f"<x>{one}{one}<wodle name='syscollector'/></x>".encode())
    assert len(found.tables) == 1
    assert found.notes == ["c:1: <wodle name=\"command\"> is left out: 'command command_t' is read already"]


@given(st.text(alphabet="ab \\\"'|", min_size=1))
def test_any_command(command: str):
    tables, notes = read(f"<tag>t</tag><command>{command} </command>")
    assert len(tables) + len(notes) == 1
