"""Pure ASGI middleware: request ids and the access log, hosts, sites, keys, availability, bodies.

None of it wraps a request in a task of its own, so a route that awaits ``http.disconnect`` still
receives it.
"""
