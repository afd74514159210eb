"""What a network costs: time, memory and arithmetic."""
