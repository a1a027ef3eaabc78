#!/usr/bin/env python3
"""Shows a `micro` that was built with `-Cprofile-generate` what a gateway does: it notes that when it ends. Called by .ci/dist.

Not what is measured alone: also requests with bodies, one on a connection, unknown paths, and calls that are not answered well.
"""

import pathlib
import subprocess
import sys
import tempfile

import load
from proxies import Bench


def main():
    micro, echo = sys.argv[1], pathlib.Path(__file__).resolve().parent.parent.parent / "target/release/benches"
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(micro, echo if echo.exists() else None, directory)
        try:
            bench.upstream()
            bench.add_micro()
            process, port, _ = bench.proxies["micro"]
            for case in ("grpc", "http1"):
                load.h2load(case, port, directory, "-n100000")
            (pathlib.Path(directory) / "body").write_bytes(b"x" * 4000)
            at = f"http://127.0.0.1:{port}"
            for options in (
                ["--h1", "-n20000", "-c16", "-d", f"{directory}/body", f"{at}/foo/x"],
                ["-n20000", "-c4", "-m16", f"{at}/foo/x"],
                ["--h1", "-n2000", "-c2000", f"{at}/foo/x"],
                ["-n2000", "-c500", f"{at}/foo/x"],
                ["-n2000", "-c4", "-m4", f"{at}/nobody/x"],
                ["-n2000", "-c4", "-m4", "-d", f"{directory}/message", "-H", "content-type: application/grpc", f"{at}/echo.Echo/Unknown"],
            ):
                subprocess.run(["h2load", *options], check=True, stdout=subprocess.DEVNULL)
            process.terminate()
            process.wait(60)
        finally:
            bench.end()


if __name__ == "__main__":
    main()
