"""Command lines, one file a noun."""
