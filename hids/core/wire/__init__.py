"""Bytes <-> messages: framing, packing of lines, and the session's judgement. No I/O."""
