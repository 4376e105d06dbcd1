"""Pure ASGI middleware: request ids and the access log, the API key, availability, bodies.

None of it wraps a request in a task of its own, so a route that awaits ``http.disconnect`` still
receives it.
"""
