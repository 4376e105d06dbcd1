"""What a run costs: memory on the device and the host, time by step and phase, log lines."""
