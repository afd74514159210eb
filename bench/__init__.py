"""What is done to the networks: studies, training, profiling, and the records that they leave."""
