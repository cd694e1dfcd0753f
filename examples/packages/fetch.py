"""What one host says, and that another is out of reach:

fireclay run --allow-host pypi.org examples/packages/fetch.py
"""

import json
import urllib.error
import urllib.request

with urllib.request.urlopen("https://pypi.org/pypi/six/json") as answer:
    print(json.load(answer)["info"]["name"])
try:
    urllib.request.urlopen("https://example.org/")
except urllib.error.URLError as error:
    print("refused:", error.reason)
