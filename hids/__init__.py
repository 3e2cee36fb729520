"""hids: a host-based intrusion detection system (see docs/path.md for the path of a line)."""

__version__ = "0.1.0"
