# id: CP-11
# title: shadow the modules that the runner would import
# expect: held
# expect: outcome completed
# control: naive runs-its-own-runner

for name in ("json", "struct", "traceback", "linecache", "base64", "io", "os", "tokenize", "ast", "values", "asyncio"):
    with open(f"/workspace/{name}.py", "w") as file:
        file.write('import posix\nposix.write(1, b"BREACH ' + name.encode().decode() + '\\n")\nraise SystemExit("owned")\n')
print("HELD")
{"a": [1, 2.5, "x"]}
