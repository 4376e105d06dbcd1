"""The server process: uvicorn, with a drain before its end and limits of its connections."""

from service.serving.server import FlowServer

__all__ = ["FlowServer"]
