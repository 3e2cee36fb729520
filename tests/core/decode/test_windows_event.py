import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.decode.fields import Fields
from hids.core.decode.windows_event import take_event

SYSTEM = """<System><Provider Name='Microsoft-Windows-Security-Auditing' Guid='{5}'/><EventID>4625</EventID>
<Version>0</Version><Level>0</Level><Task>12544</Task><Opcode>0</Opcode><Keywords>0x8010000000000000</Keywords>
<TimeCreated SystemTime='2026-11-24T03:21:43Z'/><EventRecordID>7</EventRecordID><Correlation ActivityID='{6}'/>
<Execution ProcessID='640' ThreadID='8'/><Channel>Security</Channel><Computer>PC1</Computer><Security/></System>"""


def event(body: str, system: str = SYSTEM) -> str:
    return f"<Event xmlns='http://schemas.microsoft.com/win/2004/08/events/event'>{system}{body}</Event>"


def taken(text: str) -> dict[str, str]:
    fields = Fields()
    take_event(text.encode("utf-8", "surrogatepass"), fields)
    assert fields.static == {}
    return {name: value.decode() for name, value in fields.dynamic.items()}


def test_an_event_in_its_envelope() -> None:
    body = "<EventData><Data Name='TargetUserName'>joe</Data><Data Name='Empty'></Data></EventData>"
    assert taken(json.dumps({"Message": "An account failed to log on.", "Event": event(body)})) == {
        "win.system.providerName": "Microsoft-Windows-Security-Auditing",
        "win.system.providerGuid": "{5}",
        "win.system.eventID": "4625",
        "win.system.version": "0",
        "win.system.level": "0",
        "win.system.task": "12544",
        "win.system.opcode": "0",
        "win.system.keywords": "0x8010000000000000",
        "win.system.systemTime": "2026-11-24T03:21:43Z",
        "win.system.eventRecordID": "7",
        "win.system.processID": "640",
        "win.system.threadID": "8",
        "win.system.channel": "Security",
        "win.system.computer": "PC1",
        "win.system.severityValue": "AUDIT_FAILURE",
        "win.system.message": "An account failed to log on.",
        "win.eventdata.targetUserName": "joe",
    }


@pytest.mark.parametrize(
    ("level", "keywords", "severity"),
    [
        ("0", "0x8020000000000000", "AUDIT_SUCCESS"),
        ("1", "0x80000000000000", "CRITICAL"),
        ("2", "", "ERROR"),
        ("3", "odd", "WARNING"),
        ("4", "0x0", "INFORMATION"),
        ("5", "0x0", "VERBOSE"),
        ("9", "0x0", "UNKNOWN"),
    ],
)
def test_severity(level: str, keywords: str, severity: str) -> None:
    system = f"<System><Level>{level}</Level><Keywords>{keywords}</Keywords></System>"
    assert taken(event("", system))["win.system.severityValue"] == severity


def test_data_without_a_name_and_of_other_kinds() -> None:
    body = (
        "<EventData><Data>one</Data><Data>two</Data><Binary>00FF</Binary></EventData>"
        "<UserData><LogFileCleared xmlns='x'><SubjectUserName>joe</SubjectUserName><A><B>c</B></A></LogFileCleared></UserData>"
    )
    fields = taken(event(body, ""))
    assert fields == {
        "win.eventdata.binary": "00FF",
        "win.eventdata.data": "one, two",
        "win.logFileCleared.subjectUserName": "joe",
        "win.logFileCleared.a.b": "c",
    }


def test_categories_of_the_audit_policy_by_name() -> None:
    body = "<EventData><Data Name='CategoryId'>%%8276</Data><Data Name='SubcategoryId'>%%13312</Data></EventData>"
    fields = taken(event(body, ""))
    assert (fields["win.eventdata.category"], fields["win.eventdata.subcategory"]) == (
        "Detailed Tracking",
        "Process Creation",
    )
    other = "<EventData><Data Name='CategoryId'>%%99999999999999999999</Data></EventData>"
    assert "win.eventdata.category" not in taken(event(other, ""))


BOMB = (
    "<!DOCTYPE e [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>"
    "<!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'>]><Event><EventData><Data Name='x'>&c;&c;</Data></EventData></Event>"
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no event",
        "<Event><System>",
        '{"Event": 7}',
        "{}",
        "[]",
        "<a>" * 60_000,
        "<Event>" + "<a>" * 300 + "</a>" * 300 + "</Event>",
        BOMB,
        "<!DOCTYPE e [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><Event><EventData><Data Name='x'>&x;</Data></EventData></Event>",
    ],
)
def test_hostile_events_give_nothing(text: str) -> None:
    assert taken(text) == {}


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["<Event>", "<System>", "<Data Name='a'>", "x", "</Event>", "&a;", "<!--"])).map("".join)
)
def test_any_text_is_taken(text: str) -> None:
    taken(text.encode("utf-8", "replace").decode())
