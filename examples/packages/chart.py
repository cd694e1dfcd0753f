"""A chart from a table, its packages found by its imports:

fireclay run --auto-packages --file examples/packages/stock.csv --artifacts . examples/packages/chart.py
"""

import csv

import pygal

with open("stock.csv") as table:
    rows = list(csv.DictReader(table))
prices = [float(row["price"]) for row in rows]
chart = pygal.Line(title="price")
chart.x_labels = [row["day"] for row in rows]
chart.add("price", prices)
chart.render_to_file("chart.svg")
print(f"moved {100 * (prices[-1] / prices[0] - 1):+.1f} %")
