"""The comparison of the servers and of the start-up orders; README.md has its results."""
