"""The Open Inference Protocol (v2): what travels, and how it becomes a run and an answer."""
