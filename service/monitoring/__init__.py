"""Monitoring: counters and histograms, gauges that are read at each scrape, log lines."""
