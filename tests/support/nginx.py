"""nginx as a reverse proxy in front of a server."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.live_server import free_port
from tests.support.waits import until

_CONFIG = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream energy-flow {{ server {server}; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://{upstream};
            {directives}
        }}
    }}
}}
"""


def find_nginx() -> str | None:
    """Return the path of nginx; None if it is not installed."""
    # Not in the path of every user.
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def nginx(
    program: str, folder: Path, server: str, directives: str = "", upstream: str | None = None
) -> Iterator[int]:
    """Run nginx in front of a server until the end of the block.

    Args:
        program: path of nginx.
        folder: folder for its files.
        server: host and port of the server.
        directives: what its config says about the proxy.
        upstream: what it calls the server, and so the ``Host`` that it sends by default.

    Yields:
        The port on which it listens at 127.0.0.1.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            folder=folder,
            server=server,
            port=port,
            upstream=upstream or server,
            directives=directives,
        )
    )
    log = folder / "error.log"
    command = [program, "-p", str(folder), "-e", str(log), "-c", str(config)]

    def listens() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    with subprocess.Popen(command) as process:
        try:
            until(listens)
            yield port
        finally:
            process.kill()
