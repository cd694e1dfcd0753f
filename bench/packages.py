#!/usr/bin/env python3
"""Installs fifty of the most used distributions of PyPI, one after the other, has each do a little of what it is for, and prints a table.

    fireclay serve &                       # with an empty cache of packages: `fireclay cache prune`
    python3 bench/packages.py http://127.0.0.1:8000 > bench/PACKAGES.md

`first` is a request whose packages are not there: resolved, installed, run. `again` is the same one, and `plain` a run without packages
beside it, each the median of five. Only the standard library is used here. Exits with 1 if any of them does not do its work.
"""

import json
import statistics
import sys
import time
import urllib.error
import urllib.request

# By downloads, hugovk/top-pypi-packages of 2025 in essence; interpreters' own tools (pip, setuptools, wheel) left out.
USES = {
    "boto3": "import boto3; print(boto3.session.Session(region_name='eu-west-1').region_name)",
    "urllib3": "import urllib3; print(urllib3.util.parse_url('https://a.test/x').host)",
    "requests": "import requests; print(requests.Request('GET', 'https://a.test', params={'a': 1}).prepare().url)",
    "certifi": "import certifi; print(open(certifi.where()).read(1) != '')",
    "charset-normalizer": "from charset_normalizer import from_bytes; print(from_bytes('é'.encode()).best() is not None)",
    "idna": "import idna; print(idna.encode('ドメイン.テスト'))",
    "typing-extensions": "import typing_extensions as t; print(t.get_origin(t.Annotated[int, 1]) is not None)",
    "packaging": "from packaging.version import Version; print(Version('1.10') > Version('1.9'))",
    "python-dateutil": "from dateutil.parser import parse; print(parse('20 Nov 2026').year)",
    "six": "import six; print(six.PY3)",
    "pyyaml": "import yaml; print(yaml.safe_load('a: [1, 2]'))",
    "numpy": "import numpy as np; print(np.linalg.inv(np.eye(3)).sum())",
    "pandas": "import pandas as pd; print(pd.DataFrame({'a': [1, 2]}).a.sum())",
    "cryptography": "from cryptography.fernet import Fernet as F; k = F(F.generate_key()); print(k.decrypt(k.encrypt(b'x')))",
    "cffi": "from cffi import FFI; print(FFI().sizeof('long'))",
    "pydantic": "from pydantic import create_model; print(create_model('M', a=(int, ...))(a='3').a)",
    "attrs": "import attr; print(attr.make_class('C', ['x'])(1))",
    "click": "import click; print(click.style('x', fg='red') != 'x')",
    "protobuf": "from google.protobuf.struct_pb2 import Struct; s = Struct(); s.update({'a': 1}); print(s['a'])",
    "grpcio": "import grpc; print(grpc.StatusCode.OK.value[0])",
    "jmespath": "import jmespath; print(jmespath.search('a.b', {'a': {'b': 2}}))",
    "fsspec": "import fsspec; print(fsspec.filesystem('memory').ls('/'))",
    "jinja2": "from jinja2 import Template; print(Template('{{ a }}!').render(a=1))",
    "markupsafe": "from markupsafe import escape; print(escape('<a>'))",
    "platformdirs": "import platformdirs; print(platformdirs.user_cache_dir('a') != '')",
    "filelock": "from filelock import FileLock\nwith FileLock('a.lock'): print('held')",
    "pytest": "import pytest; open('test_a.py', 'w').write('def test(): assert 1'); print(pytest.main(['-q', '-p', 'no:cacheprovider']))",
    "aiohttp": "import aiohttp; print(aiohttp.FormData({'a': '1'})().size > 0)",
    "yarl": "from yarl import URL; print(URL('https://a.test') / 'b')",
    "scipy": "from scipy.optimize import brentq; print(round(brentq(lambda x: x * x - 2, 0, 2), 6))",
    "sqlalchemy": "import sqlalchemy as s\nwith s.create_engine('sqlite://').connect() as c: print(c.execute(s.text('select 6*7')).scalar())",
    "rich": "from rich.table import Table; from rich import print; t = Table('a'); t.add_row('1'); print(t)",
    "pygments": "from pygments import highlight, lexers, formatters as f; print(len(highlight('a=1', lexers.PythonLexer(), f.HtmlFormatter())))",
    "httpx": "import httpx; print(httpx.URL('https://a.test/b').path)",
    "anyio": "import anyio\nasync def f(): return 42\nprint(anyio.run(f))",
    "scikit-learn": "from sklearn.linear_model import LinearRegression as L; print(L().fit([[1], [2]], [1, 2]).predict([[3]]).round(3))",
    "pillow": "from PIL import Image; Image.new('RGB', (4, 4)).save('a.png'); print(Image.open('a.png').size)",
    "lxml": "from lxml import etree; print(etree.fromstring('<a><b/></a>')[0].tag)",
    "beautifulsoup4": "from bs4 import BeautifulSoup as B; print(B('<p>x</p>', 'html.parser').p.text)",
    "openai": "import openai; print(openai.OpenAI(api_key='x').base_url)",
    "psutil": "import psutil; print(psutil.Process().pid > 0)",
    "tqdm": "from tqdm import tqdm; print(sum(tqdm(range(4), disable=True)))",
    "wrapt": "import wrapt; print(wrapt.ObjectProxy([1])[0])",
    "jsonschema": "import jsonschema; jsonschema.validate(1, {'type': 'integer'}); print('valid')",
    "pyarrow": "import pyarrow as pa; print(pa.array([1, 2]).sum())",
    "matplotlib": "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot as p; p.plot([1, 2]); p.savefig('a.png'); print('drawn')",
    "opencv-python-headless": "import cv2, numpy as np; print(cv2.resize(np.zeros((4, 4), 'uint8'), (2, 2)).shape)",
    "networkx": "import networkx as n; print(n.shortest_path_length(n.path_graph(4), 0, 3))",
    "sympy": "import sympy as s; x = s.symbols('x'); print(s.integrate(x, x))",
    "fastapi": "from fastapi import FastAPI; print(FastAPI().openapi_version)",
}
LIMITS = {"timeout_ms": 60_000, "memory_bytes": 2 << 30}


def run(url, code, packages):
    """The result, or the problem, and how long it took."""
    request = {"language": "python", "code": code, "limits": LIMITS}
    if packages:
        request["packages"] = packages
    asked = urllib.request.Request(url + "/v1/runs", json.dumps(request).encode(), {"content-type": "application/json"})
    began = time.perf_counter()
    try:
        with urllib.request.urlopen(asked, timeout=900) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        told = json.load(error)
    return told, time.perf_counter() - began


def main(url):
    print("# Fifty distributions\n\nWritten by `bench/packages.py`, which says how. Times in milliseconds, by the clock of the client.\n")
    print("| distribution | first | again | of it the program | plain | what it printed |\n|---|---|---|---|---|---|")
    wrong = 0
    for package, code in USES.items():
        told, first = run(url, code, [package])
        good = told.get("outcome") == "completed" and told["stdout"].strip() != ""
        wrong += not good
        again = [run(url, code, [package]) for _ in range(5)] if good else []
        plain = [run(url, "pass", [])[1] for _ in range(5)]
        wall = statistics.median(told["usage"]["wall_ms"] for told, _ in again) if good else float("nan")
        ms = statistics.median(took for _, took in again) * 1000 if good else float("nan")
        said = (told.get("stdout") or told.get("stderr") or told.get("detail") or "").strip().splitlines()[-1:]
        said = (said or [""])[0][:60].replace("|", "\\|")
        shown = "`" + said + "`" if good else "**failed**: " + said
        print(f"| {package} | {first * 1000:.0f} | {ms:.0f} | {wall:.0f} | {statistics.median(plain) * 1000:.0f} | {shown} |", flush=True)
    print(f"\n{len(USES) - wrong} of {len(USES)} installed and did their work.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"))
