"""How a study is run: order, executors, workers, forecast and display. No torch."""
