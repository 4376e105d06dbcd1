"""How commands run simulations: in this process or on a server."""
