"""Compiles a runner: `python3 build.py runner.py runner.pyc`, with the interpreter that will run it.

A frame counts as started from its first RESUME on; before, the interpreter shows it to nobody: not in tracebacks, `f_back`,
`sys._getframe`, `inspect.stack` (`_PyFrame_IsIncomplete` in CPython 3.11 to 3.14). Code without RESUME therefore runs unseen.
"""

import importlib._bootstrap_external as bootstrap
import importlib.util
import marshal
import opcode
import os
import sys

HIDDEN = {"<module>", "run", "hook", "display", "getrecursionlimit", "__call__", "__repr__", "drop", "prepare"}
HIDDEN |= {"serve", "perform"}  # Of session.py.


def hide(code):
    """`code` with each function named in HIDDEN deprived of its RESUME."""
    constants = tuple(hide(constant) if isinstance(constant, type(code)) else constant for constant in code.co_consts)
    code = code.replace(co_consts=constants)
    if code.co_name not in HIDDEN or "RESUME" not in opcode.opmap:
        return code
    bytecode = bytearray(code.co_code)
    for index in range(0, len(bytecode), 2):
        if bytecode[index] == opcode.opmap["RESUME"]:
            bytecode[index : index + 2] = bytes((opcode.opmap["NOP"], 0))
            break
    return code.replace(co_code=bytes(bytecode))


def main(source, target):
    with open(source, "rb") as file:
        text = file.read()
    if os.path.basename(source) == "runner.py":
        with open(os.path.join(os.path.dirname(source), "values.py"), "rb") as file:
            values = marshal.dumps(compile(file.read(), "<fireclay>", "exec", dont_inherit=True, optimize=2))
        assert text.count(b'VALUES, VALUES_LOADED, NOTEBOOK = b""') == 1
        text = text.replace(b'VALUES, VALUES_LOADED, NOTEBOOK = b""', b"VALUES, VALUES_LOADED, NOTEBOOK = " + repr(values).encode())
    code = hide(compile(text, "<fireclay>", "exec", dont_inherit=True, optimize=2))
    with open(target, "wb") as file:
        file.write(bootstrap._code_to_hash_pyc(code, importlib.util.source_hash(text), False))


if __name__ == "__main__":
    main(*sys.argv[1:])
