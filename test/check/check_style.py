#!/usr/bin/env python3
"""check_style.py ROOT [--write]: sizes of functions and files, and undocumented public prototypes, against test/check/style_ratchet.txt.

Every number in the ratchet file is an allowed maximum, and is meant to go down only. --write lowers those of functions and
prototypes that the tree has become better than, and never raises one. Product code and tests have numbers of their own. Function lengths count from the line of the name to the closing brace.
"""
import os
import re
import statistics
import subprocess
import sys

LAYERS = ("scheduler", "mailbox", "objstore", "gcs", "actor", "tools", "examples", "test")
RATCHET = "test/check/style_ratchet.txt"


def files_of(root):
    for layer in LAYERS:
        for folder, _, names in os.walk(os.path.join(root, layer)):
            for name in names:
                if name.endswith((".c", ".h", ".cpp")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def lines_of(root, path):
    with open(os.path.join(root, path), encoding="utf-8") as file:
        return file.read().splitlines()


def functions(root, files):
    """[(length, "file:line name")], shortest first."""
    command = ["ctags", "-x", "--c-kinds=f", "--c++-kinds=f", "--languages=C,C++", "--map-C=+.h", "--_xformat=%{end}\t%n\t%N\t%F", "-L", "-"]
    output = subprocess.run(command, input="\n".join(files), cwd=root, capture_output=True, text=True, check=True).stdout
    found = []
    for line in output.splitlines():
        end, start, name, path = line.split("\t")
        if end.strip():
            found.append((int(end) - int(start) + 1, f"{path}:{start} {name}"))
    return sorted(found)


def undocumented(root, path):
    """Public prototypes of a header without a comment above, at the end, or above their group (which ends at a blank line)."""
    lines, documented, found, inside_comment = lines_of(root, path), False, [], False
    at = 0
    while at < len(lines):
        line = lines[at].strip()
        if not line:
            documented = False
        elif inside_comment or line.startswith(("/*", "//")):
            inside_comment = line.startswith("/*") and "*/" not in line or inside_comment and "*/" not in line
            documented = True
        elif line.startswith("MANTA_EXPORT") and "(" in line:
            start, text = at, line
            while ";" not in text and "{" not in text and at + 1 < len(lines):
                at += 1
                text += " " + lines[at].strip()
            if not documented and not re.search(r"/\*.*\*/|//", text):
                found.append(f"{path}:{start + 1} {line}")
        at += 1
    return found


def lengths(kind, sizes):
    """The three numbers of one kind of function (product code, tests), each with the longest of them."""
    if not sizes:
        return {f"{kind}_{name}": (0, "") for name in ("median", "90_percent", "max")}
    longest = "; ".join(f"{where} ({length})" for length, where in reversed(sizes[-8:]))
    ordered = [length for length, _ in sizes]
    return {
        f"{kind}_median": (round(statistics.median(ordered)), longest),
        f"{kind}_90_percent": (ordered[(len(ordered) * 9 + 9) // 10 - 1], longest),
        f"{kind}_max": (ordered[-1], longest),
    }


def measure(root):
    """{name: (value, where)}"""
    files = sorted(files_of(root))
    sizes = functions(root, files)
    if not sizes:
        sys.exit(f"no function found in {root}")
    file_lines = [(len(lines_of(root, path)), path) for path in files]
    headers = [(size, path) for size, path in file_lines if path.endswith(".h")] or [(0, "")]
    missing = [problem for path in files if "/include/manta/" in path for problem in undocumented(root, path)]
    product = [size for size in sizes if not size[1].startswith("test/")]
    tests = [size for size in sizes if size[1].startswith("test/")]
    return {
        **lengths("function", product),
        **lengths("test", tests),
        "file_lines": max(file_lines),
        "header_lines": max(headers),
        "undocumented_prototypes": (len(missing), "; ".join(missing)),
    }


def main():
    root = sys.argv[1]
    with open(os.path.join(root, RATCHET), encoding="utf-8") as file:
        text = file.read()
    limits = {name: int(value) for name, value in re.findall(r"^(\w+) +(\d+)$", text, re.M)}
    measured, failed = measure(root), False
    if set(limits) != set(measured):
        sys.exit(f"{RATCHET} must name exactly: {' '.join(measured)}")
    for name, (value, where) in measured.items():
        print(f"{name} {value} (allowed {limits[name]})")
        if value > limits[name]:
            failed = True
            print(f"    too much: {where}")
        elif "--write" in sys.argv and not name.endswith(("_lines", "_median", "_90_percent")):
            text = re.sub(rf"^({name} +)\d+$", rf"\g<1>{value}", text, flags=re.M)
    if "--write" in sys.argv:
        with open(os.path.join(root, RATCHET), "w", encoding="utf-8") as file:
            file.write(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
