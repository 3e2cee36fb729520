"""Thought without I/O: no file, socket, clock, thread, logger or actor."""
