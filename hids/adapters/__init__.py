"""The only code that touches the world: files, sockets, processes, databases."""
