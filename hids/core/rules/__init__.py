"""Event -> rule: load, walk, and the plan that makes the walk fast. No I/O."""
