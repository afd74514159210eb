"""What happens inside a network: probes that watch a training and change nothing."""
