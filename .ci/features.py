"""Prints `package feature` for every feature of every library of ours, and `package` alone for none at all."""

import json
import subprocess

metadata = json.loads(
    subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"], check=True, capture_output=True, text=True
    ).stdout
)
for package in sorted(metadata["packages"], key=lambda package: package["name"]):
    if package["name"] in ("benches", "examples"):
        continue
    if package["features"]:
        print(package["name"])
    for feature in sorted(package["features"]):
        if feature != "default":
            print(package["name"], feature)
