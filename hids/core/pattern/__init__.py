"""Patterns: three languages compiled to one type. No I/O."""
