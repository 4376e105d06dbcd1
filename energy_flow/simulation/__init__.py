"""The simulation: flows of many samples, advanced step by step."""
