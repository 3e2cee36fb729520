"""Line -> event: header, decoder tree, fields. No I/O."""
