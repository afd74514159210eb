"""What the networks are trained on: data sets, and how their images become batches."""
