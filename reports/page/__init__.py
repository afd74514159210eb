"""The page: findings, figures and facts as one HTML file."""
