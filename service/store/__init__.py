"""What is kept: an index in a database, and the files of runs, models and datasets beside it."""
