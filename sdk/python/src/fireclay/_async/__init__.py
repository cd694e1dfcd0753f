"""The client, asynchronous. `_sync` is made from this."""
