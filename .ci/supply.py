"""Fails where a crate we build on has a licence we do not take, a source that is none, or stands twice where once matters.

Licences and sources come from the manifests themselves, so this needs no network. Advisories do: where cargo-deny is
installed, `./check supply` asks it too, by `deny.toml`, which has the same rules.
"""

import json
import re
import subprocess
import sys
import tomllib

RULES = tomllib.load(open("deny.toml", "rb"))
ALLOWED = set(RULES["licenses"]["allow"])
EXCEPTIONS = {rule["crate"]: set(rule["allow"]) for rule in RULES["licenses"]["exceptions"]}
# Two copies of one of these are two types of one name, or two pools, and nothing fits.
ONCE = ["arc-swap", "futures-core", "h2", "http", "http-body", "hyper", "rustls", "tokio", "tonic", "tower-service", "tracing"]
OURS = ["MIT"]


def takes(expression, allowed):
    """Whether an SPDX expression can be met with what is allowed: OR is a choice, AND is both."""
    expression = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|AND|OR|WITH|[A-Za-z0-9.+-]+", expression)

    def either():
        value = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = both() or value
        return value

    def both():
        value = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = one() and value
        return value

    def one():
        token = tokens.pop(0)
        if token == "(":
            value = either()
            tokens.pop(0)
            return value
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token = f"{token} WITH {tokens.pop(0)}"
        return token in allowed

    return either()


metadata = json.loads(
    subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--all-features"], check=True, capture_output=True, text=True
    ).stdout
)
ours = set(metadata["workspace_members"])
wrong = []
versions = {}
for package in metadata["packages"]:
    name = f"{package['name']} {package['version']}"
    versions.setdefault(package["name"], []).append(package["version"])
    if package["id"] in ours:
        if package["license"] not in OURS:
            wrong.append(f"{name} is ours and says licence {package['license']!r}")
        continue
    if not (package["source"] or "").startswith("registry+"):
        wrong.append(f"{name} comes from {package['source'] or 'a path'}, which no stranger has")
    if not package["license"]:
        wrong.append(f"{name} says no licence")
    elif not takes(package["license"], ALLOWED | EXCEPTIONS.get(package["name"], set())):
        wrong.append(f"{name} has licence {package['license']!r}, which deny.toml does not allow")
wrong += [
    f"{name} stands {len(versions[name])} times: {', '.join(versions[name])}" for name in ONCE if len(versions.get(name, [])) > 1
]
print("\n".join(wrong) or f"   {len(metadata['packages'])} packages: licences, sources and copies are as deny.toml says")
sys.exit(bool(wrong))
