"""The Open Inference Protocol (v2): requests, answers, metadata and statistics."""
