"""What an operator watches: counters and histograms, what is read at each scrape, log lines."""
