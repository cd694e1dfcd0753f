"""Makes src/vectors.json: what Python's own implementations say of texts that the tests give to ours.

    pip install packaging; python vectors.py > ../src/vectors.json

Versions, specifiers and requirements are judged by `packaging` (its version is in the file), script metadata by PEP 723's reference
implementation. The texts are written or made by a generator with a fixed seed, so that a second call makes the same file.
"""

import json
import random
import re

import packaging
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, Specifier
from packaging.version import InvalidVersion, Version

RANDOM = random.Random(723)
REGEX = r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$"


def read(script):
    """PEP 723."""
    name = "script"
    matches = list(filter(lambda m: m.group("type") == name, re.finditer(REGEX, script)))
    if len(matches) > 1:
        raise ValueError(f"Multiple {name} blocks found")
    elif len(matches) == 1:
        return "".join(
            line[2:] if line.startswith("# ") else line[1:] for line in matches[0].group("content").splitlines(keepends=True)
        )
    else:
        return None


def some(pieces, most):
    return "".join(RANDOM.choice(pieces) for _ in range(RANDOM.randint(1, most)))


def likely():
    """A text that is nearly always a version."""
    separator = lambda: RANDOM.choice(["", "", ".", "-", "_"])
    number = lambda: RANDOM.choice(["", "0", "1", "2", "10"])
    maybe = lambda text, chance=0.4: text if RANDOM.random() < chance else ""
    release = ".".join(RANDOM.choice(["0", "1", "2", "10", "01"]) for _ in range(RANDOM.randint(1, 4)))
    pre = separator() + RANDOM.choice(["a", "b", "c", "rc", "alpha", "beta", "pre", "preview", "A", "RC"]) + separator() + number()
    post = RANDOM.choice([separator() + RANDOM.choice(["post", "rev", "r"]) + separator() + number(), "-1", "-2"])
    dev = separator() + "dev" + separator() + number()
    local = "+" + RANDOM.choice(["abc", "1", "abc.5", "5.abc", "ubuntu-1", "2.10"])
    return maybe("v", 0.1) + maybe("1!", 0.1) + release + maybe(pre) + maybe(post) + maybe(dev) + maybe(local, 0.2)


def versions():
    written = """1.0 1.0.0 v1.0 1!2.0 1.0a1 1.0.a.1 1.0-alpha-1 1.0ALPHA1 1.0b2 1.0beta 1.0c1 1.0rc1 1.0pre3 1.0preview4 1.0.post1 1.0-1
    1.0-r4 1.0rev5 1.0.dev3 1.0a1.dev2 1.0.post1.dev2 1.0+abc 1.0+abc.5 1.0+ubuntu-1 1.0+ubuntu_1 01.02.03 2024.10.22 1.0a. 1.0a- 1.0.dev
    1.0+ 1.0+_ 1..0 1. .1 a 1.0x 1.0-a-1-2 1.0.post 1.0post-1 1.0--1 1.0a1b1 1.0rc1.post2.dev3+x.y 1e5 1.0.* 0 00 1!0 !1 1!!2 v v1
    1.1.dev1 1.0.1 1.10 1.9 2.0 10 1.0.0.0.0.1 1_0 1,0 1/0 1.0+a+b 1.0+a..b 1.0.postx 1.0.post1a1 1.0rc 1.0.RC1 1.0.Dev""".split()
    pieces = ["1", "2", "0", "10", ".", ".", ".", "a", "b1", "rc", "c2", "post", "r", "rev", "dev", "-", "_", "+", "!", "v", "alpha", "pre", "x"]
    for text in written + [some(pieces, 9) for _ in range(400)] + [likely() for _ in range(300)]:
        try:
            yield text, str(Version(text))
        except InvalidVersion:
            yield text, None


def specifiers(valid):
    written = """==1.0 ==1.0.* !=1.0.* ~=1.0 ~=1 ~=1.4.5a4 ~=2.2.post3 ~=1!1.0 >=1.0 <=1.0 <1.0 >1.0 >1.0.post1 <1.0rc1 ===1.0 ==1.0+abc >1.0+abc
    ==1.* ==1.0a1.* ==1.0+a.* >=1.* ~=1.0.* ==* = =1 1.0 == >=1.0a1 <1.1.dev1 !=1.0+abc ==1!1.* ==1.0.0.* ==1.0.post1 ==1.0.post1.* !=2.0 >1
    <2 >=3.9 <3.14 ~=3.9 >1.0a1 <=1.0+abc ==01.0""".split()
    for text in written + [RANDOM.choice(["==", "!=", "<", ">", "<=", ">=", "~="]) + RANDOM.choice(valid) for _ in range(80)]:
        try:
            specifier = Specifier(text)
        except InvalidSpecifier:
            yield text, "1.0", None
            continue
        for version in RANDOM.sample(valid, 12) + ["1.0", "1.0.post1", "1.0a1", "1.0+abc", "1.1", "0.9", "1.0.dev1"]:
            yield text, version, specifier.contains(version, prereleases=True)


def requirements():
    written = [
        "pandas>=2", "requests[socks]", "requests [security,tests] >= 2.8.1, == 2.8.* ; python_version < \"2.7\"", "A", "A.B-C_D", "aa", "name",
        "name<=1", "name>=3", "name>=3,", "name>=3,<2", "name>=3,,<2", "name (>=3)", "name (==3,<4)", "name (>=3", "name()", "name[]", "name[,]",
        "name[a,]", "name[quux, strange];python_version<'2.7' and platform_version=='2'", "name; os_name=='a' or os_name=='b'",
        "name; os_name=='a' and os_name=='b' or os_name=='c'", "name; os_name=='a' and (os_name=='b' or os_name=='c')",
        "name; (os_name=='a'", "name; os_name", "name; os_name=='a", "name;", "name; 'a'=='b'", "name; python_version in '2.6 2.7 3.2'",
        "name; python_version not in '2.6'", "name; python_version notin '2.6'", "name; os_nam=='a'", "name; os.name=='a'", "name; extra == 'dev'",
        "name ; sys_platform == 'win32' ", "name;python_version~='3.8'", "name==1.0;os_name==\"nt\"", "name 1.0", "name=1.0", "name=>1", "name>1<2",
        "1name", "-name", "name-", "_name", ".name", "name.", "n", "9", "name[a b]", "name[a", "name]a[", "nämé", "name >= 2 , < 3",
        "name===anything", "name==1.0.*", "name>=1.0.*", "name~=1", "name!=1.5,>=1", "torch==2.1.0+cpu", "foo==1!2.0", "x[ y , z ] == 1",
        "name; python_version >= '3' and", "name; not os_name == 'a'", "name; os_name === 'a'", "name;; os_name=='a'", "name; 'linux' in sys_platform",
        "SQLAlchemy>=1.4,<2.0", "uvicorn[standard]>=0.18.3", "Django~=4.2", "numpy==1.26.4", "boto3", "python-dateutil>=2.8.2",
        "importlib-metadata>=4.4; python_version < \"3.10\"", "typing_extensions>=4.7.1,!=4.8.0", "scikit-learn==1.3.*", "zope.interface>=5",
        "black[jupyter,d]==23.9.1", "tensorflow>=2.13; sys_platform != 'darwin' or platform_machine != 'arm64'",
        "tomli>=1.1.0; python_full_version <= '3.11.0a6'", "colorama; platform_system == 'Windows'", "ruamel.yaml", "backports.zoneinfo;python_version<'3.9'",
        "pywin32>=226; platform_system==\"Windows\" and implementation_name=='cpython'", "requests\n", "req uests", "requests==2.31.0 --hash=sha256:00",
    ]
    pieces = ["a", "Na-me", ".", "_", "[", "]", "x", ",", ">=", "==", "<", "1.0", "2", ".*", " ", " ", ";", "os_name", "==", "'a'", "(", ")", " and ", " or "]
    made = ["a" + some(pieces, 8) for _ in range(600)]
    made += ["n; " + some(pieces[11:], 10) for _ in range(400)]
    for text in written + made:
        try:
            parsed = Requirement(text)
        except InvalidRequirement:
            yield text, None
            continue
        if parsed.url is None:
            # packaging takes `a_`, PEP 508 does not.
            if not all(re.fullmatch("[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name) for name in {parsed.name, *parsed.extras}):
                yield text, None
                continue
            name = re.sub(r"[-_.]+", "-", parsed.name).lower()
            extras = sorted({re.sub(r"[-_.]+", "-", extra).lower() for extra in parsed.extras})
            yield text, [name, extras, sorted(str(s) for s in parsed.specifier), parsed.marker is not None]


def scripts():
    block = "# /// script\n# dependencies = [\"a\"]\n# ///\n"
    written = [
        "", "x", block, block + block, block + "\n" + block, "x\n" + block + "y\n", block[:-1], block.replace("\n", "\r\n"), "# /// script\n# ///\n",
        "# /// script\n#\n# ///\n", "# /// script\n#x\n# ///\n", "# /// script \n# a\n# ///\n", "# /// script\n# a\n", "# /// script\n# a\n\n# ///\n",
        "# /// script\n# a\n# /// script\n# b\n# ///\n", "# /// pyproject\n# a\n# ///\n" + block, " # /// script\n# a\n# ///\n", "#/// script\n# a\n# ///\n",
        "# /// script\n# a\n# ///x\n# ///\n", "# /// script\n# a\x0cb\n# ///\n", "# /// script\n# a\u2028# b\n# ///\n", "# /// script\n# a\n# ///",
        "# /// script\n# a\n# ///\n# b\n# ///\n", "# /// script\n# a\n# ///\n# b\n", "# /// Script\n# a\n# ///\n", "\ufeff" + block,
        '"""\n' + block + '"""\n', "# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\n#   \"requests<3\",\n#   \"rich\",\n# ]\n# ///\n",
        "# /// script\n# embedded-csharp = '''\n# /// <summary>\n# /// text\n# ///\n# /// </summary>\n# public class MyClass { }\n# '''\n# ///\n",
    ]
    lines = ["# /// script", "# /// other", "# ///", "#", "# a = 1", "# ", "x", "", "#x", "# /// script ", "# b\x0cc", "#\t", "# ///x"]
    for text in written + ["".join(RANDOM.choice(lines) + "\n" for _ in range(RANDOM.randint(2, 9)))[: RANDOM.choice([None, -1])] for _ in range(500)]:
        universal = text.replace("\r\n", "\n").replace("\r", "\n")
        try:
            yield text, read(universal), True
        except ValueError:
            yield text, None, False


def main():
    judged = list(versions())
    valid = sorted({str(Version(text)) for text, normal in judged if normal}, key=lambda text: (Version(text), text))
    order = [[text, sum(Version(other) < Version(text) for other in valid)] for text in valid]
    vectors = {
        "packaging": packaging.__version__,
        "versions": judged,
        "order": order,
        "specifiers": list(specifiers(valid)),
        "requirements": list(requirements()),
        "scripts": list(scripts()),
    }
    lines = [f"{json.dumps(key)}: " + (json.dumps(value) if isinstance(value, str) else "[\n" + ",\n".join(map(json.dumps, value)) + "\n]") for key, value in vectors.items()]
    print("{\n" + ",\n".join(lines) + "\n}")


main()
