"""What it means: frames become findings, findings become one page. Never loads torch."""
