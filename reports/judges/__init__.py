"""The judges: from tables to findings, by subject."""
