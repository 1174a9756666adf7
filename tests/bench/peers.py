"""What the benchmarks share: an nginx of their own on loopback, interleaved rounds, and the figures of a child process.

    with served(folder) as server:                       # nginx, its own configuration, ended by its process id
        rounds = interleaved({"filingd": run_a, "curl": run_b}, count=5)
        print(markdown("title", rounds))

A contender is a function that gets a fresh directory and returns the seconds it took (or None: wall time around it).
Rounds are interleaved so that drift hits all alike. Every run writes into a directory of its own and nothing is
removed before the end: ext4 does not reuse an inode for minutes after it was freed and scans past it meanwhile, which
makes creating files many times slower (tests/bench/README of these figures: directories get the `T` attribute).
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Contender = Callable[[Path], float | None]

_NGINX_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {home}/nginx.pid;
error_log {home}/error.log;
worker_rlimit_nofile {open_files};
events {{ worker_connections 1024; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  open_file_cache max={cached_files} inactive=300s;
  open_file_cache_valid 300s;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  server {{ listen 127.0.0.1:{port} backlog=1024; root {root}; }}
}}
"""


@dataclass(frozen=True)
class Server:
    """An nginx that runs."""

    base_url: str
    process_id: int


@contextlib.contextmanager
def served(root: Path) -> Iterator[Server]:
    """Serve a folder on loopback for the length of the block."""
    if shutil.which("nginx") is None:
        sys.exit("The benchmarks need nginx: apt-get install nginx-light")
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        configuration = Path(home, "nginx.conf")
        open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        cached_files = min(open_files - 2000, 30_000)  # each is kept open, and connections want some too
        configuration.write_text(
            _NGINX_CONFIGURATION.format(
                home=home, port=port, root=root, open_files=open_files, cached_files=cached_files
            )
        )
        Path(home).chmod(0o755)
        process = subprocess.Popen(
            ["nginx", "-c", str(configuration), "-e", f"{home}/error.log", "-g", "user root;"]
        )
        try:
            _wait_until_open(port, process)
            yield Server(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    sys.exit(f"nginx ended with {process.returncode}")


@dataclass
class Timing:
    """All runs of one contender."""

    name: str
    walls_s: list[float] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def median_s(self) -> float:
        """The figure."""
        return statistics.median(self.walls_s)

    def row(self) -> dict[str, Any]:
        """For RESULTS.md and for programs."""
        return {
            "name": self.name,
            "median_s": round(self.median_s, 3),
            "min_s": round(min(self.walls_s), 3),
            "max_s": round(max(self.walls_s), 3),
            "runs": len(self.walls_s),
            **self.facts,
        }


def interleaved(contenders: Mapping[str, Contender], rounds: int, scratch: Path) -> dict[str, Timing]:
    """Run every contender once a round, each time in a fresh directory under `scratch`."""
    timings = {name: Timing(name) for name in contenders}
    for number in range(rounds):
        for name, run in contenders.items():
            place = fresh_directory(scratch, f"{number}-{name.replace(' ', '-').replace('/', '-')}")
            settle()
            began = time.perf_counter()
            measured_s = run(place)
            wall_s = time.perf_counter() - began
            timings[name].walls_s.append(wall_s if measured_s is None else measured_s)
            forget_pages(place)
            print(
                f"  round {number + 1} {name}: {timings[name].walls_s[-1]:.2f} s", file=sys.stderr, flush=True
            )
    return timings


def fresh_directory(scratch: Path, name: str) -> Path:
    """A directory that was never used, in a block group of its own where the file system can do that."""
    place = scratch / name
    place.mkdir()
    subprocess.run(["chattr", "+T", str(place)], check=False, stderr=subprocess.DEVNULL)
    return place


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """Where runs write; removed at the very end. FILINGD_BENCH_DIR chooses the file system."""
    base = os.environ.get("FILINGD_BENCH_DIR")
    with tempfile.TemporaryDirectory(prefix="filingd-bench-", dir=base) as name:
        subprocess.run(["chattr", "+T", name], check=False, stderr=subprocess.DEVNULL)
        yield Path(name)


@contextlib.contextmanager
def served_directory(needed_bytes: int) -> Iterator[Path]:
    """Where the server's files lie: in memory if there is room, so that no disk of the server is measured."""
    shared = Path("/dev/shm")
    has_room = shared.is_dir() and shutil.disk_usage(shared).free > 2 * needed_bytes
    with tempfile.TemporaryDirectory(prefix="filingd-served-", dir=shared if has_room else None) as name:
        Path(name).chmod(0o755)
        yield Path(name)


def settle() -> None:
    """What earlier runs left to write must not be charged to the next."""
    os.sync()


def forget_pages(place: Path) -> None:
    """Give the page cache of a finished run back.

    In a virtual machine a page that was never used before has to be had from the host, which costs five times what
    writing to it costs; without this the first rounds, or all of them, would measure that.
    """
    os.sync()
    for folder, _, names in os.walk(place):
        for name in names:
            with contextlib.suppress(OSError), Path(folder, name).open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def run_quietly(command: Sequence[str], cwd: Path) -> None:
    """Run a peer; a failing peer ends the benchmark."""
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)


def peak_rss_bytes_of(command: Sequence[str], cwd: Path) -> tuple[str, int]:
    """Run a child; its output and its peak resident size, as the kernel keeps it, read every 20 ms.

    The figure of wait4 is of no use: a child inherits the peak of the process that started it.
    """
    peak_bytes = 0
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=cwd, stdout=output)
        while process.poll() is None:
            peak_bytes = max(peak_bytes, _high_water_bytes(process.pid))
            time.sleep(0.02)
        if process.returncode != 0:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}")
        output.seek(0)
        return output.read(), peak_bytes


def _high_water_bytes(process_id: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def version_of(*command: str) -> str:
    """The first line a peer says about itself."""
    try:
        found = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return "not installed"
    return (found.stdout + found.stderr).strip().partition("\n")[0]


def markdown(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A table; columns are the keys of all rows, in order of first appearance."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"### {title}", "", f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    lines += [f"| {' | '.join(str(row.get(column, '')) for column in columns)} |" for row in rows]
    return "\n".join(lines) + "\n"
