"""Response: what is done against an attacker, decided without touching anything."""
