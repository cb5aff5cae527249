"""What the machine does to a run: killed, disk full, folder read-only."""
