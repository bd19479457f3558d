"""Debian's virt-install, many times in one process: it takes a second to start.

  virt-install.py run URI   Reads a JSON array of command lines (arrays of words, without "virt-install") on standard
                            input; writes a JSON array of {"xml": [documents]} or {"error": text}. URI is libvirt's;
                            virtinst's own prefix for simulated hosts is allowed.
  virt-install.py options   Writes {option: [names of sub-options]} of all options, null for those without.
  virt-install.py systems   Writes what libosinfo's database says of each operating system.
"""
import argparse
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

from virtinst import OSDB, cli, virtinstall  # noqa: E402  (the path comes first)


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


def run_all():
    with contextlib.redirect_stderr(io.StringIO()):
        conn = cli.getConnection(sys.argv[2])
    return [run(conn, words) for words in json.load(sys.stdin)]


def options():
    found = {}
    parse = argparse.ArgumentParser.parse_args
    try:
        # parse_args makes the parser, and is the only thing that does.
        argparse.ArgumentParser.parse_args = lambda parser, *_: found.update(parser=parser)
        virtinstall.parse_args()
    finally:
        argparse.ArgumentParser.parse_args = parse
    tables = {parser.cli_flag_name().lower(): parser for parser in cli.VIRT_PARSERS}
    answer = {}
    for action in found["parser"]._actions:
        for name in action.option_strings:
            table = next((tables[flag.lower()] for flag in action.option_strings if flag.lower() in tables), None)
            answer[name] = table and [each for arg in table._virtargs for each in [arg.cliname, *arg._aliases]]
    return answer


def systems():
    def facts(os):
        resources = os.get_recommended_resources()
        cards = set(os.supported_netmodels())
        return {
            "names": os.all_names,
            "id": os.full_id,
            "virtioDisk": os.supports_virtiodisk(),
            "virtioScsi": os.supports_virtioscsi(),
            "virtioNetwork": os.supports_virtionet(),
            "virtioRng": os.supports_virtiorng(),
            "virtioGpu": os.supports_virtiogpu(),
            "virtioBalloon": os.supports_virtioballoon(),
            "virtioSerial": os.supports_virtioserial(),
            "usb3": os.supports_usb3(),
            "q35": os.supports_chipset_q35(),
            "windows": os.is_windows(),
            "localTime": os.get_clock() == "localtime",
            "needsUefi": os.requires_firmware_efi("x86_64"),
            "memoryMiB": (resources.get_recommended_ram("x86_64") or 0) >> 20,
            "vcpuCount": resources.get_recommended_ncpus("x86_64") or 0,
            "diskGiB": (resources.get_recommended_storage("x86_64") or 0) >> 30,
            "nic": next((card for card in ["e1000", "rtl8139", "ne2k_pci", "pcnet"] if card in cards), "e1000"),
        }

    return [facts(os) for os in OSDB.list_os()]


json.dump({"run": run_all, "options": options, "systems": systems}[sys.argv[1]](), sys.stdout)
