"""Every figure: a function from tables to a matplotlib figure."""
