"""Fails when crates, or the top-level modules of a crate, import each other in a circle.

A module is a file or a folder below `src`; what it imports is what its code, without tests and comments, names after
`crate::` or, one level up, after `super::`. Names that `lib.rs` re-exports count as the module they come from.
"""

import pathlib
import re
import sys


def code(path):
    text = path.read_text()
    text = re.sub(r"//[^\n]*", "", text)
    return re.split(r"#\[cfg\((?:test|all\(test)", text)[0]


def expand(text, start):
    """The first names of a `use` tree that begins at `start`: one, or those between braces."""
    if text[start : start + 1] != "{":
        return re.findall(r"\A\w+", text[start:])
    names, depth, first = [], 0, True
    for token in re.findall(r"[{},]|\w+|::", text[start:]):
        if token == "{":
            depth += 1
            first = depth == 1
        elif token == "}":
            depth -= 1
            if depth == 0:
                return names
        elif token == ",":
            first = depth == 1
        elif token != "::" and depth == 1 and first:
            names.append(token)
            first = False
    return names


def modules(source):
    groups = {}
    for path in sorted(source.rglob("*.rs")):
        top = path.relative_to(source).parts[0].removesuffix(".rs")
        if top not in ("lib", "main", "bin"):
            groups.setdefault(top, []).append(path)
    return groups


def imports(source):
    groups = modules(source)
    library = source / "lib.rs"
    origin = {}
    if library.exists():
        text = code(library)
        for match in re.finditer(r"pub use (?:self::|crate::)?(\w+)::", text):
            for name in expand(text, match.end()):
                origin[name] = match[1]
    edges = {top: set() for top in groups}
    for top, paths in groups.items():
        for path in paths:
            text = code(path)
            depth = len(path.relative_to(source).parts) - (path.name == "mod.rs")
            up = r"crate::" if depth > 1 else r"(?:crate|super)::"
            for match in re.finditer(up, text):
                for name in expand(text, match.end()):
                    target = name if name in groups else origin.get(name)
                    if target in groups and target != top:
                        edges[top].add(target)
    return edges


def circle(edges):
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node) :] + [node]
        if node in done:
            return None
        path.append(node)
        for target in sorted(edges.get(node, ())):
            found = visit(target)
            if found:
                return found
        path.pop()
        done.add(node)
        return None

    for node in sorted(edges):
        found = visit(node)
        if found:
            return found
    return None


bad = 0
for manifest in sorted(pathlib.Path(".").glob("*/Cargo.toml")):
    found = circle(imports(manifest.parent / "src"))
    if found:
        print(f"{manifest.parent}: {' -> '.join(found)}")
        bad = 1
sys.exit(bad)
