"""The stores: an index in a database, and the files of runs and datasets beside it."""
