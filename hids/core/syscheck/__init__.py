"""File integrity: two states of a path -> a change, in words and as facts."""
