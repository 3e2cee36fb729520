"""Outputs: where committed alerts go."""
