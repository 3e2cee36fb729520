"""An event of Windows' event channel -> fields, by Wazuh's names.

    {"Message": "...", "Event": "<Event><System>...</System><EventData>...</EventData></Event>"}
    -> win.system.eventID, win.system.message, win.eventdata.subjectUserName, ...

The XML comes from outside: no entity is resolved, nothing is loaded, and lxml's own limits on depth and size hold.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

from lxml import etree as _etree  # pyright: ignore[reportMissingTypeStubs, reportAttributeAccessIssue, reportUnknownVariableType]

from hids.core.decode.fields import Fields
from hids.core.decode.json_fields import Flattener, Members, read_json

etree = cast("Any", _etree)

_SYSTEM_ATTRIBUTES: Final = {
    ("Provider", "Name"): "providerName",
    ("Provider", "Guid"): "providerGuid",
    ("Provider", "EventSourceName"): "eventSourceName",
    ("TimeCreated", "SystemTime"): "systemTime",
    ("Execution", "ProcessID"): "processID",
    ("Execution", "ThreadID"): "threadID",
}
_SEVERITIES: Final = {"1": "CRITICAL", "2": "ERROR", "3": "WARNING", "4": "INFORMATION", "5": "VERBOSE"}
_AUDIT_FAILURE: Final = 0x0010_0000_0000_0000
_AUDIT_SUCCESS: Final = 0x0020_0000_0000_0000
"""Keywords of winmeta.xml."""
_CATEGORIES: Final = dict(
    enumerate(
        (
            *("System", "Logon/Logoff", "Object Access", "Privilege Use", "Detailed Tracking", "Policy Change"),
            *("Account Management", "DS Access", "Account Logon"),
        ),
        8272,
    )
)
"""Messages of msaudite.dll, as `%%8272` in events about the audit policy."""
_SUBCATEGORIES: Final = {
    first + place: name
    for first, names in {
        12288: ("Security State Change|Security System Extension|System Integrity|IPsec Driver|Other System Events"),
        12544: (
            "Logon|Logoff|Account Lockout|IPsec Main Mode|Special Logon|IPsec Quick Mode|IPsec Extended Mode"
            "|Other Logon/Logoff Events|Network Policy Server|User / Device Claims|Group Membership"
        ),
        12800: (
            "File System|Registry|Kernel Object|SAM|Other Object Access Events|Certification Services"
            "|Application Generated|Handle Manipulation|File Share|Filtering Platform Packet Drop"
            "|Filtering Platform Connection|Detailed File Share|Removable Storage|Central Policy Staging"
        ),
        13056: ("Sensitive Privilege Use|Non Sensitive Privilege Use|Other Privilege Use Events"),
        13312: (
            "Process Creation|Process Termination|DPAPI Activity|RPC Events|Plug and Play Events"
            "|Token Right Adjusted Events"
        ),
        13568: (
            "Audit Policy Change|Authentication Policy Change|Authorization Policy Change"
            "|MPSSVC Rule-Level Policy Change|Filtering Platform Policy Change|Other Policy Change Events"
        ),
        13824: (
            "User Account Management|Computer Account Management|Security Group Management"
            "|Distribution Group Management|Application Group Management|Other Account Management Events"
        ),
        14080: (
            "Directory Service Access|Directory Service Changes|Directory Service Replication"
            "|Detailed Directory Service Replication"
        ),
        14336: (
            "Credential Validation|Kerberos Service Ticket Operations|Other Account Logon Events"
            "|Kerberos Authentication Service"
        ),
    }.items()
    for place, name in enumerate(names.split("|"))
}


def take_event(text: bytes, fields: Fields) -> None:
    """Put an event's members into `fields`; of what is no such event nothing is taken."""
    envelope = read_json(text)
    message = ""
    if isinstance(envelope, Members):
        members = {name: value for name, value in envelope if isinstance(value, str)}
        message = members.get("Message", "")
        text = members.get("Event", "").encode("utf-8", "surrogateescape")
    root = _parsed(text)
    if root is None:
        return
    win = Members()
    for part in _elements(root):
        name = _name(part)
        if name == "System":
            win.append(("system", _system(part, message)))
        elif name == "EventData":
            win.append(("eventdata", _event_data(part)))
        elif name == "UserData":
            win += _nested(part)
    Flattener(fields).members([("win", win)])


def _parsed(text: bytes) -> Any:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(text, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None


def _elements(parent: Any) -> Iterator[Any]:
    """Children that are elements: neither comments nor entities."""
    return (child for child in parent if isinstance(child.tag, str))


def _name(element: Any) -> str:
    return cast("str", etree.QName(element).localname)


def _lowered(name: str) -> str:
    return name[:1].lower() + name[1:]


def _text(element: Any) -> str:
    return cast("str", element.text or "")


def _system(system: Any, message: str) -> Members:
    members = Members()
    keywords = level = ""
    for child in _elements(system):
        name, text = _name(child), _text(child)
        for attribute, value in child.attrib.items():
            if (name, attribute) in _SYSTEM_ATTRIBUTES:
                members.append((_SYSTEM_ATTRIBUTES[name, attribute], str(value)))
        if text:
            members.append((_lowered(name), text))
        keywords = text if name == "Keywords" else keywords
        level = text if name == "Level" else level
    members.append(("severityValue", _severity(level, keywords)))
    if message:
        members.append(("message", message))
    return members


def _severity(level: str, keywords: str) -> str:
    try:
        bits = int(keywords, 16)
    except ValueError:
        bits = 0
    if bits & _AUDIT_FAILURE:
        return "AUDIT_FAILURE"
    if bits & _AUDIT_SUCCESS:
        return "AUDIT_SUCCESS"
    return _SEVERITIES.get(level, "UNKNOWN")


def _event_data(data: Any) -> Members:
    """`<Data Name="x">` by name; values without a name together under `data`."""
    members, nameless = Members(), list[str]()
    for child in _elements(data):
        text = _text(child)
        name = child.get("Name") if _name(child) == "Data" else _name(child)
        if not text:
            continue
        if name:
            members.append((_lowered(str(name)), text))
        else:
            nameless.append(text)
    if nameless:
        members.append(("data", ", ".join(nameless)))
    members += _audit_names(members)
    return members


def _audit_names(members: Members) -> Members:
    """Names of the categories that an event about the audit policy gives as numbers."""
    names = Members()
    for key, name, known in (
        ("categoryId", "category", _CATEGORIES),
        ("subcategoryId", "subcategory", _SUBCATEGORIES),
    ):
        number = next((value.removeprefix("%%") for member, value in members if member == key), "")
        if number.isdecimal() and len(number) < _NUMBER_MAX and int(number) in known:
            names.append((name, known[int(number)]))
    return names


_NUMBER_MAX: Final = 10


def _nested(parent: Any) -> Members:
    """Elements below `<UserData>`: texts, or members of their own."""
    members = Members()
    for child in _elements(parent):
        inner = _nested(child)
        if inner or _text(child).strip():
            members.append((_lowered(_name(child)), inner or _text(child)))
    return members
