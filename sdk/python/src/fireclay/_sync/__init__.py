# Made from _async/__init__.py by scripts/generate.py: change it there.
"""The client, asynchronous. `_sync` is made from this."""
