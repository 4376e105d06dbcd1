"""nginx as a proxy in front of a server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.live_server import free_port
from tests.support.waits import LIMIT_SECONDS, until

CONFIG = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port};
        client_max_body_size 0;
        {locations}
    }}
}}
"""


def find_nginx() -> str:
    """Return the path of nginx; skip the test on a machine without it."""
    path = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if path is None:
        pytest.skip("no nginx found; install it to test the server behind a proxy")
    return path


@contextmanager
def nginx(folder: Path, locations: str, http: str = "") -> Iterator[str]:
    """Run nginx on a free port until the end of the block, and yield its address.

    Args:
        folder: an empty folder for its files.
        locations: ``location`` blocks of its config.
        http: more of the block around the server, such as ``upstream``.
    """
    program, port = find_nginx(), free_port()
    config = folder / "nginx.conf"
    # Only root may name a user; its workers could not write into the folder otherwise.
    user = "user root;" if os.geteuid() == 0 else ""
    config.write_text(
        CONFIG.format(folder=folder, user=user, port=port, locations=locations, http=http)
    )
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(config)])
    try:
        until(lambda: _accepts(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "error.log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(LIMIT_SECONDS)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False
