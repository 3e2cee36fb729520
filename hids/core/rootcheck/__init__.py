"""Rootcheck: databases read, views compared, findings put into words. No I/O: what is seen is handed in."""
