"""The health check of the image: exit 0 if the server works.

A server that only a restart helps answers /livez with 503. This program then ends it, and the
restart policy of the container starts it again: Docker itself only marks a container as unhealthy.
It uses the standard library alone.

    python healthcheck.py [PID]     PID: process to end; by default 1, the container's first
"""

import os
import signal
import sys
import urllib.error
import urllib.request

UNAVAILABLE = 503


def main() -> int:
    """Ask the server, and return the exit code."""
    address = f"http://127.0.0.1:{os.environ['ENERGY_FLOW_PORT']}/livez"
    # Without proxies: a proxy set for the container must not answer for the server.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(address, timeout=4).close()
    except urllib.error.HTTPError as answer:
        print(answer.read().decode(errors="replace"), file=sys.stderr)
        if answer.code == UNAVAILABLE:
            os.kill(int(sys.argv[1]) if len(sys.argv) > 1 else 1, signal.SIGTERM)
        return 1
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
