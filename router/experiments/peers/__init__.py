"""Routers that others use, as policies of the bench: what ours are compared with. None of them serves."""
