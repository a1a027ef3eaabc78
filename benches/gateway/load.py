"""What is asked of a proxy, and what that costs it: CPU, time, memory."""

import asyncio
import pathlib
import re
import subprocess
import time

IDLE = 10_000
# Requests a second that every one of the proxies can answer, for all connections together.
STEADY = 2_048
MESSAGE = b"\0\0\0\0\x20\n\x1e" + b"x" * 30


def family(pid):
    """A process and those it has started."""
    pids = [pid]
    for at in pids:
        for task in pathlib.Path(f"/proc/{at}/task").glob("*"):
            try:
                pids += [int(child) for child in (task / "children").read_text().split()]
            except OSError:
                pass
    return pids


def cpu_nanos(pid):
    total = 0
    for task in (task for at in family(pid) for task in pathlib.Path(f"/proc/{at}/task").glob("*")):
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass
    return total


def memory(pid):
    """Bytes that are nobody else's, of all its processes."""
    total = 0
    for at in family(pid):
        text = pathlib.Path(f"/proc/{at}/smaps_rollup").read_text()
        total += sum(int(kib) * 1024 for kib in re.findall(r"Private_(?:Clean|Dirty): +(\d+) kB", text))
    return total


def h2load(case, port, directory, *options):
    """Runs h2load, and gives what it says and the milliseconds of each request that was answered."""
    log = pathlib.Path(directory) / "requests"
    log.unlink(missing_ok=True)
    (pathlib.Path(directory) / "message").write_bytes(MESSAGE)
    what = {
        "http1": ["--h1", "-c64", "-m1", f"http://127.0.0.1:{port}/foo/x"],
        "grpc": ["-c8", "-m8", "-d", f"{directory}/message", "-H", "content-type: application/grpc", "-H", "te: trailers",
                 f"http://127.0.0.1:{port}/echo.Echo/Unary"],
    }[case]
    said = subprocess.run(["h2load", f"--log-file={log}", *options, *what], capture_output=True, text=True).stdout
    rows = (line.split("\t") for line in log.read_text().splitlines())
    return said, sorted(int(row[2]) / 1000 for row in rows if row[1] == "200")


def last_percent(millis):
    return millis[len(millis) * 99 // 100] if millis else float("inf")


def wrk(port, seconds, *options):
    """Runs wrk with 64 connections, and gives what it says and how many requests it sent."""
    said = subprocess.run(["wrk", "-t1", "-c64", f"-d{seconds}s", *options, f"http://127.0.0.1:{port}/foo/x"],
                          capture_output=True, text=True).stdout
    return said, int(re.search(r"(\d+) requests in", said).group(1))


def anew(process, port, seconds):
    """Microseconds of CPU for a request on a connection of its own."""
    before = cpu_nanos(process.pid)
    _, done = wrk(port, seconds, "-H", "Connection: close")
    return (cpu_nanos(process.pid) - before) / 1000 / max(done, 1)


def posts(process, port, seconds, directory):
    """Microseconds of CPU for a request with a short body."""
    (pathlib.Path(directory) / "form").write_bytes(b"x" * 200)
    before = cpu_nanos(process.pid)
    _, millis = h2load("http1", port, directory, f"-D{seconds}", "-d", f"{directory}/form")
    return (cpu_nanos(process.pid) - before) / 1000 / max(len(millis), 1)


def flat_out(case, process, port, seconds, directory):
    """As much as goes through: microseconds of CPU for a request, requests a second, p99 in milliseconds, and how many failed."""
    before, began = cpu_nanos(process.pid), time.time()
    if case == "http1":
        said, done = wrk(port, seconds, "--latency")
        bad = sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", said))
        number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", said).groups()
        p99 = float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]
    else:
        said, millis = h2load(case, port, directory, f"-D{seconds}")
        done, bad = (int(re.search(rf"(\d+) {word}", said).group(1)) for word in ("succeeded", "failed"))
        p99 = last_percent(millis)
    spent = cpu_nanos(process.pid) - before
    return {"cpu_us": spent / 1000 / max(done, 1), "rate": done / (time.time() - began), "p99": p99, "failed": bad}


def steady(case, port, seconds, directory):
    """p99 in milliseconds where all proxies are asked the same number of times a second."""
    clients = {"http1": 64, "grpc": 8}[case]
    _, millis = h2load(case, port, directory, f"--rps={STEADY // clients}", f"-n{STEADY * seconds}")
    return last_percent(millis)


async def converse(port, room):
    """A connection on which one request was answered."""
    async with room:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /foo/x HTTP/1.1\r\nHost: foo\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        await reader.readexactly(int(length.group(1)))
        assert head.startswith(b"HTTP/1.1 200"), head
        return writer


async def idle(process, port):
    """Bytes that a connection takes on which a request was answered and nothing happens now."""
    before, room = memory(process.pid), asyncio.Semaphore(64)
    writers = await asyncio.gather(*(converse(port, room) for _ in range(IDLE)))
    await asyncio.sleep(1)
    each = (memory(process.pid) - before) / IDLE
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(1)
    return each
