"""What is kept: an index of runs and models in a database, and their files beside it."""
