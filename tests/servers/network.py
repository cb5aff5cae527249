"""An internet of its own, in a network namespace: many hosts and their name server, and a way to
them that can be taken away. What is run in it reaches nothing else.

Run as a module it is the hosts and the name server.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from aiohttp import web

from tests.servers.dns import DnsServer
from tests.servers.hosts import ManyHosts
from tests.servers.pictures import picture

ROOT = Path(__file__).parents[2]
REACHED, LOST = "10.9.0.0/16", "10.7.0.0/16"  # where hosts are, and where packets get lost
NAME_SERVER = "10.9.255.53"
HOSTS = 60


def is_possible() -> bool:
    """Whether this machine lets us have network namespaces."""
    try:
        tried = subprocess.run(
            ["unshare", "-rn", "ip", "link", "set", "lo", "up"], capture_output=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


class Network:
    """Hosts hN.example (10.9.0.N + 1) give pictures; deadN.example (10.7.0.N + 1) are where packets
    get lost; failingN.example get SERVFAIL; no other name exists."""

    def __enter__(self) -> Network:
        ready = f"ip link set lo up; ip addr add {REACHED} dev lo; ip route add {LOST} dev lo; "
        self._space = subprocess.Popen(
            ["unshare", "-rn", "sh", "-c", f"{ready} echo; exec sleep 900"],
            stdout=subprocess.PIPE,
        )
        assert self._space.stdout is not None
        self._space.stdout.readline()
        self._servers = subprocess.Popen(
            self.inside(sys.executable, "-m", "tests.servers.network"),
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._servers.stdout is not None
        said = json.loads(self._servers.stdout.readline())
        self.port, self.name_server = said["port"], said["name_server"]
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._servers, self._space):
            process.kill()
            process.communicate()

    def inside(self, *command: str) -> list[str]:
        """The command that runs this one in there."""
        way = ["nsenter", "-t", str(self._space.pid), "-U", "-n", "--preserve-credentials"]
        return [*way, *command]

    def url(self, host: str, path: object) -> str:
        """The url of a path on a host."""
        return f"http://{host}:{self.port}/{path}"

    def silence(self) -> None:
        """From now on all packets get lost."""
        self._ip("link", "set", "lo", "down")

    def cut(self) -> None:
        """From now on no way leads to any host: ENETUNREACH."""
        self._ip("addr", "del", REACHED, "dev", "lo")

    def mend(self) -> None:
        """All is as it was."""
        self._ip("link", "set", "lo", "up")
        self._ip("addr", "replace", REACHED, "dev", "lo")
        self._ip("route", "replace", LOST, "dev", "lo")

    def _ip(self, *arguments: str) -> None:
        subprocess.run(self.inside("ip", *arguments), check=True, timeout=10)


def _names() -> dict[str, list[str] | int]:
    from tests.servers.dns import SERVFAIL

    names: dict[str, list[str] | int] = {}
    for n in range(HOSTS):
        names[f"h{n}.example"] = [f"10.9.0.{n + 1}"]
        names[f"dead{n}.example"] = [f"10.7.0.{n + 1}"]
        names[f"failing{n}.example"] = SERVFAIL
    return names


async def _picture(request: web.Request) -> web.Response:
    await asyncio.sleep(0.05)
    number = int(request.path.removeprefix("/"))
    return web.Response(body=_PICTURES[number % 20]) if number % 10 else web.Response(status=404)


if __name__ == "__main__":
    _PICTURES = [picture(n) for n in range(20)]
    with ManyHosts(_picture) as hosts, DnsServer(_names(), host=NAME_SERVER) as names:
        print(json.dumps({"port": hosts.port, "name_server": names.address}), flush=True)
        sys.stdin.read()
