#!/usr/bin/env python3
"""check_layers.py ROOT: each folder includes only folders below it, and no include chain is a circle.

Further: public headers and examples include public headers only (they must compile where just the installed headers are).
"""
import os
import re
import sys

LEVELS = {"scheduler": 0, "mailbox": 1, "objstore": 2, "gcs": 2, "actor": 3, "tools": 4, "examples": 4, "test": 4}
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<(manta/[^>]+)>)', re.M)


def sources(root):
    for layer in LEVELS:
        for folder, _, names in os.walk(os.path.join(root, layer)):
            for name in names:
                if name.endswith((".c", ".h", ".cpp", ".hpp")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def resolve(root, source, quoted, public, public_headers):
    """The path from root of what an include means; None: not in this tree."""
    if public:
        return public_headers.get(public)
    for candidate in (quoted, os.path.normpath(os.path.join(os.path.dirname(source), quoted))):
        if os.path.isfile(os.path.join(root, candidate)):
            return candidate
    return public_headers.get(quoted)


def is_public(path):
    return "/include/manta/" in path


def complaint(source, target):
    """Why source must not include target; None: it may."""
    above, below = source.split("/")[0], target.split("/")[0]
    if (is_public(source) or above == "examples") and not is_public(target):
        return "is used with the installed headers only, and includes the internal"
    if above == below or LEVELS[below] < LEVELS[above] or (above, below) == ("test", "tools"):
        return None
    return f"(level {LEVELS[above]}) must not include (level {LEVELS[below]})"


def circle(graph):
    """Files that include each other in a circle, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node):] + [node]
        if node in done:
            return None
        path.append(node)
        for target in graph.get(node, ()):
            if found := visit(target):
                return found
        done.add(path.pop())
        return None

    for node in sorted(graph):
        if found := visit(node):
            return found
    return None


def main():
    root = sys.argv[1]
    files = sorted(sources(root))
    public_headers = {path.split("/include/", 1)[1]: path for path in files if "/include/" in path}
    problems, graph = [], {}
    for source in files:
        with open(os.path.join(root, source), encoding="utf-8") as file:
            text = file.read()
        for quoted, public in INCLUDE.findall(text):
            target = resolve(root, source, quoted, public, public_headers)
            if not target and "/" in quoted and quoted.split("/")[0] not in LEVELS:
                continue  # of another project, as caf/all.hpp
            if not target:
                problems.append(f"{source}: {quoted or public} is not in this tree (a system header takes <>)")
                continue
            graph.setdefault(source, []).append(target)
            if reason := complaint(source, target):
                problems.append(f"{source} {reason} {target}")
    if found := circle(graph):
        problems.append("circle: " + " -> ".join(found))
    print("\n".join(problems) or f"{len(files)} files, {sum(map(len, graph.values()))} includes inside the tree")
    return 1 if problems or not files else 0


if __name__ == "__main__":
    sys.exit(main())
