# id: CP-13
# title: a result that runs code where it is read
# expect: held
# control: naive unpickles-results


class Evil:
    def __reduce__(self):
        return (__import__("os").system, ("touch /tmp/PWNED",))

    def __repr__(self):
        return "</script>\x1b]0;PWNED\x07"

    def _repr_html_(self):
        return "<script>PWNED</script>"

    def _repr_mimebundle_(self, **kwargs):
        return {"text/plain": "x", "application/x-pickle": "x" * 100000, "": None, "a\nb": float("nan")}


print("HELD")
Evil()
