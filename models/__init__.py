"""The networks that are compared. `spec` says what a network is, `blocks` and `network` build it."""
