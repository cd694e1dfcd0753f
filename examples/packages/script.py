# /// script
# dependencies = ["tabulate>=0.9"]
# ///
"""A script that says itself what it needs (PEP 723): `fireclay run examples/packages/script.py`."""

from tabulate import tabulate

print(tabulate([["fireclay", 6 * 7]], headers=["name", "answer"]))
