"""What was measured: records become tables, statistics and figures. Never loads torch."""
