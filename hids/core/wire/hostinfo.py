"""Open ports of hosts, as `nmap -oG` saw them: what syscheck does for files tells which host is new and which one changed.

Host: 192.0.2.1 (web1), open ports: 22(tcp) 80(tcp)    the text of sources of format `nmapg`, and of OSSEC's agents
"""

import re

import msgspec

from hids.core.wire.facts import pack
from hids.messages.lines import LogLine
from hids.messages.syscheck import FileFact

FORMAT = "nmapg"

_HOST = re.compile(rb"Host: (\S{1,64} \([^)]{0,255}\)), open ports: (.*)", re.DOTALL)


def host_line(line: LogLine) -> LogLine:
    """The line with a host's ports as a fact for the syscheck store; another line stays as it is."""
    found = _HOST.fullmatch(line.text)
    if found is None:
        return line
    host, ports = (part.decode("utf-8", "backslashreplace").strip() for part in found.groups())
    (text,) = pack((FileFact(path=host, seen="live", kind="host", target=ports),))
    return msgspec.structs.replace(line, text=text, kind="syscheck")
