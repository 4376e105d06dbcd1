"""The HTTP interface: routes, middleware, and how requests and responses are read and written."""
