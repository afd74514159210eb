"""What is kept: one record per trial, and a study's folder of them. No torch."""
