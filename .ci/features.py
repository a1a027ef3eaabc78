"""Prints `package feature` for every feature of every library of ours, and `package` alone for none at all.

A feature of the toolkit that only passes on those of the libraries is left out. With `pairs`, every two features of a
library together instead.
"""

import itertools
import json
import subprocess
import sys

metadata = json.loads(
    subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], check=True, capture_output=True, text=True
    ).stdout
)
for package in sorted(metadata["packages"], key=lambda package: package["name"]):
    if package["name"] in ("benches", "examples", "faults"):
        continue
    named = package["features"]
    passed_on = [name for name, parts in named.items() if all("/" in part for part in parts)]
    left_out = {"default", *(passed_on if package["name"] == "micro" else [])}
    features = sorted(named.keys() - left_out)
    if "pairs" in sys.argv:
        for pair in itertools.combinations(features, 2):
            print(package["name"], ",".join(pair))
        continue
    if features:
        print(package["name"])
    for feature in features:
        print(package["name"], feature)
