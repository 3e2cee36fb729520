"""What an agent can do against an attacker, and how it is undone."""
