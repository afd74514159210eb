"""What is asked: studies, trials, a user's own architectures, and how a trial is to be executed. No torch."""
