"""The manager daemon: configuration, the tree, and its life."""
