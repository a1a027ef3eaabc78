"""Fails where a public item of a library shows a type of a crate that its manifest does not vow to keep to.

A type in a signature is a promise: a new major version of its crate is one of ours. Each library says in
`[package.metadata.cargo_check_external_types]` whose types it shows; this reads what rustdoc knows of the public items.
"""

import json
import os
import subprocess
import sys
import tomllib

LIBRARIES = ["micro-discover", "micro-balance", "micro-broker", "micro-tower", "micro-build"]
LANGUAGE = {"std", "core", "alloc"}


def resolved(value):
    """The id of every type, trait and bound that stands anywhere in `value`."""
    if isinstance(value, dict):
        for key, part in value.items():
            if key in ("resolved_path", "trait") and isinstance(part, dict) and "id" in part:
                yield part["id"]
            if key != "docs":
                yield from resolved(part)
    elif isinstance(value, list):
        for part in value:
            yield from resolved(part)


def document():
    """Has rustdoc write what it knows, of all crates at once: features are then those of every other step."""
    environment = os.environ | {"RUSTDOC": os.path.abspath(".ci/rustdoc-json"), "RUSTDOCFLAGS": ""}
    command = ["cargo", "doc", "--quiet", "--workspace", "--lib", "--no-deps", "--all-features"]
    subprocess.run(command, check=True, env=environment)


def shown(package):
    """Each foreign crate whose types the public items of `package` show, with one such item."""
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    with open(f"{target}/doc/{package.replace('-', '_')}.json", encoding="utf-8") as file:
        doc = json.load(file)
    crates = {}
    for item in doc["index"].values():
        inner = item["inner"]
        # What an impl of a foreign trait shows is that trait's own matter.
        if item["crate_id"] != 0 or item["visibility"] == "crate" or "impl" in inner or "use" in inner:
            continue
        if isinstance(item["visibility"], dict):
            continue
        for id in resolved(inner):
            path = doc["paths"].get(str(id))
            if path and path["crate_id"] != 0:
                crates.setdefault(path["path"][0], f"{item['name']} shows {'::'.join(path['path'])}")
    return {name: item for name, item in crates.items() if name not in LANGUAGE}


document()
wrong = []
for package in LIBRARIES:
    with open(f"{package}/Cargo.toml", "rb") as file:
        metadata = tomllib.load(file)["package"].get("metadata", {})
    allowed = metadata.get("cargo_check_external_types", {}).get("allowed_external_types", [])
    vowed = {pattern.split("::")[0] for pattern in allowed}
    found = shown(package)
    wrong += [f"{package}: {item}, and its manifest does not vow to {name}" for name, item in found.items() if name not in vowed]
    wrong += [f"{package}: its manifest vows to {name}, which nothing shows" for name in sorted(vowed - set(found))]
print("\n".join(wrong) or f"   {', '.join(LIBRARIES)} show only what they vow to")
sys.exit(bool(wrong))
