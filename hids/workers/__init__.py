"""The processes that the manager starts: what runs inside each of them."""
