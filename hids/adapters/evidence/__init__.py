"""Evidence on disk: the key, the seals beside a file, the signed heads, anchors, and the check of all that."""
