"""How a network is trained: device, execution, step, loop and checkpoints."""
