"""The daemon on a monitored host: reads, watches, spools and sends."""
