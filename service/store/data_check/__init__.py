"""Whether the files of a data directory and its index are as the server has stored them."""
