"""What rootcheck looks at, one thing a module. All of it blocks, and yields often, so that whoever drives it can rest or stop."""
