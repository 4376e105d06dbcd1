"""The networks of a model. They propose energies and displacements; rules decide."""
