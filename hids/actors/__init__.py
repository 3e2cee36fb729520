"""Actors: one a file. Each takes a message, asks the core, and hands on."""
