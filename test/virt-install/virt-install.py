"""Debian's virt-install, many times in one process: it takes a second to start.

Reads a JSON array of command lines (arrays of words, without "virt-install") on standard input; writes a JSON array of
{"xml": [documents]} or {"error": text}. Argument: the libvirt URI; virtinst's own prefix for simulated hosts is allowed.
"""
import contextlib
import gettext
import io
import json
import os
import re
import sys

sys.path.insert(0, "/usr/share/virt-manager")
gettext.install("virt-manager")
os.environ.setdefault("HOME", "/nonexistent")
os.environ.pop("DISPLAY", None)

from virtinst import cli, virtinstall  # noqa: E402  (the path comes first)


def run(conn, words):
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["virt-install", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            virtinstall.main(conn=conn)
    except SystemExit as end:
        if end.code:
            return {"error": err.getvalue() or str(end.code)}
    except Exception as error:  # whatever virt-install would die of
        return {"error": f"{type(error).__name__}: {error}"}
    return {"xml": re.findall(r"<domain\b.*?</domain>", out.getvalue(), re.S)}


def main():
    with contextlib.redirect_stderr(io.StringIO()):
        conn = cli.getConnection(sys.argv[1])
    answers = [run(conn, words) for words in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)


main()
