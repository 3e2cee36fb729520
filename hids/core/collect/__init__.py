"""What an agent reads: its configuration, and how the raw lines of a source become events."""
